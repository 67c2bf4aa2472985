//! A process that dies at a chosen instruction: the processor traps after each, by its trap flag.

use std::error::Error;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use nix::libc;
use offspring::shm::{Shareable, Shared};
use offspring::{Child, JoinError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crew::{is_asleep, until_asleep};
use crate::family::{not_tested, until};

/// What the process that dies and the one that watches it tell each other.
#[derive(Debug, Default, Shareable)]
pub struct Steps {
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
pub const POSSIBLE: bool = cfg!(target_arch = "x86_64");

/// Has this process, which has one thread, die at its instruction number `limit` after those that it
/// [began](begin) and [counts](Self::count).
#[cfg(target_arch = "x86_64")]
pub fn prepare(shared: Shared<Steps>) {
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

/// Nothing, here.
#[cfg(not(target_arch = "x86_64"))]
pub fn prepare(_shared: Shared<Steps>) {}

/// The signal that begins the steps, and ends them.
pub const BEGIN: libc::c_int = libc::SIGUSR1;

/// Begins the steps of this process.
pub fn begin() {
    // SAFETY: there is a handler.
    unsafe { libc::raise(BEGIN) };
}

/// Ends them.
pub fn end() {
    steps().counting.store(0, Ordering::SeqCst);
    begin();
}

/// Notes down at which instruction this is.
pub fn mark() {
    steps().marked.store(steps().count.load(Ordering::SeqCst), Ordering::SeqCst);
}

impl Steps {
    /// For one that dies after so many instructions.
    pub fn new(limit: u64) -> offspring::Result<Shared<Self>> {
        Shared::new(Self { limit: AtomicU64::new(limit), ..Self::default() })
    }

    /// For one that dies after as many.
    pub fn again(&self) -> offspring::Result<Shared<Self>> {
        Self::new(self.limit.load(Ordering::SeqCst))
    }

    /// Instructions count from now on.
    pub fn count(&self) {
        self.counting.store(1, Ordering::SeqCst);
    }

    /// Whether the process traps after each.
    pub fn have_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst) != 0
    }

    /// How many there were until the [`mark`], or until the end if there was none.
    pub fn counted(&self) -> u64 {
        match self.marked.load(Ordering::SeqCst) {
            0 => self.count.load(Ordering::SeqCst),
            marked => marked,
        }
    }
}

/// A thread that does this, and sleeps over it.
pub fn sleeper<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = scope.spawn(move || {
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        work()
    });
    let tid = told.recv().unwrap();
    until(|| thread.is_finished() || is_asleep(tid));
    thread
}

/// A process that sleeps, and whose instructions are counted from when it wakes.
pub fn stepping_sleeper(child: Child<()>, steps: &Steps) -> Child<()> {
    until_asleep(child.pid().cast_signed());
    child.send_signal(BEGIN).unwrap();
    until(|| steps.have_begun() && is_asleep(child.pid().cast_signed()));
    child
}

/// Whether it was killed; otherwise it has come to its end.
pub fn was_killed(child: Child<()>) -> bool {
    match child.join() {
        Ok(()) => false,
        Err(JoinError::Exited(exit)) if exit.status().signal() == Some(9) => true,
        Err(other) => panic!("{other}"),
    }
}

/// Has one die at each of its instructions, or at a good many of them: at most of the first.
pub fn sweep(what: &str, dies: impl FnMut(&Shared<Steps>) -> bool) -> Result<(), Box<dyn Error>> {
    sweep_at(what, dies, |steps, tries| {
        (0..tries).map(|n| steps * n * n / (tries * tries)).collect()
    })
}

/// As [`sweep`]: at some all over, and at most of the first and of the last.
pub fn sweep_all_over(
    what: &str,
    dies: impl FnMut(&Shared<Steps>) -> bool,
) -> Result<(), Box<dyn Error>> {
    sweep_at(what, dies, |steps, tries| {
        let tries = tries / 2;
        let first = (0..tries).map(|n| steps * n * n / (tries * tries));
        let all_over = (0..tries).map(|n| steps * n / tries);
        let last = first.clone().map(|limit| steps.saturating_sub(limit + 1));
        first.chain(all_over).chain(last).collect()
    })
}

fn sweep_at(
    what: &str,
    mut dies: impl FnMut(&Shared<Steps>) -> bool,
    limits: impl FnOnce(u64, u64) -> Vec<u64>,
) -> Result<(), Box<dyn Error>> {
    if !POSSIBLE {
        not_tested("death at each instruction", "it is done by the trap flag of x86-64");
        return Ok(());
    }
    // Who looks whether something has come, before it sleeps, takes more instructions or fewer each time.
    let mut steps = u64::MAX;
    for _ in 0..3 {
        let unhurt = Steps::new(u64::MAX)?;
        assert!(!dies(&unhurt));
        steps = steps.min(unhurt.counted());
    }
    let tries = if crate::soak() { 300 } else { 24 };
    eprintln!("\n{what}: some of {steps} instructions");
    let mut limits = limits(steps, tries);
    limits.sort_unstable();
    limits.dedup();
    let mut deaths = 0;
    for &limit in &limits {
        eprint!("{limit} "); // what is last is what it hangs at
        let steps = Steps::new(limit)?;
        let died = dies(&steps);
        assert!(died || steps.counted() <= limit, "it lived on: {}", steps.counted());
        deaths += usize::from(died);
    }
    assert!(deaths >= limits.len() / 2, "{deaths} deaths in {} tries", limits.len());
    Ok(())
}

/// Whether this process begins its steps when it encodes a [`Begin`], as what is of interest comes after.
pub static BEGINS: AtomicBool = AtomicBool::new(false);
/// Whether it ends them when it decodes an [`End`].
pub static ENDS: AtomicBool = AtomicBool::new(false);

/// In a message, the last part of it: see [`BEGINS`].
#[derive(Debug)]
pub struct Begin;

impl Serialize for Begin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if BEGINS.load(Ordering::Relaxed) {
            begin();
        }
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Begin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

/// In a message, the first part of it: see [`ENDS`].
#[derive(Debug)]
pub struct End;

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if ENDS.load(Ordering::Relaxed) {
            end();
        }
        <()>::deserialize(deserializer).map(|()| Self)
    }
}
