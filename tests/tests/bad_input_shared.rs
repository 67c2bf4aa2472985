//! Locks and shared memory that are not what they should be, of no size, of far too much, or made at
//! the limits that the system sets: a typed error that says what is wrong, and nothing left behind.

use std::fmt::{Debug, Display};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offspring::shm::{Shared, SharedMut, SharedSlice};
use offspring::sync::{
    Barrier, Condvar, Event, Mutex, Once, ReentrantLock, ReleaseError, RwLock, Semaphore,
    TryAcquireError,
};
use offspring::{Error, Fd, Receiver, Sender, pipe, pipe::RecvError, pipe::SendError, process};
use serde::de::IntoDeserializer;
use serde::de::value::{Error as TextError, SeqDeserializer, U32Deserializer};
use serde::ser::{Impossible, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::forgery::forge;
use tests::{Holdings, each_start_method};

// -- What comes is something else.

/// Whatever can be put into a message in place of what is expected.
#[derive(Serialize)]
#[serde(untagged)]
enum Wrong {
    File(Fd<OwnedFd>),
    Small(Mutex<u32>),
    Permits(Semaphore),
    Locked(Mutex<u64>),
    Plain(Shared<u64>),
    Part32(SharedMut<u32>),
}

/// Crosses as what is wrong, or as what is right, and is taken for a `T`.
enum Disguise<T> {
    Wrong(Wrong),
    Right(T),
}

impl<T: Serialize> Serialize for Disguise<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Wrong(wrong) => wrong.serialize(serializer),
            Self::Right(right) => right.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Disguise<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Right)
    }
}

/// A file in memory with these bytes, so sealed.
fn memory(bytes: &[u8], seals: SealFlag) -> OwnedFd {
    let file = File::from(memfd_create("forged", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.write_all_at(bytes, 0).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.into()
}

/// The bytes of the only shared memory that this process has.
fn bytes_of_memory() -> Vec<u8> {
    let open = tests::descriptors();
    let mut ours = open.iter().filter(|(_, to)| to.starts_with("/memfd:offspring-shared"));
    let (number, _) = ours.next().expect("one");
    assert!(ours.next().is_none(), "{open:?}");
    fs::read(format!("/proc/self/fd/{number}")).unwrap()
}

const NOT_OURS: &str = "it is not shared memory of this library";
const SHORT: &str = "it is shorter than what it should hold";
const ANOTHER: &str = "another handle came in place of a ";
const OTHER: &str = "it holds something else, or was made by another build";

/// The files that are no `T`, and what is said of each. `original` is the memory of one.
fn files(original: &[u8]) -> Vec<(&'static str, OwnedFd, &'static str)> {
    let mut regular = tempfile::tempfile().unwrap();
    regular.write_all(original).unwrap();
    let shrink = SealFlag::F_SEAL_SHRINK;
    let (reader, writer) = std::io::pipe().unwrap();
    let mut changed = original.to_vec();
    changed[8] ^= 1; // in the fingerprint
    let mut enormous = original.to_vec();
    enormous[16..24].copy_from_slice(&u64::MAX.to_ne_bytes()); // the count of elements
    vec![
        ("foreign", memory(&[7; 8192], shrink), NOT_OURS),
        ("empty", memory(&[], shrink), SHORT),
        ("a part of a header", memory(&original[..100], shrink), SHORT),
        ("a header alone", memory(&original[..192], shrink), SHORT),
        ("unsealed", memory(original, SealFlag::empty()), NOT_OURS),
        ("sealed against growing only", memory(original, SealFlag::F_SEAL_GROW), NOT_OURS),
        ("of a changed type", memory(&changed, shrink), OTHER),
        ("of too many elements", memory(&enormous, shrink), SHORT),
        ("a regular file", regular.into(), NOT_OURS),
        ("the end of a pipe that reads", reader.into(), NOT_OURS),
        ("the end of a pipe that writes", writer.into(), NOT_OURS),
        ("a directory", File::open("/").unwrap().into(), NOT_OURS),
        ("a device", File::open("/dev/null").unwrap().into(), NOT_OURS),
    ]
}

/// Makes what is refused; and the words that say why.
type Other<'a> = (fn() -> Wrong, &'a str);

/// Sends each, and a right one after it, which must come.
fn refuses_all<T>(name: &str, right: impl Fn() -> Result<T, Error>, others: &[Other])
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    let (tx, rx): (Sender<Disguise<T>>, Receiver<Disguise<T>>) = pipe().unwrap();
    let original = {
        let _one = right().unwrap();
        bytes_of_memory()
    };
    // A copy of the bytes is taken: so what is refused below is refused for what is said.
    forge(&tx, name, &memory(&original, SealFlag::F_SEAL_SHRINK), [0, 1]);
    assert!(rx.recv().is_ok(), "{name}: a true copy");

    let sent_right = |what: &str, text: &str| {
        tx.send(Disguise::Right(right().unwrap())).unwrap();
        match rx.recv() {
            Err(RecvError::Decode(error)) => {
                let told = error.to_string();
                assert!(told.contains(text) && told.contains(name), "{name}, {what}: {told}");
            }
            Err(other) => panic!("{name}, {what}: {other:?}"),
            Ok(_) => panic!("{name}, {what}: it was taken for what it is not"),
        }
        assert!(matches!(rx.recv(), Ok(Disguise::Right(_))), "{name}, after {what}");
    };
    for (what, file, text) in files(&original) {
        forge(&tx, name, &file, [0, 1]);
        sent_right(what, text);
    }
    for (other, text) in others {
        tx.send(Disguise::Wrong(other())).unwrap();
        sent_right("another", text);
    }
    // Not even what would be right, if it was no handle of the library's.
    let copy = memory(&original, SealFlag::F_SEAL_SHRINK);
    tx.send(Disguise::Wrong(Wrong::File(Fd::new(copy)))).unwrap();
    sent_right("a file", ANOTHER);
}

