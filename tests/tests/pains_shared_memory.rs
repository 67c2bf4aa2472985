//! What hurts users of Python's `shared_memory`, and does not here: an attacher's end that takes the
//! memory from others, memory that outlives all its users, a need of `/dev/shm`, bytes that do not
//! come back as they went in.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offspring::shm::{ArrayString, ArrayVec, Shareable, Shared, SharedMut, SharedSlice};
use offspring::sync::{Barrier, Condvar, Event, Mutex, Once, ReentrantLock, RwLock, Semaphore};
use offspring::{Receiver, Sender, pipe, process};
use tests::family::{adopt_orphans, await_descendants, helpers, not_tested, root};
use tests::{children_of, each_start_method};

type Outcome = Result<(), Box<dyn StdError>>;

/// One of each that several processes can have at once.
type All = (Shared<AtomicU64>, SharedSlice<u64>, Mutex<u64>, RwLock<u64>, Semaphore, Event);

fn all() -> Result<All, offspring::Error> {
    Ok((
        Shared::new(AtomicU64::new(0))?,
        SharedSlice::try_from_iter(0..1000)?,
        Mutex::new(0)?,
        RwLock::new(0)?,
        Semaphore::new(2)?,
        Event::new()?,
    ))
}

/// Uses each, and adds one to what can be changed.
fn use_all((shared, slice, mutex, rwlock, semaphore, event): &All) {
    let permit = semaphore.acquire().unwrap();
    assert!(slice.iter().copied().eq(0..1000));
    *mutex.lock().unwrap() += 1;
    *rwlock.write().unwrap() += 1;
    event.set();
    assert!(event.is_set());
    drop(permit);
    assert!(semaphore.available() >= 1); // another may have one just now
    shared.fetch_add(1, Ordering::SeqCst);
}

fn uses((shared, _, mutex, rwlock, ..): &All) -> [u64; 3] {
    let (mutex, rwlock) = (*mutex.lock().unwrap(), *rwlock.read().unwrap());
    [shared.load(Ordering::SeqCst), mutex, rwlock]
}

// -- 19: whoever ends takes nothing from others, and the last leaves nothing.

/// Attaches, uses it, and ends in that way.
#[process]
fn attach(memory: All, attached: Sender<()>, end: u8) {
    use_all(&memory);
    attached.send(()).unwrap();
    match end {
        0 => {}
        1 => std::process::exit(3),
        2 => std::process::abort(),
        3 => panic!("an attacher that panics"),
        _ => loop {
            thread::park();
        },
    }
}

/// Has it from before the others end, and uses it whenever it is told to.
#[process]
fn keep(memory: All, again: Receiver<()>, used: Sender<[u64; 3]>) {
    for () in &again {
        use_all(&memory);
        used.send(uses(&memory)).unwrap();
    }
}

/// Makes it, gives it away, and lives until it is killed.
#[process]
fn make(to: Sender<(All, SharedMut<u64>)>) {
    let memory = all().unwrap();
    use_all(&memory);
    to.send((memory.clone(), SharedMut::try_from_iter(0..1000).unwrap())).unwrap();
    loop {
        thread::park();
    }
}

each_start_method! {
    fn an_attacher_that_ends_takes_nothing_from_others() {
        let memory = all()?;
        let (tell, again) = pipe()?;
        let (used, theirs) = pipe()?;
        let keeper = keep(memory.clone(), again, used).spawn()?;
        let mut expected = 0;
        for end in [0, 1, 2, 3, 9, 0] {
            let (attached, here) = pipe()?;
            let attacher = attach(memory.clone(), attached, end).spawn()?;
            here.recv()?;
            if end == 9 {
                attacher.kill()?;
            }
            assert_eq!(attacher.wait()?.success(), end == 0, "{end}");
            // The one that was there before, this process, and (next round) one that comes after.
            tell.send(())?;
            expected += 2;
            assert_eq!(theirs.recv()?, [expected; 3], "{end}");
            use_all(&memory);
            expected += 1;
            assert_eq!(uses(&memory), [expected; 3], "{end}");
        }
        drop(tell);
        keeper.join()?;
    }

    fn the_end_of_who_made_it_takes_nothing_from_others() {
        let (to, from) = pipe()?;
        let maker = make(to).spawn()?;
        let (memory, mut array) = from.recv()?;
        maker.kill()?;
        maker.wait()?;
        assert_eq!(uses(&memory), [1; 3]);
        use_all(&memory);
        let (attached, here) = pipe()?;
        attach(memory.clone(), attached, 0).spawn()?.join()?;
        here.recv()?;
        assert_eq!(uses(&memory), [3; 3]);
        assert!(array.as_mut_slice().iter().copied().eq(0..1000));
        assert!(array.freeze()?.iter().copied().eq(0..1000));
    }
}

