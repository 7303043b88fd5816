//! The bookkeeping of in-place updates, kept in an annotation of the Pod: for each container that
//! was ever rebuilt, which `containerID` ran when it was last patched and the image which that one
//! was started with. With it an update is known to be done by another `containerID`, never by the
//! image: the same image under a new tag is a real update.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::image::same_reference;
use super::progress::{Evidence, of_container};
use crate::model::{ContainerFacts, PodFacts};

/// What a Pod's `terminationGracePeriodSeconds` is where nobody gave one.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// The annotation `apps.asts.dev/inplace-update-state`.
#[derive(Clone, Debug, PartialEq)]
pub struct InPlaceState {
    /// The hash of the revision that the last rebuilding patch brought.
    pub revision: Box<str>,
    /// When that patch was made, by the controller's clock, in whole seconds.
    pub patched_at: Timestamp,
    /// The Pod's generation after that patch.
    pub generation: i64,
    /// How long the kubelet may take to end an old container.
    pub termination_grace_seconds: i64,
    /// Every container that was ever rebuilt.
    pub containers: BTreeMap<Box<str>, ContainerRecord>,
}

/// A container as it was when the Pod was last patched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// `None`: it had never run.
    #[serde(rename = "containerID")]
    pub container_id: Option<Box<str>>,
    /// The image that it was started with, or would have been.
    pub image: Box<str>,
}

/// The annotation's form.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateJson {
    revision: Box<str>,
    /// RFC 3339.
    patched_at: String,
    #[serde(default)]
    generation: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    termination_grace_seconds: Option<i64>,
    #[serde(default)]
    containers: BTreeMap<Box<str>, ContainerRecord>,
}

impl InPlaceState {
    /// `None` where the text is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let json: StateJson = serde_json::from_str(text).ok()?;
        Some(Self {
            revision: json.revision,
            patched_at: json.patched_at.parse().ok()?,
            generation: json.generation,
            termination_grace_seconds: json.termination_grace_seconds.unwrap_or(GRACE_SECONDS_DEFAULT).max(0),
            containers: json.containers,
        })
    }

    /// The annotation's value.
    pub fn to_json(&self) -> String {
        let json = StateJson {
            revision: self.revision.clone(),
            patched_at: self.patched_at.to_string(),
            generation: self.generation,
            termination_grace_seconds: Some(self.termination_grace_seconds),
            containers: self.containers.clone(),
        };
        // Texts and numbers under text keys always have a JSON form.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// The same with the grace period of the template that the Pod has.
    pub fn with_grace_of(mut self, template: &Value) -> Self {
        if let Some(seconds) = template.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64) {
            self.termination_grace_seconds = seconds.max(0);
        }
        self
    }
}

/// The bookkeeping to be written with a patch that sets `new_images` (container, image).
pub fn next_state(pod: &PodFacts, new_images: &[(Box<str>, Box<str>)], revision: &str, now: Timestamp) -> InPlaceState {
    let before = pod.in_place_state.as_deref().and_then(InPlaceState::parse);
    let mut containers = BTreeMap::new();
    for container in &pod.containers {
        let record = before.as_ref().and_then(|state| Some((state, state.containers.get(&container.name)?)));
        match record {
            Some((state, record)) => {
                let evidence = of_container(pod, container, record, state, now);
                containers.insert(container.name.clone(), carried_on(container, record, evidence.as_ref()));
            }
            None if new_images.iter().any(|(name, _)| *name == container.name) => {
                let record =
                    ContainerRecord { container_id: container.container_id.clone(), image: container.image.clone() };
                containers.insert(container.name.clone(), record);
            }
            None => {}
        }
    }
    InPlaceState {
        revision: revision.into(),
        patched_at: whole_seconds(now),
        // Its resourceVersion is the patch's precondition, and a new image changes the spec.
        generation: pod.generation.saturating_add(1),
        termination_grace_seconds: before.map_or(GRACE_SECONDS_DEFAULT, |state| state.termination_grace_seconds),
        containers,
    }
}

/// What a container runs now, from what it ran when it was patched before. `waits_for`: what that
/// update still waits for, `None` where it is done.
fn carried_on(container: &ContainerFacts, record: &ContainerRecord, waits_for: Option<&Evidence>) -> ContainerRecord {
    let Some(id) = container.container_id.clone().filter(|id| Some(id) != record.container_id.as_ref()) else {
        return match waits_for {
            // Turned round and settled, in the same container.
            None => ContainerRecord { container_id: record.container_id.clone(), image: container.image.clone() },
            Some(_) => record.clone(),
        };
    };
    let shows = |image: &str| container.status_image.as_deref().is_some_and(|shown| same_reference(shown, image));
    // Half done: the container may have crashed and come back by itself before the kubelet saw
    // the patch.
    let crashed_on_old = waits_for.is_some() && shows(&record.image);
    let image = if crashed_on_old { &record.image } else { &container.image };
    ContainerRecord { container_id: Some(id), image: image.clone() }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
