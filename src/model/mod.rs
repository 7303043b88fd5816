//! What a decision may see. Values only: no client, no clock, no async.

pub mod abilities;
pub mod annotation_rules;
pub mod canonical;
pub mod claim;
pub mod count;
pub mod helper;
pub mod lifecycle;
pub mod pod;
pub mod revision;
pub mod selector;
pub mod slots;
pub mod snapshot;
pub mod validate;

pub use abilities::{Abilities, Can, FieldKind, Nodes};
pub use annotation_rules::{AnnotationRules, Patterns};
pub use claim::ClaimFacts;
pub use helper::{HelperFacts, HelperImage};
pub use lifecycle::{Hook, HookState, Hooks};
pub use pod::{Amount, ContainerFacts, ContainerKind, Gate, OwnerFacts, PodFacts, PodPhase, ResizeFacts, Resources};
pub use revision::RevisionFacts;
pub use selector::Selector;
pub use slots::{Ranges, Slots};
pub use snapshot::{Answers, LivePod, SetFacts, Snapshot, TemplateAnswer};
pub use validate::{ClaimTemplate, FieldError, Priority, Rolling, ValidSpec};

/// The number at the end of a Pod's name.
pub type Ordinal = i64;
