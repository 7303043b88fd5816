//! How far an in-place update is: containers by `containerID`, see [`super::state`]; resizes by the
//! status; the rest by `observedGeneration`.

use jiff::{SignedDuration, Timestamp};

use super::image::{may_be_another_tag, same_reference};
use super::resize::{is_resized, waits_for};
use super::state::{ContainerRecord, InPlaceState};
use crate::model::{ContainerFacts, PodFacts};

/// How long after a patch a kubelet may still not have heard of it, beside the time that it needs
/// to end the old container.
const KUBELET_LATENCY_SECONDS: i64 = 15;

/// A container that started after the patch and still runs after this time was started by it: one
/// that came back by itself in that very moment would be ended by now.
const SETTLING_SECONDS: i64 = 3;
/// How long one is waited for whose status names the image that is wanted, and that may still be of another tag of the
/// same image, about to be ended. Two tags are seldom one image, and then nothing but a moment of readiness is at stake,
/// so a long grace period is not waited out.
const OTHER_TAG_ENDING_SECONDS_MAX: i64 = 10;

/// How far the last rebuilding patch of a Pod is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Every rebuilt container runs what the spec asks for, every resized one has its resources.
    /// Also for Pods that were never patched.
    Done,
    Waiting(Waiting),
}

/// What an update still waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    pub what: What,
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

/// What kind of thing is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A container that is to be re-created.
    Container,
    /// The kubelet, to hear of the patch.
    Kubelet,
    Resize,
}

/// What one container still waits for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Evidence {
    why: String,
    effect_seen: bool,
    look_again_at: Option<Timestamp>,
    /// It runs, and is the one that was to be replaced.
    is_still_the_old: bool,
}

/// Whether the containers of the Pod run what its spec asks for.
pub fn progress(pod: &PodFacts, now: Timestamp) -> Progress {
    let Some(text) = pod.in_place_state.as_deref() else {
        return Progress::Done;
    };
    let Some(state) = InPlaceState::parse(text) else {
        return without_bookkeeping(pod);
    };
    let waiting: Vec<Evidence> = pod
        .containers
        .iter()
        .filter_map(|container| Some((container, state.containers.get(&container.name)?)))
        .filter_map(|(container, record)| of_container(pod, container, record, &state, now))
        .collect();
    let effect_seen = waiting.iter().all(|evidence| evidence.effect_seen);
    let look_again_at = waiting.iter().filter_map(|evidence| evidence.look_again_at).min();
    // The one that has not even started says most.
    let first = waiting.iter().find(|evidence| !evidence.effect_seen).or_else(|| waiting.first());
    let waits = |what, why: String, effect_seen| {
        Progress::Waiting(Waiting { what, why, effect_seen, patched_at: Some(state.patched_at), look_again_at })
    };
    if let Some(evidence) = first {
        return waits(What::Container, with_stock_kubelet_named(pod, &state, evidence), effect_seen);
    }
    if !kubelet_saw(pod, state.generation) {
        return waits(What::Kubelet, "the kubelet has not seen the update yet".to_owned(), false);
    }
    // Before the rest of the update is there, what its node has no room for is not waited for: it may never come.
    let is_put_off = state.resizing.is_some()
        && pod.resize.as_ref().is_some_and(|resize| matches!(&*resize.reason, "Deferred" | "Infeasible"));
    match pod.containers.iter().find(|container| !is_put_off && is_being_resized(container, &state)) {
        Some(container) => waits(What::Resize, waits_for(pod, &container.name), false),
        None => Progress::Done,
    }
}

/// A container that does not run has no resources to show; why it does not run is told elsewhere.
/// One that others have resized since is not waited for.
fn is_being_resized(container: &ContainerFacts, state: &InPlaceState) -> bool {
    let Some(wanted) = state.resized.get(&container.name) else { return false };
    let asked_for = container.resources.as_deref().copied().unwrap_or_default();
    asked_for.have(wanted) && container.running.is_some() && !is_resized(container)
}

