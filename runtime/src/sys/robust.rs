//! Words in shared memory that a thread owns, and that the kernel takes from it when it dies.
//!
//! Every thread has one list of the futex words that it owns. When it ends, in whatever way, the
//! kernel goes through the list, replaces the owner's number in each word by [`DIED`], and wakes
//! one of those who sleep on it. One more word, the *pending* one, covers the moments in which a
//! word is being taken or given back: if it has no owner when the thread dies, one sleeper is woken
//! all the same, so that a wake-up never dies with whom it was for.
//!
//! The list belongs to the C library, which keeps its robust mutexes in it, so ours are linked in
//! between as it links its own: the entry is the `next` pointer, the word lies before it at the
//! distance that the library has registered, and `prev` right before `next`. That layout of a mutex
//! is part of the ABI of glibc and of musl. [`check`] refuses a library with another.
//!
//! References: `get_robust_list(2)`, `Documentation/locking/robust-futexes.rst`,
//! `kernel/futex/core.c` (`handle_futex_death`).

use std::cell::Cell;
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use nix::libc;

use super::{copies, futex};

/// Somebody sleeps on the word: who gives it back wakes one of them.
pub(crate) const WAITERS: u32 = 0x8000_0000;
/// The word's owner has died, and nobody has taken it since.
pub(crate) const DIED: u32 = 0x4000_0000;
/// The bits of the owner: its thread number, or 0.
pub(crate) const OWNER: u32 = 0x3fff_ffff;

/// How many words a thread can own at once: the kernel looks no further.
pub(crate) const MAX_OWNED: u32 = 2000;

/// A word that a thread can own, with its place in that thread's list.
#[derive(Debug)]
#[repr(C, align(8))]
pub(crate) struct Word {
    /// musl has the word here, glibc right at the start.
    #[cfg(target_env = "musl")]
    before: AtomicU32,
    value: AtomicU32,
    #[cfg(not(target_env = "musl"))]
    after: AtomicU32,
    /// What whoever uses the word writes beside it: where a mutex of the library has its fields.
    notes: [AtomicU64; 2],
    /// Addresses in the owner's memory, of no use to anybody else.
    prev: AtomicUsize,
    next: AtomicUsize,
}

/// From an entry of the list to its word, as the C library has registered it.
const DISTANCE: isize = offset_of!(Word, value) as isize - offset_of!(Word, next) as isize;

impl Word {
    pub(crate) const fn new() -> Self {
        Self {
            #[cfg(target_env = "musl")]
            before: AtomicU32::new(0),
            value: AtomicU32::new(0),
            #[cfg(not(target_env = "musl"))]
            after: AtomicU32::new(0),
            notes: [const { AtomicU64::new(0) }; 2],
            prev: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(crate) fn value(&self) -> &AtomicU32 {
        &self.value
    }

    /// Two numbers of the user's, in the word's cache line.
    #[inline]
    pub(crate) fn notes(&self) -> &[AtomicU64; 2] {
        &self.notes
    }

    #[inline]
    fn entry(&self) -> usize {
        ptr::from_ref(&self.next) as usize
    }
}

/// `struct robust_list_head`, of which the kernel and the C library know the address.
#[repr(C)]
struct Head {
    list: AtomicUsize,
    distance: isize,
    pending: AtomicUsize,
}

/// The calling thread, as an owner of words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread {
    head: *const Head,
    tid: u32,
}

const UNKNOWN: Thread = Thread { head: ptr::null(), tid: 0 };

thread_local! {
    // Without destructors, so that they are there for as long as the thread is.
    static THREAD: Cell<Thread> = const { Cell::new(UNKNOWN) };
    /// How many words it owns.
    static OWNED: Cell<u32> = const { Cell::new(0) };
}

/// Why no word can be owned on this system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsupported;

/// Whether threads of this process can own words.
pub(crate) fn check() -> Result<(), Unsupported> {
    if THREAD.get().tid == 0 { Thread::register().map(drop) } else { Ok(()) }
}

/// Forgets what is known of the calling thread: it is another one now, in a copy of its process.
pub(crate) fn forget_thread() {
    THREAD.set(UNKNOWN);
    OWNED.set(0);
}

impl Thread {
    /// The calling thread.
    ///
    /// # Panics
    /// If [`check`] fails, which whoever makes or receives a lock has asked before.
    #[inline]
    pub(crate) fn current() -> Self {
        let thread = THREAD.get();
        if thread.tid != 0 {
            return thread;
        }
        Self::register().expect("a lock exists, so that the kernel keeps lists of owned words")
    }

    #[cold]
    fn register() -> Result<Self, Unsupported> {
        copies::watch();
        let mut head = head();
        if head.is_null() {
            // musl registers a thread's list only when it is first used.
            use_robust_mutex();
            head = self::head();
        }
        // SAFETY: the kernel gave the address that the C library has registered for this thread,
        // whose control block holds it for as long as the thread runs.
        if head.is_null() || unsafe { (*head).distance } != DISTANCE {
            return Err(Unsupported);
        }
        // SAFETY: it has no arguments.
        let tid = unsafe { libc::gettid() } as u32;
        let thread = Self { head, tid };
        THREAD.set(thread);
        Ok(thread)
    }

