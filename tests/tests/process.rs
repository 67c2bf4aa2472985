//! A process's identity, arguments and life: Python's `_TestProcess`.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};
use offspring::{
    Builder, Child, ChildHandle, JoinError, Receiver, Sender, active_children, current, parent,
    pipe::RecvError, process,
};
use serde::{Deserialize, Serialize};
use tests::{Holdings, each_start_method};

/// Lives until the case lets go of it, or fails.
#[process]
fn parked(until: Receiver<()>) {
    let _ = until.recv();
}

/// `test_current`, and the main process in `test_parent_process_attributes`.
#[test]
fn test_current_in_the_main_process() {
    assert_eq!(current().name(), "main");
    assert_eq!(current().pid(), std::process::id());
    assert!(!current().is_daemon());
    assert!(parent().is_none());
}

/// A process as it sees itself: name, pid, daemon, parent's name and pid.
type Seen = (String, u32, bool, Option<(String, u32)>);

#[process]
fn look_at_yourself() -> Seen {
    let me = current();
    let parent = parent().map(|parent| (parent.name().into(), parent.pid()));
    (me.name().into(), me.pid(), me.is_daemon(), parent)
}

each_start_method! {
    /// `test_current`
    fn test_current_in_a_child() {
        let child = look_at_yourself().spawn()?;
        let (name, pid) = (child.name().to_owned(), child.pid());
        assert!(name.starts_with("look_at_yourself-"), "{name}");
        assert_ne!(pid, std::process::id());

        let seen = child.join()?;
        assert_eq!((seen.0, seen.1, seen.2), (name, pid, false));
    }

    /// `test_parent_process_attributes`
    fn test_parent_process_attributes_are_the_starters() {
        let (.., parent) = look_at_yourself().spawn()?.join()?;
        assert_eq!(parent, Some((current().name().into(), std::process::id())));
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle { radius: f64 },
    Polygon(Vec<(i64, i64)>),
}

/// Arguments of many kinds.
type Arguments = ((u8, i128, f32, char, bool), String, Vec<u8>, Option<u16>, Vec<Shape>);

#[process]
fn return_arguments(
    numbers: (u8, i128, f32, char, bool),
    text: String,
    bytes: Vec<u8>,
    absent: Option<u16>,
    shapes: Vec<Shape>,
) -> Arguments {
    (numbers, text, bytes, absent, shapes)
}

each_start_method! {
    /// `test_args_argument`: of each kind, none included.
    fn test_args_argument_arrives_equal() {
        let numbers = (255, i128::MIN, -0.5, '\u{10ffff}', true);
        let shapes = vec![
            Shape::Point,
            Shape::Circle { radius: f64::MAX },
            Shape::Polygon(vec![(i64::MIN, 0), (0, i64::MAX)]),
        ];
        let arguments = (numbers, "naïve \0 text".to_owned(), vec![0; 100_000], None, shapes);
        let (a, b, c, d, e) = arguments.clone();
        assert_eq!(return_arguments(a, b, c, d, e).spawn()?.join()?, arguments);
    }

    /// `test_args_argument`: more than fits into a pipe.
    fn test_args_argument_may_be_large() {
        let large: Vec<u8> = (0..2 << 20).map(|n: u32| (n % 251) as u8).collect();
        let text = String::from("x").repeat(1 << 20);
        let child =
            return_arguments((0, 0, 0.0, '0', false), text.clone(), large.clone(), Some(1), vec![])
                .spawn()?;
        let (_, text_back, large_back, ..) = child.join()?;
        assert!(text_back == text && large_back == large);
    }
}

/// Says whether it is a daemon, and what its children are by default and when told.
#[process]
fn daemons() -> [bool; 4] {
    let of = |builder: &mut Builder| builder.spawn(am_i_a_daemon()).unwrap().join().unwrap();
    [
        current().is_daemon(),
        of(&mut Builder::new()),
        of(Builder::new().daemon(true)),
        of(Builder::new().daemon(false)),
    ]
}

#[process]
fn am_i_a_daemon() -> bool {
    current().is_daemon()
}

each_start_method! {
    /// `test_daemon_argument`. A daemon may have children here.
    fn test_daemon_argument_defaults_to_the_starters() {
        let child = daemons().spawn()?;
        assert!(!child.is_daemon());
        assert_eq!(child.join()?, [false, false, true, false]);

        let daemon = Builder::new().daemon(true).spawn(daemons())?;
        assert!(daemon.is_daemon());
        assert_eq!(daemon.join()?, [true, true, true, false]);
    }
}

/// Says, each time it is asked, whether its parent lives.
#[process]
fn watch_parent(asked: Receiver<()>, answer: Sender<bool>) {
    for () in &asked {
        answer.send(parent().unwrap().is_alive()).unwrap();
    }
}

/// Starts that, and lives until it is killed.
#[process]
fn start_watcher(detached: bool, asked: Receiver<()>, answer: Sender<bool>) {
    let mut builder = Builder::new();
    builder.detached(detached).spawn(watch_parent(asked, answer)).unwrap();
    thread::sleep(Duration::from_secs(600));
}

each_start_method! {
    /// `test_parent_process`
    fn test_parent_process_is_seen_to_die_by_a_detached_grandchild() {
        let (ask, asked) = offspring::pipe()?;
        let (answer, answers) = offspring::pipe()?;
        let child = start_watcher(true, asked, answer).spawn()?;
        ask.send(())?;
        assert!(answers.recv()?);

        child.terminate()?;
        child.wait()?;
        ask.send(())?;
        assert!(!answers.recv()?);
    }

    /// `test_parent_process`: any other grandchild does not live to see it.
    fn test_parent_process_takes_its_children_with_it() {
        let (ask, asked) = offspring::pipe()?;
        let (answer, answers) = offspring::pipe()?;
        let child = start_watcher(false, asked, answer).spawn()?;
        ask.send(())?;
        assert!(answers.recv()?);

        child.terminate()?;
        child.wait()?;
        assert!(matches!(answers.recv(), Err(RecvError::Disconnected)));
    }
}

#[process]
fn introduce_yourself(to: Sender<(String, i32, u32, f64)>, number: i32, until: Receiver<()>) {
    to.send((current().name().into(), number, current().pid(), 2.54)).unwrap();
    let _ = until.recv();
}

fn is_listed(pid: u32) -> bool {
    active_children().iter().any(|child| child.pid() == pid)
}

each_start_method! {
    /// `test_process`
    fn test_process_from_start_to_end() {
        let (to, from) = offspring::pipe()?;
        let (hold, until) = offspring::pipe()?;
        assert!(active_children().is_empty());

        let mut builder = Builder::new();
        let work = introduce_yourself(to, 23, until);
        let child = builder.name("SomeProcess").daemon(true).spawn(work)?;
        assert!(child.is_alive() && child.is_daemon() && is_listed(child.pid()));
        assert_eq!(child.wait_timeout(Duration::ZERO)?, None);
        assert_eq!(from.recv()?, ("SomeProcess".into(), 23, child.pid(), 2.54));
        assert!(child.is_alive());

        drop(hold);
        assert_eq!(child.wait()?.code(), Some(0));
        assert!(!child.is_alive() && !is_listed(child.pid()));
        assert_eq!(child.wait()?.code(), Some(0)); // as often as one likes
        child.join()?;
    }
}

#[process]
fn thread_number() -> i32 {
    gettid().as_raw()
}

each_start_method! {
    /// `test_process_mainthread_native_id`
    fn test_process_mainthread_native_id_is_the_childs_own() {
        let child = thread_number().spawn()?;
        let pid = child.pid();
        let number = child.join()?;
        assert_ne!(number, gettid().as_raw());
        assert_eq!(number.cast_unsigned(), pid); // so it is the main thread
    }
}

/// `test_cpu_count`
#[test]
fn test_cpu_count_is_at_least_one() {
    assert!(offspring::cpu_count() >= 1);
}

each_start_method! {
    /// `test_cpu_count`, of the processors that this process may use.
    fn test_cpu_count_honours_affinity() {
        let before = offspring::cpu_count();
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let first = (0..CpuSet::count()).find(|&cpu| all.is_set(cpu).unwrap_or(false));
        let mut one = CpuSet::new();
        one.set(first.expect("a processor"))?;
        sched_setaffinity(Pid::from_raw(0), &one)?;
        assert_eq!(offspring::cpu_count(), 1);
        sched_setaffinity(Pid::from_raw(0), &all)?;
        assert_eq!(offspring::cpu_count(), before);
    }

    /// `test_active_children`
    fn test_active_children_has_a_child_from_start_to_join() {
        assert!(active_children().is_empty());
        let (hold, until) = offspring::pipe()?;
        let first = parked(until.clone()).spawn()?;
        let second = parked(until).spawn()?;
        let listed: Vec<_> = active_children().iter().map(|child| child.pid()).collect();
        assert_eq!(listed, [first.pid(), second.pid()]);

        second.kill()?;
        second.wait()?;
        assert!(is_listed(first.pid()) && !is_listed(second.pid()));
        drop(hold);
        first.join()?;
        assert!(active_children().is_empty());
    }

    /// `test_active_children`: a handle from there does what the child's own does, and the child
    /// runs on when its own is dropped.
    fn test_active_children_has_a_child_whose_handle_was_dropped() {
        let (_hold, until) = offspring::pipe()?;
        let pid = parked(until).spawn()?.pid();
        let found = active_children();
        assert!(found.len() == 1 && found[0].pid() == pid && found[0].is_alive());
        found[0].terminate()?;
        assert_eq!(found[0].wait()?.signal(), Some(15));
        assert!(active_children().is_empty());
    }

    /// Two handles to one child are equal, and no others.
    fn test_active_children_are_known_by_their_handles() {
        let (_hold, until) = offspring::pipe()?;
        let children = [parked(until.clone()).spawn()?, parked(until).spawn()?];
        #[allow(clippy::mutable_key_type, reason = "what its hash is of does not change")]
        let known: HashSet<ChildHandle> = active_children().into_iter().collect();
        assert_eq!(known, children.iter().map(Child::handle).collect());
        assert_eq!(known.len(), 2);
        for child in &children {
            let text = format!("process '{}' (pid {})", child.name(), child.pid());
            assert_eq!((child.to_string(), child.handle().to_string()), (text.clone(), text));
            let debug = format!("Child {{ name: {:?}, pid: {}, .. }}", child.name(), child.pid());
            assert_eq!(format!("{child:?}"), debug);
        }
        children[0].kill()?;
        let status = children[0].wait()?;
        assert!(format!("{:?}", children[0]).contains(&format!("status: {status:?}")));
    }
}

each_start_method! {
    /// `join(timeout)` in Python, with what `join` gives here.
    fn test_join_timeout_gives_the_child_back() {
        let (hold, until) = offspring::pipe()?;
        let child = parked(until).spawn()?;
        assert_eq!(child.try_wait()?, None);
        let pid = child.pid();
        let child = child.join_timeout(Duration::ZERO).unwrap_err();
        let child = child.join_timeout(Duration::from_millis(10)).unwrap_err();
        assert_eq!(child.pid(), pid);
        drop(hold);
        assert_eq!(child.join_timeout(Duration::MAX).unwrap(), Ok(()));

        let child = parked(offspring::pipe()?.1).spawn()?;
        child.wait()?;
        assert!(child.try_wait()?.unwrap().success());
        assert_eq!(child.join_timeout(Duration::ZERO).unwrap(), Ok(()));
    }
}

#[process]
fn recurse(to: Sender<Vec<u32>>, id: Vec<u32>) {
    to.send(id.clone()).unwrap();
    if id.len() < 2 {
        for n in 0..2 {
            let id = [&id[..], &[n]].concat();
            recurse(to.clone(), id).spawn().unwrap().join().unwrap();
        }
    }
}

each_start_method! {
    /// `test_recursion`
    fn test_recursion_of_children_that_start_children() {
        let (to, from) = offspring::pipe()?;
        recurse(to, vec![]).run();
        let ids: Vec<_> = from.iter().collect();
        assert_eq!(
            ids,
            [vec![], vec![0], vec![0, 0], vec![0, 1], vec![1], vec![1, 0], vec![1, 1]],
        );
    }
}

fn is_readable(fd: impl AsFd, timeout: PollTimeout) -> nix::Result<bool> {
    Ok(poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout)? == 1)
}

