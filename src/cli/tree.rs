//! A set as a tree: its revisions, their Pods, and what stands in the way. Values only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::phase::{Measure, Phase, Standing, standing};
use super::pulls::{Pull, pulls};
use super::rollout::verdict::{condition, is_paused, unseen, wanted};
use super::seen::{Picture, PodSeen, RevisionSeen};
use crate::api::names::conditions as types;
use crate::inplace::InPlaceState;
use crate::model::{Hooks, Ordinal, ValidSpec};

/// Most empty slots that are listed one by one.
const MISSING_MAX: usize = 20;

/// The conditions that say why nothing happens, in the order in which they are told: causes first.
const TOLD: [&str; 6] = [
    types::REPLICA_FAILURE,
    types::PROGRESSING,
    types::PAUSED,
    types::AVAILABLE,
    types::IN_PLACE_UPDATE_BLOCKED,
    types::CLAIM_RESIZE_BLOCKED,
];

/// A set with its revisions and Pods.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    pub namespace: String,
    pub name: String,
    pub created_at: Option<Timestamp>,
    pub replicas: i64,
    pub ready_replicas: i64,
    pub available_replicas: i64,
    pub updated_replicas: i64,
    /// How many of the replicas a partition lets be updated.
    pub wanted_updated_replicas: i64,
    pub paused: bool,
    pub deleting: bool,
    /// By number, the newest first.
    pub revisions: Vec<RevisionNode>,
    /// Pods whose label names none of these revisions.
    pub unknown_revision: Vec<PodNode>,
    /// What nodes pull ahead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pulls: Vec<Pull>,
    /// Slots without a Pod, the first few.
    pub missing: Vec<String>,
    pub missing_count: usize,
    pub notes: Vec<Note>,
}

/// A revision and the Pods on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionNode {
    pub name: String,
    pub number: i64,
    pub created_at: Option<Timestamp>,
    /// Rolled out last in full.
    pub is_current: bool,
    /// That of the present template.
    pub is_update: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_cause: Option<String>,
    pub pods: Vec<PodNode>,
}

/// How a Pod came to be on its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Made {
    /// It was made on it.
    Created,
    /// It was on another one before, and went on.
    InPlace,
}

/// A Pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodNode {
    pub name: String,
    pub ordinal: Option<Ordinal>,
    pub phase: Phase,
    /// The phase in words.
    pub state: String,
    pub since: Option<Timestamp>,
    pub ready: bool,
    pub made: Made,
    /// When it was last patched, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patched_at: Option<Timestamp>,
    pub restarts: i64,
    pub created_at: Option<Timestamp>,
    pub node: Option<String>,
    pub ip: Option<String>,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// A condition's type and reason, or what this plugin found.
    pub about: String,
    pub message: String,
    /// It needs somebody.
    pub is_trouble: bool,
}

/// What of a picture counts for people.
pub fn tree(picture: &Picture, now: Timestamp) -> Tree {
    let set = &picture.set;
    let status = set.status.clone().unwrap_or_default();
    let spec = ValidSpec::parse(&set.spec).ok();
    let (replicas, wanted_updated_replicas) = wanted(set);
    let update = picture.revisions.iter().find(|one| Some(&*one.facts.name) == status.update_revision.as_deref());
    let no_hooks = Hooks::default();
    let measure = Measure {
        update: update.map(|one| &*one.facts.hash),
        min_ready_seconds: spec.as_ref().map_or(0, |spec| spec.min_ready_seconds),
        hooks: spec.as_ref().map_or(&no_hooks, |spec| &spec.hooks),
        now,
    };
    let mut by_revision: BTreeMap<Option<usize>, Vec<PodNode>> = BTreeMap::new();
    for pod in picture.pods.values() {
        let index = picture.revisions.iter().position(|one| is_on(pod, one));
        let revision = index.map(|index| &picture.revisions[index]);
        by_revision.entry(index).or_default().push(pod_node(picture.name(), pod, revision, &measure));
    }
    for pods in by_revision.values_mut() {
        pods.sort_by(|one, other| (other.ordinal, &other.name).cmp(&(one.ordinal, &one.name)));
    }
    let names = [&status.current_revision, &status.update_revision];
    let mut revisions: Vec<RevisionNode> = picture
        .revisions
        .iter()
        .enumerate()
        .map(|(index, one)| revision_node(one, names, by_revision.remove(&Some(index)).unwrap_or_default()))
        .collect();
    revisions.reverse();
    let missing = missing(picture, spec.as_ref());
    Tree {
        namespace: set.metadata.namespace.clone().unwrap_or_default(),
        name: picture.name().to_owned(),
        created_at: set.metadata.creation_timestamp.as_ref().map(|time| time.0),
        replicas,
        ready_replicas: i64::from(status.ready_replicas),
        available_replicas: i64::from(status.available_replicas),
        updated_replicas: i64::from(status.updated_replicas),
        wanted_updated_replicas,
        paused: is_paused(set),
        deleting: set.metadata.deletion_timestamp.is_some(),
        revisions,
        unknown_revision: by_revision.remove(&None).unwrap_or_default(),
        pulls: pulls(&picture.helpers, &outdated(picture, measure.update)),
        missing_count: missing.len(),
        missing: missing.into_iter().take(MISSING_MAX).collect(),
        notes: notes(picture),
    }
}

