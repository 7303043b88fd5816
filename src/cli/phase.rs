//! What a Pod is at, in words: from the facts that the controller decides by. Values only.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::api::names;
use crate::inplace::progress::What;
use crate::inplace::{Progress, progress};
use crate::model::{ContainerFacts, Gate, Hooks, PodFacts};

/// What kubelets say of a container whose image cannot be had.
const IMAGE_TROUBLE: [&str; 5] =
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"];
/// What they say while all is well.
const UNDER_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// How a Pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Phase {
    /// Something keeps it from running.
    Failing,
    Deleting,
    /// Its node, or its kubelet, is not there yet.
    Pending,
    /// Traffic is kept away, nothing is changed yet.
    GateClosed,
    /// An image is pulled, or a container made.
    Pulling,
    /// Containers are being re-created, or resources changed.
    Rebuilding,
    WaitingForReady,
    /// A lifecycle hook has not let it go on.
    Held,
    /// Ready, and not yet for `minReadySeconds`.
    Settling,
    Available,
}

/// A Pod's phase, in words, since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub phase: Phase,
    pub words: String,
    pub since: Option<Timestamp>,
}

/// What a Pod is measured by.
#[derive(Clone, Debug)]
pub struct Measure<'a> {
    /// The hash of the update revision, where there is one.
    pub update: Option<&'a str>,
    pub min_ready_seconds: i64,
    pub hooks: &'a Hooks,
    pub now: Timestamp,
}

impl Standing {
    fn new(phase: Phase, words: impl Into<String>, since: Option<Timestamp>) -> Standing {
        Standing { phase, words: words.into(), since }
    }
}

/// What a Pod is at.
pub fn standing(pod: &PodFacts, measure: &Measure<'_>) -> Standing {
    let created = pod.created_at;
    if pod.is_terminating() {
        return Standing::new(Phase::Deleting, "being deleted", None);
    }
    if pod.is_terminal() {
        return Standing::new(Phase::Failing, format!("{:?}", pod.phase), None);
    }
    if pod.unschedulable {
        return Standing::new(Phase::Failing, "cannot be scheduled", created);
    }
    if pod.node.is_none() {
        return Standing::new(Phase::Pending, "waiting for a node", created);
    }
    let since_patch = match progress(pod, measure.now) {
        Progress::Waiting(waiting) => Some((waiting.what, waiting.patched_at)),
        Progress::Done => None,
    };
    if let Some(container) = pod.containers.iter().find(|container| is_in_trouble(container)) {
        let reason = container.waiting_reason.as_deref().unwrap_or_default();
        let words = if IMAGE_TROUBLE.contains(&reason) {
            format!("cannot pull {} ({reason})", container.image)
        } else {
            format!("{} does not run ({reason})", container.name)
        };
        return Standing::new(Phase::Failing, words, since_patch.and_then(|(_, at)| at).or(created));
    }
    if let Some((what, at)) = since_patch {
        return being_updated(pod, what, at);
    }
    not_updating(pod, measure)
}

fn is_in_trouble(container: &ContainerFacts) -> bool {
    container.waiting_reason.as_deref().is_some_and(|reason| !UNDER_WAY.contains(&reason))
}

fn coming(pod: &PodFacts) -> Option<&ContainerFacts> {
    pod.containers.iter().find(|container| container.running.is_none() && container.waiting_reason.is_some())
}

fn being_updated(pod: &PodFacts, what: What, at: Option<Timestamp>) -> Standing {
    match (what, coming(pod)) {
        (What::Resize, _) => Standing::new(Phase::Rebuilding, "resizing", at),
        (_, Some(container)) => Standing::new(Phase::Pulling, format!("pulling or starting {}", container.name), at),
        (What::Kubelet, None) => Standing::new(Phase::Rebuilding, "patched, the kubelet has not seen it", at),
        (What::Container, None) => Standing::new(Phase::Rebuilding, "rebuilding", at),
    }
}

fn not_updating(pod: &PodFacts, measure: &Measure<'_>) -> Standing {
    let outdated = measure.update.is_some_and(|update| update != pod.revision_label());
    if let Some(container) = coming(pod) {
        return Standing::new(Phase::Pulling, format!("pulling or starting {}", container.name), pod.created_at);
    }
    if let Gate::Closed { since, reason } = &pod.gate
        && &**reason == names::REASON_CONTAINER_REBUILDING
    {
        let words = if outdated { "gate closed" } else { "about to open the gate" };
        return Standing::new(Phase::GateClosed, words, *since);
    }
    if !pod.is_ready() {
        let since = pod.ready.and_then(|ready| ready.since).or(pod.started_at).or(pod.created_at);
        return Standing::new(Phase::WaitingForReady, "waiting for ready", since);
    }
    let ready_since = pod.ready.and_then(|ready| ready.since);
    if !measure.hooks.let_count(pod) {
        let state = pod.hook_state().map_or("", |state| state.text());
        return Standing::new(Phase::Held, format!("held by a hook ({state})"), pod.hook_state_since);
    }
    if !pod.is_available(measure.min_ready_seconds, measure.now) {
        return Standing::new(Phase::Settling, "ready, not yet available", ready_since);
    }
    Standing::new(Phase::Available, "ready", ready_since)
}

