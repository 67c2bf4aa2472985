//! Several mutexes at once: `lock_all`. Python's module has none.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use nix::unistd::gettid;
use offspring::sync::{
    Condvar, LockAllError, LockError, Mutex, MutexGuard, OutOfOrder, PoisonCause, lock_all,
};
use offspring::{Receiver, Sender, pipe, process};
use tests::crew::{By, Worker, until_asleep};
use tests::each_start_method;
use tests::family::until;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// So many mutexes, in their order, each with its number.
fn numbered<const N: usize>() -> [Mutex<usize>; N] {
    std::array::from_fn(|number| Mutex::new(number).unwrap())
}

fn is_free<T>(mutex: &Mutex<T>) -> bool {
    mutex.try_lock().is_ok()
}

fn out_of_order<G>(result: Result<G, LockAllError<G>>) -> OutOfOrder {
    match result {
        Err(LockAllError::OutOfOrder(out_of_order)) => out_of_order,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is in order"),
    }
}

/// Moves what is there between accounts, in whatever order they are.
#[process]
fn transfer(accounts: Vec<Mutex<i64>>, mut seed: u64, times: u32) {
    let mut below = |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % limit
    };
    for _ in 0..times {
        let from = below(accounts.len());
        let to = (from + 1 + below(accounts.len() - 1)) % accounts.len();
        if below(2) == 0 {
            let (mut from, mut to) = lock_all((&accounts[from], &accounts[to])).unwrap();
            *from -= 1;
            *to += 1;
        } else {
            let mut all: Vec<_> = (0..accounts.len()).collect();
            (1..all.len()).for_each(|index| all.swap(index, below(index + 1)));
            let all: Vec<_> = all.into_iter().map(|index| &accounts[index]).collect();
            let guards = lock_all(&all[..]).unwrap();
            assert_eq!(guards.iter().map(|account| **account).sum::<i64>(), 0);
        }
    }
}

fn any_order_will_do(by: By) -> Outcome {
    let accounts: Vec<_> = (0..4).map(|_| Mutex::new(0)).collect::<Result<_, _>>()?;
    let workers: Vec<_> =
        (0..4).map(|seed| by.start(transfer(accounts.clone(), seed, 1000))).collect();
    workers.into_iter().for_each(Worker::join);
    assert_eq!(lock_all(&accounts).unwrap().iter().map(|account| **account).sum::<i64>(), 0);
    Ok(())
}

