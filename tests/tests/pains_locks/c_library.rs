//! The kernel has one list of held locks for each thread, and the C library keeps its own in it.

use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use offspring::sync::Mutex;
use tests::each_start_method;

use super::copies::in_a_copy_that_dies;

/// A mutex of the C library that tells of a holder's death, as ours do, by the same list.
struct Theirs(*mut libc::pthread_mutex_t);

// SAFETY: it is for all threads, and all processes that have it mapped.
unsafe impl Send for Theirs {}
// SAFETY: as above.
unsafe impl Sync for Theirs {}

unsafe extern "C" {
    fn pthread_mutexattr_setrobust(
        attributes: *mut libc::pthread_mutexattr_t,
        robust: libc::c_int,
    ) -> libc::c_int;
    fn pthread_mutex_consistent(mutex: *mut libc::pthread_mutex_t) -> libc::c_int;
}

impl Theirs {
    /// In memory that copies of this process share.
    fn new() -> Self {
        const ROBUST: libc::c_int = 1;
        // SAFETY: the mutex goes through its whole life, in order, in one place; it is never unmapped.
        unsafe {
            let len = std::num::NonZeroUsize::new(4096).unwrap();
            let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            let mutex =
                mmap_anonymous(None, len, prot, MapFlags::MAP_SHARED).unwrap().as_ptr().cast();
            let mut attributes = std::mem::zeroed();
            assert_eq!(libc::pthread_mutexattr_init(&mut attributes), 0);
            assert_eq!(pthread_mutexattr_setrobust(&mut attributes, ROBUST), 0);
            let shared = libc::PTHREAD_PROCESS_SHARED;
            assert_eq!(libc::pthread_mutexattr_setpshared(&mut attributes, shared), 0);
            assert_eq!(libc::pthread_mutex_init(mutex, &attributes), 0);
            Self(mutex)
        }
    }

    /// Takes it; says whether its owner has died, and then makes it a sound one again.
    fn lock(&self) -> bool {
        // SAFETY: the mutex lives.
        match unsafe { libc::pthread_mutex_lock(self.0) } {
            0 => false,
            libc::EOWNERDEAD => {
                // SAFETY: as above, and this thread holds it.
                assert_eq!(unsafe { pthread_mutex_consistent(self.0) }, 0);
                true
            }
            other => panic!("{}", Errno::from_raw(other)),
        }
    }

    fn unlock(&self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0) }, 0);
    }
}

/// Two of ours, and two of theirs.
struct Mixed {
    ours: [Mutex<u32>; 2],
    theirs: [Theirs; 2],
}

impl Mixed {
    fn new() -> offspring::Result<Self> {
        let ours = [Mutex::new(0)?, Mutex::new(0)?];
        Ok(Self { ours, theirs: [Theirs::new(), Theirs::new()] })
    }

    /// Takes all in this order, gives some back in that order, and holds the others.
    fn hold(&self, taken: &[usize], given_back: &[usize]) {
        let mut guards = [None, None];
        for &lock in taken {
            match lock {
                0 | 1 => guards[lock] = Some(self.ours[lock].lock().unwrap()),
                _ => assert!(!self.theirs[lock - 2].lock()),
            }
        }
        for &lock in given_back {
            match lock {
                0 | 1 => drop(guards[lock].take()),
                _ => self.theirs[lock - 2].unlock(),
            }
        }
        std::mem::forget(guards);
    }

    /// Whose owner has died; then all are as they were.
    fn died(&self) -> [bool; 4] {
        let ours = |mutex: &Mutex<u32>| {
            let died = mutex.lock().is_err();
            mutex.clear_poison();
            died
        };
        let theirs = |mutex: &Theirs| {
            let died = mutex.lock();
            mutex.unlock();
            died
        };
        let ([a, b], [c, d]) = (&self.ours, &self.theirs);
        [ours(a), ours(b), theirs(c), theirs(d)]
    }
}

/// All orders of some of these.
fn orders(of: &[usize], len: usize) -> Vec<Vec<usize>> {
    if len == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for &first in of {
        let rest: Vec<_> = of.iter().copied().filter(|other| *other != first).collect();
        for mut order in orders(&rest, len - 1) {
            order.insert(0, first);
            all.push(order);
        }
    }
    all
}

each_start_method! {
    only [forkserver ForkServer]
    /// Whatever was given back before, in whatever order, what is held still is told.
    fn locks_are_taken_and_given_back_among_those_of_the_c_library() {
        let locks = Mixed::new()?;
        let mut deaths = 0;
        for taken in orders(&[0, 1, 2, 3], 4) {
            for len in 0..=4 {
                for given_back in orders(&[0, 1, 2, 3], len) {
                    thread::scope(|scope| {
                        scope.spawn(|| locks.hold(&taken, &given_back)).join().unwrap();
                    });
                    let kept = [0, 1, 2, 3].map(|lock| !given_back.contains(&lock));
                    assert_eq!(locks.died(), kept, "{taken:?}, {given_back:?}");
                    deaths += 1;
                }
            }
        }
        assert_eq!(deaths, 24 * (1 + 4 + 12 + 24 + 24));
    }

    only [forkserver ForkServer]
    fn a_killed_holder_of_ours_and_of_the_c_librarys_is_told_by_both() {
        let locks = Mixed::new()?;
        for taken in orders(&[0, 1, 2, 3], 4) {
            in_a_copy_that_dies(|| locks.hold(&taken, &[]));
            assert_eq!(locks.died(), [true; 4], "{taken:?}");
        }
    }
}
