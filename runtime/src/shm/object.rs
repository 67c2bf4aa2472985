//! An object in a segment: its state, the value that it is about, and room that can grow.
//!
//! ```text
//! | header | state: S | content: T | tail: zeros, may grow |
//! ```
//!
//! Everything the locks and the shared values do with raw addresses is in here.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::header::{Contents, HEADER, Id, MAX_ALIGN};
use super::segment::{Access, Foreign, Segment};
use super::shareable::{Shareable, Zeroable};
use crate::error::{Error, Result};
use crate::sys;
use crate::wire;

/// What the content of an object can be: a `T`, or a slice of them.
///
/// # Safety
/// `at` gives a pointer to a value of this type if `start` points to `len` initialised elements.
#[allow(unreachable_pub)] // named in the bounds of public types
pub unsafe trait Content: Shareable {
    type Element: Shareable;

    /// A pointer to the content whose first element is at `start`.
    fn at(start: NonNull<Self::Element>, len: usize) -> NonNull<Self>;
}

// SAFETY: one element is the value.
unsafe impl<T: Shareable> Content for T {
    type Element = T;

    fn at(start: NonNull<T>, _len: usize) -> NonNull<T> {
        start
    }
}

// SAFETY: so many elements in a row are a slice.
unsafe impl<T: Shareable> Content for [T] {
    type Element = T;

    fn at(start: NonNull<T>, len: usize) -> NonNull<[T]> {
        NonNull::slice_from_raw_parts(start, len)
    }
}

/// What lies where in a segment.
#[derive(Debug, Clone, Copy)]
struct Layout {
    state: usize,
    content: usize,
    /// Where the content ends, and where the tail begins.
    end: usize,
    tail: usize,
}

/// The most elements of a type that fit into any memory.
fn max_len<T>() -> usize {
    isize::MAX as usize / 2 / size_of::<T>().max(1)
}

impl Layout {
    /// `None` if no memory is so large.
    fn of<S, T: ?Sized + Content>(len: usize) -> Option<Self> {
        const {
            assert!(align_of::<S>() <= MAX_ALIGN && align_of::<T::Element>() <= MAX_ALIGN);
        }
        if len > max_len::<T::Element>() {
            return None;
        }
        let state = HEADER.next_multiple_of(align_of::<S>());
        let content = (state + size_of::<S>()).next_multiple_of(align_of::<T::Element>());
        let end = content + len * size_of::<T::Element>();
        Some(Self { state, content, end, tail: end.next_multiple_of(64) })
    }
}

/// The state of an object: what kind of thing it is. Every process changes it through shared
/// references only, and it must be valid whatever a process that is killed leaves of it.
pub(crate) trait Kind: 'static {
    /// As the program knows it, for errors: `Mutex`.
    const NAME: &'static str;
    /// What the room at the end is divided into. All zeros must be a value of it.
    type Tail: Sync;
    /// How many of them it can have.
    const TAIL_MAX: usize = 0;

    /// How many of them there are, in every process: [grown](Object::grow_tail) before it is said.
    fn tail_len(&self) -> usize {
        0
    }

    /// Whether processes may write to it.
    const ACCESS: Access = Access::Writable;

    /// Asked before one is made or received.
    fn check() -> Result<()> {
        Ok(())
    }

    /// Whether a thread of this process owns a word in it: its memory must then stay mapped,
    /// although no handle is left, because a guard was leaked.
    fn is_owned_here(&self, _tail: &[Self::Tail]) -> bool {
        false
    }
}

/// A handle to an object in shared memory.
pub(crate) struct Object<S, T: ?Sized> {
    segment: Arc<Segment>,
    state: NonNull<S>,
    content: NonNull<T>,
    tail: usize,
}

// SAFETY: it gives out nothing but `&S` and a pointer to the content: what that is used for is
// argued where it is.
unsafe impl<S: Sync, T: ?Sized + Send> Send for Object<S, T> {}
// SAFETY: as above.
unsafe impl<S: Sync, T: ?Sized + Send> Sync for Object<S, T> {}

