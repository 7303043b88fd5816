//! What a plan is made of. Each action carries its target's UID and resourceVersion, and the
//! reason as the user will read it: logs, events, conditions and the plugin print the same words.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::AdvancedStatefulSetStatus;
use crate::model::{FieldKind, Ordinal};

/// What is to be done about one set, as data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Facts that are missing for a full plan. When not empty, nothing else of this plan is
    /// carried out but `revisions`: the caller finds the answers and plans again.
    pub questions: Vec<Question>,
    /// First, one after another; the rest of the plan waits for a next plan when one fails.
    pub revisions: Vec<RevisionAction>,
    /// The status to be. Written before `disruptions` (their entries are in it) by a PUT that
    /// carries the set's resourceVersion.
    pub status: AdvancedStatefulSetStatus,
    pub status_write: StatusWrite,
    /// What needs no entry in the ledger. Groups: all of a group may run at once; the next group starts
    /// when the one before it is done without an error.
    pub actions: Vec<Vec<Action>>,
    /// What may be carried out only after the status of this plan is written.
    pub disruptions: Vec<Action>,
    pub events: Vec<PlannedEvent>,
    /// When to look again although nothing changed.
    pub wake_at: Option<Timestamp>,
}

/// How urgent the write of the status is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusWrite {
    /// The stored status already says it.
    #[default]
    None,
    /// Only counts and what is waited for: many changes may cost one write.
    Later,
    /// A condition turned, or a new generation is observed.
    Soon,
    /// Something that what is done next stands on.
    Now,
}

/// A fact that only the apiserver has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// A live GET of the Pod of this ordinal → `Answers::live_pods`.
    LivePod { ordinal: Ordinal, name: Box<str> },
    /// A dry-run create of a PodTemplate → `Answers::templates` under this hash.
    DefaultedTemplate { hash: Box<str>, template: TemplateJson },
    /// A live GET of the whole Pod → `Answers::whole_pods`.
    WholePod { name: Box<str>, uid: Box<str> },
    /// A live GET of a claim that a volume of the template names → `Answers::bound_claims`.
    BoundClaim { name: Box<str> },
    /// A dry run of a Pod's whole update in place to this revision → `Answers::tried_updates`, and where it is refused
    /// also `Answers::held_updates` or `Answers::refused_patches`.
    Update { target: Target, revision: Box<str>, resize: Option<PatchJson>, patch: PatchJson },
    /// A dry run of a patch of this Pod, which tells what the apiserver takes →
    /// `Snapshot::abilities`, for each of the kinds.
    Ability { kinds: Vec<FieldKind>, target: Target, patch: PatchJson },
}

/// A patch in its canonical text, so that questions can be compared and ordered.
pub type PatchJson = Box<str>;

/// A template in its canonical text, so that questions can be compared and ordered.
pub type TemplateJson = Box<str>;

#[derive(Clone, Debug, PartialEq)]
pub enum RevisionAction {
    /// Make a ControllerRevision, owned by the set.
    Create { name: Box<str>, hash: Box<str>, number: i64, data: Arc<Value> },
    /// An equal one is there with a lower number: raise it.
    Renumber { name: Box<str>, uid: Box<str>, resource_version: Box<str>, number: i64 },
    /// Write down the claim templates of its Pods, which its data does not tell: an annotation.
    NoteClaims { name: Box<str>, uid: Box<str>, resource_version: Box<str>, note: Box<str> },
    /// Take an orphan. The set is read live first.
    Adopt { name: Box<str>, uid: Box<str>, resource_version: Box<str> },
    /// Beyond the history limit. The executor looks live that no Pod names it.
    Delete { name: Box<str>, uid: Box<str>, resource_version: Box<str>, hash: Box<str> },
}

impl RevisionAction {
    /// The object, as `ControllerRevision web-5b6c7d8f9`.
    pub fn object(&self) -> String {
        let (RevisionAction::Create { name, .. }
        | RevisionAction::Renumber { name, .. }
        | RevisionAction::NoteClaims { name, .. }
        | RevisionAction::Adopt { name, .. }
        | RevisionAction::Delete { name, .. }) = self;
        format!("ControllerRevision {name}")
    }
}

