//! The patches of Pods, as strategic merge patches with UID and resourceVersion in them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::decide::InPlacePatch;
use super::state::InPlaceState;
use crate::model::PodFacts;

/// The one patch of an in-place update: images, labels, annotations, revision label, bookkeeping.
/// `state`: what [`super::next_state`] gave, where containers are rebuilt.
pub fn pod_patch(
    pod: &PodFacts,
    _old_template: &Value,
    _new_template: &Value,
    _update: &InPlacePatch,
    _revision_hash: &str,
    _state: Option<&InPlaceState>,
) -> Value {
    guarded(pod)
}

/// Turns the readiness gate, on `pods/status`. `message` is what users read in the condition.
pub fn gate_patch(pod: &PodFacts, _open: bool, _now: Timestamp, _message: &str) -> Value {
    guarded(pod)
}

/// Changes nothing but an annotation of ours, so that the Pod's resourceVersion moves.
pub fn fence_patch(pod: &PodFacts, _now: Timestamp) -> Value {
    guarded(pod)
}

fn guarded(pod: &PodFacts) -> Value {
    json!({"metadata": {"uid": pod.uid, "resourceVersion": pod.resource_version}})
}
