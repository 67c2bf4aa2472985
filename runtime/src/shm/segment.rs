//! A segment: one piece of shared memory, as this process has it mapped.
//!
//! It is a sealed file in memory without a name. The kernel counts who has it, so nobody can
//! forget to delete it: when the last process that holds it has ended, it is gone.
//!
//! At its start is a [`Header`] that is written before anybody else sees the segment, and never
//! again, so that what is received can be checked before it is touched, and is mapped once if it is
//! received twice.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use nix::fcntl::SealFlag;

use super::header::{Contents, HEADER, Header};
use crate::error::{Error, Result};
use crate::sys::mapping::Mapping;
use crate::sys::{copies, memfd};

pub(crate) use super::header::Id;

/// Why something that was received is not the segment it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Foreign {
    #[error("it is not shared memory of this library")]
    NotOurs,
    #[error("it holds something else, or was made by another build of the program")]
    Other,
    #[error("it is shorter than what it should hold, or could become so")]
    Truncated,
    #[error("it could not be mapped: {0}")]
    Os(#[from] io::Error),
}

/// Whether processes may write to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    Writable,
}

impl Access {
    fn seals(self) -> SealFlag {
        match self {
            Self::ReadOnly => memfd::SEALED,
            Self::Writable => SealFlag::F_SEAL_SHRINK,
        }
    }
}

/// One piece of shared memory, mapped.
#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    /// Always there, but while it is exchanged.
    mapping: Option<Mapping>,
    header: Header,
    key: Key,
    in_use: InUse,
    /// Which copy of the process has mapped it.
    copy: u32,
    /// The other copies have not.
    left_out: AtomicBool,
}

/// Whether a segment must stay mapped although no handle is left.
pub(crate) type InUse = fn(&Segment) -> bool;

/// For segments that nobody can own anything in.
pub(crate) fn never(_: &Segment) -> bool {
    false
}

/// The file's device and inode.
type Key = (u64, u64);

/// What this process has mapped, so that nothing is mapped twice.
static MAPPED: LazyLock<Mutex<HashMap<Key, Weak<Segment>>>> = LazyLock::new(Mutex::default);

