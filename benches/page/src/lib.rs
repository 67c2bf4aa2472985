//! What the benches measured, as a page: from `results.json` and from nothing else.
//!
//! It is apart from the benches so that it can be built, and the page be checked, without their rivals.
//!
//! - [`results`]: the file
//! - [`columns`]: which figures are shown side by side
//! - [`tables`] as Markdown
//! - [`chart`]: one picture; [`charts`]: all of them
//! - [`page`]: where the tables go

pub mod chart;
pub mod charts;
pub mod columns;
pub mod page;
pub mod results;
pub mod tables;

pub use results::{Measured, Results, Row, Run, Spread};
