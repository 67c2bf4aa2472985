//! As much of the library's errors as the locks need.

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum Error {
    #[error("{what} cannot have {len} elements: the most is {max}")]
    TooLarge { what: std::borrow::Cow<'static, str>, len: usize, max: usize },
    #[error("this system keeps no lists of held locks")]
    NoRobustLocks,
}

/// What is asked of errors nobody asks here.
macro_rules! asks {
    ($($questions:tt)*) => {};
}
pub(crate) use asks;
