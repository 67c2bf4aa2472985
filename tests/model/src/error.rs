//! As much of the library's errors as the locks need.

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} cannot have {len} elements: the most is {max}")]
    TooLarge { what: &'static str, len: usize, max: usize },
    #[error("this system keeps no lists of held locks")]
    NoRobustLocks,
}
