//! `AdvancedStatefulSet`: stateful Pods that are updated in place.
//!
//! One way through, with no way back up:
//!
//! ```text
//! watches ─► control::cache ─► model::Snapshot ─► plan::plan() ─► plan::Plan ─► control::apply
//! ```
//!
//! | module | charter |
//! |---|---|
//! | [`api`] | the resource's types, names, schema; knows nothing of the others |
//! | [`model`] | what a decision may see: [`model::Snapshot`] and the facts in it |
//! | [`inplace`] | the difference of two templates, what a running Pod can take, when an update is done |
//! | [`plan`] | every decision, a file each; [`plan::plan`] alone orders them |
//! | [`control`] | the only part that talks: caches, writes, lease, metrics |
//! | [`cli`] | the kubectl plugin: a file a verb; talks as the user who calls it |
//!
//! `api`, `model`, `inplace` and `plan` use no client, no clock, no randomness, no async and no
//! hash order; a test keeps it so.
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod control;
pub mod duration;
pub mod inplace;
pub mod model;
pub mod plan;
#[cfg(test)]
mod sim;
