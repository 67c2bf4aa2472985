//! Events: Python's `_TestEvent`, and setting one in a signal handler.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction};
use nix::unistd::{Pid, gettid};
use offspring::sync::Event;
use offspring::{Sender, pipe, process};
use tests::crew::{By, Worker, daemon, until_asleep};
use tests::each_start_method;
use tests::family::{state_of, until};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Sets the event when another waits for it.
#[process]
fn set_for(event: Event, waiter: i32) {
    until_asleep(waiter);
    event.set();
}

fn test_event(by: By) -> Outcome {
    let event = Event::new()?;
    assert!(!event.is_set());
    for timeout in [Duration::ZERO, SHORT] {
        let before = Instant::now();
        assert!(!event.wait_timeout(timeout));
        assert!(before.elapsed() >= timeout);
    }
    event.set();
    assert!(event.is_set());
    event.wait();
    event.set(); // as often as one likes
    for timeout in [Duration::ZERO, SHORT, Duration::MAX] {
        assert!(event.wait_timeout(timeout));
    }
    event.clear();
    assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO));

    let tid = gettid().as_raw();
    let setter = by.start(set_for(event.clone(), tid));
    event.wait();
    assert!(event.is_set());
    setter.join();

    event.clear();
    let setter = by.start(set_for(event.clone(), tid));
    assert!(event.wait_timeout(LONG));
    setter.join();
    Ok(())
}

/// Says who it is, and waits, with a limit or without.
#[process]
fn wait_for(event: Event, about_to: Sender<i32>, limited: bool) -> bool {
    about_to.send(gettid().as_raw()).unwrap();
    if limited {
        event.wait_timeout(LONG)
    } else {
        event.wait();
        true
    }
}

/// Starts some who wait, and returns when they do.
fn waiters(by: By, event: &Event, count: usize) -> Vec<(i32, Worker<bool>)> {
    let (about_to, waiting) = pipe().unwrap();
    let start = |index| {
        let waiter = by.start(wait_for(event.clone(), about_to.clone(), index % 2 == 0));
        let tid = waiting.recv().unwrap();
        until_asleep(tid);
        (tid, waiter)
    };
    (0..count).map(start).collect()
}

fn all_are_released(by: By) -> Outcome {
    let event = Event::new()?;
    for pulse in [false, true] {
        let waiters = waiters(by, &event, 5);
        // Children that are stopped have no chance to see it set.
        let stopped = |signal: libc::c_int, stopped: bool| {
            for (tid, waiter) in &waiters {
                if let Worker::Child(child) = waiter {
                    child.send_signal(signal).unwrap();
                    until(|| (state_of(tid.cast_unsigned()) == Some('T')) == stopped);
                }
            }
        };
        if pulse {
            stopped(libc::SIGSTOP, true);
            event.set();
            event.clear();
            stopped(libc::SIGCONT, false);
        } else {
            event.set();
        }
        for (_, waiter) in waiters {
            assert!(waiter.join());
        }
        assert_eq!(event.is_set(), !pulse);
        event.clear();
    }
    Ok(())
}

each_start_method! {
    /// `test_event`
    fn test_event_is_set_by_another_process() {
        test_event(By::Children)?;
    }

    only [spawn Spawn]
    fn test_event_is_set_by_another_thread() {
        test_event(By::Threads)?;
    }

    /// All are, even if it is cleared again at once.
    fn a_pulse_releases_all_processes_that_wait() {
        all_are_released(By::Children)?;
    }

    only [spawn Spawn]
    fn a_pulse_releases_all_threads_that_wait() {
        all_are_released(By::Threads)?;
    }

    fn waiters_that_are_killed_harm_nobody() {
        let event = Event::new()?;
        let mut waiters = waiters(By::Children, &event, 5);
        for index in [3, 1, 0] {
            match waiters.remove(index).1 {
                Worker::Child(child) => {
                    child.kill()?;
                    child.wait()?;
                }
                Worker::Thread(_) => unreachable!(),
            }
        }
        event.set();
        for (_, waiter) in waiters {
            assert!(waiter.join());
        }
    }
}

/// `test_repr`
#[test]
fn test_repr_shows_whether_it_is_set() {
    let event = Event::new().unwrap();
    for (expected, change) in [
        ("set: false", Event::set as fn(&Event)),
        ("set: true", Event::clear),
        ("set: false", Event::clear),
    ] {
        let shown = format!("{event:?}");
        assert!(shown.contains(expected) && shown.contains(file!()), "{shown}");
        change(&event);
    }
}

