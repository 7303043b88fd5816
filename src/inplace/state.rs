//! The bookkeeping of in-place updates, kept in an annotation of the Pod: for each container that
//! was ever rebuilt, which `containerID` ran when it was last patched, the fields which that one
//! was started with, and those that are wanted. With it an update is known to be done by another
//! `containerID`, never by the image: the same image under a new tag is a real update.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decision::InPlacePatch;
use super::image::{may_be_another_tag, may_be_same_image, same_reference};
use super::progress::{Evidence, latest, of_container};
use crate::model::{Amount, ContainerFacts, PodFacts, Resources};

/// What a Pod's `terminationGracePeriodSeconds` is where nobody gave one.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// The annotation `apps.asts.dev/inplace-update-state`.
#[derive(Clone, Debug, PartialEq)]
pub struct InPlaceState {
    /// The hash of the revision that the last rebuilding patch brought.
    pub revision: Box<str>,
    /// When that patch was made, by the controller's clock, in whole seconds.
    pub patched_at: Timestamp,
    /// Since when the Pod was not Ready at that patch, by its kubelet's clock, which may be another.
    pub unready_since: Option<Timestamp>,
    /// The Pod's generation after that patch.
    pub generation: i64,
    /// How long the kubelet may take to end an old container.
    pub termination_grace_seconds: i64,
    /// Every container that was ever rebuilt.
    pub containers: BTreeMap<Box<str>, ContainerRecord>,
    /// Containers whose status must show these resources, as long as the spec asks for them.
    pub resized: BTreeMap<Box<str>, Resources>,
    /// The kinds of field that the patch needs a customised kubelet for, by name.
    pub needs: Vec<Box<str>>,
    /// A resize that was begun, of which the patch with the revision's label has not come yet.
    pub resizing: Option<Resizing>,
}

/// Written before a resize, which is two writes: should the second one fail, the Pod may have other resources than its
/// label's revision gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resizing {
    /// By container, what may be otherwise, and what it was: millicores or bytes.
    pub amounts: BTreeMap<Box<str>, BTreeMap<Amount, Option<i64>>>,
    /// A write of it may still be on its way.
    pub pending: bool,
}

/// A container as it was when the Pod was last patched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// `None`: it had never run.
    #[serde(rename = "containerID")]
    pub container_id: Option<Box<str>>,
    /// The image that it was started with, or would have been, as the Pod's spec had it: the
    /// kubelet goes by the text.
    pub image: Box<str>,
    /// [`super::decide::fields_hash`] of what it was started with; `None` beside a `wanted`: nobody
    /// knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Box<str>>,
    /// The same of what it is to be started with; `None`: only its image was ever changed, by an
    /// earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Box<str>>,
    /// Other texts that its image had in the spec since, each with the fields that went with it (empty:
    /// more than one set of them): it may have been started with any of these by now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<Box<str>, Box<str>>,
    /// Its image could not be pulled, as the kubelet said last of the spec that it had: nothing was about to start.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stuck: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl InPlaceState {
    /// When the last of the containers that the patch had started was started. One that was started after the time of an
    /// ending came back by itself later.
    pub fn rebuilt_at(&self, pod: &PodFacts) -> Option<Timestamp> {
        let rebuilt = pod.containers.iter().filter(|container| {
            self.containers.get(&container.name).is_some_and(|record| record.container_id != container.container_id)
        });
        let last = latest(self);
        rebuilt.filter_map(|container| container.running?.since).filter(|since| *since <= last).max()
    }
}

impl ContainerRecord {
    /// When the Pod was patched, a container of an older spec may have been about to start.
    pub(super) fn was_about_to_start(&self) -> bool {
        !self.stuck && (self.container_id.is_none() || !self.texts.is_empty())
    }

    /// Nobody knows what the container was started with.
    pub(super) fn is_of_unknown_make(&self) -> bool {
        self.started.is_none() && self.wanted.is_some()
    }

