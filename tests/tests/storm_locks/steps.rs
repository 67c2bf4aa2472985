//! A process that dies at a chosen instruction: the processor traps after each, by its trap flag.

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use nix::libc;
use offspring::shm::{Shareable, Shared};

/// What the process that dies and the one that watches it tell each other.
#[derive(Debug, Default, Shareable)]
pub(crate) struct Steps {
    /// After how many instructions the process dies.
    limit: AtomicU64,
    /// Not 0 while instructions are counted.
    counting: AtomicU64,
    /// How many there were.
    count: AtomicU64,
    /// Not 0 when the trap flag is set.
    begun: AtomicU64,
    /// How many there were when it said so.
    marked: AtomicU64,
}

static STEPS: AtomicPtr<Steps> = AtomicPtr::new(std::ptr::null_mut());

fn steps() -> &'static Steps {
    // SAFETY: `prepare` has set it, to something that is never dropped.
    unsafe { &*STEPS.load(Ordering::Relaxed) }
}

extern "C" fn trapped(_signal: libc::c_int) {
    let steps = steps();
    if steps.counting.load(Ordering::SeqCst) != 0
        && steps.count.fetch_add(1, Ordering::SeqCst) == steps.limit.load(Ordering::Relaxed)
    {
        // SAFETY: this ends the process.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

#[cfg(target_arch = "x86_64")]
extern "C" fn set_trap_flag(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    const TRAP: i64 = 0x100;
    // SAFETY: the kernel gives a handler its context, whose flags it restores at the end.
    let flags = unsafe {
        &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_EFL as usize]
    };
    *flags ^= TRAP;
    steps().begun.store(1, Ordering::SeqCst);
}

/// Whether it can be done here.
pub(crate) const POSSIBLE: bool = cfg!(target_arch = "x86_64");

/// Has this process, which has one thread, die at its instruction number `limit` after those that it
/// [began](begin) and [counts](Self::count).
#[cfg(target_arch = "x86_64")]
pub(crate) fn prepare(shared: Shared<Steps>) {
    let steps: &'static Shared<Steps> = Box::leak(Box::new(shared));
    STEPS.store(std::ptr::from_ref::<Steps>(steps).cast_mut(), Ordering::Relaxed);
    // SAFETY: both handlers use atomic numbers, and the one its context, and nothing else.
    unsafe {
        libc::signal(libc::SIGTRAP, trapped as extern "C" fn(libc::c_int) as usize);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = set_trap_flag
            as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)
            as usize;
        // What sleeps goes on to sleep.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(BEGIN, &action, std::ptr::null_mut());
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prepare(_shared: Shared<Steps>) {}

/// The signal that begins the steps, and ends them.
pub(crate) const BEGIN: libc::c_int = libc::SIGUSR1;

/// Begins the steps of this process.
pub(crate) fn begin() {
    // SAFETY: there is a handler.
    unsafe { libc::raise(BEGIN) };
}

/// Ends them.
pub(crate) fn end() {
    steps().counting.store(0, Ordering::SeqCst);
    begin();
}

/// Notes down at which instruction this is.
pub(crate) fn mark() {
    steps().marked.store(steps().count.load(Ordering::SeqCst), Ordering::SeqCst);
}

impl Steps {
    pub(crate) fn new(limit: u64) -> offspring::Result<Shared<Self>> {
        Shared::new(Self { limit: AtomicU64::new(limit), ..Self::default() })
    }

    /// Instructions count from now on.
    pub(crate) fn count(&self) {
        self.counting.store(1, Ordering::SeqCst);
    }

    pub(crate) fn have_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst) != 0
    }

    /// How many there were until the [`mark`], or until the end if there was none.
    pub(crate) fn counted(&self) -> u64 {
        match self.marked.load(Ordering::SeqCst) {
            0 => self.count.load(Ordering::SeqCst),
            marked => marked,
        }
    }
}
