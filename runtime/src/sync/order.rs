//! Several mutexes at once, in an order that is the same for all: so that no cycle can come about.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::errors::{Deadlock, NotLocked, PoisonError, Poisoning, Waiting};
use super::holder;
use super::kernel::{Thread, Wait};
use super::mutex::{Mutex, MutexGuard};
use crate::shm::segment::{Id, Segment};

/// Takes several mutexes, always in the same order, whatever order they are given in, so that
/// callers of this can never wait for each other in a cycle.
///
/// The order is that in which the mutexes were made, on all of the machine. `locks` is a tuple of up
/// to eight `&Mutex`es, of which the result is a tuple of guards, or a slice of mutexes, or of
/// references to them, of which it is a `Vec`.
///
/// It can be nested, as long as the inner mutexes come after all that this thread holds by it
/// already. If one does not, that is an error *before* anything waits, whether or not
/// somebody else holds it just then: so the mistake shows at the first try, and not only when two
/// processes meet. Mutexes that are taken by [`Mutex::lock`] are not looked at: see
/// [`DeadlockDetector`](crate::sync::DeadlockDetector) for these.
///
/// The equivalent for Python is the recipe with a context manager that sorts locks by their `id`.
///
/// # When a process dies
/// Each of the mutexes that it held is poisoned, also if it still waited for the others. The next
/// who takes them by this gets all the guards, in a [`LockAllError::Poisoned`] that tells of the
/// first in the order that is poisoned, and of the [others](PoisonError::others). Call
/// [`Mutex::clear_poison`] for each. A process that is killed before it has any of them harms nobody.
///
/// # Errors
/// [`LockAllError::OutOfOrder`] as above; [`LockAllError::Poisoned`], with all the guards, if one of
/// the mutexes is poisoned; [`LockAllError::Deadlock`] if one of them is there twice, or is held by
/// this thread already; [`LockAllError::TooMany`]. Unless there are guards, none is held.
///
/// ```
/// use offspring::{process, sync::{Mutex, lock_all}};
///
/// #[process]
/// fn transfer(from: Mutex<i64>, to: Mutex<i64>, amount: i64) {
///     let (mut from, mut to) = lock_all((&from, &to)).unwrap();
///     *from -= amount;
///     *to += amount;
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (a, b) = (Mutex::new(100)?, Mutex::new(0)?);
/// let there = transfer(a.clone(), b.clone(), 70).spawn()?;
/// let back = transfer(b.clone(), a.clone(), 20).spawn()?;
/// there.join()?;
/// back.join()?;
/// assert_eq!((*a.lock().unwrap(), *b.lock().unwrap()), (50, 50));
/// # Ok(())
/// # }
/// ```
///
/// As many as a slice has:
///
/// ```
/// use offspring::sync::{Mutex, lock_all};
///
/// let accounts = [Mutex::new(100)?, Mutex::new(20)?, Mutex::new(3)?];
/// let guards = lock_all(&accounts).unwrap();
/// assert_eq!(guards.iter().map(|account| **account).sum::<i32>(), 123);
/// # Ok::<(), offspring::Error>(())
/// ```
#[track_caller]
pub fn lock_all<L: LockAll>(locks: L) -> Result<L::Guards, LockAllError<L::Guards>> {
    locks.lock_all(Location::caller())
}

/// What [`lock_all`] can lock. It is implemented for what its description lists, and for nothing
/// else.
pub trait LockAll: sealed::Sealed {
    /// The guards, in the order of the mutexes.
    type Guards;

    #[doc(hidden)]
    fn lock_all(
        self,
        at: &'static Location<'static>,
    ) -> Result<Self::Guards, LockAllError<Self::Guards>>;
}

mod sealed {
    pub trait Sealed {}
}

