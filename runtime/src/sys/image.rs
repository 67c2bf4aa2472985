//! The main program in memory: its initialisers, and whether we are among them.
//!
//! References: `dl_iterate_phdr(3)`, the ELF gABI on `DT_INIT_ARRAY`.

#![cfg_attr(
    any(not(target_env = "gnu"), feature = "manual-init"),
    allow(dead_code, reason = "nothing runs before `main` in this build")
)]

use std::ffi::CStr;
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
    let entries = arrays()?.initialisers;
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

/// How many initialisers and finalisers the main program has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) initialisers: usize,
    pub(crate) finalisers: usize,
    /// Those of `.preinit_array`, which run before all others: sanitizers have some.
    pub(crate) early_initialisers: usize,
}

pub(crate) fn counts() -> Option<Counts> {
    let Arrays { initialisers, finalisers, early_initialisers, .. } = arrays()?;
    Some(Counts { initialisers: initialisers.len(), finalisers, early_initialisers })
}

/// The main program's `.init_array`, the length of its `.fini_array`, and the way to the loader's list.
#[derive(Debug, Clone, Copy)]
struct Arrays {
    initialisers: &'static [usize],
    finalisers: usize,
    early_initialisers: usize,
    /// Where the loader keeps what debuggers read.
    debug: usize,
}

/// They are found through the program's dynamic section.
fn arrays() -> Option<Arrays> {
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
    const DT_DEBUG: usize = 21;
    const DT_INIT_ARRAY: usize = 25;
    const DT_INIT_ARRAYSZ: usize = 27;
    const DT_FINI_ARRAYSZ: usize = 28;
    const DT_PREINIT_ARRAYSZ: usize = 33;

    // SAFETY: the loader passes a valid object, the first of which is the main program, and
    // `arrays` passes the address of its variable. The program headers and the dynamic section they
    // lead to are mapped for the life of the program, and the latter ends with DT_NULL; the array's
    // address and length are what the linker wrote there.
    unsafe {
        let object = &*object;
        if object.dlpi_phdr as u64 != libc::getauxval(libc::AT_PHDR) {
            return 1; // loaded into a namespace of its own: what is first there is not the program
        }
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        // Without a base of its own, the loader is what was executed (`ld.so ./program`), and
        // executing it once more would not run this program.
        let names_a_loader = headers.iter().any(|header| header.p_type == libc::PT_INTERP);
        if names_a_loader && libc::getauxval(libc::AT_BASE) == 0 {
            return 1;
        }
        let base = object.dlpi_addr as usize;
        let Some(dynamic) = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC) else {
            return 1;
        };
        let mut entry: *const [usize; 2] =
            ptr::with_exposed_provenance(base + dynamic.p_vaddr as usize);
        let (mut array, mut debug) = (None, 0);
        let (mut initialisers, mut finalisers, mut early_initialisers) = (0, 0, 0);
        loop {
            let [tag, value] = *entry;
            match tag {
                DT_NULL => break,
                DT_INIT_ARRAY => array = Some(base + value),
                DT_INIT_ARRAYSZ => initialisers = value / size_of::<usize>(),
                DT_FINI_ARRAYSZ => finalisers = value / size_of::<usize>(),
                DT_PREINIT_ARRAYSZ => early_initialisers = value / size_of::<usize>(),
                DT_DEBUG => debug = value,
                _ => {}
            }
            entry = entry.add(1);
        }
        if let Some(array) = array {
            let start = ptr::with_exposed_provenance(array);
            let initialisers = std::slice::from_raw_parts(start, initialisers);
            *found.cast() = Some(Arrays { initialisers, finalisers, early_initialisers, debug });
        }
    }
    1 // the first object was the one: stop
}

/// What the loader keeps of one object: the public part of glibc's `link_map`.
#[repr(C)]
#[derive(Debug)]
struct LinkMap {
    address: usize,
    name: *const libc::c_char,
    dynamic: *const libc::c_void,
    next: *const LinkMap,
    previous: *const LinkMap,
}

/// The beginning of what the loader keeps for debuggers: `r_debug`.
#[repr(C)]
#[derive(Debug)]
struct Debug {
    version: libc::c_int,
    objects: *const LinkMap,
}

/// The objects that the program consists of at some moment.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) names: Vec<String>,
    last: *const LinkMap,
}

/// The objects that the program consists of now; `None` where the loader does not tell.
pub(crate) fn objects() -> Option<Objects> {
    let debug: *const Debug = ptr::with_exposed_provenance(arrays()?.debug);
    if debug.is_null() {
        return None;
    }
    let mut objects = Objects { names: Vec::new(), last: ptr::null() };
    // SAFETY: the loader has set DT_DEBUG to its `r_debug`, whose list of objects starts with the
    // program and ends with null. Names are C strings.
    unsafe {
        let mut object = (*debug).objects;
        while !object.is_null() {
            objects.names.push(CStr::from_ptr((*object).name).to_string_lossy().into_owned());
            objects.last = object;
            object = (*object).next;
        }
    }
    (!objects.last.is_null()).then_some(objects)
}

impl Objects {
    /// Whether no object has been loaded since, if the last one was the loader itself. Reads one
    /// word, and takes no lock.
    pub(crate) fn are_all(&self) -> bool {
        // SAFETY: the caller has seen that the last object is the loader, which is never unloaded;
        // new ones come after it. Volatile, since the loader changes the word without our knowing.
        unsafe { (&raw const (*self.last).next).read_volatile().is_null() }
    }
}

// SAFETY: the pointer is read as `are_all` explains, which any thread may do.
unsafe impl Send for Objects {}
// SAFETY: as above.
unsafe impl Sync for Objects {}
