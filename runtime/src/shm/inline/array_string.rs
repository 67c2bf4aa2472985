//! Text of bounded length.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::{FromStr, Utf8Error};

use serde::de::{Deserialize, Deserializer, Error as DeError, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{CapacityError, stored, used};

/// Text of at most `N` bytes, which lies in the place where it is, and so may live in shared
/// memory.
///
/// ```
/// use offspring::shm::ArrayString;
///
/// let mut name = ArrayString::<16>::try_from("worker")?;
/// name.push_str(" 3")?;
///
/// assert_eq!(name, "worker 3");
/// assert_eq!(name.to_str()?, "worker 3");
/// assert_eq!(name.len(), 8); // bytes
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// When a process is killed in the middle of a change, half a character may be left. So the text is
/// looked at when it is read, and [`to_str`](Self::to_str) can fail. Bytes that are no text can also
/// be put there on purpose, with [`from_bytes`](Self::from_bytes).
///
/// In Python: a `str` or `bytes` in a `multiprocessing.shared_memory.ShareableList`, and a `ctypes`
/// array of `c_char` (`multiprocessing.Array('c', n)`). Unlike these, it tells zero bytes at its end
/// from places that are not used, and its room is counted in bytes throughout.
#[derive(Clone, Copy, offspring_macros::Shareable, offspring_macros::Zeroable)]
#[shareable(crate = crate)]
pub struct ArrayString<const N: usize> {
    /// May be anything, as may be seen of a text at whose change a process was killed.
    pub(super) len: u32,
    pub(super) places: [u8; N],
}

impl<const N: usize> ArrayString<N> {
    const CAPACITY: () = assert!(N <= u32::MAX as usize, "an `ArrayString` of more than 4 GiB");

    /// An empty text.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// const NAME: ArrayString<16> = ArrayString::new();
    /// assert!(NAME.is_empty());
    /// ```
    pub const fn new() -> Self {
        let () = Self::CAPACITY;
        Self { len: 0, places: [0; N] }
    }

    /// Holds these bytes, which may be any.
    ///
    /// # Errors
    /// There are more than `N`.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// let raw = ArrayString::<4>::from_bytes(b"\xff\0\0")?;
    ///
    /// assert_eq!(raw.as_bytes(), b"\xff\0\0");
    /// assert!(raw.to_str().is_err());
    /// # Ok::<(), offspring::shm::CapacityError>(())
    /// ```
    pub const fn from_bytes(bytes: &[u8]) -> Result<Self, CapacityError> {
        let mut text = Self::new();
        match text.push_bytes(bytes) {
            Ok(()) => Ok(text),
            Err(error) => Err(error),
        }
    }

    /// Appends a text, or nothing of it.
    ///
    /// # Errors
    /// There is not enough room.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// let mut text = ArrayString::<6>::new();
    /// text.push_str("año")?;
    /// let error = text.push_str("año").unwrap_err();
    ///
    /// assert_eq!(error.to_string(), "a length of 8 exceeds the capacity of 6");
    /// assert_eq!(text, "año");
    /// # Ok::<(), offspring::shm::CapacityError>(())
    /// ```
    pub const fn push_str(&mut self, text: &str) -> Result<(), CapacityError> {
        self.push_bytes(text.as_bytes())
    }

    /// Appends a character, or nothing of it.
    ///
    /// # Errors
    /// There is not enough room. The error holds the character.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// let mut text = ArrayString::<3>::try_from("ab")?;
    /// assert_eq!(text.push('ñ').unwrap_err().into_inner(), 'ñ');
    /// text.push('c')?;
    /// assert_eq!(text, "abc");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn push(&mut self, character: char) -> Result<(), CapacityError<char>> {
        match self.push_str(character.encode_utf8(&mut [0; 4])) {
            Ok(()) => Ok(()),
            Err(error) => Err(CapacityError::new(character, error.needed(), N)),
        }
    }

    const fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        let () = Self::CAPACITY;
        let len = self.len();
        let needed = len.saturating_add(bytes.len());
        if needed > N {
            return Err(CapacityError::new((), needed, N));
        }
        self.places.split_at_mut(len).1.split_at_mut(bytes.len()).0.copy_from_slice(bytes);
        self.len = stored(needed);
        Ok(())
    }

    /// Takes off all but the first `len` bytes. Nothing happens if there are no more than these.
    ///
    /// # Panics
    /// If that would leave a part of a character, as with a `String`. (Bytes that are no text are cut
    /// anywhere.)
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// let mut text = ArrayString::<8>::try_from("año")?;
    /// text.truncate(10);
    /// text.truncate(3);
    /// assert_eq!(text, "añ");
    /// # Ok::<(), offspring::shm::CapacityError>(())
    /// ```
    #[track_caller]
    pub const fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        if let Ok(text) = self.to_str() {
            assert!(text.is_char_boundary(len), "a text cannot be cut within a character");
        }
        self.len = stored(len);
    }

    /// Makes the text empty. The places keep what was in them, unseen.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// let mut text = ArrayString::<4>::try_from("abc")?;
    /// text.clear();
    /// assert_eq!(text, "");
    /// # Ok::<(), offspring::shm::CapacityError>(())
    /// ```
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// The text.
    ///
    /// # Errors
    /// The bytes are not UTF-8. What of them is text can be had by [`Display`](fmt::Display).
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// let text = ArrayString::<16>::try_from("žluťoučký\0")?;
    /// assert_eq!(text.to_str()?, "žluťoučký\0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn to_str(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(self.as_bytes())
    }

    /// The bytes of the text.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// let text = ArrayString::<4>::try_from("ab")?;
    /// assert_eq!(text.as_bytes(), b"ab");
    /// # Ok::<(), offspring::shm::CapacityError>(())
    /// ```
    pub const fn as_bytes(&self) -> &[u8] {
        self.places.split_at(self.len()).0
    }

    /// How many bytes the text has.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// assert_eq!(ArrayString::<4>::try_from("ñ")?.len(), 2);
    /// # Ok::<(), offspring::shm::CapacityError>(())
    /// ```
    pub const fn len(&self) -> usize {
        used(self.len, N)
    }

    /// Whether there is no text.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// assert!(ArrayString::<4>::new().is_empty());
    /// ```
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes there is room for in all: `N`.
    ///
    /// ```
    /// use offspring::shm::ArrayString;
    ///
    /// assert_eq!(ArrayString::<4>::new().capacity(), 4);
    /// ```
    pub const fn capacity(&self) -> usize {
        N
    }
}