/// What is not wrong in itself, made anew.
fn small() -> Wrong {
    Wrong::Small(Mutex::new(1).unwrap())
}

fn permits() -> Wrong {
    Wrong::Permits(Semaphore::new(3).unwrap())
}

fn locked() -> Wrong {
    Wrong::Locked(Mutex::new(1).unwrap())
}

fn plain() -> Wrong {
    Wrong::Plain(Shared::new(1).unwrap())
}

fn part32() -> Wrong {
    Wrong::Part32(SharedMut::from_slice(&[1]).unwrap())
}

/// Runs it once before it counts: what is loaded lazily then is.
fn leaves_nothing(work: impl Fn()) {
    work();
    let before = Holdings::now();
    work();
    assert_eq!(Holdings::now(), before);
    let open = tests::descriptors();
    assert!(!open.iter().any(|(_, to)| to.contains("memfd:")), "{open:?}");
}

each_start_method! {
    only [forkserver ForkServer]
    fn what_is_no_mutex_is_refused() {
        leaves_nothing(|| {
            let others: [Other; 4] =
                [(small, OTHER), (permits, ANOTHER), (plain, ANOTHER), (part32, ANOTHER)];
            refuses_all("Mutex", || Mutex::new(5u64), &others);
        });
    }

    only [forkserver ForkServer]
    fn what_is_no_semaphore_is_refused() {
        leaves_nothing(|| {
            let others: [fn() -> Wrong; 3] = [small, locked, plain];
            refuses_all("Semaphore", || Semaphore::new(3), &others.map(|other| (other, ANOTHER)));
        });
    }

    only [forkserver ForkServer]
    fn what_is_no_shared_value_is_refused() {
        leaves_nothing(|| {
            let others: [Other; 4] =
                [(small, ANOTHER), (permits, ANOTHER), (locked, ANOTHER), (plain, OTHER)];
            refuses_all("Shared", || Shared::new(AtomicU64::new(5)), &others);
        });
    }

    only [forkserver ForkServer]
    fn what_is_no_array_is_refused() {
        leaves_nothing(|| {
            let others: [Other; 3] = [(part32, OTHER), (locked, ANOTHER), (permits, ANOTHER)];
            refuses_all("SharedMut", || SharedMut::<u64>::from_slice(&[1, 2, 3]), &others);
        });
    }

    only [forkserver ForkServer]
    fn a_part_beyond_its_array_is_refused() {
        leaves_nothing(|| {
            let original = {
                let _array = SharedMut::<u64>::from_slice(&[1, 2, 3]).unwrap();
                bytes_of_memory()
            };
            let (tx, rx) = pipe::<SharedMut<u64>>().unwrap();
            for (from, to, within) in
                [(0, 3, true), (3, 3, true), (0, 4, false), (2, 1, false), (0, u64::MAX, false)]
            {
                let copy = memory(&original, SealFlag::F_SEAL_SHRINK);
                forge(&tx, "SharedMut", &copy, [from, to]);
                match rx.recv() {
                    Ok(mut array) if within => {
                        assert_eq!(array.as_mut_slice(), &[1, 2, 3][from as usize..to as usize]);
                    }
                    Err(RecvError::Decode(error)) if !within => {
                        assert!(error.to_string().contains("is not within it"), "{error}");
                    }
                    Ok(_) => panic!("{from}..{to}: taken"),
                    Err(other) => panic!("{from}..{to}: {other:?}"),
                }
            }
        });
    }

    only [forkserver ForkServer]
    /// By a type's own `Serialize` and `Deserialize`, which need no `unsafe`.
    fn a_handle_cannot_be_made_another() {
        leaves_nothing(|| {
            let (tx, rx) = pipe::<Turned>().unwrap();
            tx.send(Turned::Lock(Mutex::new(1).unwrap())).unwrap();
            let Err(RecvError::Decode(error)) = rx.recv() else { panic!("its file was taken") };
            assert!(error.to_string().contains("another handle came in place of a descriptor"));

            let (tx, rx) = pipe::<Twice>().unwrap();
            tx.send(Twice(SharedMut::from_slice(&[1, 2, 3]).unwrap(), None)).unwrap();
            let Err(RecvError::Decode(error)) = rx.recv() else { panic!("there are two of it") };
            assert!(error.to_string().contains("one handle came for two SharedMuts"));
        });
    }
}

