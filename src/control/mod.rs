//! The only part that talks: caches, the queue, carrying plans out, lease, metrics, server.
//!
//! A decision is never made here. Watches fill [`cache`]; [`queue`] says which set is next;
//! [`reconcile`] makes its snapshot, asks [`crate::plan::plan`], and carries the plan out.

pub mod abilities;
pub mod actions;
pub mod answers;
pub mod apply;
pub mod backoff;
pub mod cache;
pub mod client;
pub mod clock;
pub mod error;
pub mod events;
pub mod gate;
pub mod inflight;
pub mod inquire;
pub mod lease;
pub mod memory;
pub mod metrics;
mod pace;
mod poisoned;
pub mod queue;
pub mod reconcile;
mod revisions;
pub mod run;
pub mod server;
pub mod telemetry;
mod template_cache;
#[cfg(test)]
mod tests;
