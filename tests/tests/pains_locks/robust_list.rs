//! Our locks and robust ones of the C library, held and released in every order.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::{mem, ptr};

use nix::libc;
use nix::libc::pthread_mutex_t;
use nix::sys::memfd::{MFdFlags, memfd_create};
use offspring::sync::{LockError, Mutex, MutexGuard, PoisonCause};
use offspring::{Fd, Receiver, Sender, pipe, process};
use tests::crew::daemon;
use tests::each_start_method;

unsafe extern "C" {
    fn pthread_mutexattr_setrobust(attributes: *mut libc::pthread_mutexattr_t, robust: i32) -> i32;
    fn pthread_mutex_consistent(mutex: *mut pthread_mutex_t) -> i32;
}

/// Two robust mutexes of the C library, in a file that processes share.
struct Theirs(*mut pthread_mutex_t);

impl Theirs {
    fn map(file: &File) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, which stays for as long as the process lives.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        Self(at.cast())
    }

    fn create(&self) {
        // SAFETY: the memory is there, and nobody uses it yet.
        unsafe {
            let mut attributes: libc::pthread_mutexattr_t = mem::zeroed();
            assert_eq!(libc::pthread_mutexattr_init(&mut attributes), 0);
            let shared = libc::PTHREAD_PROCESS_SHARED;
            assert_eq!(libc::pthread_mutexattr_setpshared(&mut attributes, shared), 0);
            assert_eq!(pthread_mutexattr_setrobust(&mut attributes, 1), 0);
            for index in 0..2 {
                assert_eq!(libc::pthread_mutex_init(self.0.add(index), &attributes), 0);
            }
        }
    }

    fn lock(&self, index: usize) -> (i32, Held<'_>) {
        // SAFETY: it was created, and stays.
        unsafe {
            let mutex = self.0.add(index);
            (libc::pthread_mutex_lock(mutex), Held::Theirs(mutex))
        }
    }
}

/// A lock of either kind, held by this thread.
enum Held<'a> {
    Ours { _guard: MutexGuard<'a, u32> },
    Theirs(*mut pthread_mutex_t),
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Self::Theirs(mutex) = self {
            // SAFETY: this thread holds it.
            assert_eq!(unsafe { libc::pthread_mutex_unlock(*mutex) }, 0);
        }
    }
}

/// Of four locks, 0 and 1 are ours.
fn take_all<'a>(
    ours: &'a [Mutex<u32>; 2],
    theirs: &'a Theirs,
    order: [usize; 4],
) -> [Option<Held<'a>>; 4] {
    let mut held = [None, None, None, None];
    for lock in order {
        held[lock] = Some(match lock {
            0 | 1 => Held::Ours { _guard: ours[lock].lock().unwrap() },
            _ => {
                let (error, held) = theirs.lock(lock - 2);
                assert_eq!(error, 0);
                held
            }
        });
    }
    held
}

/// All orders of four.
fn orders() -> Vec<[usize; 4]> {
    (0..256_usize)
        .map(|number| [number / 64, number / 16 % 4, number / 4 % 4, number % 4])
        .filter(|order| (0..4).all(|lock| order.contains(&lock)))
        .collect()
}

/// Takes the locks in an order, and releases them in that order or in all orders; in the end keeps
/// all but `released`.
#[process]
fn hold_both_kinds(
    ours: [Mutex<u32>; 2],
    file: Fd<File>,
    order: [usize; 4],
    in_another: bool,
    released: Vec<usize>,
    ready: Sender<()>,
    until: Receiver<()>,
) {
    let theirs = Theirs::map(&file);
    for release in if in_another { orders() } else { vec![order] } {
        let mut held = take_all(&ours, &theirs, order);
        for lock in release {
            held[lock] = None;
        }
    }
    let mut held = take_all(&ours, &theirs, order);
    for lock in released {
        held[lock] = None;
    }
    ready.send(()).unwrap();
    let _ = until.recv();
}

each_start_method! {
    fn our_locks_and_robust_ones_of_the_c_library_are_on_one_list() {
        let interleavings: Vec<_> = orders()
            .into_iter()
            .filter(|order| {
                let place = |lock| order.iter().position(|&other| other == lock);
                place(0) < place(1) && place(2) < place(3)
            })
            .collect();
        assert_eq!(interleavings.len(), 6);
        for (number, order) in interleavings.into_iter().enumerate() {
            // None released; then each; then one of each kind, the first or the last that was taken.
            let releases: [&[usize]; 3] = [&[], &[number % 4], [&[0, 3][..], &[1, 2]][number % 2]];
            for released in releases {
                let file = File::from(memfd_create(c"theirs", MFdFlags::empty())?);
                file.set_len(4096)?;
                let theirs = Theirs::map(&file);
                theirs.create();
                let ours = [Mutex::new(0)?, Mutex::new(0)?];
                let (ready, is_ready) = pipe()?;
                let (_release, until) = pipe()?;
                let in_another = number % 2 == 1;
                let child = daemon(hold_both_kinds(
                    ours.clone(),
                    Fd::new(file),
                    order,
                    in_another,
                    released.to_vec(),
                    ready,
                    until,
                ))?;
                is_ready.recv()?;
                for lock in [0, 1, 2, 3_usize] {
                    assert_eq!(
                        released.contains(&lock),
                        match lock {
                            0 | 1 => ours[lock].try_lock().is_ok(),
                            // SAFETY: it was created, and stays; it is unlocked if it was locked.
                            _ => unsafe {
                                let mutex = theirs.0.add(lock - 2);
                                let free = libc::pthread_mutex_trylock(mutex) == 0;
                                free && libc::pthread_mutex_unlock(mutex) == 0
                            },
                        }
                    );
                }
                child.kill()?;
                // Waits, if need be, until the kernel has gone through the list.
                for lock in [0, 1, 2, 3_usize] {
                    let died = match lock {
                        0 | 1 => match ours[lock].lock() {
                            Ok(_) => false,
                            Err(LockError::Poisoned(poisoned)) => {
                                assert_eq!(poisoned.holder().pid(), child.pid());
                                poisoned.cause() == PoisonCause::Died
                            }
                            Err(other) => panic!("{other}"),
                        },
                        _ => {
                            let (error, _held) = theirs.lock(lock - 2);
                            if error == libc::EOWNERDEAD {
                                // SAFETY: this thread has it now.
 let done = unsafe { pthread_mutex_consistent(theirs.0.add(lock - 2)) };
 assert_eq!(done, 0);
                            } else {
                                assert_eq!(error, 0);
                            }
                            error == libc::EOWNERDEAD
                        }
                    };
                    assert_eq!(died, !released.contains(&lock), "{lock} of {order:?}, {released:?}");
                }
                ours.iter().for_each(Mutex::clear_poison);
                drop(take_all(&ours, &theirs, order));
                // SAFETY: nothing of it is in use.
                assert_eq!(unsafe { libc::munmap(theirs.0.cast(), 4096) }, 0);
            }
        }
    }
}