/// A Pod or claim, at the state that a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub name: Box<str>,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make the claims that are missing, then the Pod. A claim that exists already (409) is fine
    /// when it is not another set's: the next plan looks at it.
    CreatePod { ordinal: Ordinal, name: Box<str>, claims: Vec<Value>, pod: Box<Value>, reason: String },
    /// Make claims that a Pending Pod waits for.
    CreateClaim { name: Box<str>, claim: Box<Value>, reason: String },
    /// Delete with UID and resourceVersion as preconditions and the Pod's own grace period.
    DeletePod { ordinal: Ordinal, target: Target, why: DeleteWhy, reason: String },
    /// A strategic merge patch of the Pod; `metadata.uid` and `metadata.resourceVersion` are in it.
    /// `resize`, where there is one, goes before it; the patch then names the resourceVersion that came of that.
    PatchPod {
        ordinal: Ordinal,
        target: Target,
        why: PatchWhy,
        revision: Box<str>,
        resize: Option<Box<Resize>>,
        patch: Box<Value>,
        reason: String,
    },
    /// The same on `pods/status`: the readiness gate.
    PatchPodStatus { ordinal: Ordinal, target: Target, why: GateWhy, patch: Box<Value>, reason: String },
    /// A strategic merge patch of the claim's owner references.
    PatchClaim { target: Target, patch: Box<Value>, reason: String },
    /// A strategic merge patch of the claim's request: more storage, never less.
    GrowClaim { target: Target, patch: Box<Value>, reason: String },
    /// Make a helper Pod, which makes its node pull images. One that exists already (409) is as good.
    CreateHelper { name: Box<str>, pod: Box<Value>, reason: String },
    /// Remove a helper Pod. What it pulled, as node and image, is for users to read.
    DeleteHelper { target: Target, pulled: Vec<(Box<str>, Box<str>)>, reason: String },
    /// Take an orphaned Pod (after a live read of the set shows the same UID and no deletion).
    AdoptPod { target: Target, patch: Box<Value>, reason: String },
    /// Let a Pod go that the selector does not match any more.
    ReleasePod { target: Target, patch: Box<Value>, reason: String },
}

/// A change of cpu and memory, which has a subresource of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// A strategic merge patch of the Pod that goes first and says what is begun; `None`: the Pod says so already.
    pub note: Option<Value>,
    /// A strategic merge patch on `pods/resize`.
    pub patch: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeleteWhy {
    ScaleDown,
    Reserved,
    Update,
    InPlaceTimeout,
    SpecifiedDelete,
    Terminal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatchWhy {
    /// Containers are re-created in place.
    InPlace,
    /// The containers go on with something else: probes, resources, files.
    Live,
    /// Labels, annotations and tolerations: takes no part in the budget.
    Metadata,
    /// The Pod's state with the lifecycle hooks.
    HookState,
    /// Changes the resourceVersion, so that a disruption that was planned with the older one
    /// can never be carried out any more.
    Fence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GateWhy {
    /// A new Pod, or one whose update is done, or one that turned round.
    Open,
    /// A disruption is about to begin.
    Close,
}

/// Something that users read in `kubectl describe`. The publisher joins those of one plan that
/// share a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEvent {
    pub warning: bool,
    /// CamelCase, such as `SuccessfulCreate`.
    pub reason: &'static str,
    /// What was done, such as `Create`.
    pub action: &'static str,
    pub message: String,
}

impl Action {
    /// The object, as `Pod web-0`.
    pub fn object(&self) -> String {
        match self {
            Action::CreatePod { name, .. } | Action::CreateHelper { name, .. } => format!("Pod {name}"),
            Action::CreateClaim { name, .. } => format!("PersistentVolumeClaim {name}"),
            Action::PatchClaim { target, .. } | Action::GrowClaim { target, .. } => {
                format!("PersistentVolumeClaim {}", target.name)
            }
            Action::DeletePod { target, .. }
            | Action::DeleteHelper { target, .. }
            | Action::PatchPod { target, .. }
            | Action::PatchPodStatus { target, .. }
            | Action::AdoptPod { target, .. }
            | Action::ReleasePod { target, .. } => format!("Pod {}", target.name),
        }
    }

    pub fn reason(&self) -> &str {
        match self {
            Action::CreatePod { reason, .. }
            | Action::CreateClaim { reason, .. }
            | Action::DeletePod { reason, .. }
            | Action::PatchPod { reason, .. }
            | Action::PatchPodStatus { reason, .. }
            | Action::PatchClaim { reason, .. }
            | Action::GrowClaim { reason, .. }
            | Action::CreateHelper { reason, .. }
            | Action::DeleteHelper { reason, .. }
            | Action::AdoptPod { reason, .. }
            | Action::ReleasePod { reason, .. } => reason,
        }
    }
}
