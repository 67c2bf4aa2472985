//! A list of bounded length.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{CapacityError, stored, used};
use crate::shm::Shareable;

/// A list of at most `N` elements, which lies in the place where it is, and so may live in shared
/// memory.
///
/// It is a slice, by `Deref`. Growing it fails when it is full.
///
/// ```
/// use offspring::shm::ArrayVec;
///
/// let mut primes = ArrayVec::<u32, 4>::new();
/// primes.push(3)?;
/// primes.push(2)?;
/// primes.sort();
///
/// assert_eq!(primes, [2, 3]);
/// assert_eq!(primes.iter().sum::<u32>(), 5);
/// assert_eq!(primes.capacity(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// All places are filled from the beginning, with `T::default()` or with what is given to
/// [`with_filler`](Self::with_filler): when a process is killed in the middle of a change, others
/// may see an element that was not pushed, but never one that is no `T`.
///
/// In Python: `multiprocessing.shared_memory.ShareableList`, whose length is fixed when it is made,
/// and `multiprocessing.Array`.
#[derive(Clone, Copy, offspring_macros::Shareable, offspring_macros::Zeroable)]
#[shareable(crate = crate)]
pub struct ArrayVec<T, const N: usize> {
    /// May be anything, as may be seen of a list at whose change a process was killed.
    pub(super) len: u32,
    pub(super) places: [T; N],
}

impl<T: Shareable + Copy, const N: usize> ArrayVec<T, N> {
    const CAPACITY: () = assert!(N <= u32::MAX as usize, "an `ArrayVec` of more than 4 billion");

    /// An empty list.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// assert!(ArrayVec::<u64, 8>::new().is_empty());
    /// ```
    pub fn new() -> Self
    where
        T: Default,
    {
        Self::with_filler(T::default())
    }

    /// An empty list of a type without a default. The filler is what the unused places hold.
    ///
    /// ```
    /// use offspring::shm::{ArrayVec, Shareable};
    ///
    /// #[derive(Clone, Copy, Shareable)]
    /// enum Step {
    ///     Left,
    ///     Right,
    /// }
    ///
    /// const NO_STEPS: ArrayVec<Step, 100> = ArrayVec::with_filler(Step::Left);
    /// assert!(NO_STEPS.is_empty());
    /// # let _ = Step::Right;
    /// ```
    pub const fn with_filler(filler: T) -> Self {
        let () = Self::CAPACITY;
        Self { len: 0, places: [filler; N] }
    }

    /// Appends an element.
    ///
    /// # Errors
    /// The list is full. The error holds the element.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::<u8, 1>::new();
    /// assert!(list.push(1).is_ok());
    /// assert_eq!(list.push(2).unwrap_err().into_inner(), 2);
    /// ```
    pub const fn push(&mut self, element: T) -> Result<(), CapacityError<T>> {
        let () = Self::CAPACITY;
        let len = self.len();
        if len == N {
            return Err(CapacityError::new(element, N + 1, N));
        }
        self.places[len] = element;
        self.len = stored(len + 1);
        Ok(())
    }

    /// Appends all of a slice, or nothing of it.
    ///
    /// # Errors
    /// There is not enough room.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::<u8, 3>::new();
    /// list.extend_from_slice(&[1, 2])?;
    /// assert!(list.extend_from_slice(&[3, 4]).is_err());
    /// assert_eq!(list, [1, 2]);
    /// # Ok::<(), offspring::shm::CapacityError>(())
    /// ```
    pub const fn extend_from_slice(&mut self, elements: &[T]) -> Result<(), CapacityError> {
        let () = Self::CAPACITY;
        let len = self.len();
        let needed = len.saturating_add(elements.len());
        if needed > N {
            return Err(CapacityError::new((), needed, N));
        }
        self.places.split_at_mut(len).1.split_at_mut(elements.len()).0.copy_from_slice(elements);
        self.len = stored(needed);
        Ok(())
    }

    /// Takes the last element off.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::from([1]);
    /// assert_eq!(list.pop(), Some(1));
    /// assert_eq!(list.pop(), None);
    /// ```
    pub const fn pop(&mut self) -> Option<T> {
        match self.len() {
            0 => None,
            len => {
                self.len = stored(len - 1);
                Some(self.places[len - 1])
            }
        }
    }