/// Why [`lock_all`] has no guards, or has those of a poisoned mutex.
///
/// Python has none.
///
/// ```
/// use offspring::sync::{LockAllError, Mutex, lock_all};
///
/// let (a, b) = (Mutex::new(1)?, Mutex::new(2)?);
/// let guards = match lock_all((&a, &b)) {
///     Ok(guards) => guards,
///     Err(LockAllError::Poisoned(poisoned)) => {
///         println!("{poisoned}");
///         poisoned.into_inner()
///     }
///     Err(error) => return Err(error.without_guard().into()),
/// };
/// assert_eq!(*guards.0 + *guards.1, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockAllError<G> {
    /// All are held now, but who held one of them before left it in disorder.
    Poisoned(PoisonError<G>),
    /// This thread holds a mutex that must be taken after one of these.
    OutOfOrder(OutOfOrder),
    /// Waiting would have been waiting for ever.
    Deadlock(Deadlock),
    /// This thread holds 2,000 locks already, and the kernel keeps track of no more.
    TooMany,
}

impl<G> LockAllError<G> {
    /// The guards, if one of the mutexes is poisoned, for whoever can put right what they protect,
    /// or does not mind.
    ///
    /// # Panics
    /// If the mutexes were not taken, so that there are no guards: with the error's text.
    #[track_caller]
    pub fn into_inner(self) -> G {
        match self {
            Self::Poisoned(poisoned) => poisoned.into_inner(),
            other => panic!("{other}"),
        }
    }

    /// The same error without the guards, so that it can be passed on: see
    /// [`LockError::without_guard`](crate::sync::LockError::without_guard).
    pub fn without_guard(self) -> LockAllError<()> {
        match self {
            Self::Poisoned(poisoned) => LockAllError::Poisoned(poisoned.without_guard()),
            Self::OutOfOrder(out_of_order) => LockAllError::OutOfOrder(out_of_order),
            Self::Deadlock(deadlock) => LockAllError::Deadlock(deadlock),
            Self::TooMany => LockAllError::TooMany,
        }
    }

    /// What poisoned one of the mutexes, with the guards; `None` if they were not taken.
    pub fn into_poisoned(self) -> Option<PoisonError<G>> {
        match self {
            Self::Poisoned(poisoned) => Some(poisoned),
            _ => None,
        }
    }
}

impl<G> From<PoisonError<G>> for LockAllError<G> {
    fn from(poisoned: PoisonError<G>) -> Self {
        Self::Poisoned(poisoned)
    }
}

impl<G> From<NotLocked> for LockAllError<G> {
    fn from(reason: NotLocked) -> Self {
        match reason {
            NotLocked::TimedOut(_) => unreachable!("it waits for as long as it takes"),
            NotLocked::Deadlock(deadlock) => Self::Deadlock(deadlock),
            NotLocked::TooMany => Self::TooMany,
            NotLocked::NoRoom(_) => unreachable!("a mutex has no slots"),
        }
    }
}

impl<G> fmt::Display for LockAllError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisoned(poisoned) => {
                poisoned.fmt(f)?;
                poisoned.others().iter().try_for_each(|other| {
                    write!(
                        f,
                        "; poisoned as well, by {}: the {}",
                        other.holder(),
                        other.lock_name()
                    )
                })
            }
            Self::OutOfOrder(out_of_order) => out_of_order.fmt(f),
            Self::Deadlock(deadlock) => deadlock.fmt(f),
            Self::TooMany => super::errors::TOO_MANY.fmt(f),
        }
    }
}

impl<G> fmt::Debug for LockAllError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockAllError({self})")
    }
}

impl<G> std::error::Error for LockAllError<G> {}

/// A mutex was to be taken after one that comes later in the order.
///
/// Python has none.
///
/// ```
/// use offspring::sync::{LockAllError, Mutex, lock_all};
///
/// let (first, second) = (Mutex::new(1)?, Mutex::new(2)?);
/// let _held = lock_all((&second,)).unwrap();
/// match lock_all((&first,)) {
///     Err(LockAllError::OutOfOrder(error)) => println!("{} after {}", error.wanted(), error.held()),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfOrder {
    held: String,
    held_at: String,
    wanted: String,
    wanted_at: String,
}

impl OutOfOrder {
    /// The mutex that this thread holds: `Mutex #17 of process 4711, made at src/main.rs:12:5`.
    pub fn held(&self) -> &str {
        &self.held
    }

    /// Where it was taken.
    pub fn held_at(&self) -> &str {
        &self.held_at
    }

    /// The mutex that was to be taken, told in the same way.
    pub fn wanted(&self) -> &str {
        &self.wanted
    }

    /// Where it was to be taken.
    pub fn wanted_at(&self) -> &str {
        &self.wanted_at
    }
}