fn mapped() -> MutexGuard<'static, HashMap<Key, Weak<Segment>>> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Segment {
    /// Makes a segment of `len` bytes, for which `reserve` are kept in the address space, so that
    /// it can grow to that.
    ///
    /// Beyond the header it is all zeros.
    pub(crate) fn create(
        contents: Contents,
        len: usize,
        reserve: usize,
        in_use: InUse,
        place: &Location<'_>,
    ) -> Result<Arc<Self>> {
        let failed = |error: nix::Error| Error::shared_memory(len, error);
        let file = memfd::create("offspring-shared").map_err(failed)?;
        memfd::allocate(file.as_fd(), len).map_err(failed)?;
        memfd::seal(file.as_fd(), Access::Writable.seals()).map_err(failed)?;
        let header = Header { contents, id: Id::new(), place: place.to_string() };
        let file = File::from(file);
        file.write_all_at(&header.encode(), 0).map_err(|error| Error::os(MAKING, error))?;
        let mapping = Mapping::writable(file.as_fd(), reserve.max(len)).map_err(failed)?;
        Self::enlist(file, mapping, header, in_use).map_err(failed)
    }

    /// Makes a read-only segment of the bytes that `write` puts into its file, after the header and
    /// up to `offset` zeros. It tells how many elements they are.
    pub(crate) fn create_read_only(
        fingerprint: u64,
        offset: usize,
        place: &Location<'_>,
        write: impl FnOnce(&File) -> io::Result<usize>,
    ) -> Result<Arc<Self>> {
        let failed = |error: io::Error| Error::os(MAKING, error);
        let mut file = File::from(memfd::create("offspring-shared").map_err(|e| failed(e.into()))?);
        memfd::fits(offset).map_err(|error| failed(error.into()))?;
        io::Write::write_all(&mut file, &vec![0; offset]).map_err(failed)?;
        let len = write(&file).map_err(failed)?;
        let contents = Contents { fingerprint, len };
        let header = Header { contents, id: Id::new(), place: place.to_string() };
        file.write_all_at(&header.encode(), 0).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len() as usize;
        memfd::seal(file.as_fd(), Access::ReadOnly.seals()).map_err(|e| failed(e.into()))?;
        let mapping = Mapping::read_only(file.as_fd(), size).map_err(|e| failed(e.into()))?;
        Self::enlist(file, mapping, header, never).map_err(|error| Error::os(MAKING, error))
    }

    /// Maps what was received, unless this process has it mapped already.
    ///
    /// `size` says how many bytes are needed for, and how many are to be reserved for, so many
    /// elements; `None` for a number that cannot be.
    pub(crate) fn adopt(
        file: OwnedFd,
        fingerprint: u64,
        access: Access,
        size: impl FnOnce(usize) -> Option<(usize, usize)>,
        in_use: InUse,
    ) -> Result<Arc<Self>, Foreign> {
        let file = File::from(file);
        let Some(actual) = memfd::sealed_len(file.as_fd(), access.seals()) else {
            return Err(Foreign::NotOurs);
        };
        let mut bytes = [0; HEADER];
        file.read_exact_at(&mut bytes, 0).map_err(|_| Foreign::Truncated)?;
        let header = Header::decode(&bytes).ok_or(Foreign::NotOurs)?;
        if header.contents.fingerprint != fingerprint {
            return Err(Foreign::Other);
        }
        let (len, reserve) = size(header.contents.len).ok_or(Foreign::Truncated)?;
        if actual < len as u64 {
            return Err(Foreign::Truncated);
        }
        let key = key(&file)?;
        if let Some(known) = Self::known(&key, header.id) {
            return Ok(known);
        }
        let mapping = match access {
            Access::ReadOnly => Mapping::read_only(file.as_fd(), len),
            Access::Writable => Mapping::writable(file.as_fd(), reserve.max(len)),
        };
        Ok(Self::enlist(file, mapping.map_err(io::Error::from)?, header, in_use)
            .map_err(io::Error::from)?)
    }

    fn enlist(
        file: File,
        mapping: Mapping,
        header: Header,
        in_use: InUse,
    ) -> nix::Result<Arc<Self>> {
        let key = key(&file).map_err(|_| nix::Error::last())?;
        copies::watch();
        let (id, copy) = (header.id, copies::count());
        let segment = Arc::new(Self {
            file,
            mapping: Some(mapping),
            header,
            key,
            in_use,
            copy,
            left_out: AtomicBool::new(false),
        });
        // Looked for and entered at once: were it mapped twice, a lock would be taken at one address
        // and given back at another.
        let mut table = mapped();
        let known = table.get(&key).and_then(Weak::upgrade);
        if let Some(known) = &known
            && known.header.id == id
            && known.is_mapped()
        {
            let known = Arc::clone(known);
            drop(table); // before `segment`, which takes it
            return Ok(known);
        }
        table.insert(key, Arc::downgrade(&segment));
        drop(table); // before `known`, which may be the last to let go of another
        Ok(segment)
    }

    /// Makes a segment one that nobody can write to, with other contents by its header. Gives it
    /// back if somebody has it mapped for writing, or a handle is left here; unless it then cannot
    /// be mapped any more.
    pub(crate) fn freeze(
        segment: Arc<Self>,
        fingerprint: u64,
    ) -> Result<Arc<Self>, (Option<Arc<Self>>, Error)> {
        let failed = |error: io::Error| Error::os("make shared memory read-only", error);
        let mut segment = Arc::try_unwrap(segment)
            .map_err(|held| (Some(held), failed(nix::Error::EBUSY.into())))?;
        let len = segment.mapping().len();
        let before = segment.header.contents.fingerprint;
        segment.mapping = None;
        let sealed = segment.write_fingerprint(fingerprint).and_then(|()| {
            memfd::seal(segment.as_fd(), Access::ReadOnly.seals()).map_err(io::Error::from)
        });
        match sealed {
            Ok(()) => match Mapping::read_only(segment.as_fd(), len) {
                Ok(mapping) => Ok(segment.enlisted_again(mapping)),
                Err(error) => Err((None, failed(error.into()))),
            },
            Err(error) => {
                let back = segment.write_fingerprint(before);
                let mapping = back.and_then(|()| Ok(Mapping::writable(segment.as_fd(), len)?));
                Err((mapping.ok().map(|mapping| segment.enlisted_again(mapping)), failed(error)))
            }
        }
    }

    fn write_fingerprint(&mut self, fingerprint: u64) -> io::Result<()> {
        self.header.contents.fingerprint = fingerprint;
        self.file.write_all_at(&self.header.encode(), 0)
    }

    fn enlisted_again(mut self, mapping: Mapping) -> Arc<Self> {
        self.mapping = Some(mapping);
        self.left_out = AtomicBool::new(false);
        let key = self.key;
        let segment = Arc::new(self);
        mapped().insert(key, Arc::downgrade(&segment));
        segment
    }

    /// What this process has mapped already of this file.
    fn known(key: &Key, id: Id) -> Option<Arc<Self>> {
        // The table is free again before anything is dropped, which takes it.
        let known = mapped().get(key).and_then(Weak::upgrade);
        known.filter(|known| known.header.id == id && known.is_mapped())
    }

    /// Where it begins. What lies beyond what it was made or checked for must not be touched
    /// before [`grow`](Self::grow) has said that it is there.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.mapping().start()
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        self.mapping.as_ref().expect("a segment is mapped")
    }

    pub(crate) fn len(&self) -> usize {
        self.header.contents.len
    }

    pub(crate) fn id(&self) -> Id {
        self.header.id
    }

    /// Where in the program it was made, as `file:line:column`.
    pub(crate) fn place(&self) -> &str {
        &self.header.place
    }

    /// Whether its file is at least this long.
    pub(crate) fn holds(&self, len: usize) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() >= len as u64)
    }

    /// Whether a fork of this process has it mapped as well, from now on.
    pub(crate) fn leave_out_of_forks(&self, leave_out: bool) {
        self.left_out.store(leave_out, Ordering::Relaxed);
        self.mapping().leave_out_of_forks(leave_out);
    }

    /// Whether it is mapped in this copy of the process.
    fn is_mapped(&self) -> bool {
        self.copy == copies::count() || !self.left_out.load(Ordering::Relaxed)
    }

    /// What people are told of it: `Mutex #17 of process 4711, made at src/main.rs:12:5`.
    pub(crate) fn describe(&self, what: &str) -> String {
        format!("{what} {}, made at {}", self.id(), self.place())
    }

    /// Has the first `len` bytes be there. Any number of processes may do so at once.
    pub(crate) fn grow(&self, len: usize) -> Result<()> {
        if len > self.mapping().len() {
            return Err(Error::shared_memory(len, nix::Error::ENOMEM));
        }
        memfd::allocate(self.file.as_fd(), len).map_err(|error| Error::shared_memory(len, error))
    }
}

