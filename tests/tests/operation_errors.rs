//! What can go wrong with single operations, on pipes, queues and locks: a text tells it whole, a chain
//! tells it once, and a child can return it.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Display};
use std::io;
use std::thread;
use std::time::Duration;

use nix::libc;
use offspring::pipe::{
    RecvError, RecvIntoError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
use offspring::queue::{
    GetError, GetManyError, GetTimeoutError, PutError, PutTimeoutError, QueueJoinError,
    TooManyDone, TryGetError, TryPutError,
};
use offspring::sync::{
    AcquireError, AcquireTimeoutError, Barrier, BarrierError, LockAllError, LockError,
    LockTimeoutError, Mutex, Once, OnceError, PoisonError, ReleaseError, Semaphore,
    TryAcquireError, TryLockError, lock_all,
};
use offspring::{Error, Pool, Queue, duplex, pipe, process};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::each_start_method;

const SHORT: Duration = Duration::from_millis(10);
const DOES_NOT_LEAVE: &str = "it does not want to leave";
const DOES_NOT_COME: &str = "it does not want to come";

/// It can be sent if it is even, and received if it is a multiple of four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choosy(u32);

impl Serialize for Choosy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(2) {
            self.0.serialize(to)
        } else {
            Err(S::Error::custom(DOES_NOT_LEAVE))
        }
    }
}

impl<'de> Deserialize<'de> for Choosy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(from)?;
        if number.is_multiple_of(4) {
            Ok(Self(number))
        } else {
            Err(D::Error::custom(DOES_NOT_COME))
        }
    }
}

const GOOD: Choosy = Choosy(4);
const NOT_DECODED: Choosy = Choosy(2);
const NOT_ENCODED: Choosy = Choosy(1);

const ANSWER: &str = "the disk is gone";
const REASON: &str = "the cat has it";

/// An answer of the system's that has a source, of which its own text says nothing.
#[derive(Debug)]
struct Answer;

#[derive(Debug)]
struct Reason;

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ANSWER)
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REASON)
    }
}

impl StdError for Answer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&Reason)
    }
}

impl StdError for Reason {}

fn answer() -> io::Error {
    io::Error::other(Answer)
}

#[process]
fn nothing() {}

#[process]
fn take(_: Choosy) {}

#[process]
fn give() -> Choosy {
    NOT_ENCODED
}

/// No process can be started there.
fn refused() -> Error {
    offspring::Builder::new().current_dir("/nowhere/at/all").spawn(nothing()).unwrap_err()
}

/// What an error's whole chain says, one text after the other.
fn chain(error: &dyn StdError) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        texts.push(source.to_string());
        next = source.source();
    }
    texts
}

/// That `error` says what the one inside it says, and none of its sources says that again.
fn assert_told_once(error: impl StdError, inside: &str) {
    let texts = chain(&error);
    assert!(texts[0].contains(inside), "{error:?} does not say {inside:?}: {texts:?}");
    for (index, text) in texts.iter().enumerate() {
        assert!(!texts[..index].iter().any(|before| before.contains(text)), "twice: {texts:?}");
    }
}

/// As above, of what holds an error that has more to say, which then follows.
fn assert_goes_on(error: impl StdError) {
    assert_eq!(chain(&error)[1..], [REASON], "{error:?}");
    assert_told_once(error, ANSWER);
}

