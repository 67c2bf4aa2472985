//! What the locks ask of the system: the library's own lists of owned words, on the model's kernel.

include!(concat!(env!("OUT_DIR"), "/library/sys.rs"));

pub(crate) mod futex {
    pub(crate) use crate::kernel::{MAX_WATCHED, wait, wait_any, wake};
}

pub(crate) mod copies {
    /// No process of the model is a copy of another.
    pub(crate) fn watch() {}
}

pub(crate) mod startup {
    pub(crate) fn thread_name() -> String {
        "model".to_owned()
    }
}

pub(crate) mod threads {
    use crate::kernel;

    /// Whether the thread is ending, or has ended.
    pub(crate) fn has_ended(_pid: u32, tid: u32) -> Option<bool> {
        Some(kernel::deaths().iter().any(|death| death.tid == tid))
    }
}