/// A mutex that arrives as the file of its memory.
enum Turned {
    Lock(Mutex<u32>),
    File { _file: Fd<OwnedFd> },
}

impl Serialize for Turned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Lock(mutex) = self else { unreachable!("it is never sent") };
        mutex.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Turned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (file, _): (Fd<OwnedFd>, Option<u32>) = Deserialize::deserialize(deserializer)?;
        Ok(Self::File { _file: file })
    }
}

/// An array that says where it is twice.
struct Twice(SharedMut<u32>, #[expect(dead_code)] Option<SharedMut<u32>>);

impl Serialize for Twice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The place of the only handle is 0.
        (&self.0, 0_u32).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (first, second) = Deserialize::deserialize(deserializer)?;
        Ok(Self(first, Some(second)))
    }
}

// -- Into anything but a message.

/// A format of text, as far as it is needed: numbers and tuples of them are taken, everything else is
/// refused with another text than the library's.
struct Text;

macro_rules! refused {
    ($($name:ident($($arg:ty),*) $(-> $out:ident)?;)*) => {$(
        fn $name(self $(, _: $arg)*) -> Result<refused!(@ $($out)?), TextError> {
            Err(serde::ser::Error::custom("it got into the text"))
        }
    )*};
    (@) => { () };
    (@ Impossible) => { Impossible<(), TextError> };
}

impl Serializer for Text {
    type Ok = ();
    type Error = TextError;
    type SerializeSeq = Impossible<(), TextError>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Impossible<(), TextError>;
    type SerializeTupleVariant = Impossible<(), TextError>;
    type SerializeMap = Impossible<(), TextError>;
    type SerializeStruct = Impossible<(), TextError>;
    type SerializeStructVariant = Impossible<(), TextError>;

    fn serialize_u32(self, _: u32) -> Result<(), TextError> {
        Ok(())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, TextError> {
        Ok(self)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), TextError> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), TextError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), TextError> {
        value.serialize(self)
    }

    refused! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
        serialize_seq(Option<usize>) -> Impossible;
        serialize_tuple_struct(&'static str, usize) -> Impossible;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible;
        serialize_map(Option<usize>) -> Impossible;
        serialize_struct(&'static str, usize) -> Impossible;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible;
    }
}