    /// Puts an element at `index`; those from there on move one place further.
    ///
    /// # Errors
    /// The list is full. The error holds the element.
    ///
    /// # Panics
    /// If there are fewer elements than `index`.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::<u8, 3>::try_from(&[1, 3][..])?;
    /// list.insert(1, 2)?;
    /// assert_eq!(list, [1, 2, 3]);
    /// assert_eq!(list.insert(0, 0).unwrap_err().into_inner(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn insert(&mut self, index: usize, element: T) -> Result<(), CapacityError<T>> {
        let () = Self::CAPACITY;
        let len = self.len();
        assert!(index <= len, "an element cannot be put at {index} in a list of {len}");
        if len == N {
            return Err(CapacityError::new(element, N + 1, N));
        }
        self.places.copy_within(index..len, index + 1);
        self.places[index] = element;
        self.len = stored(len + 1);
        Ok(())
    }

    /// Takes the element at `index` off; those behind it move one place back.
    ///
    /// # Panics
    /// If there is none.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::from([1, 2, 3]);
    /// assert_eq!(list.remove(0), 1);
    /// assert_eq!(list, [2, 3]);
    /// ```
    #[track_caller]
    pub fn remove(&mut self, index: usize) -> T {
        let len = self.len();
        let element = self.at(index);
        self.places.copy_within(index + 1..len, index);
        self.len = stored(len - 1);
        element
    }

    /// Takes the element at `index` off, and puts the last in its place: which is quicker than
    /// [`remove`](Self::remove).
    ///
    /// # Panics
    /// If there is none.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::from([1, 2, 3]);
    /// assert_eq!(list.swap_remove(0), 1);
    /// assert_eq!(list, [3, 2]);
    /// ```
    #[track_caller]
    pub fn swap_remove(&mut self, index: usize) -> T {
        let element = self.at(index);
        let last = self.len() - 1;
        self.places[index] = self.places[last];
        self.len = stored(last);
        element
    }

    #[track_caller]
    fn at(&self, index: usize) -> T {
        let len = self.len();
        assert!(index < len, "there is no element {index} in a list of {len}");
        self.places[index]
    }

    /// Takes off those elements of which `keep` says so by `false`; the others stay in order. If `keep`
    /// panics, those that it has not been asked about, and that one, stay.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::from([1, 2, 3, 4]);
    /// list.retain(|number| *number % 2 == 0);
    /// assert_eq!(list, [2, 4]);
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        /// Closes the gap between those that are kept and those that nobody has asked about.
        struct Gap<'a, T: Copy, const N: usize> {
            list: &'a mut ArrayVec<T, N>,
            kept: usize,
            asked: usize,
            len: usize,
        }
        impl<T: Copy, const N: usize> Drop for Gap<'_, T, N> {
            fn drop(&mut self) {
                self.list.places.copy_within(self.asked..self.len, self.kept);
                self.list.len = stored(self.kept + self.len - self.asked);
            }
        }
        let len = self.len();
        let mut gap = Gap { list: self, kept: 0, asked: 0, len };
        while gap.asked < len {
            let stays = keep(&mut gap.list.places[gap.asked]);
            if stays {
                gap.list.places[gap.kept] = gap.list.places[gap.asked];
                gap.kept += 1;
            }
            gap.asked += 1;
        }
    }

    /// Takes all elements off. The places keep what was in them, unseen.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::from([1, 2]);
    /// list.clear();
    /// assert!(list.is_empty());
    /// ```
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Takes off all elements but the first `len`. Nothing happens if there are no more than these.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::from([1, 2, 3]);
    /// list.truncate(2);
    /// list.truncate(10);
    /// assert_eq!(list, [1, 2]);
    /// ```
    pub const fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.len = stored(len);
        }
    }
}

impl<T, const N: usize> ArrayVec<T, N> {
    /// How many elements there are.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// assert_eq!(ArrayVec::from([1, 2]).len(), 2);
    /// ```
    pub const fn len(&self) -> usize {
        used(self.len, N)
    }

    /// Whether there is no element.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// assert!(ArrayVec::<u8, 4>::new().is_empty());
    /// ```
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for another element.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// assert!(ArrayVec::from([1, 2]).is_full());
    /// ```
    pub const fn is_full(&self) -> bool {
        self.len() == N
    }

    /// How many elements there is room for in all: `N`.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// assert_eq!(ArrayVec::<u8, 4>::new().capacity(), 4);
    /// ```
    pub const fn capacity(&self) -> usize {
        N
    }

    /// The elements.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// assert_eq!(ArrayVec::from([1, 2]).as_slice(), &[1, 2]);
    /// ```
    pub const fn as_slice(&self) -> &[T] {
        self.places.split_at(self.len()).0
    }

    /// The elements, to be changed.
    ///
    /// ```
    /// use offspring::shm::ArrayVec;
    ///
    /// let mut list = ArrayVec::from([1, 2]);
    /// list.as_mut_slice().reverse();
    /// assert_eq!(list, [2, 1]);
    /// ```
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        let len = self.len();
        self.places.split_at_mut(len).0
    }
}