    /// Its number, which is in the words it owns.
    #[inline]
    pub(crate) fn tid(&self) -> u32 {
        self.tid
    }

    /// Whether it owns so many words that it must not take another.
    #[inline]
    pub(crate) fn owns_too_many(&self) -> bool {
        OWNED.get() >= MAX_OWNED
    }

    #[inline]
    fn head(&self) -> &Head {
        // SAFETY: it is this thread's (`Thread` is neither `Send` nor kept), so it lives.
        unsafe { &*self.head }
    }

    #[inline]
    fn set_pending(&self, entry: usize) {
        // The kernel reads it when this very thread has ended, so the order of the program is all
        // that counts: the compiler must keep it.
        compiler_fence(Ordering::SeqCst);
        self.head().pending.store(entry, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Takes the word, if it is `expected`, which must have no owner: it then holds this thread's
    /// number and `flags`. Otherwise gives what it is.
    ///
    /// If the thread dies at any instruction of this, it does not own the word, or the kernel takes
    /// the word from it.
    ///
    /// # Safety
    /// The word must stay where it is until this thread has released it, or has ended.
    #[inline]
    pub(crate) unsafe fn claim(&self, word: &Word, expected: u32, flags: u32) -> Result<(), u32> {
        debug_assert_eq!(expected & OWNER, 0);
        // musl itself goes through the list of a thread that ends, and wakes as this says: for all.
        #[cfg(target_env = "musl")]
        word.before.store(128, Ordering::Relaxed);
        let before = self.head().pending.load(Ordering::Relaxed);
        self.set_pending(word.entry());
        let claimed = word.value.compare_exchange(
            expected,
            self.tid | flags,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        match claimed {
            Ok(_) => {
                self.link(word);
                self.set_pending(0);
                Ok(())
            }
            Err(seen) => {
                // What it has slept on stays pending, until it has a word or gives up.
                self.set_pending(before);
                Err(seen)
            }
        }
    }

    /// Gives back the word, and wakes one of its sleepers. Says how many
    /// were woken; `None`, having done nothing, if the word is not this thread's: so it is for a
    /// copy of the owner's process.
    ///
    /// As long as somebody may sleep on the word it keeps [`WAITERS`], so that whoever takes it next
    /// wakes another in its turn, even if the one that is woken here is killed before it runs.
    #[inline]
    pub(crate) fn release(&self, word: &Word) -> Option<usize> {
        if word.value.load(Ordering::Relaxed) & OWNER != self.tid {
            return None;
        }
        self.set_pending(word.entry());
        self.unlink(word);
        let mut woken = 0;
        let alone = word.value.compare_exchange(self.tid, 0, Ordering::SeqCst, Ordering::SeqCst);
        if alone.is_err() {
            woken = Self::release_watched(word);
        }
        self.set_pending(0);
        Some(woken)
    }

    #[cold]
    fn release_watched(word: &Word) -> usize {
        word.value.store(WAITERS, Ordering::SeqCst);
        let mut woken = futex::wake(&word.value, 1);
        if woken == 0
            && word.value.compare_exchange(WAITERS, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            && futex::wake(&word.value, 1) > 0
        {
            // Somebody has had it meanwhile, with others asleep: it was their mark.
            word.value.fetch_or(WAITERS, Ordering::SeqCst);
            woken = 1;
        }
        woken
    }

    /// Gives back the word, which becomes `value`, without waking anybody: it keeps [`WAITERS`].
    pub(crate) fn release_quietly(&self, word: &Word, value: u32) {
        if word.value.load(Ordering::Relaxed) & OWNER != self.tid {
            return;
        }
        // What it was woken for stays pending.
        let before = self.head().pending.load(Ordering::Relaxed);
        self.set_pending(word.entry());
        self.unlink(word);
        compiler_fence(Ordering::SeqCst);
        // Others only add WAITERS meanwhile.
        let alone =
            word.value.compare_exchange(self.tid, value, Ordering::SeqCst, Ordering::SeqCst);
        if alone.is_err() {
            word.value.store(value | WAITERS, Ordering::SeqCst);
        }
        self.set_pending(if before == word.entry() { 0 } else { before });
    }

    /// Gives back the word, if it is this thread's, which becomes `value`, and wakes nobody. It is pending
    /// from then on, so that a sleeper is woken if the thread dies; until the thread is
    /// [`awake`](Self::awake), or takes another word. False if it was not this thread's.
    pub(crate) fn release_to_pending(&self, word: &Word, value: u32) -> bool {
        self.set_pending(word.entry());
        if word.value.load(Ordering::Relaxed) & OWNER != self.tid {
            return false;
        }
        self.unlink(word);
        compiler_fence(Ordering::SeqCst);
        word.value.store(value, Ordering::SeqCst);
        true
    }

    /// Does something to `futex` and wakes its sleepers, or sleeps on it. If the thread dies
    /// meanwhile, and the word's owner bits are 0, one sleeper is woken.
    pub(crate) fn with_pending<R>(&self, futex: &AtomicU32, body: impl FnOnce() -> R) -> R {
        let outer = self.head().pending.load(Ordering::Relaxed);
        if outer != 0 {
            // A signal handler has interrupted one of the above: that goes first.
            return body();
        }
        let entry = (ptr::from_ref(futex) as usize).wrapping_add_signed(-DISTANCE);
        self.set_pending(entry);
        let result = body();
        self.set_pending(0);
        result
    }

    /// As [`with_pending`](Self::with_pending), for a thread that sleeps on `futex` in order to take
    /// something: it stays pending when the sleep is over, so that a wake-up does not die with the
    /// thread before it has taken that. Taking a word ends it; who gives up calls
    /// [`awake`](Self::awake).
    pub(crate) fn sleep_with<R>(&self, futex: &AtomicU32, body: impl FnOnce() -> R) -> R {
        let entry = (ptr::from_ref(futex) as usize).wrapping_add_signed(-DISTANCE);
        self.set_pending(entry);
        body()
    }

    /// The thread does not want anything any more.
    pub(crate) fn awake(&self) {
        self.set_pending(0);
    }

    /// Puts the word first in the list.
    #[inline]
    fn link(&self, word: &Word) {
        let head = self.head();
        let first = head.list.load(Ordering::Relaxed);
        word.next.store(first, Ordering::Relaxed);
        word.prev.store(self.head as usize, Ordering::Relaxed);
        self.set_prev_of(first, word.entry());
        // Only now that the entry is whole may the kernel find it.
        compiler_fence(Ordering::SeqCst);
        head.list.store(word.entry(), Ordering::Relaxed);
        OWNED.set(OWNED.get() + 1);
    }

    /// Takes the word out of the list.
    #[inline]
    fn unlink(&self, word: &Word) {
        let next = word.next.load(Ordering::Relaxed);
        // Nearly always it is the first. Otherwise the one before it is searched: `prev` of ours
        // is there for the C library, which writes to it, and it is not relied upon.
        let mut at = &self.head().list;
        loop {
            let entry = at.load(Ordering::Relaxed) & !1;
            if entry == word.entry() {
                break;
            }
            if entry == self.head as usize {
                // It is ours by its number, and yet not: what follows is not to be known.
                std::process::abort();
            }
            // SAFETY: an entry of this thread's own list, which only this thread changes, is the
            // `next` pointer of a mutex that it owns, which lives.
            at = unsafe { &*(entry as *const AtomicUsize) };
        }
        at.store(next, Ordering::Relaxed);
        self.set_prev_of(next, ptr::from_ref(at) as usize);
        OWNED.set(OWNED.get().saturating_sub(1));
    }

    /// Tells the entry `next` who is before it, as the C library expects it of its neighbours.
    #[inline]
    fn set_prev_of(&self, next: usize, prev: usize) {
        let next = next & !1; // the lowest bit says what kind of mutex it is
        if next != self.head as usize {
            // SAFETY: as in `unlink`; right before the `next` pointer of an entry is its `prev`.
            let field = unsafe { &*((next - size_of::<usize>()) as *const AtomicUsize) };
            field.store(prev, Ordering::Relaxed);
        }
    }
}

/// Where the calling thread's list begins; null if it has none, or the kernel keeps none.
fn head() -> *const Head {
    let mut head: *const Head = ptr::null();
    let mut len = 0usize;
    // SAFETY: the kernel writes one value to each of the two.
    let failed =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) } != 0;
    if failed || len != size_of::<Head>() { ptr::null() } else { head }
}

/// Whether a thread of this process, and of no other, has this number.
pub(crate) fn is_thread_of_this_process(tid: u32) -> bool {
    // SAFETY: signal 0 is not sent; the kernel only looks whether it could be.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, 0) == 0 }
}

/// Takes and gives back a robust mutex of the C library's.
fn use_robust_mutex() {
    unsafe extern "C" {
        fn pthread_mutexattr_setrobust(
            attributes: *mut libc::pthread_mutexattr_t,
            robust: libc::c_int,
        ) -> libc::c_int;
    }
    const PTHREAD_MUTEX_ROBUST: libc::c_int = 1;
    let mut mutex = std::mem::MaybeUninit::<libc::pthread_mutex_t>::uninit();
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    // SAFETY: a mutex that nobody else sees goes through its whole life, in order, in one place.
    unsafe {
        libc::pthread_mutexattr_init(attributes.as_mut_ptr());
        pthread_mutexattr_setrobust(attributes.as_mut_ptr(), PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr());
        libc::pthread_mutex_lock(mutex.as_mut_ptr());
        libc::pthread_mutex_unlock(mutex.as_mut_ptr());
        libc::pthread_mutex_destroy(mutex.as_mut_ptr());
        libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
    }
}