impl fmt::Display for OutOfOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "locks out of order: the {} is wanted at {}, but comes before the {}, which this thread has \
             held since {}: take both in one `lock_all`, or the former first",
            self.wanted, self.wanted_at, self.held, self.held_at
        )
    }
}

impl std::error::Error for OutOfOrder {}

/// What a thread holds by [`lock_all`].
struct Held {
    id: Id,
    segment: Arc<Segment>,
    at: &'static Location<'static>,
}

thread_local! {
    /// With the number of the thread, which is another one in a copy of its process.
    static HELD: RefCell<(u32, Vec<Held>)> = const { RefCell::new((0, Vec::new())) };
}

/// Does something with what the thread holds; `None` when the thread is ending.
fn with_held<R>(body: impl FnOnce(&mut Vec<Held>) -> R) -> Option<R> {
    HELD.try_with(|held| {
        let mut held = held.borrow_mut();
        let tid = Thread::current().tid();
        if held.0 != tid {
            *held = (tid, Vec::new());
        }
        body(&mut held.1)
    })
    .ok()
}

/// A mutex that was taken by [`lock_all`] is given back.
pub(super) fn given_back(id: Id) {
    let taken = with_held(|held| {
        let index = held.iter().rposition(|held| held.id == id)?;
        Some(held.swap_remove(index))
    });
    drop(taken); // which may unmap a segment: not while the list is borrowed
}

/// Looks whether the thread may give this mutex back, which it holds by [`lock_all`], and take it
/// again: not while it holds another by it that comes later.
pub(super) fn check_wait<T: ?Sized>(mutex: &Mutex<T>, at: &Location<'_>) -> Result<(), Deadlock> {
    let later = with_held(|held| held.iter().any(|held| held.id > mutex.id())).unwrap_or(false);
    if later {
        let advice = "it holds one by `lock_all` that comes later, and must not wait for this one again \
                      meanwhile: drop the guards of the later ones first";
        return Err(deadlock(mutex, at, advice));
    }
    Ok(())
}

/// A mutex that was given back for a wait is held again.
pub(super) fn taken_again<T: ?Sized>(mutex: &Mutex<T>, at: &'static Location<'static>) {
    with_held(|held| held.push(Held::of(mutex, at)));
}

fn deadlock(mutex: &dyn AnyMutex, at: &Location<'_>, advice: &'static str) -> Deadlock {
    let who = holder::own().to_holder();
    let lock = mutex.segment().describe("Mutex");
    Deadlock::of_one(Waiting { who, lock, at: at.to_string() }, advice)
}

impl Held {
    fn of(mutex: &dyn AnyMutex, at: &'static Location<'static>) -> Self {
        Self { id: mutex.id(), segment: Arc::clone(mutex.segment()), at }
    }
}

/// A mutex of any type.
trait AnyMutex {
    fn id(&self) -> Id;
    fn segment(&self) -> &Arc<Segment>;
    fn acquire(&self, at: &'static Location<'static>) -> Result<(), NotLocked>;
    fn give_back(&self);
    fn poisoned(&self) -> Option<Poisoning>;
}

impl<T: ?Sized> AnyMutex for Mutex<T> {
    fn id(&self) -> Id {
        self.id()
    }

    fn segment(&self) -> &Arc<Segment> {
        self.segment()
    }

    fn acquire(&self, at: &'static Location<'static>) -> Result<(), NotLocked> {
        self.acquire(Wait::Forever, at)
    }

    fn give_back(&self) {
        self.release(true);
    }

    fn poisoned(&self) -> Option<Poisoning> {
        self.lock_state().poisoned(self.subject())
    }
}

