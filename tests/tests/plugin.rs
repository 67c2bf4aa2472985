//! In a shared object, where executing the program again would run somebody else's, starting a
//! process is refused.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use nix::libc;

#[test]
fn a_plugin_is_refused_and_its_host_is_not_run_again() {
    let exe = std::env::current_exe().unwrap();
    let plugin = exe.parent().unwrap().parent().unwrap().join("examples/libplugin.so");
    let path = CString::new(plugin.as_os_str().as_bytes()).unwrap();
    // SAFETY: the plugin's initialisers are this crate's and the standard library's.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "{} cannot be loaded", plugin.display());
    // SAFETY: the handle is open, and the name ends in zero.
    let symbol = unsafe { libc::dlsym(handle, c"start_a_process".as_ptr()) };
    assert!(!symbol.is_null());
    // SAFETY: the plugin defines it with this type.
    let start = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> i32>(symbol) };
    assert_eq!(start(), 0);
}