/// Sets it, for ever.
#[process]
fn pulse_for_ever(event: Event) {
    loop {
        event.set();
        event.clear();
    }
}

/// Waits again and again, until it finds that this is over.
#[process]
fn wait_again(event: Event, over: Event, released: Sender<()>) {
    released.send(()).unwrap();
    while !over.is_set() {
        event.wait();
    }
}

each_start_method! {
    /// Killed in the middle of setting, it has set it or it has not; if it has, all go on.
    fn a_setter_may_be_killed_at_any_moment() {
        let (begun, has_begun) = pipe()?;
        for round in 0..20 {
            let (event, over) = (Event::new()?, Event::new()?);
            let start = || daemon(wait_again(event.clone(), over.clone(), begun.clone()));
            let waiters = [start()?, start()?];
            (0..2).try_for_each(|_| has_begun.recv())?;
            let setter = daemon(pulse_for_ever(event.clone()))?;
            event.wait(); // for its first time
            (0..round * 100).for_each(|_| std::hint::spin_loop());
            setter.kill()?;
            setter.wait()?;
            over.set();
            if !event.is_set() {
                event.set();
            }
            for waiter in waiters {
                waiter.join()?;
            }
        }
    }
}

/// What the handler sets, or clears.
static EVENT: OnceLock<Event> = OnceLock::new();
static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn set_event(_: libc::c_int) {
    if let Some(event) = EVENT.get() {
        event.set();
    }
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn use_event(_: libc::c_int) {
    if let Some(event) = EVENT.get() {
        if event.is_set() {
            event.clear();
        }
        event.set();
    }
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn handle(signal: Signal, handler: extern "C" fn(libc::c_int)) {
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handlers of this file do nothing but what is allowed in one.
    unsafe { sigaction(signal, &action) }.unwrap();
}

/// Is woken by its own handler, so often.
#[process]
fn wait_for_the_handler(event: Event, rounds: usize, to: Sender<i32>) {
    let event = EVENT.get_or_init(|| event);
    handle(Signal::SIGUSR1, set_event);
    for _ in 0..rounds {
        to.send(gettid().as_raw()).unwrap();
        event.wait();
        event.clear();
    }
}

/// Does all that can be done with an event, while signals come, until there were so many.
#[process]
fn use_while_signals_come(event: Event, other: Event, handled: usize, begun: Sender<()>) {
    let event = EVENT.get_or_init(|| event);
    handle(Signal::SIGUSR1, use_event);
    begun.send(()).unwrap();
    while HANDLED.load(Ordering::SeqCst) < handled {
        for event in [event, &other] {
            event.set();
            event.is_set();
            event.wait_timeout(Duration::from_nanos(1));
            event.clear();
        }
        event.wait_timeout(Duration::from_micros(50)); // the handler's, or none
    }
}

each_start_method! {
    /// Also on the thread that waits for it, in the middle of the wait.
    fn a_handler_wakes_the_wait_that_it_interrupts() {
        let event = Event::new()?;
        let (to, from) = pipe()?;
        let child = daemon(wait_for_the_handler(event, 50, to))?;
        while let Ok(tid) = from.recv() {
            until_asleep(tid);
            kill(Pid::from_raw(tid), Signal::SIGUSR1)?;
        }
        child.join()?;
    }

    fn a_handler_wakes_those_who_wait_elsewhere() {
        let event = EVENT.get_or_init(|| Event::new().unwrap());
        handle(Signal::SIGUSR1, set_event);
        let waiters = waiters(By::Children, event, 3);
        raise(Signal::SIGUSR1)?;
        for (_, waiter) in waiters {
            assert!(waiter.join());
        }
    }

    fn a_handler_may_interrupt_whatever_is_done_with_an_event() {
        let (begun, has_begun) = pipe()?;
        let child =
            daemon(use_while_signals_come(Event::new()?, Event::new()?, 1000, begun))?;
        has_begun.recv()?;
        while child.is_alive() {
            child.send_signal(libc::SIGUSR1)?;
        }
        child.join()?;
    }

    only [spawn Spawn]
    fn a_handler_leaves_the_error_number_as_it_was() {
        let event = EVENT.get_or_init(|| Event::new().unwrap());
        handle(Signal::SIGUSR1, use_event);
        let waiters = waiters(By::Threads, event, 2);
        Errno::set_raw(12345);
        raise(Signal::SIGUSR1)?;
        assert_eq!((Errno::last_raw(), event.is_set()), (12345, true));
        for (_, waiter) in waiters {
            assert!(waiter.join());
        }
    }
}
