//! In a shared object, where executing the program again would run somebody else's, starting a
//! process is refused.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use nix::libc;
use tests::family::not_tested;

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

#[offspring::process]
fn square(x: u64) -> u64 {
    x * x
}

const THROUGH_LOADER: &str = "OFFSPRING_TEST_THROUGH_LOADER";

/// Run by the next test, in a process that was started through the loader.
#[test]
fn started_through_the_loader() {
    if std::env::var_os(THROUGH_LOADER).is_some() {
        assert!(matches!(square(3).spawn(), Err(offspring::Error::NotTheProgram)));
    } else {
        assert_eq!(square(3).spawn().unwrap().join().unwrap(), 9);
    }
}

#[test]
fn a_program_started_through_the_loader_is_refused_and_the_loader_is_not_run_again() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let loader = maps.lines().filter_map(|line| line.split_whitespace().last());
    let Some(loader) = loader.into_iter().find(|path| path.contains("/ld-")) else {
        return not_tested("a start through the loader", "this program has none");
    };
    let output = std::process::Command::new(loader)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "started_through_the_loader"])
        .env(THROUGH_LOADER, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}