/// The descriptors and the mappings of our memory in a process.
fn memory_of(pid: u32) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut found: Vec<String> = open
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.display().to_string();
            let inode = fs::metadata(entry.path()).ok()?.ino();
            target.contains("memfd:offspring").then(|| format!("{inode} {target}"))
        })
        .collect();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let lines = maps.lines().filter(|line| line.contains("memfd:offspring"));
    found.extend(lines.map(|line| {
        let inode = line.split_whitespace().nth(4).unwrap_or_default();
        format!("{inode} {line}")
    }));
    found
}

fn inodes(found: &[String]) -> BTreeSet<String> {
    found.iter().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// The processes of this machine that have any of these.
fn holders(inodes: &BTreeSet<String>) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| !inodes.is_disjoint(&self::inodes(&memory_of(*pid))))
        .collect()
}

/// Uses it for ever, so that it is killed in the midst of whatever it does.
#[process]
fn use_until_killed(memory: All, ready: Sender<u32>) {
    use_all(&memory);
    ready.send(std::process::id()).unwrap();
    let (shared, _, mutex, rwlock, ..) = &memory;
    loop {
        // (Who was killed may have poisoned them.)
        *mutex.lock().unwrap_or_else(offspring::sync::LockError::into_inner) += 1;
        *rwlock.write().unwrap_or_else(offspring::sync::LockError::into_inner) += 1;
        shared.fetch_add(1, Ordering::SeqCst);
    }
}

#[process]
fn have_an_array_until_killed(mut part: SharedMut<u64>, ready: Sender<u32>) {
    part.as_mut_slice().fill(1);
    ready.send(std::process::id()).unwrap();
    loop {
        thread::park();
    }
}

/// The root of the family: all that is shared is made in it.
#[process]
fn family(ready: Sender<u32>) {
    let memory = all().unwrap();
    let mut children = Vec::new();
    for _ in 0..2 {
        children.push(use_until_killed(memory.clone(), ready.clone()).spawn().unwrap());
    }
    let (parts, _split) = SharedMut::<u64>::zeroed(10_000).unwrap().split(2).unwrap();
    for part in parts {
        let child = have_an_array_until_killed(part, ready.clone()).spawn().unwrap();
        children.push(child);
    }
    ready.send(std::process::id()).unwrap();
    loop {
        thread::park();
    }
}

