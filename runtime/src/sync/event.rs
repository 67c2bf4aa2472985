//! The event: a flag to wait for.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;

use super::kernel::{self, AtomicU32, Thread, Wait};
use crate::error::Result;
use crate::shm::object::{Kind, Object};

/// What the flag is when it is set. The bits of an owner are 0, so that the kernel can wake a
/// sleeper for one who is killed before it did.
const SET: u32 = 0x8000_0000;

/// What an event consists of in shared memory.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    flag: AtomicU32,
    /// How often it was set: who sleeps is released by each time, even if it is cleared at once.
    times: AtomicU32,
}

impl Kind for State {
    const NAME: &'static str = "Event";
    type Tail = ();

    fn check() -> Result<()> {
        super::check()
    }
}

/// A flag that any number of threads of any processes can wait for. Python's `Event`.
///
/// This is a handle: a clone is another handle to the same event, and so is what arrives when a
/// handle is sent to another process.
///
/// [`set`](Self::set), [`clear`](Self::clear) and [`is_set`](Self::is_set) may be called in a signal
/// handler.
///
/// # When a process dies
/// Nothing is held, so nothing is lost: whoever waits goes on waiting, and whoever sets, sets. A
/// process that is killed in the middle of [`set`](Self::set) has set it or has not; if it has, all
/// who wait are released.
///
/// ```
/// use offspring::{process, sync::Event};
///
/// #[process]
/// fn prepare(ready: Event) {
///     ready.set();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ready = Event::new()?;
/// prepare(ready.clone()).spawn()?;
/// ready.wait();
/// assert!(ready.is_set());
/// # Ok(())
/// # }
/// ```
pub struct Event {
    object: Object<State, ()>,
}

super::handle!(Event);

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    /// As [`Mutex::new`](crate::sync::Mutex::new).
    #[track_caller]
    pub fn new() -> Result<Self> {
        let state = State { flag: AtomicU32::new(0), times: AtomicU32::new(0) };
        Ok(Self { object: Object::new(state, (), Location::caller())? })
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.object.state().flag.load(Ordering::SeqCst) == SET
    }

    /// Sets it, and releases all who wait.
    pub fn set(&self) {
        // A handler must leave this as it was.
        let errno = Errno::last_raw();
        let state = self.object.state();
        Thread::current().with_pending(&state.flag, || {
            state.times.fetch_add(1, Ordering::SeqCst);
            state.flag.store(SET, Ordering::SeqCst);
            kernel::wake(&state.flag, u32::MAX);
        });
        Errno::set_raw(errno);
    }

    /// Unsets it: from now on, [`wait`](Self::wait) waits.
    ///
    /// ```
    /// use offspring::sync::Event;
    ///
    /// let event = Event::new()?;
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn clear(&self) {
        self.object.state().flag.store(0, Ordering::SeqCst);
    }

    /// Waits until it is set. Returns at once if it is.
    pub fn wait(&self) {
        self.wait_until(Wait::Forever);
    }

    /// Waits until it is set, for at most `timeout`, by the monotonic clock; says whether it was.
    /// Python's `wait(timeout)`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use offspring::sync::Event;
    ///
    /// let event = Event::new()?;
    /// assert!(!event.wait_timeout(Duration::from_millis(10)));
    /// event.set();
    /// assert!(event.wait_timeout(Duration::from_millis(10)));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Wait::at_most(timeout))
    }

    fn wait_until(&self, wait: Wait) -> bool {
        let state = self.object.state();
        let times = state.times.load(Ordering::SeqCst);
        let was_set = || self.is_set() || state.times.load(Ordering::SeqCst) != times;
        let mut in_time = true;
        while !was_set() {
            if !in_time {
                return false;
            }
            in_time = Thread::current().with_pending(&state.flag, || {
                // On both: a sleep that a stop or a signal interrupts begins anew, and may find the flag
                // cleared again.
                let words = [(&state.flag, 0), (&state.times, times)];
                let in_time = kernel::wait_any(&words, wait);
                if was_set() {
                    // Who set it may have been killed when it had woken but this one.
                    kernel::wake(&state.flag, u32::MAX);
                }
                in_time
            });
        }
        true
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("made_at", &self.object.place())
            .finish()
    }
}
