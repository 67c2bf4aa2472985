//! Errors are values: a child whose own child, task or start has failed returns the error, and its parent
//! has it as it was.

use std::fmt::{Debug, Display};
use std::io;
use std::time::Duration;

use nix::libc;
use offspring::{
    Builder, ChildFailure, Error, Exit, JoinError, Panic, Pool, TaskError, pool::Overrun,
    pool::PoolError, pool::TaskPanic, pool::WorkerDeath, process,
};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;

const WRONG: &str = "it says no";

#[derive(Debug)]
struct NotEncoded;

impl Serialize for NotEncoded {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(WRONG))
    }
}

impl<'de> Deserialize<'de> for NotEncoded {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[derive(Debug, Serialize)]
struct NotDecoded;

impl<'de> Deserialize<'de> for NotDecoded {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(WRONG))
    }
}

#[process]
fn take(_: NotDecoded) {}

#[process]
fn give_what_is_not_encoded() -> NotEncoded {
    NotEncoded
}

#[process]
fn give_what_is_not_decoded() -> NotDecoded {
    NotDecoded
}

/// How some work fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum How {
    Panics,
    Exits,
    IsKilled,
    IsNotEncoded,
    IsNotDecoded,
    HasBadArguments,
}

impl How {
    const ALL: [Self; 6] = [
        Self::Panics,
        Self::Exits,
        Self::IsKilled,
        Self::IsNotEncoded,
        Self::IsNotDecoded,
        Self::HasBadArguments,
    ];
}

#[process]
fn fail(how: How) {
    match how {
        How::Panics => panic!("at the disco"),
        How::Exits => std::process::exit(3),
        _ => std::process::abort(),
    }
}

/// A value with what it says of itself where it was made.
type Told<T> = (T, String, String);

fn told<T: Debug + Display>(error: T) -> Told<T> {
    let (text, debug) = (error.to_string(), format!("{error:?}"));
    (error, text, debug)
}

fn assert_as_told<T: Debug + Display>((error, text, debug): &Told<T>) {
    assert_eq!((error.to_string(), format!("{error:?}")), (text.clone(), debug.clone()));
}

/// The values alone.
fn errors<T>(all: &[Told<T>]) -> Vec<&T> {
    all.iter().map(|(error, ..)| error).collect()
}

#[process]
fn join_one_that_fails(how: How) -> Told<JoinError> {
    told(match how {
        How::Panics | How::Exits | How::IsKilled => fail(how).spawn().unwrap().join().unwrap_err(),
        How::IsNotEncoded => give_what_is_not_encoded().spawn().unwrap().join().unwrap_err(),
        How::IsNotDecoded => give_what_is_not_decoded().spawn().unwrap().join().unwrap_err(),
        How::HasBadArguments => take(NotDecoded).spawn().unwrap().join().unwrap_err(),
    })
}

#[process]
fn apply_one_that_fails(how: How) -> Told<TaskError> {
    let pool = Pool::new(1).unwrap();
    told(match how {
        How::Panics | How::Exits | How::IsKilled => pool.apply(fail(how)).unwrap_err(),
        How::IsNotEncoded => pool.apply(give_what_is_not_encoded()).unwrap_err(),
        How::IsNotDecoded => pool.apply(give_what_is_not_decoded()).unwrap_err(),
        How::HasBadArguments => pool.apply(take(NotDecoded)).unwrap_err(),
    })
}

#[process]
fn nap(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

#[process]
fn end_tasks() -> Vec<Told<TaskError>> {
    let pool = Pool::builder().workers(1).task_timeout(Duration::from_millis(20)).build().unwrap();
    let late = pool.apply(nap(600_000)).unwrap_err();
    let late_in_map = pool.map(nap, [0, 0, 600_000]).unwrap_err();
    let job = pool.submit(nap(600_000));
    assert!(job.cancel());
    let cancelled = job.wait().unwrap_err();
    pool.close();
    let closed = pool.apply(nap(0)).unwrap_err();
    [late, late_in_map, cancelled, closed].map(told).into()
}

#[process]
fn start_what_cannot_be() -> Vec<Told<Error>> {
    let unusable = offspring::Builder::new().name("a\0b").spawn(nap(0)).unwrap_err();
    let nowhere = offspring::Builder::new().current_dir("/nowhere/at/all").spawn(nap(0));
    let too_large = Pool::new(1_000_000).unwrap_err();
    let not_encoded = give_back(NotEncoded).spawn().unwrap_err();
    [unusable, nowhere.unwrap_err(), too_large, not_encoded].map(told).into()
}

#[process]
fn give_back(value: NotEncoded) -> NotEncoded {
    value
}

/// What a process that uses others may want to return.
#[derive(Debug, Serialize, Deserialize)]
enum Trouble {
    Start(Error),
    Join(JoinError),
    Task(TaskError),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Start(error)
    }
}