/// By its label: the hash, or the full name, as native Pods have it.
fn is_on(pod: &PodSeen, revision: &RevisionSeen) -> bool {
    let label = pod.facts.revision_label();
    label == &*revision.facts.hash || label == &*revision.facts.name
}

fn revision_node(one: &RevisionSeen, status: [&Option<String>; 2], pods: Vec<PodNode>) -> RevisionNode {
    let [current, update] = status.map(|name| name.as_deref() == Some(&*one.facts.name));
    RevisionNode {
        name: one.facts.name.to_string(),
        number: one.facts.number,
        created_at: one.created_at,
        is_current: current,
        is_update: update,
        change_cause: one.change_cause.clone(),
        pods,
    }
}

fn pod_node(set: &str, pod: &PodSeen, revision: Option<&RevisionSeen>, measure: &Measure<'_>) -> PodNode {
    let facts = &pod.facts;
    let Standing { phase, words, since } = standing(facts, measure);
    let bookkeeping = facts.in_place_state.as_deref().and_then(InPlaceState::parse);
    let patched_at = bookkeeping.filter(|state| *state.revision == *facts.revision_label()).map(|it| it.patched_at);
    // A change of labels alone leaves no bookkeeping; then a Pod that is older than its revision tells.
    let is_older = revision.and_then(|one| one.created_at).is_some_and(|made| facts.created_at < Some(made));
    let made = if patched_at.is_some() || is_older { Made::InPlace } else { Made::Created };
    PodNode {
        name: facts.name.to_string(),
        ordinal: facts.ordinal_of(set),
        phase,
        state: words,
        since,
        ready: facts.is_ready(),
        made,
        patched_at,
        restarts: facts.containers.iter().map(|container| i64::from(container.restart_count)).sum(),
        created_at: facts.created_at,
        node: facts.node.as_deref().map(str::to_owned),
        ip: pod.ip.clone(),
    }
}

/// The names of Pods that are to be updated, by node, the highest ordinal first.
fn outdated(picture: &Picture, update: Option<&str>) -> BTreeMap<String, Vec<String>> {
    let mut pods: Vec<&PodSeen> = picture.pods.values().map(|pod| &**pod).collect();
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.facts.ordinal_of(picture.name())));
    let mut by_node: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods.into_iter().filter(|pod| update.is_some_and(|update| update != pod.facts.revision_label())) {
        let node = pod.facts.node.as_deref().unwrap_or_default();
        by_node.entry(node.to_owned()).or_default().push(pod.facts.name.to_string());
    }
    by_node
}

fn missing(picture: &Picture, spec: Option<&ValidSpec>) -> Vec<String> {
    let Some(spec) = spec.filter(|_| picture.unseen.is_empty()) else { return Vec::new() };
    let names = spec.slots.ordinals().iter().map(|ordinal| format!("{}-{ordinal}", picture.name()));
    names.filter(|name| !picture.pods.contains_key(name)).collect()
}

/// Why nothing happens, or what to look after.
fn notes(picture: &Picture) -> Vec<Note> {
    let note = |about: &str, message: String, is_trouble| Note { about: about.to_owned(), message, is_trouble };
    let set = &picture.set;
    let mut notes = Vec::new();
    if let Some(message) = unseen(set) {
        notes.push(note("NotObserved", message, true));
    }
    for type_ in TOLD {
        let Some(one) = condition(set, type_) else { continue };
        let reason = one.reason.as_deref().unwrap_or_default();
        let is_true = one.status == "True";
        let trouble = match type_ {
            types::PROGRESSING if is_true && reason == "Complete" => continue,
            types::PROGRESSING => !is_true,
            types::AVAILABLE if is_true => continue,
            types::AVAILABLE => true,
            _ if !is_true => continue,
            // Said once.
            types::PAUSED if notes.iter().any(|note: &Note| note.about == "Progressing Paused") => continue,
            types::PAUSED => false,
            _ => true,
        };
        let about = if reason.is_empty() || reason == type_ { type_.to_owned() } else { format!("{type_} {reason}") };
        notes.push(note(&about, one.message.clone().unwrap_or_default(), trouble));
    }
    notes.extend(picture.unseen.iter().map(|words| note("NotSeen", words.clone(), true)));
    notes
}