impl<S, T: ?Sized> Clone for Object<S, T> {
    fn clone(&self) -> Self {
        Self { segment: Arc::clone(&self.segment), ..*self }
    }
}

impl<S, T: ?Sized> fmt::Debug for Object<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("segment", &self.segment).finish_non_exhaustive()
    }
}

fn fingerprint<S: Kind, T: ?Sized + Content>() -> u64 {
    let mut hasher = DefaultHasher::new();
    // A type's number is another in each build of a program.
    (env!("CARGO_PKG_VERSION"), TypeId::of::<S>(), TypeId::of::<T>()).hash(&mut hasher);
    (size_of::<S>(), size_of::<T::Element>(), align_of::<T::Element>()).hash(&mut hasher);
    hasher.finish()
}

impl<S: Kind, T: Shareable> Object<S, T> {
    /// Puts `state` and `value` into shared memory.
    pub(crate) fn new(state: S, value: T, place: &Location<'_>) -> Result<Self> {
        let () = T::HAS_NO_DESTRUCTOR;
        let object = Self::allocate(state, 1, place)?;
        // SAFETY: there is room for it, which nobody else sees yet.
        unsafe { object.content.write(value) };
        Ok(object)
    }
}

impl<S: Kind, T: Shareable> Object<S, [T]> {
    /// Puts `state` and `len` values, which `element` makes, into shared memory.
    pub(crate) fn from_fn(
        state: S,
        len: usize,
        place: &Location<'_>,
        mut element: impl FnMut(usize) -> T,
    ) -> Result<Self> {
        let () = T::HAS_NO_DESTRUCTOR;
        let object = Self::allocate(state, len, place)?;
        for index in 0..len {
            // SAFETY: as above, for one of `len` elements.
            unsafe { object.content.cast::<T>().add(index).write(element(index)) };
        }
        Ok(object)
    }