impl SerializeTuple for Text {
    type Ok = ();
    type Error = TextError;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), TextError> {
        value.serialize(Text)
    }

    fn end(self) -> Result<(), TextError> {
        Ok(())
    }
}

/// Neither there nor back. Afterwards it can be sent as before.
fn is_for_messages_only<T>(name: &str, value: T)
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    for _ in 0..2 {
        let there = value.serialize(Text).unwrap_err().to_string();
        let wanted = format!("a {name} can be serialised only while it is sent to another process");
        assert!(there.contains(&wanted), "{name}: {there}");
    }
    // A number, or several.
    let number: U32Deserializer<TextError> = 0u32.into_deserializer();
    let numbers = SeqDeserializer::<_, TextError>::new([0u32; 4].into_iter());
    let back = [T::deserialize(number).err(), T::deserialize(numbers).err()];
    let back = back.map(|error| error.expect("it is no message").to_string());
    let wanted = format!("a {name} can be deserialised only from what another process has sent");
    assert!(back.iter().any(|back| back.contains(&wanted)), "{name}: {back:?}");
    let (tx, rx) = pipe::<T>().unwrap();
    assert!(tx.send(value).is_ok(), "{name}");
    assert!(rx.recv().is_ok(), "{name}");
}

each_start_method! {
    only [forkserver ForkServer]
    fn locks_and_memory_are_for_messages_only() {
        assert!((Some(5u32), (5u32, 6u32)).serialize(Text).is_ok());
        leaves_nothing(|| {
            is_for_messages_only("Mutex", Mutex::new(5u64).unwrap());
            is_for_messages_only("Mutex", Mutex::from_slice(&[5u8; 3]).unwrap());
            is_for_messages_only("RwLock", RwLock::new(5u64).unwrap());
            is_for_messages_only("ReentrantLock", ReentrantLock::new(5u64).unwrap());
            is_for_messages_only("Semaphore", Semaphore::new(5).unwrap());
            is_for_messages_only("Barrier", Barrier::new(5).unwrap());
            is_for_messages_only("Event", Event::new().unwrap());
            is_for_messages_only("Condvar", Condvar::new().unwrap());
            is_for_messages_only("Once", Once::new().unwrap());
            is_for_messages_only("Shared", Shared::new(AtomicU64::new(5)).unwrap());
            is_for_messages_only("SharedSlice", SharedSlice::from_slice(&[5]).unwrap());
            is_for_messages_only("SharedMut", SharedMut::from_slice(&[5]).unwrap());
        });
    }
}

// -- Nothing at all.

type Nothings = (Mutex<()>, Shared<[AtomicU8]>, SharedSlice<u64>, Mutex<[u64]>, RwLock<()>);

#[process]
fn use_nothing(nothings: Nothings, mut part: SharedMut<u64>) -> (usize, SharedMut<u64>) {
    let (mutex, shared, slice, locked, rwlock) = nothings;
    let () = *mutex.lock().unwrap();
    let () = *rwlock.write().unwrap();
    let len = shared.len() + slice.len() + locked.lock().unwrap().len();
    (len + part.as_mut_slice().len(), part)
}

