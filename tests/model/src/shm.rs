//! Objects in shared memory, which here is the heap.

include!(concat!(env!("OUT_DIR"), "/library/shm.rs"));

pub(crate) use shareable::{Shareable, Zeroable};

pub(crate) mod segment {
    //! What tells one object from another.

    /// In the order in which they were made.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) struct Id(pub(super) u64);

    impl Id {
        pub(crate) fn to_words(self) -> [u64; 2] {
            [self.0 + 1, 1]
        }
    }

    #[derive(Debug)]
    pub(crate) struct Segment {
        pub(super) id: Id,
        pub(super) place: String,
    }

    impl Segment {
        pub(crate) fn id(&self) -> Id {
            self.id
        }

        pub(crate) fn place(&self) -> &str {
            &self.place
        }

        pub(crate) fn describe(&self, what: &str) -> String {
            format!("{what} #{} made at {}", self.id.0, self.place)
        }
    }
}

pub(crate) mod object {
    //! An object with its state, its content, and elements at its end.

    use std::alloc::{Layout, alloc_zeroed};
    use std::fmt;
    use std::panic::Location;
    use std::ptr::NonNull;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::segment::{Id, Segment};
    use super::shareable::{Shareable, Zeroable};
    use crate::error::{Error, Result};
    use crate::kernel;

    /// As the library's.
    ///
    /// # Safety
    /// As the library's.
    pub unsafe trait Content: Shareable {}
    // SAFETY: it promises nothing here.
    unsafe impl<T: Shareable> Content for T {}
    // SAFETY: as above.
    unsafe impl<T: Shareable> Content for [T] {}

    /// As the library's.
    pub(crate) trait Kind: 'static {
        const NAME: &'static str;
        type Tail: Sync;
        const TAIL_MAX: usize = 0;

        fn tail_len(&self) -> usize {
            0
        }

        fn check() -> Result<()> {
            Ok(())
        }

        fn is_owned_here(&self, _tail: &[Self::Tail]) -> bool {
            false
        }
    }

    /// The most elements at the end of an object. There is room for so many from the start, as
    /// there is in the library, where the room is reserved in the address space.
    const TAIL: usize = 32;

    pub(crate) struct Object<S, T: ?Sized> {
        segment: Arc<Segment>,
        state: NonNull<S>,
        content: NonNull<T>,
        tail: NonNull<u8>,
    }

    // SAFETY: as in the library.
    unsafe impl<S: Sync, T: ?Sized + Send> Send for Object<S, T> {}
    // SAFETY: as in the library.
    unsafe impl<S: Sync, T: ?Sized + Send> Sync for Object<S, T> {}

    impl<S, T: ?Sized> Clone for Object<S, T> {
        fn clone(&self) -> Self {
            Self { segment: Arc::clone(&self.segment), ..*self }
        }
    }

    impl<S: Kind, T: ?Sized> Object<S, T> {
        fn with(state: S, content: NonNull<T>, place: &Location<'_>) -> Result<Self> {
            S::check()?;
            let segment = Segment { id: Id(kernel::next_id()), place: place.to_string() };
            let state = kernel::keep(Box::new(state));
            // Zeros, as new shared memory is.
            let tail = kernel::keep_zeroed(Layout::array::<S::Tail>(TAIL).unwrap());
            Ok(Self { segment: Arc::new(segment), state, content, tail })
        }

        pub(crate) fn tail(&self) -> &[S::Tail] {
            let len = self.state().tail_len();
            assert!(len <= TAIL);
            // SAFETY: there are so many, zeroed, until the end of the execution.
            unsafe { NonNull::slice_from_raw_parts(self.tail.cast(), len).as_ref() }
        }

        pub(crate) fn grow_tail(&self, len: usize) -> Result<()> {
            let max = S::TAIL_MAX.min(TAIL);
            if len > max { Err(Error::TooLarge { what: S::NAME.into(), len, max }) } else { Ok(()) }
        }
    }

    impl<S: Kind, T: Shareable> Object<S, T> {
        pub(crate) fn new(state: S, value: T, place: &Location<'_>) -> Result<Self> {
            Self::with(state, kernel::keep(Box::new(value)), place)
        }
    }

    impl<S: Kind, T: Shareable> Object<S, [T]> {
        pub(crate) fn from_fn(
            state: S,
            len: usize,
            place: &Location<'_>,
            element: impl FnMut(usize) -> T,
        ) -> Result<Self> {
            Self::with(state, kernel::keep((0..len).map(element).collect::<Box<[T]>>()), place)
        }

        pub(crate) fn zeroed(_state: S, _len: usize, _place: &Location<'_>) -> Result<Self>
        where
            T: Zeroable,
        {
            unimplemented!("nothing of the model is made of zeros")
        }

        pub(crate) fn from_slice(state: S, values: &[T], place: &Location<'_>) -> Result<Self>
        where
            T: Copy,
        {
            Self::with(state, kernel::keep(Box::from(values)), place)
        }
    }

    impl<S, T: ?Sized> Object<S, T> {
        pub(crate) fn state(&self) -> &S {
            // SAFETY: it is kept until the end of the execution.
            unsafe { self.state.as_ref() }
        }

        pub(crate) fn content(&self) -> NonNull<T> {
            self.content
        }

        pub(crate) fn segment(&self) -> &Arc<Segment> {
            &self.segment
        }

        pub(crate) fn id(&self) -> Id {
            self.segment.id()
        }

        pub(crate) fn place(&self) -> &str {
            self.segment.place()
        }
    }

    impl<S, T: ?Sized> Serialize for Object<S, T> {
        fn serialize<Z: Serializer>(&self, _serializer: Z) -> Result<Z::Ok, Z::Error> {
            unimplemented!("nothing is sent in the model")
        }
    }

    impl<'de, S, T: ?Sized> Deserialize<'de> for Object<S, T> {
        fn deserialize<D: Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
            unimplemented!("nothing is received in the model")
        }
    }
}