    /// Puts `state` and a copy of `values` into shared memory.
    pub(crate) fn from_slice(state: S, values: &[T], place: &Location<'_>) -> Result<Self>
    where
        T: Copy,
    {
        let object = Self::allocate(state, values.len(), place)?;
        // SAFETY: there is room for them, which nobody else sees yet, and they are plain.
        unsafe {
            ptr::copy_nonoverlapping(values.as_ptr(), object.content.cast().as_ptr(), values.len());
        }
        Ok(object)
    }

    /// Puts `state` and `len` values whose bytes are all zero into shared memory.
    pub(crate) fn zeroed(state: S, len: usize, place: &Location<'_>) -> Result<Self>
    where
        T: Zeroable,
    {
        let () = T::HAS_NO_DESTRUCTOR;
        Self::allocate(state, len, place)
    }
}

impl<S: Kind + Default, T: Shareable + Copy> Object<S, [T]> {
    /// Puts values into shared memory that nobody can write to. The state has no bytes.
    pub(crate) fn read_only(
        place: &Location<'_>,
        write: impl FnOnce(&mut Writer<'_, T>) -> io::Result<()>,
    ) -> Result<Self> {
        const { assert!(size_of::<S>() == 0) };
        let layout = Layout::of::<S, [T]>(0).expect("nothing fits");
        let fingerprint = fingerprint::<S, [T]>();
        let segment = Segment::create_read_only(fingerprint, layout.content, place, |file| {
            let mut writer = Writer::new(file);
            write(&mut writer)?;
            writer.finish()
        })?;
        Ok(Self::in_segment(segment, layout))
    }

    /// Makes an object of another kind, which has the same elements and no other state, one that
    /// nobody can write to any more. Gives it back if somebody can, as far as that is possible.
    pub(crate) fn freeze<K: Kind>(object: Object<K, [T]>) -> Result<Self, NotFrozen<K, T>> {
        const { assert!(size_of::<S>() == 0 && size_of::<K>() == 0) };
        let len = object.segment.len();
        let layout = Layout::of::<S, [T]>(len).expect("it was computed before");
        match Segment::freeze(object.segment, fingerprint::<S, [T]>()) {
            Ok(segment) => Ok(Self::in_segment(segment, layout)),
            Err((segment, error)) => {
                Err((segment.map(|segment| Object::in_segment(segment, layout)), error))
            }
        }
    }
}

/// What was not frozen, as far as it is still there, and why.
type NotFrozen<K, T> = (Option<Object<K, [T]>>, Error);

/// Writes values to the file of a segment, a good many at a time.
pub(crate) struct Writer<'a, T> {
    file: &'a File,
    buffer: Vec<T>,
    written: usize,
    limit: u64,
}

impl<'a, T: Copy> Writer<'a, T> {
    const BUFFERED: usize = 64 << 10;

    fn new(file: &'a File) -> Self {
        let limit = getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft);
        Self { file, buffer: Vec::new(), written: 0, limit }
    }

    pub(crate) fn push(&mut self, value: T) -> io::Result<()> {
        self.buffer.push(value);
        if self.buffer.len() * size_of::<T>() >= Self::BUFFERED { self.flush() } else { Ok(()) }
    }

    pub(crate) fn write(&mut self, values: &[T]) -> io::Result<()> {
        self.flush()?;
        self.write_out(values)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write_out(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    fn write_out(&mut self, values: &[T]) -> io::Result<()> {
        self.written += values.len();
        let end =
            self.written.checked_mul(size_of::<T>()).and_then(|end| end.checked_add(MAX_ALIGN));
        // A write beyond the limit would end this process by a signal.
        if end.is_none_or(|end| end as u64 > self.limit) {
            return Err(nix::Error::EFBIG.into());
        }
        // By address, as a slice of bytes must not have padding in it, and values may.
        let mut rest = (values.as_ptr().cast::<u8>(), size_of_val(values));
        while rest.1 > 0 {
            // SAFETY: so many bytes are there, and the kernel reads them only.
            let done = unsafe { sys::fd::write_raw(self.file.as_fd(), rest.0, rest.1)? };
            // SAFETY: no more than were there have been written.
            rest = (unsafe { rest.0.add(done) }, rest.1 - done);
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<usize> {
        self.flush()?;
        Ok(self.written)
    }
}

impl<S: Kind, T: ?Sized + Content> Object<S, T> {
    /// An object with its state, and zeros for its content.
    fn allocate(state: S, len: usize, place: &Location<'_>) -> Result<Self> {
        S::check()?;
        let too_large = || Error::TooLarge {
            what: "elements in shared memory".into(),
            len,
            max: max_len::<T::Element>(),
        };
        let layout = Layout::of::<S, T>(len).ok_or_else(too_large)?;
        let contents = Contents { fingerprint: fingerprint::<S, T>(), len };
        let segment = Segment::create(
            contents,
            layout.tail + state.tail_len() * size_of::<S::Tail>(),
            Self::reserve(layout),
            Self::is_owned_here,
            place,
        )?;
        let object = Self::in_segment(segment, layout);
        // SAFETY: there is room for it at this address, which nobody else sees yet.
        unsafe { object.state.write(state) };
        Ok(object)
    }

    fn reserve(layout: Layout) -> usize {
        layout.tail + S::TAIL_MAX * size_of::<S::Tail>()
    }

    /// A segment that holds such an object, as far as its header and its length tell.
    fn in_segment(segment: Arc<Segment>, layout: Layout) -> Self {
        // SAFETY: the layout is within the segment: so long was it made, or found to be.
        let (state, start) = unsafe {
            (segment.start().add(layout.state).cast(), segment.start().add(layout.content).cast())
        };
        let content = T::at(start, segment.len());
        Self { segment, state, content, tail: layout.tail }
    }

    /// Whether a thread of this process owns a word in this segment.
    fn is_owned_here(segment: &Segment) -> bool {
        let layout = Layout::of::<S, T>(segment.len()).expect("it was computed before");
        // SAFETY: the state was written when the object was made, the tail is as long as it says,
        // and the segment is still mapped.
        unsafe {
            let state = segment.start().add(layout.state).cast::<S>().as_ref();
            let tail = segment.start().add(layout.tail).cast();
            state.is_owned_here(NonNull::slice_from_raw_parts(tail, state.tail_len()).as_ref())
        }
    }
}

impl<S: Kind, T: ?Sized + Content> Serialize for Object<S, T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        wire::serialize_fd(self.segment.as_fd(), S::NAME, serializer)
    }
}

impl<'de, S: Kind, T: ?Sized + Content> Deserialize<'de> for Object<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = wire::deserialize_fd(S::NAME, deserializer)?;
        Self::adopt(file).map_err(D::Error::custom)
    }
}

impl<S: Kind, T: ?Sized + Content> Object<S, T> {
    /// The object that another process has sent this file for; or why it is none.
    pub(crate) fn adopt(file: OwnedFd) -> Result<Self, String> {
        S::check().map_err(|error| error.to_string())?;
        let sizes = |len| {
            let layout = Layout::of::<S, T>(len)?;
            Some((layout.end, Self::reserve(layout)))
        };
        let wrong = |error: Foreign| format!("what came is no {}: {error}", S::NAME);
        let fingerprint = fingerprint::<S, T>();
        let segment = Segment::adopt(file, fingerprint, S::ACCESS, sizes, Self::is_owned_here)
            .map_err(wrong)?;
        let layout = Layout::of::<S, T>(segment.len()).expect("it was computed before");
        let object = Self::in_segment(segment, layout);
        let tail = object.state().tail_len();
        let holds = || object.segment.holds(layout.tail + tail * size_of::<S::Tail>());
        if tail > S::TAIL_MAX || tail > 0 && !holds() {
            return Err(wrong(Foreign::Truncated));
        }
        Ok(object)
    }
}

impl<S, T: ?Sized> Object<S, T> {
    #[inline]
    pub(crate) fn state(&self) -> &S {
        // SAFETY: it was written when the object was made, and the segment is mapped for as long as
        // this value lives. Others change it only through shared references, as S allows.
        unsafe { self.state.as_ref() }
    }

