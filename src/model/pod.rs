//! What is kept of a Pod: a few hundred bytes instead of the whole object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HelperFacts, Ordinal};
use crate::api::names;

/// A Pod as a decision sees it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PodFacts {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    /// Opaque to users, a decimal string that grows per object (`KEP-5504`).
    pub resource_version: Box<str>,
    pub generation: i64,
    /// `status.observedGeneration`; servers before 1.34 have none.
    pub observed_generation: Option<i64>,
    pub created_at: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: the time at which the grace period is over.
    pub deletion: Option<Timestamp>,
    /// The owner reference with `controller: true`.
    pub controller: Option<OwnerFacts>,
    pub labels: BTreeMap<Box<str>, Box<str>>,
    pub finalizers: Vec<Box<str>>,
    pub node: Option<Box<str>>,
    pub phase: PodPhase,
    /// Why the kubelet says that it failed; of Failed Pods alone.
    pub failed_because: Option<Box<str>>,
    /// `status.startTime`: when the kubelet took the Pod.
    pub started_at: Option<Timestamp>,
    /// The Ready condition; absent until the kubelet wrote one.
    pub ready: Option<ReadyFacts>,
    /// The ContainersReady condition is True.
    pub containers_ready: bool,
    /// `PodScheduled` is False with reason `Unschedulable`.
    pub unschedulable: bool,
    pub gate: Gate,
    /// In the order of the spec: init containers, then containers.
    pub containers: Vec<ContainerFacts>,
    /// What holds up a resize, by the kubelet's conditions.
    pub resize: Option<Box<ResizeFacts>>,
    /// The annotation `apps.asts.dev/inplace-update-state` as it stands.
    pub in_place_state: Option<Box<str>>,
    /// Set in helper Pods alone, which are none of the set's Pods.
    pub helper: Option<Box<HelperFacts>>,
    /// The annotation `lifecycle.apps.asts.dev/timestamp`: since when the Pod is in its hook state.
    pub hook_state_since: Option<Timestamp>,
    /// When the kubelet was first seen to have observed the last patch, by the controller's clock and memory; where it
    /// matters alone, see [`crate::inplace::Heard`].
    pub heard_since: Option<Timestamp>,
}

/// `PodResizePending`, or `PodResizeInProgress`, where it is True.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizeFacts {
    /// `Infeasible`, `Deferred`, `Error`; `InProgress` where the kubelet gives none.
    pub reason: Box<str>,
    pub message: Box<str>,
}

/// cpu and memory of a container; `None`: not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_millicores: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request_millicores: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request_bytes: Option<i64>,
}

impl Resources {
    /// Whether these are the amounts that `wanted` gives. Others may have been filled in by admission (a LimitRange).
    pub fn have(&self, wanted: &Resources) -> bool {
        self.each().into_iter().zip(wanted.each()).all(|(own, wanted)| wanted.is_none() || own == wanted)
    }

    /// Whether an amount is still here that is to go: `old` gives it, `wanted` does not.
    pub fn have_more(&self, old: &Resources, wanted: &Resources) -> bool {
        let going = old.each().into_iter().zip(wanted.each()).map(|(old, wanted)| old.is_some() && wanted.is_none());
        self.each().into_iter().zip(going).any(|(own, goes)| goes && own.is_some())
    }

    pub fn get(&self, amount: Amount) -> Option<i64> {
        match amount {
            Amount::CpuLimit => self.cpu_limit_millicores,
            Amount::CpuRequest => self.cpu_request_millicores,
            Amount::MemoryLimit => self.memory_limit_bytes,
            Amount::MemoryRequest => self.memory_request_bytes,
        }
    }

    /// The same with another amount.
    pub fn with(mut self, amount: Amount, number: Option<i64>) -> Self {
        let place = match amount {
            Amount::CpuLimit => &mut self.cpu_limit_millicores,
            Amount::CpuRequest => &mut self.cpu_request_millicores,
            Amount::MemoryLimit => &mut self.memory_limit_bytes,
            Amount::MemoryRequest => &mut self.memory_request_bytes,
        };
        *place = number;
        self
    }

    fn each(&self) -> [Option<i64>; 4] {
        Amount::ALL.map(|amount| self.get(amount))
    }
}

/// One of the amounts of [`Resources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Amount {
    #[serde(rename = "limits.cpu")]
    CpuLimit,
    #[serde(rename = "requests.cpu")]
    CpuRequest,
    #[serde(rename = "limits.memory")]
    MemoryLimit,
    #[serde(rename = "requests.memory")]
    MemoryRequest,
}

impl Amount {
    pub const ALL: [Amount; 4] = [Amount::CpuLimit, Amount::CpuRequest, Amount::MemoryLimit, Amount::MemoryRequest];

