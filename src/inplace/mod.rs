//! The difference of two templates, what a running Pod can take of it, and when an update is done.
//!
//! ```text
//! templates ─► defaults ─► diff (classes from table) ─► decide ─► state + patch ─► progress
//! ```

pub mod alias;
mod circumstance;
pub mod decide;
pub mod decision;
pub mod defaults;
pub mod diff;
pub mod docs;
pub mod env_annotations;
pub mod heard;
pub mod image;
pub mod operations;
pub mod patch;
pub mod progress;
pub mod project;
mod qos;
pub mod quantity;
pub mod resize;
pub mod restart;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema_tests;
pub mod state;
pub mod table;

pub use decide::{Change, should_do_in_place_update};
pub use decision::{Cluster, Contents, Decision, InPlacePatch, Inquiry, Pace, Rebuild};
pub use defaults::with_defaults;
pub use diff::{Difference, Entry, differences};
pub use heard::Heard;
pub use progress::{Progress, Waiting, progress};
pub use project::template_of_pod;
pub use restart::Rules;
pub use state::{InPlaceState, next_state};
pub use table::Class;
