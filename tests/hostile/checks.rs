//! What must hold, whatever the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use asts::api::{AdvancedStatefulSetSpec, AdvancedStatefulSetStatus, names};
use asts::control::cache::Watched;
use asts::control::cache::claim::ClaimObject;
use asts::control::cache::pod::PodObject;
use asts::control::cache::revision::RevisionObject;
use asts::control::cache::set::SetObject;
use asts::inplace::image::same_reference;
use asts::inplace::quantity::{quantity_bytes, same_quantity};
use asts::inplace::{InPlaceState, differences, template_of_pod, with_defaults};
use asts::model::count::Count;
use asts::model::revision::{hash, revision_data, revision_name};
use asts::model::{Abilities, Answers, LivePod, Patterns, PodFacts, Ranges, RevisionFacts, SetFacts, Snapshot};
use asts::model::{TemplateAnswer, ValidSpec, canonical};
use asts::plan::action::PatchWhy;
use asts::plan::view::short_name;
use asts::plan::{Action, Plan, Question, plan};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::mutate::{Bytes, mutated};

const ROUNDS_MAX: usize = 8;
/// More would only take time.
const REPLICAS_MAX: i64 = 30;

/// Texts as they stand in names, ordinals, images, quantities and annotations.
pub fn text(text: &str) {
    let ranges = Ranges::parse_text(text);
    assert_eq!(Ranges::parse_text(&ranges.to_text()), ranges);
    let as_written = IntOrString::String(text.to_owned());
    if let Ok(ranges) = Ranges::parse_reserved(std::slice::from_ref(&as_written)) {
        assert_eq!(Ranges::parse_text(&ranges.to_text()), ranges);
    }
    if let Ok(count) = Count::parse(&as_written) {
        for replicas in [0, 1, 3, usize::MAX] {
            assert!(count.budget_of(replicas) >= 1);
            assert!(matches!(count, Count::Number(_)) || count.partition_of(replicas) <= replicas);
        }
    }
    assert!(same_reference(text, text));
    let value = Value::from(text);
    assert!(same_quantity(&value, &value));
    let _ = quantity_bytes(&value);
    if text.is_ascii() {
        assert!(short_name(&format!("{text}-0"), true).len() <= 63);
    }
    assert!(revision_name(text, "bcdfghjklm").chars().count() <= 253);
    if let Some(state) = InPlaceState::parse(text) {
        let again = InPlaceState::parse(&state.to_json());
        assert_eq!(again.as_ref(), Some(&state));
    }
}

/// Two templates and what is between them.
pub fn templates(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let old = mutated(template("app:v1"), &mut bytes);
    let new = mutated(template("app:v2"), &mut bytes);
    for template in [&old, &new] {
        let defaulted = with_defaults(template);
        assert_eq!(with_defaults(&defaulted), defaulted, "defaults of defaults");
        assert!(differences(template, template).is_empty());
        assert!(differences(template, &defaulted).is_empty(), "a template and its defaults differ");
        let written: Value = serde_json::from_str(&canonical::text(template)).unwrap_or_default();
        assert_eq!(hash(&written, 0), hash(template, 0), "a hash depends on how it is written");
        let data = revision_data(template, ["data"]);
        let revision = RevisionFacts { data: Arc::new(data), ..revision(&json!({})) };
        if let Some(map) = template.as_object().filter(|map| !map.contains_key("$patch")) {
            assert_eq!(revision.template().as_object(), Some(map));
        }
        assert_eq!(revision.claim_names(), Some(vec!["data".into()]));
        let _ = template_of_pod(template, &defaulted);
    }
    let there = differences(&old, &new);
    let back = differences(&new, &old);
    assert_eq!(there.is_empty(), back.is_empty(), "a difference in one direction only");
    if with_defaults(&old) == with_defaults(&new) {
        assert!(there.is_empty(), "equal templates differ");
    }
}