    /// Where a container's `resources` have it.
    pub fn place(self) -> (&'static str, &'static str) {
        match self {
            Amount::CpuLimit => ("limits", "cpu"),
            Amount::CpuRequest => ("requests", "cpu"),
            Amount::MemoryLimit => ("limits", "memory"),
            Amount::MemoryRequest => ("requests", "memory"),
        }
    }
}

/// The Ready condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadyFacts {
    pub status: bool,
    /// `lastTransitionTime`.
    pub since: Option<Timestamp>,
}

/// The controller of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerFacts {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PodPhase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

/// The readiness gate [`names::READINESS_GATE`] of a Pod.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Gate {
    /// The Pod's spec does not have the gate: its readiness is not ours to turn.
    #[default]
    Absent,
    /// The gate is there and its condition was never written: the Pod is not Ready because of it.
    Unset,
    Open,
    Closed {
        since: Option<Timestamp>,
        reason: Box<str>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ContainerKind {
    #[default]
    Main,
    /// An init container with `restartPolicy: Always`.
    RestartableInit,
    /// An init container that runs once.
    Init,
}

/// A container: what the spec asks for, and what the kubelet says.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ContainerFacts {
    pub name: Box<str>,
    pub kind: ContainerKind,
    /// `spec…image`.
    pub image: Box<str>,
    /// `spec…resources`; `None`: neither cpu nor memory is given.
    pub resources: Option<Box<Resources>>,
    /// `status…resources`, likewise.
    pub status_resources: Option<Box<Resources>>,
    /// `status…containerID`, where not empty.
    pub container_id: Option<Box<str>>,
    /// `status…image`, where not empty.
    pub status_image: Option<Box<str>>,
    /// `status…imageID`, where not empty.
    pub image_id: Option<Box<str>>,
    /// `status…state.running.startedAt`; `Some` exactly while the container runs.
    pub running: Option<Running>,
    /// `status…state.waiting.reason`.
    pub waiting_reason: Option<Box<str>>,
    pub ready: bool,
    pub started: bool,
    pub restart_count: i32,
    /// The environment variables that refer to annotations which hold their values, see
    /// `inplace::env_annotations`.
    pub env_in_annotations: Box<[Box<str>]>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    pub since: Option<Timestamp>,
}

impl PodFacts {
    /// The value of the revision label, empty where there is none.
    pub fn revision_label(&self) -> &str {
        self.labels.get(names::REVISION_LABEL).map_or("", |value| value)
    }

    pub fn is_terminating(&self) -> bool {
        self.deletion.is_some()
    }

    /// The Ready condition is True and the Pod is not being deleted.
    pub fn is_ready(&self) -> bool {
        !self.is_terminating() && self.is_ready_condition()
    }

    pub fn is_ready_condition(&self) -> bool {
        self.ready.is_some_and(|ready| ready.status)
    }

    /// Failed or Succeeded: no container of it will ever run again.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, PodPhase::Failed | PodPhase::Succeeded)
    }

    /// The time at which the Pod counts as available; `None` while it is not Ready.
    /// A Ready condition without a time counts from the Pod's creation.
    pub fn available_at(&self, min_ready_seconds: i64) -> Option<Timestamp> {
        if !self.is_ready() {
            return None;
        }
        let since = self.ready.and_then(|ready| ready.since).or(self.created_at)?;
        Some(since.saturating_add(jiff::SignedDuration::from_secs(min_ready_seconds)).unwrap_or(Timestamp::MAX))
    }

    pub fn is_available(&self, min_ready_seconds: i64, now: Timestamp) -> bool {
        if min_ready_seconds == 0 {
            return self.is_ready();
        }
        self.available_at(min_ready_seconds).is_some_and(|at| at <= now)
    }

    /// The ordinal in this Pod's name, where the name is `<set name>-<ordinal>`.
    pub fn ordinal_of(&self, set_name: &str) -> Option<Ordinal> {
        ordinal_in(&self.name, set_name)
    }
}

/// The ordinal in `pod_name`, where it is `<set name>-<ordinal>` in the one way that this
/// controller writes it (no sign, no leading zero).
pub fn ordinal_in(pod_name: &str, set_name: &str) -> Option<Ordinal> {
    let digits = pod_name.strip_prefix(set_name)?.strip_prefix('-')?;
    if digits.is_empty()
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
        || (digits.len() > 1 && digits.starts_with('0'))
    {
        return None;
    }
    digits.parse().ok()
}

/// The set name and ordinal that a Pod's name would stand for.
pub fn parent_and_ordinal(pod_name: &str) -> Option<(&str, Ordinal)> {
    let (parent, _) = pod_name.rsplit_once('-')?;
    Some((parent, ordinal_in(pod_name, parent)?))
}

/// Resource versions are decimal numbers of any length without leading zeros.
pub fn is_newer(version: &str, than: &str) -> bool {
    (version.len(), version) > (than.len(), than)
}
