//! The main program in memory: its initialisers, and whether we are among them.
//!
//! References: `dl_iterate_phdr(3)`, the ELF gABI on `DT_INIT_ARRAY`.

#![cfg_attr(
    any(not(target_env = "gnu"), feature = "manual-init"),
    allow(dead_code, reason = "nothing runs before `main` in this build")
)]

use std::ptr;

use nix::libc;

/// An entry of `.init_array`, as glibc calls it.
pub(crate) type Initialiser =
    extern "C" fn(libc::c_int, *const *const libc::c_char, *const *const libc::c_char);

/// The main program's initialisers that come after `ours`.
///
/// `None` if `ours` is not one of them: it then belongs to a shared object (a plugin, a Python
/// extension), and executing the program again would run somebody else's program.
pub(crate) fn initialisers_after(ours: Initialiser) -> Option<Vec<Initialiser>> {
    let entries = init_array()?;
    let own = entries.iter().position(|&entry| entry == ours as usize)?;
    let later = entries[own + 1..].iter().filter(|&&entry| entry != 0 && entry != usize::MAX);
    Some(
        later
            // SAFETY: what the linker put into the array is the address of such a function, or one
            // of the two values left out above, which mean "none".
            .map(|&entry| unsafe { std::mem::transmute::<usize, Initialiser>(entry) })
            .collect(),
    )
}

/// The main program's `.init_array`, found through its dynamic section.
fn init_array() -> Option<&'static [usize]> {
    let mut found = None;
    // SAFETY: the callback gets `found` back as its third argument, and the call ends before it.
    unsafe { libc::dl_iterate_phdr(Some(look_at_main), (&raw mut found).cast()) };
    found
}

unsafe extern "C" fn look_at_main(
    object: *mut libc::dl_phdr_info,
    _: libc::size_t,
    found: *mut libc::c_void,
) -> libc::c_int {
    const DT_NULL: usize = 0;
    const DT_INIT_ARRAY: usize = 25;
    const DT_INIT_ARRAYSZ: usize = 27;

    // SAFETY: the loader passes a valid object, the first of which is the main program, and
    // `init_array` passes the address of its variable. The program headers and the dynamic section
    // they lead to are mapped for the life of the program, and the latter ends with DT_NULL; the
    // array's address and length are what the linker wrote there.
    unsafe {
        let object = &*object;
        if object.dlpi_phdr as u64 != libc::getauxval(libc::AT_PHDR) {
            return 1; // loaded into a namespace of its own: what is first there is not the program
        }
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        let base = object.dlpi_addr as usize;
        let Some(dynamic) = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC) else {
            return 1;
        };
        let mut entry: *const [usize; 2] =
            ptr::with_exposed_provenance(base + dynamic.p_vaddr as usize);
        let (mut array, mut bytes) = (None, 0);
        loop {
            let [tag, value] = *entry;
            match tag {
                DT_NULL => break,
                DT_INIT_ARRAY => array = Some(base + value),
                DT_INIT_ARRAYSZ => bytes = value,
                _ => {}
            }
            entry = entry.add(1);
        }
        if let Some(array) = array {
            let start = ptr::with_exposed_provenance(array);
            *found.cast() =
                Some(std::slice::from_raw_parts::<usize>(start, bytes / size_of::<usize>()));
        }
    }
    1 // the first object was the one: stop
}