/// A set with its Pod, claim and revision, each spoilt: a plan is made of it, twice the same, that touches nothing else.
pub fn world(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut set = mutated(set(), &mut bytes);
    let pod = mutated(pod(), &mut bytes);
    let claim = mutated(claim(), &mut bytes);
    let revision_object = mutated(revision_object(), &mut bytes);
    if let Some(replicas) = set.pointer_mut("/spec/replicas").filter(|it| it.as_i64() > Some(REPLICAS_MAX)) {
        *replicas = json!(REPLICAS_MAX);
    }
    // As they come off the wire.
    if let Ok(object) = serde_json::from_value::<SetObject>(set.clone()) {
        object.into_facts();
    }
    if let Ok(object) = serde_json::from_value::<RevisionObject>(revision_object.clone()) {
        object.whole();
    }
    let claim = serde_json::from_value::<ClaimObject>(claim).ok().map(ClaimObject::whole);
    let pod_facts = serde_json::from_value::<PodObject>(pod.clone()).ok().map(PodObject::whole).map(Arc::new);
    let Ok(spec) = serde_json::from_value::<AdvancedStatefulSetSpec>(set["spec"].clone()) else { return };
    let meant = |spec: &AdvancedStatefulSetSpec| format!("{:?}", ValidSpec::parse(spec));
    let written = serde_json::to_value(&spec).unwrap_or_default();
    let again = serde_json::from_value::<AdvancedStatefulSetSpec>(written).map(|again| meant(&again));
    assert_eq!(again.ok(), Some(meant(&spec)), "what was written is read");
    let status: AdvancedStatefulSetStatus = serde_json::from_value(set["status"].clone()).unwrap_or_default();
    let mut snapshot = snapshot(spec, status);
    snapshot.pods.extend(pod_facts.iter().map(|facts| (facts.name.clone(), Arc::clone(facts))));
    snapshot.claims.extend(claim.map(|claim| (claim.name.clone(), Arc::new(claim))));
    snapshot.revisions.push(Arc::new(revision(&revision_object)));
    for _ in 0..ROUNDS_MAX {
        let made = plan(&snapshot);
        assert_eq!(format!("{made:?}"), format!("{:?}", plan(&snapshot)), "two plans of one snapshot");
        check(&made, &snapshot);
        if made.questions.is_empty() {
            return;
        }
        for question in made.questions {
            answer(&mut snapshot, question, &pod, pod_facts.as_ref());
        }
    }
}

fn check(plan: &Plan, snapshot: &Snapshot) {
    let status = &plan.status;
    for count in [status.replicas, status.ready_replicas, status.available_replicas, status.updated_replicas] {
        assert!(count >= 0 || plan.questions.is_empty(), "a negative count: {status:?}");
    }
    for action in plan.actions.iter().flatten().chain(&plan.disruptions) {
        match action {
            Action::DeletePod { target, .. } | Action::PatchPod { target, .. } => {
                let known = snapshot.pods.values().find(|pod| pod.uid == target.uid);
                assert!(known.is_some(), "a Pod that is not ours is touched: {action:?}");
                if let (Some(pod), Action::PatchPod { why, revision, patch, .. }) = (known, action) {
                    super::patches::is_guarded(patch, pod);
                    let label = &patch["metadata"]["labels"][names::REVISION_LABEL];
                    // Who stays on its revision may be given back labels that say which Pod it is.
                    let stays = *why == PatchWhy::Metadata && **revision == *pod.revision_label();
                    let moves = !stays && !matches!(why, PatchWhy::Fence | PatchWhy::HookState);
                    assert!(!moves || *label == **revision, "the revision's label: {patch}");
                }
            }
            Action::CreatePod { name, .. } => {
                assert!(name.starts_with("web-") && !snapshot.pods.contains_key(name), "{name} is made");
            }
            _ => {}
        }
    }
}

fn answer(snapshot: &mut Snapshot, question: Question, pod: &Value, facts: Option<&Arc<PodFacts>>) {
    let answers = &mut snapshot.answers;
    match question {
        Question::LivePod { ordinal, .. } => {
            let found = facts.map_or(LivePod::Gone, |facts| LivePod::Found(Arc::clone(facts)));
            answers.live_pods.insert(ordinal, found);
        }
        Question::DefaultedTemplate { hash, template } => {
            let template: Value = serde_json::from_str(&template).unwrap_or_default();
            answers.templates.insert(hash, TemplateAnswer::Defaulted(Arc::new(with_defaults(&template))));
        }
        Question::WholePod { uid, .. } => drop(answers.whole_pods.insert(uid, Arc::new(pod.clone()))),
        Question::BoundClaim { name } => drop(answers.bound_claims.insert(name, None)),
        Question::Ability { .. } => snapshot.abilities = Abilities::stock(),
        Question::Update { target, .. } => drop(answers.tried_updates.insert(target.uid, true)),
    }
}

pub fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"checksum/config": "a"}},
        "spec": {
            "initContainers": [{"name": "proxy", "image": "proxy:v1", "restartPolicy": "Always"}],
            "containers": [{
                "name": "app", "image": image, "env": [{"name": "MODE", "value": "0"}],
                "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
                "readinessProbe": {"httpGet": {"port": 80}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": "one"}}],
            "tolerations": [{"key": "a", "operator": "Exists"}],
        },
    })
}