/// Leaves out of a fork of this process what a thread of it owns something in, until this is dropped.
///
/// The child would have a copy of the guard, or of what it has borrowed, as long as they are in statics
/// or leaked. If it uses them it faults. The locks themselves it can use, if it is sent a handle.
#[derive(Debug)]
pub(crate) struct Hidden(Vec<Arc<Segment>>);

/// See [`Hidden`].
pub(crate) fn hide_what_is_owned() -> Hidden {
    let all: Vec<_> = mapped().values().filter_map(Weak::upgrade).collect();
    let owned: Vec<_> = all.into_iter().filter(|segment| (segment.in_use)(segment)).collect();
    owned.iter().for_each(|segment| segment.leave_out_of_forks(true));
    Hidden(owned)
}

impl Drop for Hidden {
    fn drop(&mut self) {
        self.0.iter().for_each(|segment| segment.leave_out_of_forks(false));
    }
}

const MAKING: &str = "make shared memory";

fn key(file: &File) -> io::Result<Key> {
    let stat = nix::sys::stat::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let mut mapped = mapped();
        // Unless another segment has taken its place, or a thread has just mapped it anew.
        if mapped.get(&self.key).is_some_and(|known| known.strong_count() == 0) {
            mapped.remove(&self.key);
        }
        drop(mapped);
        // (In a copy of the process nobody owns anything, and it may not even be mapped.)
        if self.copy == copies::count() && self.mapping.is_some() && (self.in_use)(self) {
            std::mem::forget(self.mapping.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;

    const CONTENTS: Contents = Contents { fingerprint: 7, len: 3 };

    fn segment(len: usize) -> Arc<Segment> {
        Segment::create(CONTENTS, len, 2 * len, never, Location::caller()).unwrap()
    }

    fn adopt(file: OwnedFd, fingerprint: u64, needed: usize) -> Result<Arc<Segment>, Foreign> {
        let size = |_| Some((needed, needed));
        Segment::adopt(file, fingerprint, Access::Writable, size, never)
    }

    #[test]
    fn what_arrives_twice_is_mapped_once() {
        let segment = segment(4096);
        let again = adopt(segment.file.try_clone().unwrap().into(), 7, 4096).unwrap();
        assert_eq!(again.start(), segment.start());
        assert!(Arc::ptr_eq(&again, &segment));
    }

    #[test]
    fn a_segment_whose_handles_are_gone_is_mapped_anew() {
        let segment = segment(4096);
        let file: OwnedFd = segment.file.try_clone().unwrap().into();
        let (key, id) = (segment.key, segment.id());
        drop(segment);
        assert!(!mapped().contains_key(&key));
        assert_eq!(adopt(file, 7, 4096).unwrap().id(), id);
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let other = adopt(segment(4096).file.try_clone().unwrap().into(), 8, 4096);
        assert!(matches!(other, Err(Foreign::Other)), "{other:?}");

        let short = adopt(segment(4096).file.try_clone().unwrap().into(), 7, 4097);
        assert!(matches!(short, Err(Foreign::Truncated)), "{short:?}");

        let unsealed = memfd::create("unsealed").unwrap();
        memfd::allocate(unsealed.as_fd(), 4096).unwrap();
        let unsealed = adopt(unsealed, 7, 4096);
        assert!(matches!(unsealed, Err(Foreign::NotOurs)), "{unsealed:?}");

        let foreign = memfd::create("foreign").unwrap();
        memfd::allocate(foreign.as_fd(), 4096).unwrap();
        memfd::seal(foreign.as_fd(), SealFlag::F_SEAL_SHRINK).unwrap();
        let foreign = adopt(foreign, 7, 4096);
        assert!(matches!(foreign, Err(Foreign::NotOurs)), "{foreign:?}");

        let empty = memfd::create("empty").unwrap();
        memfd::seal(empty.as_fd(), SealFlag::F_SEAL_SHRINK).unwrap();
        let empty = adopt(empty, 7, 4096);
        assert!(matches!(empty, Err(Foreign::Truncated)), "{empty:?}");

        let pipe = std::io::pipe().unwrap().0;
        let pipe = adopt(pipe.into(), 7, 4096);
        assert!(matches!(pipe, Err(Foreign::NotOurs)), "{pipe:?}");
    }

    #[test]
    fn a_segment_grows_within_what_was_reserved() {
        let segment = segment(4096);
        assert!(!segment.holds(8192));
        segment.grow(8192).unwrap();
        assert!(segment.holds(8192));
        segment.grow(100).unwrap();
        assert!(segment.holds(8192), "it never shrinks");
        assert!(matches!(segment.grow(8193), Err(Error::SharedMemory { len: 8193, .. })));
    }
}