each_start_method! {
    fn what_has_no_size_works() {
        let mutex = Mutex::new(())?;
        let shared = Shared::<[AtomicU8]>::from_fn(0, |_| unreachable!())?;
        let slice = SharedSlice::<u64>::from_slice(&[])?;
        let none = SharedSlice::<u64>::try_from_iter(std::iter::empty())?;
        let locked = Mutex::<[u64]>::zeroed(0)?;
        let rwlock = RwLock::new(())?;
        assert_eq!((shared.len(), slice.len(), none.len()), (0, 0, 0));

        let (mut parts, split) = SharedMut::<u64>::zeroed(0)?.split(3)?;
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(SharedMut::is_empty));
        let held = mutex.lock().unwrap();
        assert!(mutex.try_lock().is_err());
        drop(held);

        let part = parts.pop().expect("three");
        let nothings = (mutex.clone(), shared.clone(), slice.clone(), locked.clone(), rwlock);
        let (len, part) = use_nothing(nothings, part).spawn()?.join()?;
        assert_eq!(len, 0);
        let split = split.join_timeout(Duration::ZERO).expect_err("there are parts");
        drop((part, parts));
        let whole = split.join();
        assert!(whole.is_empty());
        let (chunks, split) = whole.chunks(1)?;
        assert!(chunks.is_empty());
        drop(chunks);
        assert!(split.join().freeze()?.is_empty());
    }

    only [forkserver ForkServer]
    fn a_barrier_for_nobody_and_a_semaphore_without_permits_work() {
        leaves_nothing(|| {
            let barrier = Barrier::new(0).unwrap();
            for _ in 0..3 {
                let result = barrier.wait_timeout(Duration::ZERO).unwrap();
                assert!(result.is_leader());
                assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
            }

            let semaphore = Semaphore::new(0).unwrap();
            assert!(matches!(semaphore.try_acquire(), Err(TryAcquireError::WouldBlock)));
            semaphore.release(0).unwrap();
            assert_eq!(semaphore.available(), 0);
            semaphore.release(2).unwrap();
            assert_eq!(semaphore.available(), 2);
            let one = semaphore.acquire().unwrap();
            assert_eq!(semaphore.available(), 1);
            drop(one);
            assert_eq!(semaphore.available(), 2);

            let none = Semaphore::bounded(0).unwrap();
            assert!(matches!(none.try_acquire(), Err(TryAcquireError::WouldBlock)));
            match none.release(1) {
                Err(ReleaseError::Bounded { wanted: 1, released: 0, .. }) => {}
                other => panic!("{other:?}"),
            }
        });
    }
}

// -- Far too much.

fn total_memory() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