fn files_in_shm() -> BTreeSet<String> {
    let entries = fs::read_dir("/dev/shm").unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Kills all of them, the root first or last.
fn kill_a_family(root_first: bool) -> Outcome {
    adopt_orphans();
    // So that nothing in it is another program's.
    let own_shm = match cover("/dev/shm", MsFlags::empty()) {
        Ok(()) => true,
        Err(error) => {
            not_tested("whether /dev/shm is as it was", error);
            false
        }
    };
    let (ready, theirs) = pipe()?;
    let child = root(family(ready))?;
    let mut pids: Vec<u32> = theirs.iter().take(5).collect();
    assert_eq!(pids.len(), 5);
    pids.sort_by_key(|pid| (*pid == child.pid()) != root_first);
    let found: Vec<String> = pids.iter().flat_map(|pid| memory_of(*pid)).collect();
    let inodes = inodes(&found);
    // What is looked for below is there now: 6 of the one kind, and the array.
    assert!(inodes.len() >= 7, "{found:#?}");
    assert!(holders(&inodes).len() >= 5);
    if own_shm {
        assert_eq!(files_in_shm(), BTreeSet::new(), "while it is in use");
    }

    for pid in &pids {
        kill(Pid::from_raw(*pid as i32), Signal::SIGKILL)?;
    }
    assert_eq!(child.wait()?, std::os::unix::process::ExitStatusExt::from_raw(libc::SIGKILL));
    await_descendants(); // it hangs if a helper lives on
    assert_eq!(children_of(std::process::id()), BTreeSet::new());
    assert_eq!(helpers(), tests::family::Helpers::default());
    assert_eq!(memory_of(std::process::id()), [""; 0]);
    assert_eq!(holders(&inodes), [0u32; 0]);
    if own_shm {
        assert_eq!(files_in_shm(), BTreeSet::new());
    }
    Ok(())
}

each_start_method! {
    fn a_family_killed_from_its_root_on_leaves_nothing() {
        kill_a_family(true)?;
    }

    fn a_family_whose_root_is_killed_last_leaves_nothing() {
        kill_a_family(false)?;
    }
}

// -- 20: no file system is needed.

/// Puts an empty file system over a directory, for this process and its children alone.
fn cover(path: &str, flags: MsFlags) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)
        .or_else(|_| unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS))?;
    let nothing = None::<&Path>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, nothing)
}

type Rest = (Barrier, Condvar, Once, ReentrantLock<u64>);

/// Of each, what needs two processes.
#[process]
fn other_side(memory: All, rest: Rest, mut part: SharedMut<u64>) -> SharedMut<u64> {
    let (barrier, condvar, once, reentrant) = rest;
    barrier.wait().unwrap();
    use_all(&memory);
    once.call_once(|| panic!("it was called")).unwrap();
    assert_eq!(*reentrant.lock().unwrap(), 5);
    let mut seen = memory.2.lock().unwrap();
    *seen += 1000;
    condvar.notify_all();
    drop(seen);
    part.as_mut_slice().fill(7);
    part
}

fn everything_works() -> Outcome {
    let memory = all()?;
    let rest: Rest = (Barrier::new(2)?, Condvar::new()?, Once::new()?, ReentrantLock::new(5)?);
    rest.2.call_once(|| {})?;
    let (parts, split) = SharedMut::<u64>::zeroed(100)?.split(1)?;
    let [part] = <[_; 1]>::try_from(parts).expect("one");
    let child = other_side(memory.clone(), rest.clone(), part).spawn()?;
    rest.0.wait()?;
    let seen = memory.2.lock().unwrap();
    let seen = rest.1.wait_while(seen, |seen| *seen < 1000).unwrap();
    assert_eq!(*seen, 1001);
    drop(seen);
    drop(child.join()?);
    assert_eq!(uses(&memory), [1, 1001, 1]);
    let mut whole = split.join();
    assert!(whole.as_mut_slice().iter().all(|value| *value == 7));
    assert!(whole.freeze()?.iter().all(|value| *value == 7));
    Ok(())
}

/// Unless the places cannot be made so here.
fn works_with(path: &str, flags: MsFlags, is_so: impl Fn() -> bool) -> Outcome {
    if let Err(error) = cover(path, flags) {
        not_tested(&format!("with {path} covered"), error);
        return Ok(());
    }
    assert!(is_so(), "{path} is as it was");
    everything_works()
}

/// Whether what `shm_open` does works.
fn can_make_a_file() -> bool {
    fs::write("/dev/shm/offspring-test", "").is_ok()
}

each_start_method! {
    fn everything_works_with_a_hidden_dev_shm() {
        works_with("/dev", MsFlags::empty(), || {
            !Path::new("/dev/shm").exists() && !can_make_a_file()
        })?;
    }

    fn everything_works_with_a_read_only_dev_shm() {
        works_with("/dev/shm", MsFlags::MS_RDONLY, || {
            Path::new("/dev/shm").exists() && !can_make_a_file()
        })?;
    }

    fn everything_works_as_it_is() {
        everything_works()?;
    }
}