impl From<JoinError> for Trouble {
    fn from(error: JoinError) -> Self {
        Self::Join(error)
    }
}

impl From<TaskError> for Trouble {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

#[process]
fn square(x: u64) -> u64 {
    assert!(x < 1000, "{x} is too large");
    x * x
}

/// All that it uses can fail, and `?` is all that is said of it.
#[process]
fn sum_of_squares(upto: u64) -> Result<u64, Trouble> {
    let pool = Pool::new(2)?;
    let last = square(upto).spawn()?.join()?;
    Ok(pool.map(square, 0..upto)?.into_iter().sum::<u64>() + last)
}

#[process]
fn square_by_task(x: u64) -> Result<u64, TaskError> {
    Pool::new(1).unwrap().apply(square(x))
}

#[process]
fn pools_error() -> Told<PoolError> {
    let pool = Pool::builder().workers(1).initializer(fail(How::Panics)).build().unwrap();
    assert!(matches!(pool.apply(nap(0)), Err(TaskError::PoolFailed { .. })));
    told(pool.join().unwrap_err())
}

/// Whatever is inside a variant can be returned by itself: from the arm of a `match`, as a `Box<dyn Error>`.
#[test]
fn what_is_inside_an_error_is_an_error() {
    fn is_error<E: std::error::Error + Clone + Send + Sync + 'static>() {}
    is_error::<Exit>();
    is_error::<Panic>();
    is_error::<ChildFailure>();
    is_error::<TaskPanic>();
    is_error::<WorkerDeath>();
    is_error::<Overrun>();
}

each_start_method! {
    /// Each way in which a grandchild fails, told by its parent, arrives as it was.
    fn a_join_error_crosses() {
        for how in How::ALL {
            let all = join_one_that_fails(how).spawn()?.join()?;
            assert_as_told(&all);
            let (error, text, _) = all;
            assert!(text.contains(&format!("'{}' (pid {})", error.process(), error.pid())), "{text}");
            match (how, &error) {
                (How::Panics, JoinError::Panicked(panic)) => {
                    assert_eq!(panic.message(), "at the disco");
                    assert!(panic.location().unwrap().contains("errors.rs:"));
                }
                (How::Exits, JoinError::Exited(exit)) => {
                    assert_eq!((exit.code(), exit.signal()), (Some(3), None));
                }
                (How::IsKilled, JoinError::Exited(exit)) => {
                    assert_eq!((exit.code(), exit.signal()), (None, Some(libc::SIGABRT)));
                }
                (How::IsNotEncoded, JoinError::Encode(failure))
                | (How::IsNotDecoded | How::HasBadArguments, JoinError::Decode(failure)) => {
                    assert!(failure.reason().contains(WRONG), "{failure}");
                }
                _ => panic!("{how:?}: {error:?}"),
            }
            assert_eq!(error.may_have_run(), how != How::HasBadArguments);
            assert_eq!(error.status().is_some(), [How::Exits, How::IsKilled].contains(&how));
            assert_eq!(error.is_panic(), how == How::Panics);
            match error.clone().into_panic() {
                Ok(panic) => assert_eq!(panic.to_string(), text),
                Err(same) => assert_eq!(same, error),
            }
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// As above, of a task of the child's own pool.
    fn a_task_error_crosses() {
        for how in How::ALL {
            let all = apply_one_that_fails(how).spawn()?.join()?;
            assert_as_told(&all);
            let (error, text, _) = all;
            match (how, &error) {
                (How::Panics, TaskError::Panicked(panic)) => {
                    assert_eq!(panic.message(), "at the disco");
                }
                (How::Exits, TaskError::WorkerDied(death)) => {
                    assert_eq!((death.code(), death.signal()), (Some(3), None));
                }
                (How::IsKilled, TaskError::WorkerDied(death)) => {
                    assert_eq!((death.code(), death.signal()), (None, Some(libc::SIGABRT)));
                }
                (How::IsNotEncoded, TaskError::Encode { reason, may_have_run: true, .. })
                | (How::IsNotDecoded, TaskError::Decode { reason, may_have_run: true, .. })
                | (How::HasBadArguments, TaskError::Decode { reason, may_have_run: false, .. }) => {
                    assert!(reason.contains(WRONG), "{reason}");
                }
                _ => panic!("{how:?}: {error:?}"),
            }
            let name = match how {
                How::IsNotEncoded => "give_what_is_not_encoded",
                How::IsNotDecoded => "give_what_is_not_decoded",
                How::HasBadArguments => "take",
                _ => "fail",
            };
            assert_eq!((error.task().process(), error.task().index()), (name, None));
            match (error.worker(), error.pid()) {
                (Some(worker), Some(pid)) => {
                    assert!(text.contains(&format!("'{worker}' (pid {pid})")), "{text}");
                }
                none => assert_eq!(none, (None, None)),
            }
            assert_eq!(error.is_panic(), how == How::Panics);
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    /// And of one that somebody ended.
    fn what_ended_a_task_crosses() {
        let all = end_tasks().spawn()?.join()?;
        all.iter().for_each(assert_as_told);
        match errors(&all)[..] {
            [
                TaskError::TimedOut(late),
                TaskError::TimedOut(late_in_map),
                cancelled @ TaskError::Cancelled { .. },
                closed @ TaskError::PoolClosed { .. },
            ] => {
                assert_eq!((late.limit(), late.task().index()), (Duration::from_millis(20), None));
                assert_eq!(late_in_map.task().index(), Some(2));
                assert_ne!(late.pid(), late_in_map.pid(), "its worker was killed");
                assert!([cancelled, closed].iter().all(|error| error.worker().is_none()));
            }
            ref other => panic!("{other:?}"),
        }
        let failed = pools_error().spawn()?.join()?;
        assert_as_told(&failed);
        assert!(failed.0.reason().contains("at the disco"), "{}", failed.0);
    }

    /// Why a grandchild could not be started.
    fn an_error_of_starting_crosses() {
        let all = start_what_cannot_be().spawn()?.join()?;
        all.iter().for_each(assert_as_told);
        match errors(&all)[..] {
            [
                Error::Unusable { text, .. },
                nowhere @ Error::Os { .. },
                Error::TooLarge { len: 1_000_000, .. },
                Error::Encode { process, source, .. },
            ] => {
                assert_eq!(text, "a\0b");
                assert_eq!(nowhere.raw_os_error(), Some(libc::ENOENT));
                assert!(process.starts_with("give_back-"), "{process}");
                assert!(source.type_name().ends_with("give_back"), "{source}");
                assert_eq!(source.reason(), WRONG);
            }
            ref other => panic!("{other:?}"),
        }
    }

    only [forkserver ForkServer, spawn Spawn]
    fn a_question_mark_is_enough_in_a_child() {
        assert_eq!(sum_of_squares(10).spawn()?.join()?.unwrap(), 385);
        match sum_of_squares(1000).spawn()?.join()? {
            Err(Trouble::Join(error)) => assert!(error.to_string().contains("1000 is too large")),
            other => panic!("{other:?}"),
        }
        assert_eq!(square_by_task(9).spawn()?.join()?, Ok(81));
        assert!(square_by_task(1001).spawn()?.join()?.unwrap_err().is_panic());
    }

    /// A panic goes on in the parent as it was in the child.
    fn a_panic_is_resumed() {
        let panic = fail(How::Panics).spawn()?.join().unwrap_err().into_panic().unwrap();
        let payload = std::panic::catch_unwind(|| panic.resume_unwind()).unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "at the disco");
    }

    /// Where a function gives `io::Result`, `?` starts processes as well.
    fn an_error_of_starting_is_an_io_error() {
        fn start(dir: &str) -> io::Result<u32> {
            let child = offspring::Builder::new().current_dir(dir).spawn(nap(0))?;
            Ok(child.pid())
        }
        assert!(start("/")? > 1);
        let error = start("/nowhere/at/all").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
        assert!(error.get_ref().unwrap().downcast_ref::<Error>().is_some());
        let error = start("/a\0b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[process]
fn stumble() {
    panic!("{WRONG}");
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    /// (A forked child has its parent's mind about backtraces.)
    fn a_backtrace_is_of_the_work_unless_all_is_asked_for() {
        let backtrace = |how| -> Result<String, Box<dyn std::error::Error>> {
            let child = Builder::new().env("RUST_BACKTRACE", how).spawn(stumble())?;
            let panic = child.join().unwrap_err().into_panic()?;
            Ok(panic.backtrace().unwrap_or_default().to_owned())
        };
        let of_the_work = backtrace("1")?;
        assert!(of_the_work.contains("errors::stumble"), "{of_the_work}");
        assert!(!of_the_work.contains("offspring::launch"), "{of_the_work}");
        let whole = backtrace("full")?;
        assert!(whole.contains("errors::stumble") && whole.contains("offspring::launch"), "{whole}");
        assert_eq!(backtrace("0")?, "");
    }
}