each_start_method! {
    fn processes_take_them_in_any_order_and_meet_no_deadlock() {
        any_order_will_do(By::Children)?;
    }

    only [spawn Spawn]
    fn threads_take_them_in_any_order_and_meet_no_deadlock() {
        any_order_will_do(By::Threads)?;
    }

    only [spawn Spawn]
    /// The guards are in the order in which the mutexes were given, whatever they are given in.
    fn tuples_slices_arrays_and_lists_are_taken() {
        let [a, b, c, d, e, f, g, h] = numbered();
        assert_eq!(*lock_all((&a,)).unwrap().0, 0);
        let (two, one) = lock_all((&c, &b)).unwrap();
        assert_eq!((*two, *one), (2, 1));
        drop((two, one));
        macro_rules! backwards {
            ($($mutex:ident)*) => {{
                let ($($mutex,)*) = lock_all(($(&$mutex,)*)).unwrap();
                let numbers = [$(*$mutex),*];
                assert!(numbers.is_sorted_by(|one, other| one > other), "{numbers:?}");
            }};
        }
        backwards!(c b a);
        backwards!(d c b a);
        backwards!(e d c b a);
        backwards!(f e d c b a);
        backwards!(g f e d c b a);
        backwards!(h g f e d c b a);

        let numbers = |guards: Vec<MutexGuard<'_, usize>>| {
            guards.iter().map(|guard| **guard).collect::<Vec<_>>()
        };
        assert_eq!(numbers(lock_all(&[&c, &a, &b][..]).unwrap()), [2, 0, 1]);
        let mut list = vec![c, a, b];
        assert_eq!(numbers(lock_all(&list).unwrap()), [2, 0, 1]);
        assert_eq!(numbers(lock_all(&list[1..]).unwrap()), [0, 1]);
        list.reverse();
        let array: [_; 3] = list.try_into().unwrap();
        assert_eq!(numbers(lock_all(&array).unwrap()), [1, 0, 2]);
        let [b, a, c] = &array;
        assert_eq!(numbers(lock_all([c, a]).unwrap()), [2, 0]);
        assert_eq!(numbers(lock_all(&[c, a]).unwrap()), [2, 0]);
        assert_eq!(numbers(lock_all(&vec![c, b]).unwrap()), [2, 1]);
        assert_eq!(numbers(lock_all(&array[..0]).unwrap()), [0; 0]);
        assert!(array.iter().all(is_free));

        // Of different types, unsized ones among them.
        let (text, number) = (Mutex::from_slice(b"text").unwrap(), Mutex::new(0.5).unwrap());
        let (mut text, number) = lock_all((&text, &number)).unwrap();
        text[0] = b'n';
        assert_eq!((&*text, *number), (&b"next"[..], 0.5));
    }

    only [spawn Spawn]
    /// Both places at which they were made, and both at which they were to be taken, by line.
    fn nested_out_of_order_is_an_error_that_names_both() {
        let first_made = line!() + 1;
        let first = Mutex::new(1).unwrap();
        let last_made = line!() + 1;
        let last = Mutex::new(2).unwrap();
        let taken = line!() + 1;
        let (held,) = lock_all((&last,)).unwrap();
        let wanted = line!() + 1;
        let error = lock_all((&first,)).unwrap_err();
        let text = error.to_string();
        let LockAllError::OutOfOrder(error) = error else { panic!("{text}") };
        for (told, line) in [
            (error.wanted(), first_made),
            (error.wanted_at(), wanted),
            (error.held(), last_made),
            (error.held_at(), taken),
        ] {
            assert!(told.contains(&format!("{}:{line}:", file!())), "{told} is not line {line}");
            assert!(text.contains(told), "{text}");
        }
        assert!(text.contains("out of order") && text.contains("comes before"), "{text}");
        assert!(is_free(&first) && *held == 2);
    }

    only [spawn Spawn]
    fn nested_in_order_is_right() {
        let [a, b, c, d, e] = numbered();
        let first = lock_all((&b, &a)).unwrap();
        let second = lock_all((&d, &c)).unwrap();
        let third = lock_all(&[&e][..]).unwrap();
        assert_eq!((*first.1, *second.0, *third[0]), (0, 3, 4));
        drop((first, second, third));
        assert!([a, b, c, d, e].iter().all(is_free));
    }

    only [spawn Spawn]
    /// Whichever guard goes, what is left is what counts.
    fn guards_may_go_in_any_order() {
        let [a, b, c, d] = numbered();
        let (held_b, held_d) = lock_all((&b, &d)).unwrap();
        out_of_order(lock_all((&c,)));
        drop(held_d);
        let taken = line!() + 1;
        let (held_c,) = lock_all((&c,)).unwrap();
        drop(held_b); // an earlier one: no room is gained
        let error = out_of_order(lock_all((&a, &b)));
        assert!(error.held_at().contains(&format!(":{taken}:")), "{error}");
        drop(held_c);
        drop(lock_all((&a, &b)).unwrap());

        // As are those of a list.
        let mut guards = lock_all(&[&d, &a, &c][..]).unwrap();
        drop(guards.remove(0));
        drop(lock_all((&d,)).unwrap());
        drop(guards.remove(1));
        drop(lock_all((&b,)).unwrap());
        assert!(matches!(lock_all((&a,)), Err(LockAllError::Deadlock(_))));
    }
}

/// Holds a mutex until the case lets go of it.
#[process]
fn hold(mutex: Mutex<usize>, held: Sender<()>, until: Receiver<()>) {
    let _guard = mutex.lock().unwrap();
    held.send(()).unwrap();
    let _ = until.recv();
}

/// It is told before anything waits: otherwise this would, for ever.
fn out_of_order_does_not_wait(by: By) -> Outcome {
    let [a, b, c] = numbered();
    let (held, is_held) = pipe()?;
    let (release, until) = pipe::<()>()?;
    let holder = by.start(hold(a.clone(), held, until));
    is_held.recv()?;
    let guards = lock_all((&b,)).unwrap();
    out_of_order(lock_all((&a,)));
    out_of_order(lock_all((&c, &a)));
    assert!(is_free(&c));
    drop(guards);
    drop(release);
    holder.join();
    drop(lock_all((&a,)).unwrap());
    Ok(())
}

/// Says whether these can be taken in this order, one within the other.
#[process]
fn nest(first: Mutex<usize>, second: Mutex<usize>) -> bool {
    let _first = lock_all((&first,)).unwrap();
    lock_all((&second,)).is_ok()
}

#[process]
fn make() -> Mutex<usize> {
    Mutex::new(1).unwrap()
}

