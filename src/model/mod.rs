//! What a decision may see. Values only: no client, no clock, no async.

pub mod claim;
pub mod pod;
pub mod revision;
pub mod snapshot;

pub use claim::ClaimFacts;
pub use pod::{ContainerFacts, ContainerKind, Gate, OwnerFacts, PodFacts, PodPhase};
pub use revision::RevisionFacts;
pub use snapshot::{Answers, LivePod, SetFacts, Snapshot, TemplateAnswer};

/// The number at the end of a Pod's name.
pub type Ordinal = i64;