/// Takes all of them, or none. Gives who poisoned those that are, in order.
fn take<G>(
    mutexes: &[&dyn AnyMutex],
    at: &'static Location<'static>,
) -> Result<Vec<Poisoning>, LockAllError<G>> {
    let mut in_order: Vec<_> = mutexes.to_vec();
    in_order.sort_by_key(|mutex| mutex.id());
    let deadlock =
        |mutex: &dyn AnyMutex, advice| Err(LockAllError::Deadlock(deadlock(mutex, at, advice)));
    if let Some(twice) = in_order.windows(2).find(|pair| pair[0].id() == pair[1].id()) {
        return deadlock(twice[0], "it is listed twice in one `lock_all`: list it once");
    }
    let Some(first) = in_order.first() else { return Ok(Vec::new()) };
    let is_held = |mutex: &&&dyn AnyMutex| {
        with_held(|held| held.iter().any(|held| held.id == mutex.id())).unwrap_or(false)
    };
    if let Some(held) = in_order.iter().find(is_held) {
        return deadlock(*held, "drop its guard first");
    }
    let later = with_held(|held| {
        let last = held.iter().max_by_key(|held| held.id)?;
        (last.id > first.id()).then(|| OutOfOrder {
            held: last.segment.describe("Mutex"),
            held_at: last.at.to_string(),
            wanted: first.segment().describe("Mutex"),
            wanted_at: at.to_string(),
        })
    });
    if let Some(out_of_order) = later.flatten() {
        return Err(LockAllError::OutOfOrder(out_of_order));
    }
    for (taken, mutex) in in_order.iter().enumerate() {
        if let Err(reason) = mutex.acquire(at) {
            in_order[..taken].iter().rev().for_each(|mutex| mutex.give_back());
            return Err(reason.into());
        }
    }
    with_held(|held| {
        held.extend(in_order.iter().map(|mutex| Held::of(*mutex, at)));
    });
    Ok(in_order.iter().filter_map(|mutex| mutex.poisoned()).collect())
}

fn with_poison<G>(guards: G, poison: Vec<Poisoning>) -> Result<G, LockAllError<G>> {
    let mut poison = poison.into_iter();
    match poison.next() {
        None => Ok(guards),
        Some(how) => Err(LockAllError::Poisoned(PoisonError::new(guards, how).with_others(poison))),
    }
}

macro_rules! tuple {
    ($($type:ident $index:tt),*) => {
        impl<$($type: ?Sized),*> sealed::Sealed for ($(&Mutex<$type>,)*) {}

        impl<'a, $($type: ?Sized),*> LockAll for ($(&'a Mutex<$type>,)*) {
            type Guards = ($(MutexGuard<'a, $type>,)*);

            fn lock_all(
                self,
                at: &'static Location<'static>,
            ) -> Result<Self::Guards, LockAllError<Self::Guards>> {
                let poison = take(&[$(self.$index as &dyn AnyMutex),*], at)?;
                with_poison(($(self.$index.guard_anyway(true),)*), poison)
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

fn lock_slice<'a, T: ?Sized + 'a>(
    mutexes: impl Iterator<Item = &'a Mutex<T>> + Clone,
    at: &'static Location<'static>,
) -> Result<Vec<MutexGuard<'a, T>>, LockAllError<Vec<MutexGuard<'a, T>>>> {
    let any: Vec<&dyn AnyMutex> = mutexes.clone().map(|mutex| mutex as &dyn AnyMutex).collect();
    let poison = take(&any, at)?;
    with_poison(mutexes.map(|mutex| mutex.guard_anyway(true)).collect(), poison)
}

/// Implements it for lists of mutexes, and of references to them.
macro_rules! list {
    ($([$($generics:tt)*] $list:ty $(, $copied:ident)?;)*) => {$(
        impl<$($generics)*> sealed::Sealed for $list {}

        impl<$($generics)*> LockAll for $list {
            type Guards = Vec<MutexGuard<'a, T>>;

            fn lock_all(
                self,
                at: &'static Location<'static>,
            ) -> Result<Self::Guards, LockAllError<Self::Guards>> {
                lock_slice(self.iter()$(.$copied())?, at)
            }
        }
    )*};
}

list! {
    ['a, T: ?Sized] &'a [Mutex<T>];
    ['a, T: ?Sized] &'a Vec<Mutex<T>>;
    ['a, T: ?Sized, const N: usize] &'a [Mutex<T>; N];
    ['a, T: ?Sized] &[&'a Mutex<T>], copied;
    ['a, T: ?Sized] &Vec<&'a Mutex<T>>, copied;
    ['a, T: ?Sized, const N: usize] &[&'a Mutex<T>; N], copied;
    ['a, T: ?Sized, const N: usize] [&'a Mutex<T>; N], copied;
}
