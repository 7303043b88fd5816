//! What the plugin sees of a set: the set, its Pods and its revisions, as values.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::{AdvancedStatefulSet, names};
use crate::control::cache::Watched;
use crate::control::cache::pod::PodObject;
use crate::control::cache::revision::RevisionObject;
use crate::control::cache::watched::resource;
use crate::model::{PodFacts, RevisionFacts};

/// The annotation in which users say why a revision was made.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// A Pod: what the controller sees of it, and what people want to know besides.
#[derive(Clone, Debug)]
pub struct PodSeen {
    metadata: ObjectMeta,
    pub facts: Arc<PodFacts>,
    pub ip: Option<String>,
}

/// A ControllerRevision, likewise.
#[derive(Clone, Debug)]
pub struct RevisionSeen {
    metadata: ObjectMeta,
    pub facts: Arc<RevisionFacts>,
    pub created_at: Option<Timestamp>,
    pub change_cause: Option<String>,
}

resource!(PodSeen, "Pod", "", "v1", "pods");
resource!(RevisionSeen, "ControllerRevision", "apps", "v1", "controllerrevisions");

impl<'de> Deserialize<'de> for PodSeen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let ip = value.pointer("/status/podIP").and_then(Value::as_str).filter(|ip| !ip.is_empty()).map(str::to_owned);
        let object: PodObject = serde_json::from_value(value).map_err(serde::de::Error::custom)?;
        let metadata = object.metadata.clone();
        let is_helper = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(names::PRE_PULL_LABEL));
        let facts = if is_helper { object.into_facts().unwrap_or_default() } else { object.whole() };
        Ok(PodSeen { metadata, facts: Arc::new(facts), ip })
    }
}

impl<'de> Deserialize<'de> for RevisionSeen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let cause = value.pointer("/metadata/annotations").and_then(|all| all.get(CHANGE_CAUSE)?.as_str());
        let cause = cause.filter(|cause| !cause.is_empty()).map(str::to_owned);
        let object: RevisionObject = serde_json::from_value(value).map_err(serde::de::Error::custom)?;
        let metadata = object.metadata.clone();
        let created_at = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let facts = object.whole().facts;
        let of_template = facts.data.pointer("/spec/template/metadata/annotations");
        let change_cause =
            cause.or_else(|| of_template.and_then(|all| all.get(CHANGE_CAUSE)?.as_str()).map(str::to_owned));
        Ok(RevisionSeen { metadata, facts, created_at, change_cause })
    }
}

/// A set and all that is its own, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub set: AdvancedStatefulSet,
    /// By name.
    pub pods: BTreeMap<String, Arc<PodSeen>>,
    /// Pods that make nodes pull its images ahead.
    pub helpers: Vec<Arc<PodSeen>>,
    /// By number.
    pub revisions: Vec<RevisionSeen>,
    /// What could not be looked at, in the server's words.
    pub unseen: Vec<String>,
}

impl Picture {
    /// Of everything that was found, what the set controls.
    pub fn new(
        set: AdvancedStatefulSet,
        pods: impl IntoIterator<Item = Arc<PodSeen>>,
        revisions: impl IntoIterator<Item = RevisionSeen>,
        unseen: Vec<String>,
    ) -> Picture {
        let uid = set.metadata.uid.clone().unwrap_or_default();
        let (mut members, mut helpers) = (BTreeMap::new(), Vec::new());
        for pod in pods {
            let is_of = |owner: &str| *owner == *uid && !uid.is_empty();
            if pod.facts.helper.as_ref().is_some_and(|helper| is_of(&helper.owner_uid)) {
                helpers.push(pod);
            } else if pod.facts.controller.as_ref().is_some_and(|owner| is_of(&owner.uid)) {
                members.insert(pod.facts.name.to_string(), pod);
            }
        }
        Picture { pods: members, helpers, revisions: controlled(&uid, revisions), unseen, set }
    }

    /// As long as nothing but the set was seen.
    pub fn of_set(set: AdvancedStatefulSet) -> Picture {
        Picture { set, ..Picture::default() }
    }

    pub fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or_default()
    }
}

/// The revisions that a set of this UID controls, by number.
pub fn controlled(uid: &str, revisions: impl IntoIterator<Item = RevisionSeen>) -> Vec<RevisionSeen> {
    let is_ours =
        |one: &RevisionSeen| one.facts.controller.as_ref().is_some_and(|owner| *owner.uid == *uid && !uid.is_empty());
    let mut revisions: Vec<RevisionSeen> = revisions.into_iter().filter(is_ours).collect();
    revisions.sort_by(|one, other| (one.facts.number, &one.facts.name).cmp(&(other.facts.number, &other.facts.name)));
    revisions
}