each_start_method! {
    /// `test_sentinel`
    fn test_sentinel_is_readable_from_the_end_on() {
        let (hold, until) = offspring::pipe()?;
        let child = parked(until).spawn()?;
        let other = child.handle();
        assert!(!is_readable(&child, PollTimeout::ZERO)?);
        drop(hold);
        assert!(is_readable(&child, PollTimeout::NONE)?);
        child.join()?; // reaped, it still is
        assert!(is_readable(&other, PollTimeout::ZERO)?);
    }

    /// `test_close`: handles are not closed but dropped.
    fn test_close_is_a_drop_and_frees_the_descriptors() {
        look_at_yourself().spawn()?.join()?; // whatever is made on first use
        let before = Holdings::now().descriptors;
        for _ in 0..10 {
            let (hold, until) = offspring::pipe()?;
            let child = parked(until).spawn()?;
            let handle = child.handle();
            assert!(Holdings::now().descriptors > before);
            drop(hold);
            child.join()?;
            // All that a handle is good for after the end.
            assert!(!handle.is_alive() && handle.wait()?.success());
            handle.terminate()?;
            handle.kill()?;
        }
        assert_eq!(Holdings::now().descriptors, before);
    }

    /// `test_many_processes`
    fn test_many_processes_that_end_by_themselves() {
        let children: Vec<_> =
            (0..100).map(|_| look_at_yourself().spawn()).collect::<Result<_, _>>()?;
        for child in &children {
            assert_eq!(child.wait()?.code(), Some(0));
        }
        for child in children {
            let pid = child.pid();
            assert_eq!(child.join()?.1, pid);
        }
    }

    /// `test_many_processes`: the signal may come at any point of a child's start.
    fn test_many_processes_that_are_terminated_at_once() {
        let (_hold, until) = offspring::pipe()?;
        let children: Vec<_> =
            (0..100).map(|_| parked(until.clone()).spawn()).collect::<Result<_, _>>()?;
        for child in &children {
            child.terminate()?;
        }
        for child in children {
            match child.join() {
                Err(JoinError::Exited(exit)) => assert_eq!(exit.signal(), Some(15), "{exit}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

#[derive(Serialize, Deserialize)]
struct Counted(u32);

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

#[process]
fn use_target(counted: Counted, until: Receiver<()>) -> u32 {
    let _ = until.recv();
    counted.0
}

each_start_method! {
    /// `test_lose_target_ref`
    fn test_lose_target_ref_when_started() {
        let (hold, until) = offspring::pipe()?;
        let child = use_target(Counted(5), until).spawn()?;
        assert_eq!(DROPPED.load(Ordering::Relaxed), 1); // while the child lives
        drop(hold);
        assert_eq!(child.join()?, 5);
    }
}