/// The Pods that something is being done to, or that stand in the way, the lowest phase first.
pub fn under_way(tree: &Tree) -> Vec<&PodNode> {
    let all = tree.revisions.iter().flat_map(|revision| &revision.pods).chain(&tree.unknown_revision);
    let mut pods: Vec<&PodNode> = all.filter(|pod| pod.phase != Phase::Available).collect();
    pods.sort_by(|one, other| (other.ordinal, &one.name).cmp(&(one.ordinal, &other.name)));
    pods
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn owner(kind: &str) -> Value {
        json!([{"apiVersion": "apps.asts.dev/v1beta1", "kind": kind, "name": "web", "uid": "u", "controller": true}])
    }

    fn pod(name: &str, hash: &str, created: i64, annotations: &Value) -> PodSeen {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "uid": name, "labels": {"a": "b", "controller-revision-hash": hash}, "annotations": annotations,
                "creationTimestamp": at(created).to_string(), "ownerReferences": owner("AdvancedStatefulSet"),
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
            "status": {
                "podIP": "10.0.0.1", "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(created).to_string()}],
                "containerStatuses": [{
                    "name": "c", "ready": true, "restartCount": 2, "image": "i", "imageID": "", "containerID": "x",
                    "state": {"running": {}},
                }],
            },
        }))
        .unwrap()
    }

    fn revision(name: &str, number: i64, created: i64) -> RevisionSeen {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "uid": name, "creationTimestamp": at(created).to_string(),
                "ownerReferences": owner("AdvancedStatefulSet"),
            },
            "revision": number, "data": {"spec": {"template": {"spec": {}}}},
        }))
        .unwrap()
    }

    fn picture(pods: Vec<PodSeen>, status: Value) -> Picture {
        let set = serde_json::from_value(json!({
            "apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet",
            "metadata": {"name": "web", "namespace": "ns", "uid": "u", "generation": 2},
            "spec": {
                "replicas": 3, "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            },
            "status": status,
        }))
        .unwrap();
        Picture::new(
            set,
            pods.into_iter().map(Arc::new),
            [revision("web-two", 2, 100), revision("web-one", 1, 0)],
            Vec::new(),
        )
    }

    fn status(conditions: Value) -> Value {
        json!({
            "observedGeneration": 2, "currentRevision": "web-one", "updateRevision": "web-two", "readyReplicas": 2,
            "conditions": conditions,
        })
    }

    #[test]
    fn pods_hang_below_their_revision_the_highest_first() {
        let none = json!({});
        let pods = vec![
            pod("web-0", "one", 10, &none),
            pod("web-10", "two", 110, &none),
            pod("web-2", "web-two", 50, &none),
            pod("web-3", "gone", 50, &none),
        ];
        let tree = tree(&picture(pods, status(json!([]))), at(200));
        let named = |pods: &[PodNode]| pods.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>();
        let shown: Vec<(i64, Vec<String>)> = tree.revisions.iter().map(|one| (one.number, named(&one.pods))).collect();
        assert_eq!(shown, [(2, vec!["web-10".into(), "web-2".into()]), (1, vec!["web-0".into()])]);
        assert_eq!(named(&tree.unknown_revision), ["web-3"]);
        assert_eq!(tree.missing, ["web-1"]);
        assert!(tree.revisions[0].is_update && tree.revisions[1].is_current);
        let web_0 = &tree.revisions[1].pods[0];
        assert_eq!((web_0.restarts, web_0.ip.as_deref(), web_0.node.as_deref()), (2, Some("10.0.0.1"), Some("n1")));
    }

    #[test]
    fn a_pod_that_was_there_before_its_revision_was_updated_in_place() {
        let state = json!({"apps.asts.dev/inplace-update-state":
            json!({"revision": "one", "patchedAt": at(60).to_string()}).to_string()});
        let none = json!({});
        let pods =
            vec![pod("web-0", "two", 50, &none), pod("web-1", "two", 150, &none), pod("web-2", "one", 50, &state)];
        let tree = tree(&picture(pods, status(json!([]))), at(200));
        let made: Vec<(&str, Made)> =
            tree.revisions.iter().flat_map(|one| &one.pods).map(|pod| (&*pod.name, pod.made)).collect();
        assert_eq!(made, [("web-1", Made::Created), ("web-0", Made::InPlace), ("web-2", Made::InPlace)]);
    }

    #[test]
    fn conditions_say_why_nothing_happens() {
        let notes = |conditions: Value| {
            let tree = tree(&picture(Vec::new(), status(conditions)), at(0));
            tree.notes.into_iter().map(|note| (note.about, note.is_trouble)).collect::<Vec<_>>()
        };
        let one = |type_: &str, status: &str, reason: &str| json!({"type": type_, "status": status, "reason": reason});
        let calm = [one("Available", "True", "x"), one("Progressing", "True", "Complete"), one("Other", "False", "y")];
        assert_eq!(notes(json!(calm)), []);
        let paused = [one("Paused", "True", "Paused"), one("Progressing", "True", "Paused")];
        assert_eq!(notes(json!(paused)), [("Progressing Paused".to_owned(), false)]);
        let stuck = [one("ReplicaFailure", "True", "Quota"), one("Progressing", "False", "ProgressDeadlineExceeded")];
        let expected =
            [("ReplicaFailure Quota".to_owned(), true), ("Progressing ProgressDeadlineExceeded".to_owned(), true)];
        assert_eq!(notes(json!(stuck)), expected);
        let unseen = tree(&picture(Vec::new(), Value::Null), at(0)).notes;
        assert_eq!(unseen[0].message, "the manager has seen generation 0 of 2: does it run?");
    }
}