/// An apiserver that takes a field says nothing about the node's kubelet: where that one has heard
/// of the change and lets the old container run on, it seems to be a stock one.
fn with_stock_kubelet_named(pod: &PodFacts, state: &InPlaceState, evidence: &Evidence) -> String {
    let idle = evidence.is_still_the_old && !state.needs.is_empty() && pod.observed_generation.is_some();
    match pod.node.as_deref().filter(|_| idle) {
        Some(node) => format!(
            "{} although its {} changed: the kubelet of node {node} seems to be a stock one",
            evidence.why,
            state.needs.join(", ")
        ),
        None => evidence.why.clone(),
    }
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
    let unseen = |why: String| Evidence { why, effect_seen: false, look_again_at: None, is_still_the_old: false };
    if !kubelet_saw(pod, state.generation) {
        return Some(unseen(format!("container {name}: the kubelet has not seen the update yet")));
    }
    let other_id = container.container_id.is_some() && container.container_id != record.container_id;
    if is_turned_round(record, container) && !(other_id && record.may_be_another(container)) {
        // Turned round, or patched before it ever ran: the kubelet may never have seen anything else. Had it begun to end
        // this one, it would not have observed the patch yet; where it does not say, the time of an ending has to pass.
        let latest = latest(state);
        let may_be_ending = container.running.is_some() && record.may_be_another(container);
        if may_be_ending && pod.observed_generation.is_none() && now < latest {
            let why = format!("container {name} may be on its way out");
            return Some(Evidence { look_again_at: Some(latest), ..unseen(why) });
        }
        let ever_ran = container.container_id.is_some();
        return (container.running.is_none()).then(|| not_running(container, ever_ran));
    }
    if !other_id {
        if record.is_of_unknown_make() && container.running.is_some() {
            // Nobody knows what it was started with: were it not what is wanted, it would be ended, from when its kubelet has
            // heard of it.
            let ended = pod.heard_since.map(|heard| later(heard, state.termination_grace_seconds));
            let latest = ended.map_or(latest(state), |ended| ended.max(latest(state)));
            let why = format!("container {name} may be the old one");
            return (now < latest).then(|| Evidence { look_again_at: Some(latest), ..unseen(why) });
        }
        let doing = match &container.waiting_reason {
            Some(reason) => format!("has not been started with image {}: {reason}", container.image),
            None if container.running.is_some() => "is still the old one".to_owned(),
            None => format!("has not been started with image {}", container.image),
        };
        let is_still_the_old = container.running.is_some();
        return Some(Evidence { is_still_the_old, ..unseen(format!("container {name} {doing}")) });
    }
    // An image that did not change, or that the spec had before with other fields, is no sign.
    let is_told = record.wanted.is_none()
        || (record.started == record.wanted || record.image != container.image)
            && record.had_only(&container.image, record.wanted.as_deref());
    let looks_the_same = |text: &str| record.looks_the_same(text, &container.image);
    let is_sign = is_told && !record.texts_beside(container, &container.image).any(looks_the_same);
    let shows_its_text = shows_its_image(container) && is_sign;
    // Nor one that may be another tag of what it was about to be started with: a node shows any tag of an image.
    let is_other_tag = |text: &str| may_be_another_tag(text, &container.image);
    let may_be_other_tag =
        record.was_about_to_start() && record.texts_beside(container, &container.image).any(is_other_tag);
    let shows_it = shows_its_text && !may_be_other_tag;
    let ending_seconds = match state.termination_grace_seconds {
        seconds if shows_its_text => seconds.min(OTHER_TAG_ENDING_SECONDS_MAX),
        seconds => seconds,
    };
    let settled_at = settled_at(pod, container, record, state, ending_seconds);
    if !shows_it && now < settled_at {
        // It may have crashed and come back by itself just before the kubelet saw the patch.
        let why = format!("container {name} was started again, and may not be the new one yet");
        return Some(Evidence { look_again_at: Some(settled_at), ..unseen(why) });
    }
    (container.running.is_none()).then(|| not_running(container, shows_it || !never_started(container)))
}

/// What is wanted is what the recorded container was started with. The kubelet goes by the image's
/// text; what earlier versions wrote is compared by meaning.
fn is_turned_round(record: &ContainerRecord, container: &ContainerFacts) -> bool {
    match &record.wanted {
        None => same_reference(&record.image, &container.image),
        wanted @ Some(_) => record.started == *wanted && record.image == container.image,
    }
}

/// A container that was to be ended does not run any more by then.
pub(super) fn latest(state: &InPlaceState) -> Timestamp {
    later(state.patched_at, state.termination_grace_seconds.saturating_add(KUBELET_LATENCY_SECONDS))
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// From when a container with another ID counts as the new one, whatever image its status names. One of an older spec
/// is taken to end in `ending_seconds`.
fn settled_at(
    pod: &PodFacts,
    container: &ContainerFacts,
    record: &ContainerRecord,
    state: &InPlaceState,
    ending_seconds: i64,
) -> Timestamp {
    let latest = latest(state);
    let since = container.running.and_then(|running| running.since);
    let is_younger = since.is_some_and(|since| since >= state.patched_at);
    if record.was_about_to_start() {
        // It may be of an older spec, and takes its time to end from when the kubelet has heard of the patch: not
        // before it has started the others.
        let starts = pod.containers.iter().filter_map(|container| container.running?.since);
        let heard = starts.max().map(|start| later(start, SETTLING_SECONDS)).max(pod.heard_since);
        let ended = heard.map(|heard| later(heard, ending_seconds));
        return ended.map_or(latest, |ended| if is_younger { ended } else { ended.max(latest) });
    }
    match since {
        Some(since) if is_younger => latest.min(later(since, SETTLING_SECONDS)),
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
    // A patch that changed nothing in the spec brought no generation.
    pod.observed_generation.is_none_or(|observed| observed >= generation.min(pod.generation))
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
    Evidence { why, effect_seen, look_again_at: None, is_still_the_old: false }
}

/// The annotation is malformed: someone else wrote it. What is left to ask for is that all runs.
fn without_bookkeeping(pod: &PodFacts) -> Progress {
    let waiting = |why: String, effect_seen: bool| {
        Progress::Waiting(Waiting { what: What::Container, why, effect_seen, patched_at: None, look_again_at: None })
    };
    let lasting = |container: &&ContainerFacts| container.kind != crate::model::ContainerKind::Init;
    if let (false, Some(first)) = (kubelet_saw(pod, pod.generation), pod.containers.iter().find(lasting)) {
        return waiting(format!("container {}: the kubelet has not seen the update yet", first.name), false);
    }
    match pod.containers.iter().filter(lasting).find(|container| container.running.is_none()) {
        Some(container) => waiting(not_running(container, true).why, container.container_id.is_some()),
        None => Progress::Done,
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