// -- 21: what goes in comes out.

const ROOM: usize = 48;

#[derive(Debug, Clone, Copy, PartialEq, Shareable)]
struct Record {
    seed: u64,
    text: ArrayString<ROOM>,
    raw: ArrayString<ROOM>,
    bytes: ArrayVec<u8, ROOM>,
    words: ArrayVec<u64, 6>,
}

/// A generator of numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Any bytes; in half of the cases, with zeros at the end.
    fn bytes(&mut self) -> Vec<u8> {
        let len = self.below(ROOM + 1);
        let mut bytes: Vec<u8> = (0..len).map(|_| self.next() as u8).collect();
        let zeros = if self.below(2) == 0 { self.below(len + 1) } else { 0 };
        bytes[len - zeros..].fill(0);
        bytes
    }

    /// Characters of one to four bytes, and often zeros at the end.
    fn text(&mut self) -> String {
        const CHARACTERS: [char; 9] =
            ['a', '\0', 'é', 'ß', '€', '日', '\u{301}', '🦀', '\u{10ffff}'];
        let mut text = String::new();
        let room = self.below(ROOM + 1);
        loop {
            let next = CHARACTERS[self.below(CHARACTERS.len())];
            if text.len() + next.len_utf8() > room {
                break;
            }
            text.push(next);
        }
        while self.below(2) == 0 && text.len() < ROOM {
            text.push('\0');
        }
        text
    }
}

/// A text, bytes, bytes, words.
type Plain = (String, Vec<u8>, Vec<u8>, Vec<u64>);

/// What belongs to that seed, as ordinary values.
fn expected(seed: u64) -> Plain {
    let mut random = Random(seed);
    let words = (0..random.below(7)).map(|_| random.next()).collect();
    (random.text(), random.bytes(), random.bytes(), words)
}

impl Record {
    fn of(seed: u64) -> Self {
        let (text, raw, bytes, words) = expected(seed);
        Self {
            seed,
            text: ArrayString::try_from(&*text).unwrap(),
            raw: ArrayString::from_bytes(&raw).unwrap(),
            bytes: ArrayVec::try_from(&*bytes).unwrap(),
            words: ArrayVec::try_from(&*words).unwrap(),
        }
    }

    /// Whether all of it is of one seed, by its bytes and lengths and not by its own `==`.
    fn is_whole(&self) -> bool {
        let (text, raw, bytes, words) = expected(self.seed);
        self.text.to_str().is_ok_and(|own| own == text)
            && self.raw.as_bytes() == raw
            && self.bytes.as_slice() == bytes
            && self.words.as_slice() == words
    }

    /// Field by field, so that there is a time to be seen torn.
    fn write(&mut self, seed: u64) {
        let other = Self::of(seed);
        self.seed = seed;
        self.text.clear();
        self.text.push_str(other.text.to_str().unwrap()).unwrap();
        self.raw = other.raw;
        self.bytes.clear();
        assert!(self.text.len() == other.text.len() && self.bytes.is_empty());
        other.bytes.iter().for_each(|byte| self.bytes.push(*byte).unwrap());
        self.words.clear();
        self.words.extend_from_slice(&other.words).unwrap();
    }
}

const ROUNDS: u64 = 3000;

/// Answers each seed that was written with the next.
#[process]
fn answer(mutex: Mutex<Record>, rwlock: RwLock<Record>, turns: Receiver<u64>, back: Sender<u64>) {
    for seed in &turns {
        for record in [*mutex.lock().unwrap(), *rwlock.read().unwrap()] {
            assert!(record.seed == seed && record.is_whole(), "{seed}: {record:?}");
        }
        mutex.lock().unwrap().write(!seed);
        *rwlock.write().unwrap() = Record::of(!seed);
        back.send(!seed).unwrap();
    }
}