    /// Whether a container of one of these images cannot be told from one of the other by its
    /// status, where that makes a difference.
    pub(super) fn looks_the_same(&self, left: &str, right: &str) -> bool {
        let images_alone =
            self.started == self.wanted && self.texts.values().all(|fields| Some(fields) == self.started.as_ref());
        if images_alone { same_reference(left, right) } else { may_be_same_image(left, right) }
    }

    /// Texts with which it may have been started with other fields than these: no kubelet would start
    /// it again for one of them.
    pub(super) fn texts_with_other_fields<'a>(&'a self, container: &'a ContainerFacts, fields: &str) -> Vec<&'a str> {
        let since = self.texts.iter().map(|(text, fields)| (text, Some(fields)));
        let all =
            [(&self.image, self.started.as_ref()), (&container.image, self.wanted.as_ref())].into_iter().chain(since);
        all.filter(|(_, with)| with.is_none_or(|with| **with != *fields)).map(|(text, _)| &**text).collect()
    }

    /// Whether a container may have been started since with another text than the spec has, or with other fields.
    pub(super) fn may_be_another(&self, container: &ContainerFacts) -> bool {
        self.texts_beside(container, &container.image).next().is_some()
            || !self.had_only(&container.image, self.wanted.as_deref())
    }

    /// Whether this text never stood in the spec with other fields than these, since it was known what the container was
    /// started with.
    pub(super) fn had_only(&self, text: &str, fields: Option<&str>) -> bool {
        self.texts.get(text).is_none_or(|with| fields.is_none_or(|fields| **with == *fields))
    }

    /// The texts beside this one with which a container may have been started since it was known.
    pub(super) fn texts_beside<'a>(
        &'a self,
        container: &'a ContainerFacts,
        text: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let all = [&self.image, &container.image].into_iter().chain(self.texts.keys());
        all.map(|other| &**other).filter(move |other| *other != text)
    }
}

/// The annotation's form.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateJson {
    revision: Box<str>,
    /// RFC 3339.
    patched_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unready_since: Option<String>,
    #[serde(default)]
    generation: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    termination_grace_seconds: Option<i64>,
    #[serde(default)]
    containers: BTreeMap<Box<str>, ContainerRecord>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    resized: BTreeMap<Box<str>, Resources>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    needs: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resizing: Option<Value>,
}

