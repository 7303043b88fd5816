//! What tests on a real Kubernetes stand on: a cluster, the manager under its own identity, a
//! namespace for each test, waiting with a reason, a record of what happened, and harm on purpose.

pub mod audit;
pub mod cluster;
pub mod containers;
pub mod dice;
pub mod failure;
pub mod install;
pub mod manager;
pub mod manifest;
pub mod policy;
pub mod proxy;
pub mod recorder;
pub mod report;
pub mod rest;
pub mod space;
pub mod suite;
pub mod wait;

pub use failure::{Context, Failure, Result};
pub use manifest::{image, set};
pub use space::Space;
pub use suite::{Suite, Test};
pub use wait::{eventually, holds};