/// The order is that of making, whoever made them, and the same for all.
fn the_order_is_the_same_for_all(by: By) -> Outcome {
    let a = Mutex::new(0)?;
    let b = by.start(make()).join();
    until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
    let c = Mutex::new(2)?;
    for (first, second, expected) in
        [(&a, &b, true), (&b, &c, true), (&a, &c, true), (&b, &a, false), (&c, &b, false)]
    {
        assert_eq!(nest(first.clone(), second.clone()).run(), expected);
        assert_eq!(by.start(nest(first.clone(), second.clone())).join(), expected);
        until(|| fs::read_dir("/proc/self/task").unwrap().count() == 1);
    }
    Ok(())
}

/// What one thread holds is nothing to another, be it in a copy of its process.
fn each_thread_has_its_own_order(by: By) -> Outcome {
    let [a, b, c] = numbered();
    let (_held,) = lock_all((&c,)).unwrap();
    assert!(by.start(nest(a.clone(), b.clone())).join());
    assert!(!by.start(nest(b, a)).join());
    Ok(())
}

each_start_method! {
    fn out_of_order_is_told_although_another_process_holds_it() {
        out_of_order_does_not_wait(By::Children)?;
    }

    only [spawn Spawn]
    fn out_of_order_is_told_although_another_thread_holds_it() {
        out_of_order_does_not_wait(By::Threads)?;
    }

    fn the_order_is_the_same_in_all_processes() {
        the_order_is_the_same_for_all(By::Children)?;
    }

    only [spawn Spawn]
    fn the_order_is_the_same_in_all_threads() {
        the_order_is_the_same_for_all(By::Threads)?;
    }

    fn what_the_parent_holds_is_not_the_childs() {
        each_thread_has_its_own_order(By::Children)?;
    }

    only [spawn Spawn]
    fn what_a_thread_holds_is_not_anothers() {
        each_thread_has_its_own_order(By::Threads)?;
    }

    only [spawn Spawn]
    /// What is taken one by one is not looked at.
    fn plain_locks_have_no_order() {
        let [a, b, c] = numbered();
        let held = c.lock().unwrap();
        drop(lock_all((&a, &b)).unwrap());
        drop(held);
        let held = lock_all((&c,)).unwrap();
        drop((a.lock().unwrap(), b.lock().unwrap()));
        drop(held);
    }

    only [spawn Spawn]
    fn one_that_is_there_twice_is_a_deadlock() {
        let [a, b] = numbered();
        let same = b.clone();
        let wanted = line!() + 1;
        let error = lock_all((&b, &a, &same)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, LockAllError::Deadlock(_)), "{text}");
        assert!(text.contains(&format!("{}:{wanted}:", file!())), "{text}");
        assert!(is_free(&a) && is_free(&b));
        assert!(matches!(lock_all(&[&a, &b, &a][..]), Err(LockAllError::Deadlock(_))));
        assert!(matches!(lock_all(&vec![a.clone(), a.clone()]), Err(LockAllError::Deadlock(_))));
        drop(lock_all((&a, &b)).unwrap());
    }

    only [spawn Spawn]
    fn one_that_this_thread_holds_already_is_an_error_at_once() {
        let [a, b, c] = numbered();
        let held = b.lock().unwrap();
        assert!(matches!(lock_all((&c, &b, &a)), Err(LockAllError::Deadlock(_))));
        assert!(is_free(&a) && is_free(&c)); // what was taken before it is given back
        drop(held);
        drop(lock_all((&a, &b, &c)).unwrap());

        let held = lock_all((&a, &b)).unwrap();
        for again in [&a, &b] {
            let error = lock_all((again, &c)).unwrap_err();
            assert!(matches!(error, LockAllError::Deadlock(_)), "{error}");
        }
        drop(held);
        assert!([a, b, c].iter().all(is_free));
    }
}

/// Takes all, changes them, and comes to grief.
#[process]
fn come_to_grief(mutexes: Vec<Mutex<usize>>, kill: bool) {
    let mut guards = lock_all(&mutexes).unwrap();
    guards.iter_mut().for_each(|value| **value += 10);
    if kill {
        raise(Signal::SIGKILL).unwrap();
    }
    resume_unwind(Box::new("on purpose"));
}

