//! Everything that a decision may see, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{Abilities, ClaimFacts, Ordinal, Patterns, PodFacts, RevisionFacts};
use crate::api::{AdvancedStatefulSetSpec, AdvancedStatefulSetStatus};

/// One set and all that belongs to it, or stands in its way.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub set: SetFacts,
    /// Pods whose controller is this set (by UID), by name.
    pub pods: BTreeMap<Box<str>, Arc<PodFacts>>,
    /// Pods with no controller in the set's namespace whose name is `<set>-<ordinal>`.
    pub orphans: BTreeMap<Box<str>, Arc<PodFacts>>,
    /// Pods named `<set>-<ordinal>` that another object controls (a namesake of this set with
    /// another UID too), by name: what stands in the way.
    pub foreign: BTreeMap<Box<str>, Arc<PodFacts>>,
    /// Helper Pods that this set made, by name.
    pub helpers: BTreeMap<Box<str>, Arc<PodFacts>>,
    /// Claims of the namespace whose names end in `-<set>-<ordinal>`, by name.
    pub claims: BTreeMap<Box<str>, Arc<ClaimFacts>>,
    /// Revisions controlled by this set, and orphans that its selector matches.
    pub revisions: Vec<Arc<RevisionFacts>>,
    pub now: Timestamp,
    /// What the cluster's Pods can take in place.
    pub abilities: Abilities,
    /// Annotations that injectors read only when a Pod is created, by the manager's flags.
    pub injectors: Patterns,
    /// Most Pods that one plan makes; the rest is left to the next ones.
    pub creates_max: usize,
    pub answers: Answers,
}

/// The set itself.
#[derive(Clone, Debug)]
pub struct SetFacts {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub generation: i64,
    /// `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    pub spec: Arc<AdvancedStatefulSetSpec>,
    pub status: Arc<AdvancedStatefulSetStatus>,
}

/// What only the apiserver could say, asked for by a [`crate::plan::Question`] of an earlier plan
/// that was made from the same set object.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Live reads, each made after the set object of this snapshot was read.
    pub live_pods: BTreeMap<Ordinal, LivePod>,
    /// Templates as the apiserver defaults them, by the hash of the raw template
    /// ([`crate::plan::revisions::template_hash`]).
    pub templates: BTreeMap<Box<str>, TemplateAnswer>,
    /// Whole Pods, by UID, whose revision label names no revision that is known.
    pub whole_pods: BTreeMap<Box<str>, Arc<Value>>,
    /// Claims by name: `None` where it is bound, else why it cannot be mounted into a running Pod.
    pub bound_claims: BTreeMap<Box<str>, Option<Box<str>>>,
    /// Writes that the apiserver refused with 422 or 403 since the manager started:
    /// (Pod UID, revision hash) → the server's message.
    pub refused_patches: BTreeMap<(Box<str>, Box<str>), Box<str>>,
    /// Revisions, by hash, whose update in place was refused when a Pod had been taken out of service for it.
    pub held_updates: BTreeMap<Box<str>, HeldUpdate>,
    /// What dry runs of the whole update said in this look, by the Pod's UID: whether it is taken.
    pub tried_updates: BTreeMap<Box<str>, bool>,
    /// Node and image: pulled there by a helper Pod a while ago.
    pub pulled_images: BTreeSet<(Box<str>, Box<str>)>,
    /// What was refused in the last attempts of this set, to be said in `ReplicaFailure`.
    pub refusals: Vec<Refusal>,
}

/// No Pod is taken out of service for an update that would only be refused again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldUpdate {
    /// It was denied just now.
    Denied { reason: Box<str>, message: Box<str> },
    /// A dry run has to say first that it is taken now.
    Ask,
}

/// A write that was refused and not made since.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Kind and name: `Pod web-0`.
    pub object: String,
    /// CamelCase: `QuotaExceeded`, `Forbidden`, `Invalid`, `AdmissionDenied`.
    pub reason: String,
    /// The server's own message.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LivePod {
    /// No Pod of that name.
    Gone,
    Found(Arc<PodFacts>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum TemplateAnswer {
    /// The `template` of the PodTemplate that a dry-run create returned.
    Defaulted(Arc<Value>),
    /// 422: the apiserver will take no Pod of it.
    Invalid(Box<str>),
    /// Anything else: compare locally.
    Unavailable,
}