/// Whole seconds from one time to another, 0 where that is earlier.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).max(SignedDuration::ZERO).as_secs()
}

/// A time span as kubectl writes ages: `45s`, `3m20s`, `5h`, `12d`.
pub fn short_span(seconds: i64) -> String {
    let (minute, hour, day) = (60, 3600, 86_400);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..600 => two(seconds / minute, "m", seconds % minute, "s"),
        600..10_800 => format!("{}m", seconds / minute),
        10_800..28_800 => two(seconds / hour, "h", seconds % hour / minute, "m"),
        28_800..172_800 => format!("{}h", seconds / hour),
        172_800..691_200 => two(seconds / day, "d", seconds % day / hour, "h"),
        691_200..63_072_000 => format!("{}d", seconds / day),
        63_072_000..252_288_000 => two(seconds / (365 * day), "y", seconds / day % 365, "d"),
        _ => format!("{}y", seconds / (365 * day)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pod::{ReadyFacts, Running};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn ready_pod() -> PodFacts {
        let container = ContainerFacts {
            name: "app".into(),
            image: "app:v1".into(),
            running: Some(Running { since: Some(at(0)) }),
            ready: true,
            ..ContainerFacts::default()
        };
        PodFacts {
            name: "web-0".into(),
            node: Some("n".into()),
            created_at: Some(at(0)),
            labels: [(names::REVISION_LABEL.into(), "old".into())].into(),
            ready: Some(ReadyFacts { status: true, since: Some(at(5)) }),
            gate: Gate::Open,
            containers: vec![container],
            ..PodFacts::default()
        }
    }

    fn stands(pod: &PodFacts, min_ready_seconds: i64) -> (Phase, String) {
        let hooks = Hooks::default();
        let measure = Measure { update: Some("new"), min_ready_seconds, hooks: &hooks, now: at(10) };
        let standing = standing(pod, &measure);
        (standing.phase, standing.words)
    }

    #[test]
    fn a_pod_is_told_by_what_it_is_at() {
        let pod = ready_pod();
        assert_eq!(stands(&pod, 0), (Phase::Available, "ready".into()));
        assert_eq!(stands(&pod, 30), (Phase::Settling, "ready, not yet available".into()));
        let unready = PodFacts { ready: Some(ReadyFacts { status: false, since: None }), ..pod.clone() };
        assert_eq!(stands(&unready, 0).0, Phase::WaitingForReady);
        let closed = Gate::Closed { since: None, reason: names::REASON_CONTAINER_REBUILDING.into() };
        let closed = PodFacts { gate: closed, ..unready.clone() };
        assert_eq!(stands(&closed, 0), (Phase::GateClosed, "gate closed".into()));
        assert_eq!(stands(&PodFacts { deletion: Some(at(0)), ..pod.clone() }, 0).0, Phase::Deleting);
        assert_eq!(stands(&PodFacts { node: None, ..pod.clone() }, 0).0, Phase::Pending);
        assert_eq!(stands(&PodFacts { unschedulable: true, ..pod }, 0).0, Phase::Failing);
    }

    #[test]
    fn containers_that_do_not_run_say_why() {
        let with = |reason: &str| {
            let mut pod = ready_pod();
            pod.ready = None;
            pod.containers[0].running = None;
            pod.containers[0].waiting_reason = Some(reason.into());
            stands(&pod, 0)
        };
        assert_eq!(with("ImagePullBackOff"), (Phase::Failing, "cannot pull app:v1 (ImagePullBackOff)".into()));
        assert_eq!(with("CrashLoopBackOff"), (Phase::Failing, "app does not run (CrashLoopBackOff)".into()));
        assert_eq!(with("ContainerCreating"), (Phase::Pulling, "pulling or starting app".into()));
    }

    #[test]
    fn a_patched_pod_is_rebuilding_until_another_container_runs() {
        let mut pod = ready_pod();
        pod.containers[0].container_id = Some("one".into());
        pod.containers[0].image = "app:v2".into();
        pod.in_place_state = Some(
            r#"{"revision":"new","patchedAt":"1970-01-12T13:46:40Z","containers":{"app":{"containerID":"one","image":"app:v1"}}}"#
                .into(),
        );
        assert_eq!(stands(&pod, 0), (Phase::Rebuilding, "rebuilding".into()));
    }

    #[test]
    fn spans_are_written_as_kubectl_writes_them() {
        for (seconds, text) in [
            (-3, "0s"),
            (45, "45s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (3599, "59m"),
            (10_860, "3h1m"),
            (30_000, "8h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (63_158_400, "2y1d"),
        ] {
            assert_eq!(short_span(seconds), text, "{seconds}");
        }
    }
}
