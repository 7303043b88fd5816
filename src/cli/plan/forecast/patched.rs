//! What the patches that a plan asks for make of the facts of a Pod or claim.

use serde_json::Value;

use crate::api::names;
use crate::control::cache::watched::is_our_group;
use crate::inplace::InPlaceState;
use crate::inplace::quantity::quantity_bytes;
use crate::model::claim::ClaimOwner;
use crate::model::{ClaimFacts, Gate, PodFacts};

/// A strategic merge patch of a Pod, as far as facts know of it.
pub fn pod(pod: &mut PodFacts, patch: &Value) {
    for (key, value) in entries(patch, "/metadata/labels") {
        match value.as_str() {
            Some(value) => drop(pod.labels.insert(key.as_str().into(), value.into())),
            None => drop(pod.labels.remove(key.as_str())),
        }
    }
    for (key, value) in entries(patch, "/metadata/annotations") {
        match key.as_str() {
            names::IN_PLACE_STATE_ANNOTATION => pod.in_place_state = value.as_str().map(Box::from),
            names::HOOK_STATE_SINCE_ANNOTATION => {
                pod.hook_state_since = value.as_str().and_then(|text| text.parse().ok());
            }
            _ => {}
        }
    }
    for name in list(patch, "/metadata/finalizers").iter().filter_map(Value::as_str) {
        if !pod.finalizers.iter().any(|held| &**held == name) {
            pod.finalizers.push(name.into());
        }
    }
    spec(pod, patch);
}

fn spec(pod: &mut PodFacts, patch: &Value) {
    if patch.get("spec").is_none() {
        return;
    }
    for changed in ["/spec/initContainers", "/spec/containers"].iter().flat_map(|at| list(patch, at)) {
        let name = changed.get("name").and_then(Value::as_str).unwrap_or_default();
        let image = changed.get("image").and_then(Value::as_str);
        let found = pod.containers.iter_mut().find(|container| &*container.name == name);
        if let (Some(container), Some(image)) = (found, image) {
            container.image = image.into();
        }
    }
    pod.generation = pod.generation.saturating_add(1);
}

/// What a patch of an update in place brings beside its fields: the resources that went ahead through `pods/resize`, and
/// the generation that the bookkeeping counts on.
pub fn bookkeeping(pod: &mut PodFacts) {
    let Some(state) = pod.in_place_state.as_deref().and_then(InPlaceState::parse) else { return };
    for (name, resources) in &state.resized {
        if let Some(container) = pod.containers.iter_mut().find(|container| container.name == *name) {
            container.resources = Some(Box::new(*resources));
        }
    }
    pod.generation = pod.generation.max(state.generation);
}

/// A turn of the readiness gate.
pub fn gate(pod: &mut PodFacts, patch: &Value, now: jiff::Timestamp) {
    let text = |field: &str| patch.pointer(&format!("/status/conditions/0/{field}")).and_then(Value::as_str);
    pod.gate = if text("status") == Some("True") {
        Gate::Open
    } else {
        Gate::Closed { since: Some(now), reason: text("reason").unwrap_or_default().into() }
    };
}

/// A strategic merge patch of a claim's owners.
pub fn owners(claim: &mut ClaimFacts, patch: &Value) {
    for change in list(patch, "/metadata/ownerReferences") {
        let text = |field: &str| -> Box<str> { change.get(field).and_then(Value::as_str).unwrap_or_default().into() };
        let uid = text("uid");
        claim.owners.retain(|owner| owner.uid != uid);
        if change.get("$patch").is_none() {
            let controller = change.get("controller") == Some(&Value::Bool(true));
            let our_group = is_our_group(&text("apiVersion"));
            claim.owners.push(ClaimOwner { kind: text("kind"), name: text("name"), uid, controller, our_group });
        }
    }
}

/// The storage that a patch of a claim, or a claim, asks for.
pub fn storage(object: &Value) -> Option<u128> {
    quantity_bytes(object.pointer("/spec/resources/requests/storage")?)
}

fn entries<'a>(patch: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    patch.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

fn list<'a>(patch: &'a Value, pointer: &str) -> &'a [Value] {
    patch.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