fn too_large<T>(result: Result<T, Error>, wanted: usize, largest: Option<usize>) {
    match result {
        Err(ref error @ Error::TooLarge { len, max, .. }) => {
            assert_eq!(len, wanted, "{error}");
            assert!(max < wanted && largest.is_none_or(|largest| max == largest), "{error}");
            let text = error.to_string();
            assert!(text.contains("too many") && text.contains(&max.to_string()), "{text}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{wanted} were made"),
    }
}

/// There is no room for so many bytes.
fn no_room<T>(result: Result<T, Error>, bytes: usize, errno: i32) {
    match result {
        Err(ref error @ Error::SharedMemory { len, .. }) => {
            assert_eq!(error.raw_os_error(), Some(errno), "{error}");
            assert!(len >= bytes, "{error}");
            assert!(error.to_string().contains("bytes of shared memory"), "{error}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{bytes} bytes were made"),
    }
}

each_start_method! {
    only [forkserver ForkServer]
    fn more_than_can_be_counted_is_too_large() {
        leaves_nothing(|| {
            for len in [usize::MAX, usize::MAX / 8] {
                too_large(Mutex::<[u64]>::zeroed(len), len, None);
                too_large(RwLock::<[u64]>::zeroed(len), len, None);
                too_large(Shared::<[AtomicU64]>::from_fn(len, |_| unreachable!()), len, None);
                too_large(SharedMut::<u64>::zeroed(len), len, None);
                too_large(Mutex::<[u64]>::from_fn(len, |_| unreachable!()), len, None);
            }
            too_large(Semaphore::new(65_536), 65_536, Some(65_535));
            too_large(Semaphore::bounded(usize::MAX), usize::MAX, Some(65_535));
            too_large(Barrier::new(9_000), 9_000, Some(8_192));
            too_large(Barrier::new(usize::MAX), usize::MAX, Some(8_192));
            // And the most that can be had, can.
            assert_eq!(Semaphore::new(65_535).unwrap().available(), 65_535);
            assert_eq!(Barrier::new(8_192).unwrap().parties(), 8_192);
        });
    }

    only [forkserver ForkServer]
    fn more_memory_than_there_is_is_refused_at_once() {
        let bytes = 4 * total_memory();
        leaves_nothing(|| {
            let began = Instant::now();
            no_room(Mutex::<[u64]>::zeroed(bytes / 8), bytes, libc::ENOMEM);
            no_room(RwLock::<[u64]>::zeroed(bytes / 8), bytes, libc::ENOMEM);
            let never = |_| unreachable!("before there is room");
            no_room(Shared::<[AtomicU64]>::from_fn(bytes / 8, never), bytes, libc::ENOMEM);
            no_room(SharedMut::<u8>::zeroed(bytes), bytes, libc::ENOMEM);
            let endless = std::iter::repeat_n(1u64, bytes / 8);
            no_room(SharedSlice::try_from_iter(endless), bytes, libc::ENOMEM);
            // To fill this memory takes longer than that.
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        });
    }
}

// -- At the limits.

/// Runs `code` with another limit, which then is what it was.
fn limited<R>(resource: Resource, limit: u64, code: impl FnOnce() -> R) -> R {
    let (soft, hard) = getrlimit(resource).unwrap();
    setrlimit(resource, limit.min(hard), hard).unwrap();
    let result = code();
    setrlimit(resource, soft, hard).unwrap();
    result
}

/// As [`limited`], with room for so many more descriptors.
fn with_room<R>(room: u64, code: impl FnOnce() -> R) -> R {
    let highest = tests::descriptors().last().map_or(0, |(number, _)| *number);
    let mut fillers = Vec::new();
    loop {
        let filler = File::open("/dev/null").unwrap();
        if filler.as_raw_fd() > highest {
            break;
        }
        fillers.push(filler);
    }
    limited(Resource::RLIMIT_NOFILE, highest as u64 + 1 + room, code)
}

/// `SIGXFSZ` would end the process.
fn limit_of_file_sizes(limit: u64) {
    leaves_nothing(|| {
        let values = [7u64; 1000];
        let results: Vec<(&str, Result<(), Error>)> =
            limited(Resource::RLIMIT_FSIZE, limit, || {
                vec![
                    ("Mutex", Mutex::from_slice(&values).map(drop)),
                    ("RwLock", RwLock::from_slice(&values).map(drop)),
                    ("Shared", Shared::from_fn(1000, |_| AtomicU64::new(1)).map(drop)),
                    ("SharedMut", SharedMut::from_slice(&values).map(drop)),
                    ("Semaphore", Semaphore::new(1000).map(drop)),
                    ("Barrier", Barrier::new(1000).map(drop)),
                    ("SharedSlice", SharedSlice::from_slice(&values).map(drop)),
                    (
                        "SharedSlice of an iterator",
                        SharedSlice::try_from_iter(0..1000u64).map(drop),
                    ),
                ]
            });
        for (name, result) in results {
            match result {
                Err(ref error @ Error::SharedMemory { len, .. }) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{name}: {error}");
                    assert!(
                        error.to_string().contains("ulimit -f") && len >= 8000,
                        "{name}: {error}"
                    );
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    });
}

/// Ones that hold next to nothing, so that no look at what they hold tells that they do not fit.
fn limit_below_any_file(limit: u64) {
    leaves_nothing(|| {
        let results = limited(Resource::RLIMIT_FSIZE, limit, || {
            [
                Mutex::new(1u64).map(drop),
                Event::new().map(drop),
                Shared::new(AtomicU64::new(1)).map(drop),
                SharedMut::<u64>::zeroed(0).map(drop),
                SharedSlice::<u64>::from_slice(&[]).map(drop),
                SharedSlice::from_slice(&[1u8]).map(drop),
                SharedSlice::try_from_iter(std::iter::empty::<u64>()).map(drop),
            ]
        });
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Err(error @ Error::SharedMemory { .. }) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{index}: {error}");
                }
                other => panic!("{index}: {other:?}"),
            }
        }
        assert_eq!(*Mutex::new(1u64).unwrap().lock().unwrap(), 1);
    });
}

/// Raises its own limit only after it has been told that there is too little room.
#[process]
fn receive_with_little_memory(from: Receiver<Mutex<[u64]>>) -> (String, u64, usize) {
    assert_eq!(from.recv().unwrap().lock().unwrap()[0], 1); // all that is loaded lazily, is
    let open = tests::descriptors().len();
    let refused = limited(Resource::RLIMIT_AS, in_use() + (1 << 20), || from.recv());
    let told = match refused {
        Err(RecvError::Decode(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let more = tests::descriptors().len() - open;
    let first = from.recv().unwrap().lock().unwrap()[0];
    (told, first, more)
}

/// The address space of this process.
fn in_use() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 4096
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_limit_of_file_sizes_is_no_signal() {
        limit_of_file_sizes(4096);
        limit_of_file_sizes(0);
        limit_of_file_sizes(300);
    }

    only [forkserver ForkServer]
    fn a_limit_of_no_file_size_at_all_is_no_signal() {
        limit_below_any_file(0);
    }

    only [forkserver ForkServer]
    fn a_limit_of_file_sizes_within_a_header_is_no_signal() {
        limit_below_any_file(100);
        limit_below_any_file(191);
    }

    only [forkserver ForkServer]
    fn a_semaphore_that_cannot_grow_says_so() {
        leaves_nothing(|| {
            let semaphore = Semaphore::new(1).unwrap();
            match limited(Resource::RLIMIT_FSIZE, 8192, || semaphore.release(1000)) {
                Err(ref error @ ReleaseError::NoRoom { wanted, released, ref source, .. }) => {
                    assert_eq!(wanted, 1000);
                    assert!(released < 128 && released > 0, "{released}");
                    assert_eq!(source.raw_os_error(), Some(libc::EFBIG), "{source}");
                    assert!(error.to_string().contains("could not make"), "{error}");
                    assert_eq!(semaphore.available(), 1 + released);
                }
                other => panic!("{other:?}"),
            }
            let before = semaphore.available();
            semaphore.release(1000).unwrap();
            assert_eq!(semaphore.available(), before + 1000);
        });
    }

    only [forkserver ForkServer]
    fn a_limit_of_address_space_is_an_error() {
        leaves_nothing(|| {
            const LEN: usize = 4 << 20;
            let results = limited(Resource::RLIMIT_AS, in_use() + (1 << 20), || {
                [
                    Mutex::<[u64]>::zeroed(LEN).map(drop),
                    RwLock::<[u64]>::zeroed(LEN).map(drop),
                    SharedMut::<u64>::zeroed(LEN).map(drop),
                    Shared::<[u64]>::zeroed(LEN).map(drop),
                ]
            });
            results.into_iter().for_each(|result| no_room(result, LEN * 8, libc::ENOMEM));
            // It keeps room for more permits than it has.
            let semaphore = limited(Resource::RLIMIT_AS, in_use() + (1 << 20), || Semaphore::new(1));
            no_room(semaphore, 64, libc::ENOMEM);
            assert_eq!(Mutex::<[u64]>::zeroed(LEN).unwrap().lock().unwrap().len(), LEN);
        });
    }

    fn what_is_received_without_address_space_is_refused_and_the_next_comes() {
        let (tx, rx) = pipe()?;
        let child = receive_with_little_memory(rx).spawn()?;
        for first in 1..=3 {
            let mutex = Mutex::<[u64]>::zeroed(4 << 20)?;
            mutex.lock().unwrap()[0] = first;
            tx.send(mutex)?;
        }
        let (told, first, more) = child.join()?;
        assert!(told.contains("what came is no Mutex: it could not be mapped"), "{told}");
        assert_eq!((first, more), (3, 0));
    }

    only [forkserver ForkServer]
    fn without_descriptors_nothing_is_made_sent_or_lost() {
        fn out_of_files<T>(result: Result<T, Error>) {
            match result {
                Err(error @ Error::Os { .. }) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                    assert!(error.to_string().contains("make shared memory"), "{error}");
                }
                Err(other) => panic!("{other:?}"),
                Ok(_) => panic!("there was a descriptor"),
            }
        }
        leaves_nothing(|| {
            out_of_files(with_room(0, || Mutex::new(1u64)));
            out_of_files(with_room(0, || Semaphore::new(1)));
            out_of_files(with_room(0, || Shared::new(AtomicU64::new(1))));
            out_of_files(with_room(0, || SharedSlice::from_slice(&[1])));
            out_of_files(with_room(0, || SharedMut::from_slice(&[1])));

            let mutex = with_room(1, || Mutex::new(1u64)).unwrap();
            let (tx, rx) = pipe::<Mutex<u64>>().unwrap();
            match with_room(0, || tx.send(mutex.clone())) {
                Err(SendError::Encode(back, error)) => {
                    let text = error.to_string();
                    assert!(text.contains("no descriptor for a copy of a Mutex"), "{text}");
                    *back.lock().unwrap() += 1;
                }
                other => panic!("{other:?}"),
            }
            tx.send(mutex.clone()).unwrap();
            assert!(matches!(with_room(0, || rx.recv()), Err(RecvError::DescriptorsLost)));
            tx.send(mutex.clone()).unwrap();
            assert_eq!(*rx.recv().unwrap().lock().unwrap(), 2);
            assert_eq!(*mutex.lock().unwrap(), 2);
        });
    }

    only [forkserver ForkServer]
    fn an_array_that_cannot_be_split_or_sent_comes_back() {
        leaves_nothing(|| {
            let mut array = SharedMut::try_from_iter(0..10u64).unwrap();
            for room in 0..2 {
                let error = match with_room(room, || array.split(2)) {
                    Err(error) => error,
                    Ok(_) => panic!("a split needs two descriptors"),
                };
                let text = error.to_string();
                assert!(text.contains("could not be split") && text.contains("make a pipe"), "{text}");
                array = error.into_inner();
                assert!(array.as_mut_slice().iter().copied().eq(0..10));
            }
            let (tx, rx) = pipe().unwrap();
            #[allow(clippy::result_large_err)] // the array is in it
            let refused = with_room(0, || tx.send(array));
            array = match refused {
                Err(SendError::Encode(array, error)) => {
                    assert!(error.to_string().contains("no descriptor"), "{error}");
                    array
                }
                other => panic!("{other:?}"),
            };
            assert!(array.as_mut_slice().iter().copied().eq(0..10), "it is here still");
            tx.send(array).unwrap();
            let array: SharedMut<u64> = rx.recv().unwrap();
            let Ok((parts, split)) = with_room(2, || array.split(2)) else { panic!("no room") };
            drop(parts);
            assert!(split.join().as_mut_slice().iter().copied().eq(0..10));
        });
    }
}

// -- One permit too many.

fn text_of<T: Debug>(result: Result<T, impl Display>) -> String {
    result.map_err(|error| error.to_string()).unwrap_err()
}

each_start_method! {
    only [forkserver ForkServer]
    fn a_permit_too_many_is_refused() {
        leaves_nothing(|| {
            let bounded = Semaphore::bounded(2).unwrap();
            let other = bounded.clone();
            for too_many in [1, 3, usize::MAX] {
                match bounded.release(too_many) {
                    Err(ReleaseError::Bounded { wanted, released: 0, .. }) => assert_eq!(wanted, too_many),
                    other => panic!("{other:?}"),
                }
            }
            assert!(text_of(bounded.release(1)).contains("the semaphore is bounded"));
            // A permit that is held comes back by itself, so it is too many as well.
            let held = bounded.acquire().unwrap();
            assert!(matches!(other.release(1), Err(ReleaseError::Bounded { .. })));
            other.acquire().unwrap().forget();
            assert!(matches!(other.release(2), Err(ReleaseError::Bounded { released: 0, .. })));
            assert_eq!(bounded.available(), 0);
            other.release(1).unwrap();
            drop(held);
            assert_eq!(bounded.available(), 2);

            let full = Semaphore::new(65_534).unwrap();
            match full.release(usize::MAX) {
                Err(ReleaseError::NoRoom { wanted: usize::MAX, released: 1, .. }) => {}
                other => panic!("{other:?}"),
            }
            let text = text_of(full.release(1));
            assert!(text.contains("0 of 1 permits released"), "{text}");
            assert_eq!(full.available(), 65_535);
            drop(full.acquire().unwrap());
        });
    }
}
