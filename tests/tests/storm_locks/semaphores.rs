//! Semaphores, bounded and not: no permit is lost, and none is given twice.

use std::error::Error;
use std::{fs, thread};

use offspring::process;
use offspring::sync::{Mutex, Semaphore};
use tests::each_start_method;
use tests::storm::{Job, Random, Storm, Survivor, kills};

use super::moment;

pub(super) const PERMITS: usize = 3;

/// The process numbers of those who have a permit; and of some who died with one, as they cannot
/// cross themselves out.
pub(super) type Inside = Mutex<[u32; 32]>;

/// Whether the process is ending, or is gone: the kernel says so before it gives back its permits.
fn is_dying(pid: u32) -> bool {
    const EXITING: u64 = 4;
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let flags: u64 = rest.split_whitespace().nth(6).unwrap().parse().unwrap();
    flags & EXITING != 0
}

fn with_inside(inside: &Inside, change: impl FnOnce(&mut [u32; 32])) {
    let mut guard = inside.lock().unwrap_or_else(|error| {
        inside.clear_poison();
        error.into_inner() // each change is one number
    });
    change(&mut guard);
}

pub(super) fn use_semaphore(semaphore: &Semaphore, inside: &Inside, random: &Random) {
    let permit = match random.below(4) {
        0 => semaphore.try_acquire().ok(),
        1 => semaphore.acquire_timeout(moment(random)).ok(),
        _ => Some(semaphore.acquire().unwrap()),
    };
    let Some(permit) = permit else { return };
    let own = std::process::id();
    with_inside(inside, |inside| {
        *inside.iter_mut().find(|pid| **pid == 0).expect("a free place") = own;
        if inside.iter().filter(|pid| **pid != 0).count() > PERMITS {
            // While this has the mutex, nobody comes or goes, other than by dying.
            inside.iter_mut().filter(|pid| **pid != 0 && is_dying(**pid)).for_each(|pid| *pid = 0);
        }
        let alive = inside.iter().filter(|pid| **pid != 0);
        assert!(alive.count() <= PERMITS, "more are inside than there are permits");
    });
    (0..random.below(100)).for_each(|_| std::hint::spin_loop());
    with_inside(inside, |inside| {
        *inside.iter_mut().find(|pid| **pid == own).unwrap() = 0;
    });
    drop(permit);
}

#[process]
fn keep_acquiring(job: Job, semaphore: Semaphore, inside: Inside) {
    let random = job.begin();
    loop {
        use_semaphore(&semaphore, &inside, &random);
    }
}

fn rage_on_semaphore(semaphore: &Semaphore) -> Result<(), Box<dyn Error>> {
    let inside = Mutex::new([0; 32])?;
    let mut storm = Storm::new();
    thread::scope(|scope| {
        let work = |random: &Random| use_semaphore(semaphore, &inside, random);
        let survivor = Survivor::new(scope, work);
        let start = |job| keep_acquiring(job, semaphore.clone(), inside.clone()).spawn();
        storm.rage(kills(), 6, start, |_| {
            survivor.goes_on();
            survivor.at_rest(|| assert_eq!(semaphore.available(), PERMITS, "a permit is lost"));
        });
    });
    assert_eq!(semaphore.available(), PERMITS);
    let all: Vec<_> = (0..PERMITS).map(|_| semaphore.try_acquire().unwrap()).collect();
    assert!(semaphore.try_acquire().is_err());
    drop(all);
    Ok(())
}

each_start_method! {
    only [forkserver ForkServer]
    fn semaphore() {
        rage_on_semaphore(&Semaphore::new(PERMITS)?)?;
    }

    only [forkserver ForkServer]
    fn bounded_semaphore() {
        let semaphore = Semaphore::bounded(PERMITS)?;
        rage_on_semaphore(&semaphore)?;
        assert!(semaphore.release(1).is_err(), "it has all of them");
    }
}