fn set() -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": names::KIND,
        "metadata": {"name": "web", "namespace": "space", "uid": "set", "resourceVersion": "5", "generation": 2},
        "spec": {
            "replicas": 3, "serviceName": "peers", "selector": {"matchLabels": {"app": "web"}},
            "template": template("app:v2"), "podManagementPolicy": "Parallel", "minReadySeconds": 1,
            "reserveOrdinals": [1, "5-9"], "ordinals": {"start": 0}, "revisionHistoryLimit": 1,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}],
            "volumeClaimUpdateStrategy": {"type": "OnDelete"},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {
                "partition": 0, "maxUnavailable": "50%", "paused": false, "podUpdatePolicy": "InPlaceIfPossible",
                "inPlaceUpdateStrategy": {"gracePeriodSeconds": 1, "timeoutSeconds": 60, "env": "Annotations"},
            }},
            "lifecycle": {"inPlaceUpdate": {"labelsHandler": {"hold": "true"}}},
        },
        "status": {
            "observedGeneration": 1, "replicas": 1, "currentRevision": "web-one", "updateRevision": "web-one",
            "updatedOrdinals": "0", "disrupted": [{"ordinal": 0, "uid": "u1", "resourceVersion": "7", "revision": "one"}],
        },
    })
}

/// It runs what `template("app:v1")` says.
pub fn pod() -> Value {
    let state = json!({
        "revision": "one", "patchedAt": "2026-01-01T00:00:00Z", "generation": 1, "containers": {"app": {"containerID": "c1"}},
    });
    json!({
        "metadata": {
            "name": "web-0", "namespace": "space", "uid": "u1", "resourceVersion": "7", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "web", "controller-revision-hash": "one"},
            "annotations": {"apps.asts.dev/inplace-update-state": state.to_string(), "checksum/config": "a"},
            "ownerReferences": [{
                "apiVersion": names::API_VERSION, "kind": names::KIND, "name": "web", "uid": "set", "controller": true,
            }],
        },
        "spec": {
            "nodeName": "node",
            "initContainers": [{"name": "proxy", "image": "proxy:v1", "restartPolicy": "Always"}],
            "containers": [{
                "name": "app", "image": "app:v1", "env": [{"name": "MODE", "value": "0"}],
                "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
            }],
            "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
            "readinessGates": [{"conditionType": names::READINESS_GATE}],
        },
        "status": {
            "phase": "Running", "observedGeneration": 1,
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": names::READINESS_GATE, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
            "initContainerStatuses": [running("proxy")],
            "containerStatuses": [running("app")],
        },
    })
}

fn running(container: &str) -> Value {
    json!({
        "name": container, "image": format!("{container}:v1"), "imageID": format!("{container}@sha256:1"),
        "containerID": "c1", "ready": true, "started": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    })
}

fn claim() -> Value {
    json!({
        "metadata": {"name": "data-web-0", "namespace": "space", "uid": "c", "resourceVersion": "3", "labels": {"app": "web"}},
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    })
}

fn revision_object() -> Value {
    json!({
        "metadata": {"name": "web-one", "namespace": "space", "uid": "r", "resourceVersion": "2"},
        "revision": 1, "data": revision_data(&template("app:v1"), ["data"]),
    })
}

fn revision(object: &Value) -> RevisionFacts {
    let text = |pointer: &str| Box::from(object.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    let name: Box<str> = text("/metadata/name");
    RevisionFacts {
        hash: name.rsplit_once('-').map(|(_, hash)| hash).unwrap_or_default().into(),
        uid: text("/metadata/uid"),
        resource_version: text("/metadata/resourceVersion"),
        number: object["revision"].as_i64().unwrap_or_default(),
        controller: None,
        terminating: false,
        data: Arc::new(object["data"].clone()),
        noted_claims: object.pointer("/metadata/annotations").map(|notes| notes.to_string().into()),
        name,
    }
}

fn snapshot(spec: AdvancedStatefulSetSpec, status: AdvancedStatefulSetStatus) -> Snapshot {
    Snapshot {
        set: SetFacts {
            namespace: "space".into(),
            name: "web".into(),
            uid: "set".into(),
            resource_version: "5".into(),
            generation: 2,
            terminating: false,
            spec: Arc::new(spec),
            status: Arc::new(status),
        },
        pods: BTreeMap::new(),
        orphans: BTreeMap::new(),
        foreign: BTreeMap::new(),
        helpers: BTreeMap::new(),
        claims: BTreeMap::new(),
        revisions: Vec::new(),
        now: "2026-02-01T00:00:00Z".parse().unwrap_or_default(),
        abilities: Abilities::stock(),
        injectors: Patterns::of_injectors([]),
        creates_max: usize::MAX,
        answers: Answers::default(),
    }
}