impl<T, const N: usize> Deref for ArrayVec<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T, const N: usize> DerefMut for ArrayVec<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T: Shareable + Copy + Default, const N: usize> Default for ArrayVec<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A full list.
impl<T: Shareable + Copy, const N: usize> From<[T; N]> for ArrayVec<T, N> {
    fn from(places: [T; N]) -> Self {
        let () = Self::CAPACITY;
        Self { len: stored(N), places }
    }
}

/// ```
/// use offspring::shm::ArrayVec;
///
/// let list = ArrayVec::<u8, 4>::try_from(&[1, 2][..])?;
/// assert_eq!(list, [1, 2]);
/// # Ok::<(), offspring::shm::CapacityError>(())
/// ```
impl<T: Shareable + Copy + Default, const N: usize> TryFrom<&[T]> for ArrayVec<T, N> {
    type Error = CapacityError;

    fn try_from(elements: &[T]) -> Result<Self, CapacityError> {
        let mut list = Self::new();
        list.extend_from_slice(elements)?;
        Ok(list)
    }
}

/// # Panics
/// If the list is full before the iterator ends: `push` tells it by an error.
///
/// ```
/// use offspring::shm::ArrayVec;
///
/// let mut list = ArrayVec::<u8, 4>::new();
/// list.extend([1, 2]);
/// list.extend(&[3]);
/// assert_eq!(list, [1, 2, 3]);
/// ```
impl<T: Shareable + Copy, const N: usize> Extend<T> for ArrayVec<T, N> {
    #[track_caller]
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        for element in elements {
            if let Err(error) = self.push(element) {
                panic!("the list is full: {error}");
            }
        }
    }
}

impl<'a, T: Shareable + Copy, const N: usize> Extend<&'a T> for ArrayVec<T, N> {
    #[track_caller]
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, elements: I) {
        for element in elements {
            if let Err(error) = self.push(*element) {
                panic!("the list is full: {error}");
            }
        }
    }
}

/// ```
/// use offspring::shm::ArrayVec;
///
/// let list = ArrayVec::from([1, 2, 3]);
/// assert_eq!(list.into_iter().rev().collect::<Vec<u8>>(), [3, 2, 1]);
/// ```
impl<T, const N: usize> IntoIterator for ArrayVec<T, N> {
    type Item = T;
    type IntoIter = std::iter::Take<std::array::IntoIter<T, N>>;

    fn into_iter(self) -> Self::IntoIter {
        let len = self.len();
        self.places.into_iter().take(len)
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a ArrayVec<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a mut ArrayVec<T, N> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T, const N: usize> AsRef<[T]> for ArrayVec<T, N> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T, const N: usize> AsMut<[T]> for ArrayVec<T, N> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

/// As a slice.
impl<T: fmt::Debug, const N: usize> fmt::Debug for ArrayVec<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// By the elements; the capacities may differ.
impl<T: PartialEq<U>, U, const N: usize, const M: usize> PartialEq<ArrayVec<U, M>>
    for ArrayVec<T, N>
{
    fn eq(&self, other: &ArrayVec<U, M>) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Eq, const N: usize> Eq for ArrayVec<T, N> {}

impl<T: PartialEq<U>, U, const N: usize> PartialEq<[U]> for ArrayVec<T, N> {
    fn eq(&self, other: &[U]) -> bool {
        self.as_slice() == other
    }
}

impl<T: PartialEq<U>, U, const N: usize> PartialEq<&[U]> for ArrayVec<T, N> {
    fn eq(&self, other: &&[U]) -> bool {
        self.as_slice() == *other
    }
}

impl<T: PartialEq<U>, U, const N: usize, const M: usize> PartialEq<[U; M]> for ArrayVec<T, N> {
    fn eq(&self, other: &[U; M]) -> bool {
        self.as_slice() == other
    }
}

impl<T: PartialOrd, const N: usize> PartialOrd for ArrayVec<T, N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.as_slice().partial_cmp(other.as_slice())
    }
}

impl<T: Ord, const N: usize> Ord for ArrayVec<T, N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

/// As a slice.
impl<T: Hash, const N: usize> Hash for ArrayVec<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

/// As a sequence.
impl<T: Serialize, const N: usize> Serialize for ArrayVec<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

/// From a sequence. One that is too long is an error.
impl<'de, T, const N: usize> Deserialize<'de> for ArrayVec<T, N>
where
    T: Shareable + Copy + Default + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

struct Elements<T, const N: usize>(PhantomData<T>);

impl<'de, T, const N: usize> Visitor<'de> for Elements<T, N>
where
    T: Shareable + Copy + Default + Deserialize<'de>,
{
    type Value = ArrayVec<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = ArrayVec::new();
        while let Some(element) = elements.next_element()? {
            // The list may be longer still, but what follows is not read.
            list.push(element).map_err(|error| A::Error::invalid_length(error.needed(), &self))?;
        }
        Ok(list)
    }
}