impl<const N: usize> Default for ArrayString<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> TryFrom<&str> for ArrayString<N> {
    type Error = CapacityError;

    fn try_from(text: &str) -> Result<Self, CapacityError> {
        Self::from_bytes(text.as_bytes())
    }
}

/// ```
/// use offspring::shm::ArrayString;
///
/// let text: ArrayString<4> = "ab".parse()?;
/// assert_eq!(text, "ab");
/// # Ok::<(), offspring::shm::CapacityError>(())
/// ```
impl<const N: usize> FromStr for ArrayString<N> {
    type Err = CapacityError;

    fn from_str(text: &str) -> Result<Self, CapacityError> {
        text.try_into()
    }
}

/// The text, with `U+FFFD` for what is not UTF-8.
///
/// ```
/// use offspring::shm::ArrayString;
///
/// let text = ArrayString::<4>::from_bytes(b"ab\xff")?;
/// assert_eq!(text.to_string(), "ab\u{fffd}");
/// assert_eq!(format!("{text:>5}"), "  ab\u{fffd}");
/// # Ok::<(), offspring::shm::CapacityError>(())
/// ```
impl<const N: usize> fmt::Display for ArrayString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// As a string; as a byte string, if it is not UTF-8.
impl<const N: usize> fmt::Debug for ArrayString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_str() {
            Ok(text) => text.fmt(f),
            Err(_) => write!(f, "b\"{}\"", self.as_bytes().escape_ascii()),
        }
    }
}

/// Appends what is written. What does not fit is an error, and nothing of that piece is there; pieces that
/// were written before it are.
///
/// ```
/// use std::fmt::Write;
/// use offspring::shm::ArrayString;
///
/// let mut name = ArrayString::<16>::new();
/// write!(name, "worker {}", 3)?;
/// assert_eq!(name, "worker 3");
/// assert!(write!(name, "{:>9}", "x").is_err());
/// # Ok::<(), std::fmt::Error>(())
/// ```
impl<const N: usize> fmt::Write for ArrayString<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text).map_err(|_| fmt::Error)
    }

    fn write_char(&mut self, character: char) -> fmt::Result {
        self.push(character).map_err(|_| fmt::Error)
    }
}

impl<const N: usize> AsRef<[u8]> for ArrayString<N> {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// By the text; the capacities may differ.
impl<const N: usize, const M: usize> PartialEq<ArrayString<M>> for ArrayString<N> {
    fn eq(&self, other: &ArrayString<M>) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for ArrayString<N> {}

impl<const N: usize> PartialEq<str> for ArrayString<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for ArrayString<N> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl<const N: usize> PartialEq<String> for ArrayString<N> {
    fn eq(&self, other: &String) -> bool {
        *self == **other
    }
}

impl<const N: usize> PartialOrd for ArrayString<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By the bytes, as `str` is ordered.
impl<const N: usize> Ord for ArrayString<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl<const N: usize> Hash for ArrayString<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// As a string. What is not UTF-8 is an error.
impl<const N: usize> Serialize for ArrayString<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.to_str().map_err(S::Error::custom)?)
    }
}

/// From a string. One that is too long is an error.
impl<'de, const N: usize> Deserialize<'de> for ArrayString<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text<const N: usize>;

impl<const N: usize> Visitor<'_> for Text<N> {
    type Value = ArrayString<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {N} bytes")
    }

    fn visit_str<E: DeError>(self, text: &str) -> Result<Self::Value, E> {
        text.try_into().map_err(|_| E::invalid_length(text.len(), &self))
    }
}