impl InPlaceState {
    /// `None` where the text is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let json: StateJson = serde_json::from_str(text).ok()?;
        Some(Self {
            revision: json.revision,
            patched_at: json.patched_at.parse().ok()?,
            unready_since: json.unready_since.and_then(|since| since.parse().ok()),
            generation: json.generation,
            termination_grace_seconds: json.termination_grace_seconds.unwrap_or(GRACE_SECONDS_DEFAULT).max(0),
            containers: json.containers,
            resized: json.resized,
            needs: json.needs,
            // What another version wrote must not make the rest unreadable.
            resizing: json.resizing.map(|resizing| serde_json::from_value(resizing).unwrap_or_default()),
        })
    }

    /// The resize that was begun and not ended on this Pod.
    pub fn resizing_of(pod: &PodFacts) -> Option<Resizing> {
        let text = pod.in_place_state.as_deref()?;
        // Nearly every Pod has none: a look at the text is cheaper than to read it.
        if text.contains("\"resizing\"") { Self::parse(text)?.resizing } else { None }
    }

    /// The annotation's value.
    pub fn to_json(&self) -> String {
        let json = StateJson {
            revision: self.revision.clone(),
            patched_at: self.patched_at.to_string(),
            unready_since: self.unready_since.map(|since| since.to_string()),
            generation: self.generation,
            termination_grace_seconds: Some(self.termination_grace_seconds),
            containers: self.containers.clone(),
            resized: self.resized.clone(),
            needs: self.needs.clone(),
            resizing: self.resizing.as_ref().map(|resizing| serde_json::to_value(resizing).unwrap_or_default()),
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

/// The bookkeeping to be written with a patch that is not free.
pub fn next_state(pod: &PodFacts, update: &InPlacePatch, revision: &str, now: Timestamp) -> InPlaceState {
    let before = pod.in_place_state.as_deref().and_then(InPlaceState::parse);
    let mut containers = BTreeMap::new();
    for container in &pod.containers {
        let rebuild = update.rebuild.iter().find(|rebuild| rebuild.container == container.name);
        let record = before.as_ref().and_then(|state| Some((state, state.containers.get(&container.name)?)));
        let mut record = match (record, rebuild) {
            (Some((state, record)), _) => {
                let evidence = of_container(pod, container, record, state, now);
                let mut next = carried_on(container, record, evidence.as_ref());
                if evidence.is_some() {
                    next.texts = texts_since(record, container);
                }
                next
            }
            (None, Some(_)) => ContainerRecord {
                container_id: container.container_id.clone(),
                image: container.image.clone(),
                started: None,
                wanted: None,
                texts: BTreeMap::new(),
                stuck: false,
            },
            (None, None) => continue,
        };
        record.stuck = is_stuck(pod, container);
        if let Some(rebuild) = rebuild {
            // What an earlier version wrote knows of images alone: the fields were the old ones.
            if record.wanted.is_none() {
                record.started = Some(rebuild.old_fields.clone());
            }
            record.wanted = Some(rebuild.new_fields.clone());
            if was_resized_before(update, &rebuild.container) {
                record.started = None;
            }
        }
        containers.insert(container.name.clone(), record);
    }
    let spec_changes = !update.operations.is_empty() || !update.added_tolerations.is_empty();
    let mut resized = before.as_ref().map(|state| state.resized.clone()).unwrap_or_default();
    resized.extend(update.resized.iter().cloned());
    InPlaceState {
        revision: revision.into(),
        patched_at: whole_seconds(now),
        unready_since: pod.ready.filter(|ready| !ready.status).and_then(|ready| ready.since),
        // Its resourceVersion is the patch's precondition, and each write to the spec counts once.
        generation: pod
            .generation
            .saturating_add(i64::from(!update.resize.is_empty()))
            .saturating_add(i64::from(spec_changes)),
        termination_grace_seconds: before
            .as_ref()
            .map_or(GRACE_SECONDS_DEFAULT, |state| state.termination_grace_seconds),
        containers,
        resized,
        needs: update.needs.iter().map(|kind| kind.name().into()).collect(),
        resizing: None,
    }
}

/// The bookkeeping to be written before the resize of an update; `None`: the Pod has it.
pub fn state_before_resize(pod: &PodFacts, update: &InPlacePatch, now: Timestamp) -> Option<InPlaceState> {
    let before = pod.in_place_state.as_deref().and_then(InPlaceState::parse);
    let mut state = before.clone().unwrap_or_else(|| InPlaceState {
        revision: pod.revision_label().into(),
        patched_at: whole_seconds(pod.started_at.unwrap_or(now)),
        unready_since: None,
        generation: pod.generation,
        termination_grace_seconds: GRACE_SECONDS_DEFAULT,
        containers: BTreeMap::new(),
        resized: BTreeMap::new(),
        needs: Vec::new(),
        resizing: None,
    });
    let mut resizing = state.resizing.take().unwrap_or_default();
    resizing.pending = true;
    for (name, amounts) in &update.resizing {
        let found = pod.containers.iter().find(|container| container.name == *name);
        let has = found.and_then(|container| container.resources.as_deref().copied()).unwrap_or_default();
        let noted = resizing.amounts.entry(name.clone()).or_default();
        for amount in amounts {
            noted.entry(*amount).or_insert_with(|| has.get(*amount));
        }
    }
    state.resizing = Some(resizing);
    state.resized.extend(update.resized.iter().cloned());
    (before.as_ref() != Some(&state)).then_some(state)
}

/// It waits for an image that cannot be pulled, and the kubelet has heard of all that there is.
fn is_stuck(pod: &PodFacts, container: &ContainerFacts) -> bool {
    let is_seen = pod.observed_generation.is_some_and(|observed| observed >= pod.generation);
    let cannot_pull = container.waiting_reason.as_deref().is_some_and(|reason| {
        matches!(
            reason,
            "ErrImagePull"
                | "ImagePullBackOff"
                | "ErrImageNeverPull"
                | "InvalidImageName"
                | "ImageInspectError"
                | "RegistryUnavailable"
                | "SignatureValidationFailed"
        )
    });
    is_seen && cannot_pull && container.running.is_none()
}

/// The resize was made without the rest of its update, so nobody knows whether the container that
/// runs was started before it or by it.
fn was_resized_before(update: &InPlacePatch, container: &str) -> bool {
    update.resized.iter().any(|(name, _)| **name == *container)
        && !update.resize.iter().any(|operation| *operation.entry.name == *container)
}

/// Every text that the container's image has had since it was known what it was started with.
fn texts_since(record: &ContainerRecord, container: &ContainerFacts) -> BTreeMap<Box<str>, Box<str>> {
    let mut texts = record.texts.clone();
    for (text, fields) in [(&record.image, &record.started), (&container.image, &record.wanted)] {
        let fields = fields.clone().unwrap_or_default();
        let with = texts.entry(text.clone()).or_insert_with(|| fields.clone());
        if *with != fields {
            *with = "".into();
        }
    }
    texts
}

/// What a container runs now, from what it ran when it was patched before. `waits_for`: what that
/// update still waits for, `None` where it is done.
fn carried_on(container: &ContainerFacts, record: &ContainerRecord, waits_for: Option<&Evidence>) -> ContainerRecord {
    let new_fields = || ContainerRecord {
        container_id: container.container_id.clone(),
        image: container.image.clone(),
        started: record.wanted.clone(),
        wanted: record.wanted.clone(),
        texts: BTreeMap::new(),
        stuck: false,
    };
    let Some(id) = container.container_id.clone().filter(|id| Some(id) != record.container_id.as_ref()) else {
        return match waits_for {
            // Turned round and settled, in the same container.
            None => ContainerRecord { container_id: record.container_id.clone(), ..new_fields() },
            Some(_) => record.clone(),
        };
    };
    if waits_for.is_none() {
        return new_fields();
    }
    // Half done: it may have been started by any patch since, or have crashed and come back by itself
    // before the kubelet saw one. Its image tells, where no other text stands for that image; fields
    // alone leave no trace in the status.
    let is_of = |text: &str, fields: &Option<Box<str>>| {
        let shown = container.status_image.as_deref().is_some_and(|shown| same_reference(shown, text));
        // A node shows any tag of an image.
        let may_be = |other: &str| {
            record.looks_the_same(other, text) || record.wanted.is_some() && may_be_another_tag(other, text)
        };
        shown && record.had_only(text, fields.as_deref()) && !record.texts_beside(container, text).any(may_be)
    };
    let (is_of_old, is_of_new) = (is_of(&record.image, &record.started), is_of(&container.image, &record.wanted));
    let turned_round = record.image == container.image;
    let alone = !record.may_be_another(container);
    match record.started == record.wanted {
        // Earlier versions knew of images alone.
        _ if record.wanted.is_none() && is_of_old => ContainerRecord { container_id: Some(id), ..record.clone() },
        _ if record.wanted.is_none() => ContainerRecord { container_id: Some(id), ..new_fields() },
        true if turned_round && (alone || is_of_new) => new_fields(),
        _ if !turned_round && is_of_old => ContainerRecord { container_id: Some(id), ..record.clone() },
        _ if !turned_round && is_of_new => new_fields(),
        _ => ContainerRecord { started: None, ..new_fields() },
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
