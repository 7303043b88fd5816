//! How far an in-place update is: done by `containerID`, see [`super::state`].

use jiff::{SignedDuration, Timestamp};

use super::image::same_reference;
use super::state::{ContainerRecord, InPlaceState};
use crate::model::{ContainerFacts, PodFacts};

/// How long after a patch a kubelet may still not have heard of it, beside the time that it needs
/// to end the old container.
const KUBELET_LATENCY_SECONDS: i64 = 15;

/// A container that started after the patch and still runs after this time was started by it: one
/// that came back by itself in that very moment would be ended by now.
const SETTLING_SECONDS: i64 = 3;

/// How far the last rebuilding patch of a Pod is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Every rebuilt container runs what the spec asks for. Also for Pods that were never patched.
    Done,
    Waiting(Waiting),
}

/// What an update still waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    pub container: Box<str>,
    /// As users read it, with the container's name.
    pub why: String,
    /// Every rebuilt container has been started with the new image at least once (one of them may
    /// have ended since): the timeout does not count any more.
    pub effect_seen: bool,
    /// From when the timeout counts; `None` where the bookkeeping cannot be read.
    pub patched_at: Option<Timestamp>,
    /// When time alone may change the answer.
    pub look_again_at: Option<Timestamp>,
}

/// What one container still waits for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Evidence {
    why: String,
    effect_seen: bool,
    look_again_at: Option<Timestamp>,
}

/// Whether the containers of the Pod run what its spec asks for.
pub fn progress(pod: &PodFacts, now: Timestamp) -> Progress {
    let Some(text) = pod.in_place_state.as_deref() else {
        return Progress::Done;
    };
    let Some(state) = InPlaceState::parse(text) else {
        return without_bookkeeping(pod);
    };
    let waiting: Vec<(&ContainerFacts, Evidence)> = pod
        .containers
        .iter()
        .filter_map(|container| Some((container, state.containers.get(&container.name)?)))
        .filter_map(|(container, record)| Some((container, of_container(pod, container, record, &state, now)?)))
        .collect();
    let effect_seen = waiting.iter().all(|(_, evidence)| evidence.effect_seen);
    let look_again_at = waiting.iter().filter_map(|(_, evidence)| evidence.look_again_at).min();
    // The one that has not even started says most.
    let Some((container, evidence)) =
        waiting.iter().find(|(_, evidence)| !evidence.effect_seen).or_else(|| waiting.first())
    else {
        return Progress::Done;
    };
    Progress::Waiting(Waiting {
        container: container.name.clone(),
        why: evidence.why.clone(),
        effect_seen,
        patched_at: Some(state.patched_at),
        look_again_at,
    })
}

/// What a container still waits for; `None`: it runs what the spec asks for.
pub(super) fn of_container(
    pod: &PodFacts,
    container: &ContainerFacts,
    record: &ContainerRecord,
    state: &InPlaceState,
    now: Timestamp,
) -> Option<Evidence> {
    let name = &container.name;
    let unseen = |why: String| Some(Evidence { why, effect_seen: false, look_again_at: None });
    if !kubelet_saw(pod, state.generation) {
        return unseen(format!("container {name}: the kubelet has not seen the update yet"));
    }
    let other_id = container.container_id.is_some() && container.container_id != record.container_id;
    if same_reference(&record.image, &container.image) {
        // Turned round, or patched before it ever ran: the kubelet may never have seen another image.
        let ever_ran = container.container_id.is_some();
        return (container.running.is_none()).then(|| not_running(container, ever_ran));
    }
    if !other_id {
        let doing = match &container.waiting_reason {
            Some(reason) => format!("has not been started with image {}: {reason}", container.image),
            None if container.running.is_some() => "is still the old one".to_owned(),
            None => format!("has not been started with image {}", container.image),
        };
        return unseen(format!("container {name} {doing}"));
    }
    let settled_at = settled_at(container, state);
    if !shows_its_image(container) && now < settled_at {
        // It may have crashed and come back by itself just before the kubelet saw the patch.
        let why = format!("container {name} was started again, and may not have image {} yet", container.image);
        return Some(Evidence { why, effect_seen: false, look_again_at: Some(settled_at) });
    }
    (container.running.is_none())
        .then(|| not_running(container, shows_its_image(container) || !never_started(container)))
}

/// From when a container with another ID counts as the new one, whatever image its status names.
fn settled_at(container: &ContainerFacts, state: &InPlaceState) -> Timestamp {
    let later = |time: Timestamp, seconds: i64| {
        time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    };
    let latest = later(state.patched_at, state.termination_grace_seconds.saturating_add(KUBELET_LATENCY_SECONDS));
    match container.running.and_then(|running| running.since) {
        Some(since) if since >= state.patched_at => latest.min(later(since, SETTLING_SECONDS)),
        _ => latest,
    }
}

/// The status that the kubelet gives a container says that it has the image of the spec. Evidence
/// for it, never asked for: one image has many names.
fn shows_its_image(container: &ContainerFacts) -> bool {
    if container.status_image.as_deref().is_some_and(|shown| same_reference(shown, &container.image)) {
        return true;
    }
    let digest = container.image.split_once('@').map(|(_, digest)| digest);
    let shown = container.image_id.as_deref().and_then(|id| id.rsplit_once('@')).map(|(_, digest)| digest);
    digest.is_some() && digest == shown
}

/// Of this generation, which the last patch brought; what others changed since does not count. Servers before 1.34 do
/// not say; then the containers alone do.
fn kubelet_saw(pod: &PodFacts, generation: i64) -> bool {
    pod.observed_generation.is_none_or(|observed| observed >= generation)
}

/// Waits for its image or its configuration, so the container that the spec asks for is not there.
fn never_started(container: &ContainerFacts) -> bool {
    container.waiting_reason.as_deref().is_some_and(|reason| !matches!(reason, "CrashLoopBackOff" | "PodInitializing"))
}

fn not_running(container: &ContainerFacts, effect_seen: bool) -> Evidence {
    let name = &container.name;
    let why = match &container.waiting_reason {
        Some(reason) => format!("container {name} does not run: {reason}"),
        None => format!("container {name} does not run"),
    };
    Evidence { why, effect_seen, look_again_at: None }
}

/// The annotation is malformed: someone else wrote it. What is left to ask for is that all runs.
fn without_bookkeeping(pod: &PodFacts) -> Progress {
    let waiting = |container: &ContainerFacts, why: String, effect_seen: bool| {
        let container = container.name.clone();
        Progress::Waiting(Waiting { container, why, effect_seen, patched_at: None, look_again_at: None })
    };
    let lasting = |container: &&ContainerFacts| container.kind != crate::model::ContainerKind::Init;
    if let (false, Some(first)) = (kubelet_saw(pod, pod.generation), pod.containers.iter().find(lasting)) {
        return waiting(first, format!("container {}: the kubelet has not seen the update yet", first.name), false);
    }
    match pod.containers.iter().filter(lasting).find(|container| container.running.is_none()) {
        Some(container) => waiting(container, not_running(container, true).why, container.container_id.is_some()),
        None => Progress::Done,
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