#[process]
fn write_many(mutex: Mutex<Record>, rwlock: RwLock<Record>, begin: Barrier, first: u64) {
    begin.wait().unwrap();
    for seed in first..first + ROUNDS {
        mutex.lock().unwrap().write(seed);
        rwlock.write().unwrap().write(seed);
    }
}

/// Reads until nobody writes. How many different ones were seen.
#[process]
fn read_many(mutex: Mutex<Record>, rwlock: RwLock<Record>, begin: Barrier, done: Event) -> usize {
    begin.wait().unwrap();
    let mut seen = BTreeSet::new();
    loop {
        let last = done.is_set();
        for record in [*mutex.lock().unwrap(), *rwlock.read().unwrap()] {
            assert!(record.is_whole(), "torn: {record:?}");
            seen.insert(record.seed);
        }
        if last {
            return seen.len();
        }
    }
}

/// What is generated is what is to be tested; and what is torn is seen to be.
#[test]
fn the_records_are_of_all_kinds_and_are_checked() {
    let all: Vec<_> = (0..ROUNDS).map(expected).collect();
    let count = |is: &dyn Fn(&Plain) -> bool| all.iter().filter(|record| is(record)).count();
    assert!(count(&|(text, ..)| text.ends_with('\0')) > 100);
    assert!(count(&|(text, ..)| !text.is_ascii()) > 100);
    assert!(count(&|(text, ..)| text.is_empty()) > 10);
    assert!(count(&|(_, raw, ..)| raw.ends_with(&[0, 0])) > 100);
    assert!(count(&|(_, raw, ..)| std::str::from_utf8(raw).is_err()) > 100);
    assert!(count(&|(_, raw, ..)| raw.len() == ROOM) > 10);

    let (one, other) = (Record::of(1), Record::of(2));
    assert!(one.is_whole() && other.is_whole());
    assert!(!Record { seed: 2, ..one }.is_whole());
    assert!(!Record { text: other.text, ..one }.is_whole());
    assert!(!Record { raw: other.raw, ..one }.is_whole());
    assert!(!Record { bytes: other.bytes, ..one }.is_whole());
    assert!(!Record { words: other.words, ..one }.is_whole());
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn texts_and_bytes_come_back_as_they_went_in() {
        let (mutex, rwlock) = (Mutex::new(Record::of(0))?, RwLock::new(Record::of(0))?);
        let (turn, turns) = pipe()?;
        let (back, theirs) = pipe()?;
        let child = answer(mutex.clone(), rwlock.clone(), turns, back).spawn()?;
        for seed in 1..=ROUNDS {
            *mutex.lock().unwrap() = Record::of(seed);
            rwlock.write().unwrap().write(seed);
            turn.send(seed)?;
            assert_eq!(theirs.recv()?, !seed);
            for record in [*mutex.lock().unwrap(), *rwlock.read().unwrap()] {
                assert!(record.seed == !seed && record.is_whole(), "{seed}: {record:?}");
                assert_eq!(record, Record::of(!seed));
            }
        }
        drop(turn);
        child.join()?;
    }

    only [forkserver ForkServer, spawn Spawn]
    fn nobody_sees_a_record_that_is_half_written() {
        let (mutex, rwlock) = (Mutex::new(Record::of(0))?, RwLock::new(Record::of(0))?);
        let (begin, done) = (Barrier::new(4)?, Event::new()?);
        let writers = [1 << 20, 1 << 30]
            .map(|first| write_many(mutex.clone(), rwlock.clone(), begin.clone(), first).spawn());
        let readers = [(); 2].map(|()| {
            read_many(mutex.clone(), rwlock.clone(), begin.clone(), done.clone()).spawn()
        });
        for writer in writers {
            writer?.join()?;
        }
        done.set();
        for reader in readers {
            assert!(reader?.join()? >= 1);
        }
        assert!(mutex.lock().unwrap().is_whole() && rwlock.read().unwrap().is_whole());
    }
}
