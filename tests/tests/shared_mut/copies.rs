//! Parts in a copy of their process.

use std::panic::catch_unwind;
use std::sync::Mutex;

use nix::libc;
use offspring::shm::Split;
use offspring::{pipe, pipe::SendError, process};
use tests::each_start_method;

use super::{
    Array, COPIED, add_and_return, have_added, hold_their_numbers, is_as_before, panic_of, parked,
    part,
};

static INHERITED: Mutex<Option<(Array, Option<Split<u32>>)>> = Mutex::new(None);

fn with_inherited<R>(code: impl FnOnce(&mut Array, &mut Option<Split<u32>>) -> R) -> R {
    let mut inherited = INHERITED.lock().unwrap_or_else(|error| error.into_inner());
    let (part, whole) = inherited.as_mut().expect("the copy has it");
    code(part, whole)
}

/// What comes of each use of a part that the process that this one is a copy of has.
fn use_inherited() -> Vec<String> {
    let mut outcomes = vec![panic_of(|| with_inherited(|part, _| part.as_mut_slice()[0] = 99))];
    let (tx, _rx) = pipe().unwrap();
    let taken = INHERITED.lock().unwrap_or_else(|error| error.into_inner()).take();
    let (part, whole) = taken.expect("the copy has it");
    match tx.send(part) {
        Err(SendError::Encode(part, error)) => {
            assert!(
                error.to_string().contains("the process that this one is a copy of"),
                "{error}"
            );
            outcomes.push(panic_of(|| part.split(2)));
        }
        other => panic!("{other:?}"),
    }
    outcomes.push(panic_of(|| whole.expect("the copy has it").join()));
    outcomes
}

#[process]
fn use_inherited_in_a_child() -> Vec<String> {
    use_inherited()
}

each_start_method! {
    only [fork Fork]
    fn a_copy_of_the_process_cannot_use_its_parts() {
        let (part, whole) = part();
        *INHERITED.lock().unwrap() = Some((part, Some(whole)));
        assert_eq!(use_inherited_in_a_child().spawn()?.join()?, [COPIED; 3]);
        // Here, nothing has become of it; nor by what the copy has dropped.
        with_inherited(|part, _| assert_eq!(*part.as_mut_slice(), [5, 6, 7, 8, 9]));
        let (part, whole) = INHERITED.lock().unwrap().take().expect("it is here");
        is_as_before(part, whole.expect("it is here"))?;
    }

    only [forkserver ForkServer]
    /// The same, in a copy that is made behind our back.
    fn a_copy_by_a_fork_of_the_programs_cannot_use_its_parts() {
        let (part, whole) = part();
        *INHERITED.lock().unwrap() = Some((part, Some(whole)));
        // SAFETY: this process has one thread. The copy ends here.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let right = catch_unwind(|| use_inherited() == [COPIED; 3]).unwrap_or(false);
            // SAFETY: _exit has no memory effects.
            unsafe { libc::_exit(if right { 0 } else { 1 }) };
        }
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None)?;
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
        let (part, whole) = INHERITED.lock().unwrap().take().expect("it is here");
        is_as_before(part, whole.expect("it is here"))?;
    }

    only [fork Fork]
    /// It has the lease's descriptor no more: a part that it cannot use, it does not have.
    fn a_copy_of_the_process_does_not_hold_up_the_join() {
        let (part, whole) = part();
        *INHERITED.lock().unwrap() = Some((part, None));
        let (_hold, until) = pipe()?;
        let child = parked(until).spawn()?;
        drop(INHERITED.lock().unwrap().take());
        assert!(hold_their_numbers(&mut [whole.join()]));
        assert!(child.is_alive());
    }

    only [fork Fork]
    /// What is sent to a copy is its own.
    fn a_copy_of_the_process_can_use_what_it_is_sent() {
        let (part, whole) = part();
        let part = add_and_return(part, 10).spawn()?.join()?;
        let part = have_added(part, 10, 2).spawn()?.join()?;
        drop(part);
        assert_eq!(whole.join().as_mut_slice()[4..6], [4, 25]);
    }
}