    /// The content, which lives as long as this value. Who may touch it, and when, is the business
    /// of what the object is.
    #[inline]
    pub(crate) fn content(&self) -> NonNull<T> {
        self.content
    }

    #[inline]
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(crate) fn id(&self) -> Id {
        self.segment.id()
    }

    /// Where in the program it was made.
    pub(crate) fn place(&self) -> &str {
        self.segment.place()
    }
}

impl<S: Kind, T: ?Sized> Object<S, T> {
    /// The elements at the end, as many as there are now.
    #[inline]
    pub(crate) fn tail(&self) -> &[S::Tail] {
        const { assert!(align_of::<S::Tail>() <= 64) };
        // SAFETY: so much is there, as the state says, zeroed at first and aligned, for as long as
        // the segment is mapped.
        unsafe {
            let start = self.segment.start().add(self.tail).cast();
            // (Another process may have written anything there. What is not there is a fault then.)
            let len = self.state().tail_len().min(S::TAIL_MAX);
            NonNull::slice_from_raw_parts(start, len).as_ref()
        }
    }

    /// Has there be room for so many elements at the end; the state may then say that there are.
    pub(crate) fn grow_tail(&self, len: usize) -> Result<()> {
        if len > S::TAIL_MAX {
            return Err(Error::TooLarge { what: S::NAME.into(), len, max: S::TAIL_MAX });
        }
        self.segment.grow(self.tail + len * size_of::<S::Tail>())
    }
}
