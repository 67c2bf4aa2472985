//! Executing this program again, handing one descriptor over.
//!
//! References: `posix_spawn(3)`, `proc_pid_exe(5)`.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::libc;

/// The number that the descriptor has in the new process.
pub(crate) const HANDED_OVER: RawFd = 3;

/// Starts this very program once more, with the same arguments and the environment `env`.
///
/// It gets the standard three descriptors and `handed_over`, nothing else, and no blocked signal.
/// Ignored signals stay ignored. Gives the number of the new process.
pub(crate) fn this_program(handed_over: impl AsFd, env: &[CString]) -> nix::Result<u32> {
    let args: Vec<CString> = std::env::args_os().filter_map(|arg| c_string(&arg)).collect();
    // The link leads to the program that runs, even if its file was replaced or removed since.
    match spawn(c"/proc/self/exe", &handed_over, &args, env) {
        Err(Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR) => {}
        done => return done,
    }
    // No /proc: the path it was started by. That another build may lie there by now is found out
    // in the handshake.
    let path = super::auxv::executed_path().ok_or(Errno::ENOENT)?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    spawn(&path, &handed_over, &args, env)
}

fn c_string(text: &OsStr) -> Option<CString> {
    CString::new(text.as_bytes()).ok()
}

fn spawn(
    path: &CStr,
    handed_over: &impl AsFd,
    args: &[CString],
    env: &[CString],
) -> nix::Result<u32> {
    let pointers = |strings: &[CString]| -> Vec<*mut libc::c_char> {
        let pointers = strings.iter().map(|string| string.as_ptr().cast_mut());
        pointers.chain([std::ptr::null_mut()]).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    let mut settings = Settings::new()?;
    settings.hand_over(handed_over.as_fd().as_raw_fd())?;
    let mut pid: libc::pid_t = 0;
    // SAFETY: everything pointed to outlives the call, the arrays end in null, and posix_spawn
    // changes none of the strings although its type would let it.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            settings.actions.as_ptr(),
            settings.attributes.as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
        )
    })?;
    Ok(pid.cast_unsigned())
}

/// The posix_spawn family returns its error instead of setting `errno`.
fn check(code: libc::c_int) -> nix::Result<()> {
    if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) }
}

/// What posix_spawn is to do in the new process before it executes the program.
struct Settings {
    actions: MaybeUninit<libc::posix_spawn_file_actions_t>,
    attributes: MaybeUninit<libc::posix_spawnattr_t>,
}

impl Settings {
    fn new() -> nix::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the init functions fill in what they are given; the mask is a plain value.
        unsafe {
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            if let Err(error) = check(libc::posix_spawnattr_init(attributes.as_mut_ptr())) {
                libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
                return Err(error);
            }
        }
        let mut settings = Self { actions, attributes };
        let mut nothing = MaybeUninit::uninit();
        // SAFETY: initialised above; `sigemptyset` fills in the set.
        unsafe {
            libc::sigemptyset(nothing.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(
                settings.attributes.as_mut_ptr(),
                nothing.as_ptr(),
            ))?;
            check(libc::posix_spawnattr_setflags(
                settings.attributes.as_mut_ptr(),
                libc::POSIX_SPAWN_SETSIGMASK as libc::c_short,
            ))?;
        }
        Ok(settings)
    }

    fn hand_over(&mut self, fd: RawFd) -> nix::Result<()> {
        let actions = self.actions.as_mut_ptr();
        // SAFETY: initialised in `new`. Where both numbers are the same this clears close-on-exec.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(actions, fd, HANDED_OVER) })?;
        if let Some(add_close_from) = add_close_from() {
            // SAFETY: initialised in `new`, and the function is what its name says.
            check(unsafe { add_close_from(actions, HANDED_OVER + 1) })?;
        }
        Ok(())
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        // SAFETY: both were initialised in `new`.
        unsafe {
            libc::posix_spawn_file_actions_destroy(self.actions.as_mut_ptr());
            libc::posix_spawnattr_destroy(self.attributes.as_mut_ptr());
        }
    }
}

/// Whether [`this_program`] leaves the new process nothing but what it means to.
pub(crate) fn closes_the_rest() -> bool {
    add_close_from().is_some()
}

type AddCloseFrom =
    unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, libc::c_int) -> libc::c_int;

/// glibc has this since 2.34; without it the new process closes what it was not meant to have.
fn add_close_from() -> Option<AddCloseFrom> {
    // SAFETY: the name is a C string; looking a symbol up has no other effect.
    let symbol = unsafe {
        libc::dlsym(libc::RTLD_DEFAULT, c"posix_spawn_file_actions_addclosefrom_np".as_ptr())
    };
    // SAFETY: the C library's function of this name has this type; null becomes `None`.
    unsafe { std::mem::transmute::<*mut libc::c_void, Option<AddCloseFrom>>(symbol) }
}
