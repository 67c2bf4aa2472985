//! The guide: how to work with Offspring, in chapters.
//!
//! | you | read |
//! |---|---|
//! | have a Python program that uses `multiprocessing` | [`coming_from_python`] |
//! | know threads, and want to know what changes | [`coming_from_threads`] |
//! | have data that is large, or that many change | [`sharing_memory`] |
//! | wonder what a child is, and what it has of its parent | [`how_a_child_comes_to_be`] |
//! | must know what the others see when a process is killed | [`when_a_process_dies`] |
//! | want it faster | [`tuning`] |
//! | test a program that starts processes | [`testing`] |
//! | have a child that hangs or crashes | [`debugging`] |
//!
//! Each chapter can be read alone. All programs in them are run as tests, the Python ones as well.

#[doc = include_str!("coming_from_python.md")]
pub mod coming_from_python {}

#[doc = include_str!("coming_from_threads.md")]
pub mod coming_from_threads {}

#[doc = include_str!("sharing_memory.md")]
pub mod sharing_memory {}

#[doc = include_str!("how_a_child_comes_to_be.md")]
pub mod how_a_child_comes_to_be {}

#[doc = include_str!("when_a_process_dies.md")]
pub mod when_a_process_dies {}

#[doc = include_str!("tuning.md")]
pub mod tuning {}

#[expect(
    clippy::test_attr_in_doctest,
    reason = "these tests are run by the workspace's `guide_testing`"
)]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("debugging.md")]
pub mod debugging {}