/// A mutex that somebody has left in disorder.
fn poisoned() -> Mutex<u32> {
    let mutex = Mutex::new(7).unwrap();
    thread::scope(|scope| {
        let left = scope.spawn(|| {
            let _held = mutex.lock().unwrap();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(left.join().is_err());
    });
    mutex
}

fn unfinished() -> Once {
    let once = Once::new().unwrap();
    thread::scope(|scope| {
        let begun = scope.spawn(|| once.call_once(|| std::panic::resume_unwind(Box::new(()))));
        assert!(begun.join().is_err());
    });
    once
}

fn itself() -> LockError<()> {
    let mutex = Mutex::new(7).unwrap();
    let _held = mutex.lock().unwrap();
    mutex.lock().map(drop).map_err(LockError::without_guard).unwrap_err()
}

#[test]
fn what_a_pipe_says_is_whole_and_said_once() {
    let (tx, rx) = pipe().unwrap();
    assert_told_once(tx.send(NOT_ENCODED).unwrap_err(), DOES_NOT_LEAVE);
    assert_told_once(tx.try_send(NOT_ENCODED).unwrap_err(), DOES_NOT_LEAVE);
    assert_told_once(tx.send_timeout(NOT_ENCODED, SHORT).unwrap_err(), DOES_NOT_LEAVE);
    (0..3).for_each(|_| tx.send(NOT_DECODED).unwrap());
    assert_told_once(rx.recv().unwrap_err(), DOES_NOT_COME);
    assert_told_once(rx.try_recv().unwrap_err(), DOES_NOT_COME);
    assert_told_once(rx.recv_timeout(SHORT).unwrap_err(), DOES_NOT_COME);
    tx.send(GOOD).unwrap();
    assert_told_once(rx.recv_bytes_into(&mut []).unwrap_err(), "sent by `send`");

    assert_goes_on(SendError::Os(7, answer()));
    assert_goes_on(TrySendError::Os(7, answer()));
    assert_goes_on(SendTimeoutError::Os(7, answer()));
    assert_goes_on(RecvError::Os(answer()));
    assert_goes_on(TryRecvError::Os(answer()));
    assert_goes_on(RecvTimeoutError::Os(answer()));
    assert_goes_on(RecvIntoError::Os(answer()));
}

#[test]
fn what_a_queue_says_is_whole_and_said_once() {
    let queue = Queue::unbounded().unwrap();
    assert_told_once(queue.put(NOT_ENCODED).unwrap_err(), DOES_NOT_LEAVE);
    assert_told_once(queue.try_put(NOT_ENCODED).unwrap_err(), DOES_NOT_LEAVE);
    assert_told_once(queue.put_timeout(NOT_ENCODED, SHORT).unwrap_err(), DOES_NOT_LEAVE);
    assert_told_once(queue.put_many([GOOD, NOT_ENCODED]).unwrap_err(), DOES_NOT_LEAVE);
    assert_told_once(queue.try_put_many([NOT_ENCODED]).unwrap_err(), DOES_NOT_LEAVE);
    assert_eq!(queue.get().unwrap(), GOOD);
    queue.put_many([NOT_DECODED; 5]).unwrap();
    assert_told_once(queue.get().unwrap_err(), DOES_NOT_COME);
    assert_told_once(queue.try_get().unwrap_err(), DOES_NOT_COME);
    assert_told_once(queue.get_timeout(SHORT).unwrap_err(), DOES_NOT_COME);
    assert_told_once(queue.get_many(1).unwrap_err(), DOES_NOT_COME);
    assert_told_once(queue.try_get_many(1).unwrap_err(), DOES_NOT_COME);

    let text = refused().to_string();
    assert_told_once(PutError::Os(7, refused()), &text);
    assert_told_once(TryPutError::Os(7, refused()), &text);
    assert_told_once(PutTimeoutError::Os(7, refused()), &text);
    assert_goes_on(GetError::Os(answer()));
    assert_goes_on(TryGetError::Os(answer()));
    assert_goes_on(GetTimeoutError::Os(answer()));
}

#[test]
fn what_a_lock_says_is_whole_and_said_once() {
    const DISORDER: &str = "may be half changed";
    const DEADLOCK: &str = "which is held by itself";
    let text = refused().to_string();
    let mutex = poisoned();
    assert_told_once(mutex.lock().unwrap_err(), DISORDER);
    assert_told_once(mutex.try_lock().unwrap_err(), DISORDER);
    assert_told_once(mutex.lock_timeout(SHORT).unwrap_err(), DISORDER);
    assert_told_once(lock_all((&mutex,)).unwrap_err(), DISORDER);
    assert_told_once(itself(), DEADLOCK);
    assert_told_once(LockError::<()>::NoRoom(refused()), &text);
    assert_told_once(TryLockError::<()>::NoRoom(refused()), &text);
    assert_told_once(LockTimeoutError::<()>::NoRoom(refused()), &text);
    assert_told_once(unfinished().call_once(|| {}).unwrap_err(), "begun and not finished");

    let full = Semaphore::new(0).unwrap();
    let error = full.release(Semaphore::MAX_PERMITS + 1).unwrap_err();
    assert_told_once(error, &format!("the most is {}", Semaphore::MAX_PERMITS));
}

each_start_method! {
    only [forkserver ForkServer, spawn Spawn]
    fn what_processes_and_tasks_say_is_whole_and_said_once() {
        assert_told_once(refused(), &io::Error::from_raw_os_error(libc::ENOENT).to_string());
        assert_told_once(take(NOT_ENCODED).spawn().unwrap_err(), DOES_NOT_LEAVE);
        assert_told_once(take(NOT_DECODED).spawn()?.join().unwrap_err(), DOES_NOT_COME);
        assert_told_once(give().spawn()?.join().unwrap_err(), DOES_NOT_LEAVE);
        let pool = Pool::new(1)?;
        assert_told_once(pool.apply(take(NOT_ENCODED)).unwrap_err(), DOES_NOT_LEAVE);
        assert_told_once(pool.apply(take(NOT_DECODED)).unwrap_err(), DOES_NOT_COME);
        assert_told_once(pool.apply(give()).unwrap_err(), DOES_NOT_LEAVE);
    }
}

/// What has crossed as a message: it says what it said.
fn crossed<E: Serialize + DeserializeOwned + Display + Debug>(error: E) -> E {
    let told = |error: &E| (error.to_string(), format!("{error:?}"));
    let (tx, rx) = pipe().unwrap();
    let before = told(&error);
    tx.send(error).unwrap();
    let error = rx.recv().unwrap();
    assert_eq!(told(&error), before);
    error
}

#[test]
fn errors_of_pipes_cross() {
    let (tx, rx) = pipe().unwrap();
    assert!(crossed(rx.try_recv().unwrap_err()).is_empty());
    assert!(crossed(rx.recv_timeout(SHORT).unwrap_err()).is_timeout());
    tx.send_bytes(b"too long").unwrap();
    match crossed(rx.recv_bytes_into(&mut []).unwrap_err()) {
        RecvIntoError::TooShort(all) => assert_eq!(all, b"too long"),
        other => panic!("{other:?}"),
    }
    while tx.try_send(7).is_ok() {}
    assert!(matches!(crossed(tx.try_send(8).unwrap_err()), TrySendError::Full(8)));
    let late = crossed(tx.send_timeout(9, SHORT).unwrap_err());
    assert!(matches!(late, SendTimeoutError::Timeout(9)) && late.is_timeout());
    drop(rx);
    let error = crossed(tx.send(10).unwrap_err());
    assert!(error.is_disconnected() && error.into_inner() == 10);
    let (tx, rx) = pipe().unwrap();
    tx.send(NOT_DECODED).unwrap();
    drop(tx);
    match crossed(rx.recv().unwrap_err()) {
        RecvError::Decode(error) => assert_eq!(error.reason(), DOES_NOT_COME),
        other => panic!("{other:?}"),
    }
    assert!(crossed(rx.recv().unwrap_err()).is_disconnected());
    assert!(crossed(rx.try_recv().unwrap_err()).is_disconnected());
    match crossed(SendError::Os(1, io::Error::from_raw_os_error(libc::EMFILE))) {
        SendError::Os(1, error) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_of_queues_cross() {
    let queue = Queue::bounded(1).unwrap();
    let other = queue.clone();
    assert!(crossed(queue.try_get().unwrap_err()).is_empty());
    assert!(crossed(queue.get_timeout(SHORT).unwrap_err()).is_timeout());
    assert_eq!(crossed(queue.task_done().unwrap_err()), TooManyDone);
    queue.put(7).unwrap();
    assert!(crossed(queue.try_put(8).unwrap_err()).is_full());
    assert!(crossed(queue.put_timeout(8, SHORT).unwrap_err()).is_timeout());
    let error = crossed(queue.try_put_many([8, 9]).unwrap_err());
    assert!(error.error().is_full());
    assert_eq!((error.count(), error.into_inner()), (0, vec![8, 9]));
    let late = crossed(queue.join_timeout(SHORT).unwrap_err());
    assert!(late == QueueJoinError::Timeout && late.is_timeout());
    drop(other);
    assert!(crossed(queue.put(8).unwrap_err()).is_disconnected());
    queue.close();
    assert!(crossed(queue.put(8).unwrap_err()).is_closed());
    assert_eq!(queue.get().unwrap(), 7);
    assert!(crossed(queue.get().unwrap_err()).is_closed());
    let error: GetManyError<u32> = crossed(queue.get_many(2).unwrap_err());
    assert!(error.error().is_closed());
    match crossed(PutError::Os(1, refused())) {
        PutError::Os(1, error) => assert_eq!(error.raw_os_error(), Some(libc::ENOENT)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_of_locks_cross() {
    let own = std::process::id();
    let mutex = poisoned();
    let poison = |poisoned: PoisonError<()>| {
        assert_eq!(poisoned.holder().pid(), own);
        assert!(poisoned.lock_name().starts_with("Mutex "), "{}", poisoned.lock_name());
    };
    match crossed(mutex.lock().unwrap_err().without_guard()) {
        LockError::Poisoned(poisoned) => poison(crossed(poisoned)),
        other => panic!("{other:?}"),
    }
    match crossed(lock_all((&mutex,)).unwrap_err().without_guard()) {
        LockAllError::Poisoned(poisoned) => poison(poisoned),
        other => panic!("{other:?}"),
    }
    match crossed(itself()) {
        LockError::Deadlock(deadlock) => {
            assert!(crossed(deadlock).members().all(|member| crossed(member.clone()).pid() == own));
        }
        other => panic!("{other:?}"),
    }
    let (first, second) = (Mutex::new(1).unwrap(), Mutex::new(2).unwrap());
    let held = lock_all((&second,)).unwrap();
    match crossed(lock_all((&first,)).unwrap_err().without_guard()) {
        LockAllError::OutOfOrder(error) => assert!(error.held_at().contains("operation_errors.rs")),
        other => panic!("{other:?}"),
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let busy = second.try_lock().unwrap_err().without_guard();
            assert!(matches!(crossed(busy), TryLockError::WouldBlock));
            let late = crossed(second.lock_timeout(SHORT).unwrap_err().without_guard());
            assert!(late.is_timeout());
            match late {
                LockTimeoutError::Timeout { holder: Some(holder), .. } => {
                    assert_eq!(holder.pid(), own);
                }
                other => panic!("{other:?}"),
            }
        });
    });
    drop(held);
    assert!(matches!(crossed(unfinished().call_once(|| {}).unwrap_err()), OnceError::Poisoned(_)));
}

#[test]
fn errors_of_permits_and_barriers_cross() {
    let slots = Semaphore::bounded(1).unwrap();
    match crossed(slots.release(1).unwrap_err()) {
        ReleaseError::Bounded { wanted, released, .. } => assert_eq!((wanted, released), (1, 0)),
        other => panic!("{other:?}"),
    }
    let _held = slots.acquire().unwrap();
    assert_eq!(crossed(slots.try_acquire().unwrap_err()), TryAcquireError::WouldBlock);
    let late = crossed(slots.acquire_timeout(SHORT).unwrap_err());
    assert!(late == AcquireTimeoutError::Timeout && late.is_timeout());
    assert_eq!(crossed(AcquireError::TooMany), AcquireError::TooMany);
    let barrier = Barrier::builder(2).timeout(SHORT).build().unwrap();
    let broken = crossed(barrier.wait().unwrap_err());
    assert!(broken == BarrierError::Timeout && broken.is_timeout());
}

/// What a process that puts, sends and locks may want to return.
#[derive(Debug, Serialize, Deserialize)]
enum Trouble {
    Put(PutError<u32>),
    Recv(RecvError),
    Lock(LockError<()>),
}

impl From<PutError<u32>> for Trouble {
    fn from(error: PutError<u32>) -> Self {
        Self::Put(error)
    }
}

impl From<RecvError> for Trouble {
    fn from(error: RecvError) -> Self {
        Self::Recv(error)
    }
}

impl From<LockError<()>> for Trouble {
    fn from(error: LockError<()>) -> Self {
        Self::Lock(error)
    }
}

/// All that it uses can fail, and `?` is all that is said of it.
#[process]
fn forward(
    from: offspring::Receiver<u32>,
    count: Mutex<u32>,
    to: Queue<u32>,
) -> Result<(), Trouble> {
    loop {
        to.put(from.recv()?)?;
        *count.lock().map_err(LockError::without_guard)? += 1;
    }
}

each_start_method! {
    fn a_question_mark_is_enough_in_a_child() {
        let (queue, count) = (Queue::unbounded()?, Mutex::new(0)?);
        let (tx, rx) = pipe()?;
        tx.send(1)?;
        drop(tx);
        match forward(rx, count.clone(), queue.clone()).spawn()?.join()? {
            Err(Trouble::Recv(error)) => assert!(error.is_disconnected()),
            other => panic!("{other:?}"),
        }
        assert_eq!((queue.get()?, *count.lock().unwrap()), (1, 1));
        let (tx, rx) = pipe()?;
        tx.send(2)?;
        let left = poisoned();
        match forward(rx, left.clone(), queue.clone()).spawn()?.join()? {
            Err(Trouble::Lock(LockError::Poisoned(poisoned))) => {
                assert_eq!(poisoned.holder().pid(), std::process::id());
            }
            other => panic!("{other:?}"),
        }
        queue.close();
        let (tx, rx) = pipe()?;
        tx.send(3)?;
        match forward(rx, count, queue).spawn()?.join()? {
            Err(Trouble::Put(error)) => assert!(error.is_closed() && error.into_inner() == 3),
            other => panic!("{other:?}"),
        }
    }
}

/// An error of an operation that waits becomes its sisters', by `?`.
#[test]
fn errors_of_sisters_are_theirs() {
    let (here, there) = duplex::<u32, u32>().unwrap();
    drop(there);
    assert!(TrySendError::from(here.send(1).unwrap_err()).is_disconnected());
    assert!(SendTimeoutError::from(here.send(1).unwrap_err()).is_disconnected());
    assert!(TryRecvError::from(here.recv().unwrap_err()).is_disconnected());
    assert!(RecvTimeoutError::from(here.recv().unwrap_err()).is_disconnected());
    assert!(RecvIntoError::from(here.recv().unwrap_err()).is_disconnected());
    let queue = Queue::<u32>::unbounded().unwrap();
    queue.close();
    assert!(TryPutError::from(queue.put(1).unwrap_err()).is_closed());
    assert!(PutTimeoutError::from(queue.put(1).unwrap_err()).is_closed());
    assert!(TryGetError::from(queue.get().unwrap_err()).is_closed());
    assert!(GetTimeoutError::from(queue.get().unwrap_err()).is_closed());
}