fn a_poisoned_one_is_told_with_all_guards(by: By, kill: bool) -> Outcome {
    let mutexes = numbered::<4>();
    let pid = match by.start(come_to_grief(mutexes[1..3].to_vec(), kill)) {
        Worker::Child(child) => {
            child.wait()?;
            child.pid()
        }
        thread @ Worker::Thread(_) => {
            thread.bury();
            std::process::id()
        }
    };
    let error = lock_all(&mutexes).map(drop).unwrap_err();
    assert_eq!(error.to_string().matches(&format!("(pid {pid})")).count(), 2, "{error}");
    let cause = if kill { PoisonCause::Died } else { PoisonCause::Panicked };
    let poisoned = error.into_poisoned().ok_or("it is poisoned")?;
    let [other] = poisoned.others() else { panic!("{:?}", poisoned.others()) };
    assert_eq!((poisoned.holder().pid(), poisoned.cause()), (pid, cause));
    assert_eq!((other.holder().pid(), other.cause()), (pid, cause));
    assert!(poisoned.lock_name() != other.lock_name() && other.others().is_empty());
    assert!(poisoned.to_string().contains(&format!("(pid {pid})")), "{poisoned}");
    let values: Vec<_> = poisoned.get_ref().iter().map(|value| **value).collect();
    assert_eq!(values, [0, 11, 12, 3]);
    assert!(!mutexes.iter().any(is_free)); // sound ones as well
    let told = format!("{:?}", poisoned.others());
    let (tx, rx) = offspring::pipe()?;
    tx.send(poisoned.without_guard())?;
    assert_eq!(format!("{:?}", rx.recv()?.others()), told); // it crosses with all that it tells

    mutexes[1].clear_poison();
    drop(lock_all((&mutexes[0], &mutexes[1])).unwrap());
    let poisoned = lock_all(&mutexes).unwrap_err().into_poisoned().ok_or("it is poisoned")?;
    assert!(poisoned.others().is_empty());
    let guards = poisoned.into_inner();
    assert_eq!(guards.len(), 4);
    mutexes[2].clear_poison();
    drop(guards);
    drop(lock_all(&mutexes).unwrap());
    Ok(())
}

each_start_method! {
    fn what_a_process_has_poisoned_is_told_with_all_the_guards() {
        a_poisoned_one_is_told_with_all_guards(By::Children, false)?;
        a_poisoned_one_is_told_with_all_guards(By::Children, true)?;
    }

    only [spawn Spawn]
    fn what_a_thread_has_poisoned_is_told_with_all_the_guards() {
        a_poisoned_one_is_told_with_all_guards(By::Threads, false)?;
    }

    only [spawn Spawn]
    fn an_error_without_guards_panics_with_its_text_when_asked_for_them() {
        let a = Mutex::new(0).unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            drop(lock_all((&a, &a)).unwrap_err().into_inner());
        }));
        let text = *panic.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("deadlock"), "{text}");
    }
}

/// Says who it is, changes what it finds, and notifies.
#[process]
fn change(both: [Mutex<usize>; 2], changed: Condvar, about_to: Sender<i32>) -> usize {
    about_to.send(gettid().as_raw()).unwrap();
    let mut second = both[1].lock().unwrap();
    *second += 10;
    changed.notify_all();
    *second
}

/// Waiting gives back the one mutex, and no other.
fn a_condition_takes_a_guard_of_several(by: By) -> Outcome {
    let both = numbered::<2>();
    let changed = Condvar::new()?;
    let (about_to, coming) = pipe()?;
    let (first, second) = lock_all((&both[0], &both[1])).unwrap();
    let worker = by.start(change(both.clone(), changed.clone(), about_to));
    until_asleep(coming.recv()?);
    let second = changed.wait_while(second, |value| *value < 10).unwrap();
    assert_eq!((*first, *second), (0, 11));
    assert!(!is_free(&both[0]) && !is_free(&both[1]));
    assert_eq!(worker.join(), 11);
    drop(first);
    // The one that was taken again is in order still.
    out_of_order(lock_all((&both[0],)));
    drop(second);
    drop(lock_all(&both).unwrap());

    // To take the first again, with the second held, would be out of order: it is given back.
    let (first, second) = lock_all((&both[0], &both[1])).unwrap();
    assert!(matches!(changed.wait(first), Err(LockError::Deadlock(_))));
    assert!(is_free(&both[0]) && !is_free(&both[1]));
    drop(second);
    drop(lock_all(&both).unwrap());

    // The only one, which is given back meanwhile: another may take what comes before it.
    let (second,) = lock_all((&both[1],)).unwrap();
    let (second, result) = changed.wait_timeout(second, Duration::from_millis(1)).unwrap();
    assert!(result.timed_out());
    drop(second);
    drop(lock_all(&both).unwrap());
    Ok(())
}

each_start_method! {
    fn a_condition_may_be_waited_for_with_one_of_several() {
        a_condition_takes_a_guard_of_several(By::Children)?;
    }

    only [spawn Spawn]
    fn a_condition_may_be_waited_for_with_one_of_several_by_a_thread() {
        a_condition_takes_a_guard_of_several(By::Threads)?;
    }
}
