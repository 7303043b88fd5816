//! The planner, one situation a test.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::action::{Action, DeleteWhy, GateWhy, PatchWhy, Plan, PlannedEvent, Question, RevisionAction, StatusWrite};
use super::plan;
use crate::api::{AdvancedStatefulSetSpec, AdvancedStatefulSetStatus, Disruption, names};
use crate::model::pod::{ReadyFacts, Running};
use crate::model::revision::{hash, revision_data, revision_name};
use crate::model::{
    Abilities, Answers, ContainerFacts, Gate, LivePod, OwnerFacts, PodFacts, PodPhase, RevisionFacts, SetFacts,
    Snapshot, TemplateAnswer, canonical,
};

mod adoption;
mod claims;
mod ended;
mod env_annotations;
mod explain;
mod grow;
mod held;
mod history;
mod lifecycle;
mod pace;
mod peers;
mod prepull;
mod restarts;

const NOW: i64 = 1_800_000_000;

fn at(seconds_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds_ago).unwrap()
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

/// A set named `web` in a world where every revision that was asked for exists.
struct World {
    spec: Value,
    status: AdvancedStatefulSetStatus,
    pods: Vec<PodFacts>,
    revisions: Vec<RevisionFacts>,
    abilities: Abilities,
    answers: Answers,
    claims: Vec<crate::model::ClaimFacts>,
    helpers: Vec<PodFacts>,
}

impl World {
    /// `replicas` available Pods on `app:v1`, and a template of `app:v2`.
    fn rolling(replicas: i64, rolling_update: Value) -> World {
        let mut world = World::settled(replicas, rolling_update);
        world.spec["template"] = template("app:v2");
        world.add_revision(&template("app:v2"), 2);
        world
    }

    /// `replicas` available Pods on `app:v1`, as the template says.
    fn settled(replicas: i64, rolling_update: Value) -> World {
        let mut world = World {
            spec: json!({
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": template("app:v1"),
                "podManagementPolicy": "Parallel",
                "updateStrategy": {"rollingUpdate": rolling_update},
            }),
            status: AdvancedStatefulSetStatus::default(),
            pods: Vec::new(),
            revisions: Vec::new(),
            abilities: Abilities::stock(),
            answers: Answers::default(),
            claims: Vec::new(),
            helpers: Vec::new(),
        };
        let first = world.add_revision(&template("app:v1"), 1);
        world.status.current_revision = Some(first.clone());
        world.status.update_revision = Some(first);
        world.pods = (0..replicas).map(|ordinal| pod(ordinal, "app:v1")).collect();
        world
    }

    fn add_revision(&mut self, template: &Value, number: i64) -> String {
        let data = revision_data(template, []);
        let hash = hash(&data, 0);
        let name = revision_name("web", &hash);
        self.revisions.push(RevisionFacts {
            name: name.as_str().into(),
            uid: name.as_str().into(),
            resource_version: "1".into(),
            hash: hash.into(),
            number,
            controller: Some(owner()),
            terminating: false,
            data: Arc::new(data),
            noted_claims: None,
        });
        name
    }

    fn snapshot(&self) -> Snapshot {
        let spec: AdvancedStatefulSetSpec = serde_json::from_value(self.spec.clone()).unwrap();
        Snapshot {
            set: SetFacts {
                namespace: "default".into(),
                name: "web".into(),
                uid: "set".into(),
                resource_version: "9".into(),
                generation: 1,
                terminating: false,
                spec: Arc::new(spec),
                status: Arc::new(self.status.clone()),
            },
            pods: self.pods.iter().map(|pod| (pod.name.clone(), Arc::new(pod.clone()))).collect(),
            orphans: BTreeMap::new(),
            foreign: BTreeMap::new(),
            helpers: self.helpers.iter().map(|pod| (pod.name.clone(), Arc::new(pod.clone()))).collect(),
            claims: self.claims.iter().map(|claim| (claim.name.clone(), Arc::new(claim.clone()))).collect(),
            revisions: self.revisions.iter().cloned().map(Arc::new).collect(),
            now: at(0),
            abilities: self.abilities.clone(),
            injectors: crate::model::Patterns::of_injectors([]),
            creates_max: usize::MAX,
            answers: self.answers.clone(),
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.snapshot())
    }
}

fn owner() -> OwnerFacts {
    OwnerFacts {
        api_version: names::API_VERSION.into(),
        kind: names::KIND.into(),
        name: "web".into(),
        uid: "set".into(),
    }
}

fn hash_of(image: &str) -> String {
    hash(&revision_data(&template(image), []), 0)
}

/// A Pod that has been Ready for a minute.
fn pod(ordinal: i64, image: &str) -> PodFacts {
    let name: Box<str> = format!("web-{ordinal}").into();
    PodFacts {
        namespace: "default".into(),
        name: name.clone(),
        uid: format!("uid-{ordinal}").into(),
        resource_version: format!("10{ordinal}").into(),
        generation: 1,
        observed_generation: Some(1),
        created_at: Some(at(100)),
        controller: Some(owner()),
        labels: [
            ("app".into(), "web".into()),
            (names::REVISION_LABEL.into(), hash_of(image).into()),
            (names::POD_NAME_LABEL.into(), name.clone()),
            (names::POD_INDEX_LABEL.into(), ordinal.to_string().into()),
        ]
        .into(),
        node: Some("node".into()),
        phase: PodPhase::Running,
        started_at: Some(at(100)),
        ready: Some(ReadyFacts { status: true, since: Some(at(60)) }),
        containers_ready: true,
        gate: Gate::Open,
        containers: vec![ContainerFacts {
            name: "app".into(),
            image: image.into(),
            container_id: Some(format!("containerd://{ordinal}").into()),
            status_image: Some(image.into()),
            running: Some(Running { since: Some(at(90)) }),
            ready: true,
            started: true,
            ..ContainerFacts::default()
        }],
        ..PodFacts::default()
    }
}

/// The Pod ran and lost its readiness a minute ago.
fn lost(mut pod: PodFacts) -> PodFacts {
    pod.ready = Some(ReadyFacts { status: false, since: Some(at(60)) });
    pod
}

/// The Pod's container crashes over and over.
fn crashing(mut pod: PodFacts) -> PodFacts {
    pod = lost(pod);
    pod.containers[0].running = None;
    pod.containers[0].restart_count = 5;
    pod.containers[0].waiting_reason = Some("CrashLoopBackOff".into());
    pod
}

/// What is done to Pods, as `verb web-N`.
fn deeds(plan: &Plan) -> Vec<String> {
    assert!(plan.questions.is_empty(), "{:?}", plan.questions);
    plan.actions.iter().flatten().chain(&plan.disruptions).map(deed).collect()
}

fn deed(action: &Action) -> String {
    match action {
        Action::CreatePod { name, pod, .. } => {
            format!("create {name} {}", pod.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or("?"))
        }
        Action::CreateClaim { name, .. } => format!("claim {name}"),
        Action::DeletePod { target, .. } => format!("delete {}", target.name),
        Action::PatchPod { target, why: PatchWhy::Fence, .. } => format!("fence {}", target.name),
        Action::PatchPod { target, why: PatchWhy::HookState, .. } => format!("state {}", target.name),
        Action::PatchPod { target, .. } => format!("patch {}", target.name),
        Action::PatchPodStatus { target, why: GateWhy::Open, .. } => format!("open {}", target.name),
        Action::PatchPodStatus { target, why: GateWhy::Close, .. } => format!("close {}", target.name),
        Action::PatchClaim { target, .. } => format!("own {}", target.name),
        Action::GrowClaim { target, .. } => format!("grow {}", target.name),
        Action::CreateHelper { pod, .. } => {
            let containers = pod.pointer("/spec/containers").and_then(Value::as_array).unwrap();
            let images: Vec<&str> = containers.iter().map(|container| container["image"].as_str().unwrap()).collect();
            format!("pull {} on {}", images.join(" "), pod["spec"]["nodeName"].as_str().unwrap())
        }
        Action::DeleteHelper { target, .. } => format!("remove {}", target.name),
        Action::AdoptPod { target, .. } => format!("adopt {}", target.name),
        Action::ReleasePod { target, .. } => format!("release {}", target.name),
    }
}

fn condition<'a>(plan: &'a Plan, type_: &str) -> (&'a str, &'a str) {
    let found = plan.status.conditions.iter().find(|one| one.type_ == type_).unwrap();
    (found.status.as_str(), found.reason.as_deref().unwrap_or_default())
}

#[test]
fn a_new_set_in_order_makes_its_first_pod_and_revision_only() {
    let mut world = World::settled(3, json!({}));
    world.spec["podManagementPolicy"] = json!("OrderedReady");
    world.pods.clear();
    world.revisions.clear();
    world.status = AdvancedStatefulSetStatus::default();
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["create web-0 app:v1"]);
    assert!(matches!(plan.revisions.as_slice(), [RevisionAction::Create { number: 1, .. }]));
}

#[test]
fn a_created_pod_has_hash_only_label_gate_identity_and_owner() {
    let mut world = World::settled(1, json!({}));
    world.pods.clear();
    let plan = world.plan();
    let Some(Action::CreatePod { pod, .. }) = plan.actions[0].first() else { panic!("{plan:?}") };
    assert_eq!(pod.pointer("/metadata/labels/controller-revision-hash"), Some(&json!(hash_of("app:v1"))));
    assert_eq!(pod.pointer("/metadata/labels/apps.kubernetes.io~1pod-index"), Some(&json!("0")));
    assert_eq!(pod.pointer("/spec/hostname"), Some(&json!("web-0")));
    assert_eq!(pod.pointer("/spec/readinessGates/0/conditionType"), Some(&json!(names::READINESS_GATE)));
    assert_eq!(pod.pointer("/metadata/ownerReferences/0/uid"), Some(&json!("set")));
}

#[test]
fn nothing_is_done_to_a_settled_set() {
    let mut world = World::settled(3, json!({}));
    let first = world.plan();
    assert_eq!(deeds(&first), [""; 0]);
    assert_eq!(condition(&first, "Progressing"), ("True", "Complete"));
    world.status = first.status;
    let second = world.plan();
    assert_eq!(second.status_write, StatusWrite::None, "{:#?}", second.status);
}

#[test]
fn an_update_closes_one_gate_and_writes_it_to_the_ledger_first() {
    let plan = World::rolling(3, json!({})).plan();
    assert_eq!(deeds(&plan), ["close web-2"]);
    assert_eq!(plan.disruptions.len(), 1);
    assert_eq!(plan.status_write, StatusWrite::Now);
    assert_eq!(
        plan.status.disrupted,
        [Disruption { ordinal: 2, uid: "uid-2".into(), resource_version: "102".into(), revision: hash_of("app:v2") }]
    );
}

/// openkruise/kruise#879: Pods that were unavailable already were not counted.
#[test]
fn the_budget_counts_whatever_is_unavailable() {
    let mut world = World::rolling(4, json!({"maxUnavailable": 2}));
    world.pods[0] = lost(pod(0, "app:v2"));
    assert_eq!(deeds(&world.plan()), ["close web-3"]);
    world.pods[1] = lost(pod(1, "app:v2"));
    assert_eq!(deeds(&world.plan()), [""; 0]);
}

/// openkruise/kruise#2274: between the gate and the patch an update was taken for one that is done, and the gate was opened.
#[test]
fn a_pod_out_of_service_is_patched_after_its_grace_period_only() {
    let mut world = World::rolling(2, json!({"inPlaceUpdateStrategy": {"gracePeriodSeconds": 10}}));
    world.status.disrupted = vec![Disruption {
        ordinal: 1,
        uid: "uid-1".into(),
        resource_version: "99".into(),
        revision: hash_of("app:v2"),
    }];
    let closed = |seconds| {
        let mut pod = lost(pod(1, "app:v1"));
        pod.gate = Gate::Closed { since: Some(at(seconds)), reason: names::REASON_CONTAINER_REBUILDING.into() };
        pod
    };
    world.pods[1] = closed(10);
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert_eq!(plan.wake_at, Some(at(0) + SignedDuration::from_secs(1)));
    world.pods[1] = closed(11);
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-1"]);
    let Action::PatchPod { patch, .. } = &plan.actions[0][0] else { panic!("{plan:?}") };
    assert_eq!(patch.pointer("/spec/containers/0"), Some(&json!({"name": "app", "image": "app:v2"})));
    assert_eq!(patch.pointer("/metadata/labels/controller-revision-hash"), Some(&json!(hash_of("app:v2"))));
    assert_eq!(patch.pointer("/metadata/resourceVersion"), Some(&json!("101")));
}

#[test]
fn a_pod_out_of_service_is_patched_when_the_kubelet_says_that_it_is_not_ready() {
    let mut world = World::rolling(2, json!({}));
    world.status.disrupted = vec![Disruption {
        ordinal: 1,
        uid: "uid-1".into(),
        resource_version: "99".into(),
        revision: hash_of("app:v2"),
    }];
    let closed = |mut pod: PodFacts, seconds| {
        pod.gate = Gate::Closed { since: Some(at(seconds)), reason: names::REASON_CONTAINER_REBUILDING.into() };
        pod
    };
    world.pods[1] = closed(pod(1, "app:v1"), 1);
    assert_eq!(deeds(&world.plan()), [""; 0]);
    world.pods[1] = closed(lost(pod(1, "app:v1")), 0);
    assert_eq!(deeds(&world.plan()), ["patch web-1"]);
    world.pods[1] = closed(pod(1, "app:v1"), 10);
    assert_eq!(deeds(&world.plan()), ["patch web-1"], "a kubelet that says nothing is not waited for");
}

#[test]
fn a_pod_in_its_grace_period_goes_back_to_service_when_paused_or_turned_round() {
    let closed = |world: &mut World| {
        world.pods[1] = lost(pod(1, "app:v1"));
        world.pods[1].gate = Gate::Closed { since: Some(at(1)), reason: "ContainerRebuilding".into() };
    };
    let grace = json!({"gracePeriodSeconds": 100});
    let mut paused = World::rolling(2, json!({"paused": true, "inPlaceUpdateStrategy": grace}));
    closed(&mut paused);
    assert_eq!(deeds(&paused.plan()), ["open web-1"]);
    let mut turned = World::rolling(2, json!({"inPlaceUpdateStrategy": grace}));
    closed(&mut turned);
    turned.spec["template"] = template("app:v1");
    assert_eq!(deeds(&turned.plan()), ["open web-1"]);
}

#[test]
fn an_entry_leaves_the_ledger_only_after_a_live_read() {
    let mut world = World::rolling(3, json!({}));
    world.pods[2] = pod(2, "app:v2");
    world.status.disrupted = vec![Disruption {
        ordinal: 2,
        uid: "uid-2".into(),
        resource_version: "99".into(),
        revision: hash_of("app:v2"),
    }];
    assert_eq!(world.plan().questions, [Question::LivePod { ordinal: 2, name: "web-2".into() }]);
    world.answers.live_pods = [(2, LivePod::Found(Arc::new(world.pods[2].clone())))].into();
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["close web-1"]);
    assert_eq!(plan.status.disrupted.iter().map(|entry| entry.ordinal).collect::<Vec<_>>(), [1]);
    world.answers.live_pods = [(2, LivePod::Found(Arc::new(lost(world.pods[2].clone()))))].into();
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert_eq!(plan.status.disrupted.len(), 1);
}

#[test]
fn a_recorded_disruption_is_carried_out_after_a_crash() {
    let mut world = World::rolling(3, json!({}));
    world.status.disrupted = vec![Disruption {
        ordinal: 2,
        uid: "uid-2".into(),
        resource_version: "102".into(),
        revision: hash_of("app:v2"),
    }];
    assert_eq!(deeds(&world.plan()), ["close web-2"]);
}

#[test]
fn a_recorded_disruption_that_is_not_wanted_any_more_is_fenced() {
    let mut world = World::rolling(3, json!({"paused": true}));
    world.status.disrupted = vec![Disruption {
        ordinal: 2,
        uid: "uid-2".into(),
        resource_version: "102".into(),
        revision: hash_of("app:v2"),
    }];
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["fence web-2"]);
    assert_eq!(plan.status.disrupted.len(), 1);
}

#[test]
fn broken_pods_go_first_and_cost_no_budget_in_order_too() {
    let mut world = World::rolling(4, json!({}));
    world.spec["podManagementPolicy"] = json!("OrderedReady");
    world.pods[0] = crashing(pod(0, "app:v1"));
    world.pods[1] = crashing(pod(1, "app:v1"));
    assert_eq!(deeds(&world.plan()), ["patch web-1", "patch web-0"]);
}

#[test]
fn pods_that_lost_readiness_go_one_budget_at_a_time() {
    let mut world = World::rolling(4, json!({"podUpdatePolicy": "ReCreate"}));
    for ordinal in [0, 1, 2] {
        world.pods[ordinal] = lost(pod(i64::try_from(ordinal).unwrap(), "app:v1"));
    }
    assert_eq!(deeds(&world.plan()), ["delete web-2"]);
}

#[test]
fn a_broken_pod_below_the_partition_stays() {
    let mut world = World::rolling(3, json!({"partition": 3}));
    world.pods[0] = crashing(pod(0, "app:v1"));
    assert_eq!(deeds(&world.plan()), [""; 0]);
}

#[test]
fn a_partition_holds_back_the_lowest_slots_with_any_start() {
    let mut world = World::rolling(3, json!({"partition": 2, "maxUnavailable": 3}));
    assert_eq!(deeds(&world.plan()), ["close web-2"]);
    world.spec["ordinals"] = json!({"start": 1});
    world.pods.remove(0);
    world.pods.push(pod(3, "app:v1"));
    assert_eq!(deeds(&world.plan()), ["close web-3"]);
}

/// A percent that comes to no slot, or slots that are all updated already: nothing is held back, so the rollout is over.
#[test]
fn a_partition_that_holds_nothing_back_lets_the_rollout_end() {
    for (replicas, partition) in [(1, json!("99%")), (3, json!(2))] {
        let mut world = World::rolling(replicas, json!({"partition": partition}));
        let updated = revision_name("web", &hash_of("app:v2"));
        world.status.update_revision = Some(updated.clone());
        let current = world.status.current_revision.clone();
        world.pods = (0..replicas).map(|ordinal| pod(ordinal, "app:v2")).collect();
        assert_eq!(world.plan().status.current_revision, Some(updated));
        world.pods[0] = lost(pod(0, "app:v2"));
        assert_eq!(world.plan().status.current_revision, current, "it is not available");
        world.pods.clear();
        world.spec["replicas"] = json!(0);
        assert_eq!(world.plan().status.current_revision, current, "slots are held back when there are some again");
    }
}

#[test]
fn labels_that_name_a_pod_are_given_back() {
    let mut world = World::settled(2, json!({"paused": true}));
    world.pods[1].labels.remove(names::POD_NAME_LABEL);
    world.pods[1].labels.insert(names::POD_INDEX_LABEL.into(), "7".into());
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-1"]);
    let Action::PatchPod { patch, .. } = &plan.actions[0][0] else { panic!("{plan:?}") };
    assert_eq!(
        **patch,
        json!({"metadata": {"uid": "uid-1", "resourceVersion": "101", "labels": {
            "statefulset.kubernetes.io/pod-name": "web-1", "apps.kubernetes.io/pod-index": "1",
        }}})
    );
}

#[test]
fn a_missing_pod_below_the_partition_is_made_on_the_current_revision() {
    let mut world = World::rolling(3, json!({"partition": 2}));
    world.pods.clear();
    assert_eq!(deeds(&world.plan()), ["create web-0 app:v1", "create web-1 app:v1", "create web-2 app:v2"]);
}

#[test]
fn a_pod_made_while_paused_keeps_the_revision_of_its_ordinal() {
    let mut world = World::rolling(3, json!({"paused": true}));
    world.status.update_revision = Some(revision_name("web", &hash_of("app:v2")));
    world.status.updated_ordinals = Some("2".into());
    world.pods.clear();
    assert_eq!(deeds(&world.plan()), ["create web-0 app:v1", "create web-1 app:v1", "create web-2 app:v2"]);
}

#[test]
fn on_delete_changes_no_pod_and_makes_new_ones_from_the_template() {
    let mut world = World::rolling(3, json!({}));
    world.spec["updateStrategy"] = json!({"type": "OnDelete"});
    world.pods.remove(1);
    assert_eq!(deeds(&world.plan()), ["create web-1 app:v2"]);
}

#[test]
fn scaling_down_in_order_takes_the_highest_and_waits_for_lower_ones() {
    let mut world = World::settled(4, json!({}));
    world.spec["podManagementPolicy"] = json!("OrderedReady");
    world.spec["replicas"] = json!(1);
    assert_eq!(deeds(&world.plan()), ["delete web-3"]);
    world.pods[0] = lost(pod(0, "app:v1"));
    assert_eq!(deeds(&world.plan()), [""; 0]);
}

#[test]
fn a_reserved_ordinals_pod_stays_until_its_replacement_is_there() {
    let mut world = World::settled(3, json!({}));
    world.spec["reserveOrdinals"] = json!([1]);
    assert_eq!(deeds(&world.plan()), ["create web-3 app:v1"]);
    world.pods.push(pod(3, "app:v1"));
    assert_eq!(deeds(&world.plan()), ["delete web-1"]);
}

#[test]
fn an_ended_pod_is_deleted_without_the_ledger() {
    let mut world = World::settled(2, json!({}));
    world.pods[0] = lost(pod(0, "app:v1"));
    world.pods[0].phase = PodPhase::Failed;
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["delete web-0"]);
    assert!(plan.disruptions.is_empty());
}

#[test]
fn a_pod_marked_by_a_user_is_deleted_before_the_rollout_goes_on() {
    let mut world = World::rolling(3, json!({}));
    world.pods[0].labels.insert(names::SPECIFIED_DELETE_LABEL.into(), "".into());
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["delete web-0"]);
    let Action::DeletePod { why, .. } = &plan.disruptions[0] else { panic!("{plan:?}") };
    assert_eq!(*why, DeleteWhy::SpecifiedDelete);
}

#[test]
fn what_cannot_be_done_in_place_is_recreated_or_blocked_by_policy() {
    let other = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "app", "image": "app:v1", "env": [{"name": "A", "value": "b"}]}]}});
    let world = |policy: &str| {
        let mut world = World::settled(2, json!({"podUpdatePolicy": policy}));
        world.spec["template"] = other.clone();
        world.add_revision(&other, 2);
        world
    };
    assert_eq!(deeds(&world("InPlaceIfPossible").plan()), ["delete web-1"]);
    let blocked = world("InPlaceOnly").plan();
    assert_eq!(deeds(&blocked), [""; 0]);
    assert_eq!(condition(&blocked, names::conditions::IN_PLACE_UPDATE_BLOCKED).0, "True");
    assert!(
        blocked.status.conditions.iter().any(|one| one.message.as_deref().is_some_and(|text| text.contains("env")))
    );
}

#[test]
fn labels_change_on_all_pods_with_no_budget_and_no_gate() {
    let mut labelled = template("app:v1");
    labelled["metadata"]["labels"]["tier"] = json!("a");
    let mut world = World::settled(3, json!({}));
    world.spec["template"] = labelled.clone();
    world.add_revision(&labelled, 2);
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-2", "patch web-1", "patch web-0"]);
    assert!(plan.status.disrupted.is_empty());
}

#[test]
fn a_missing_gate_is_told_of_pods_that_are_patched_now() {
    let mut world = World::rolling(3, json!({}));
    for pod in &mut world.pods {
        pod.gate = Gate::Absent;
    }
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-2"]);
    let told: Vec<&str> =
        plan.events.iter().filter(|event| event.reason == "NoReadinessGate").map(|event| &*event.message).collect();
    assert!(told.len() == 1 && told[0].starts_with("Pod web-2 "), "{told:?}");
}

/// kubernetes/kubernetes#134773, kubernetes-sigs/lws#797: revisions were compared by their bytes.
#[test]
fn an_equal_template_after_defaulting_makes_no_revision() {
    let mut world = World::settled(2, json!({}));
    world.spec["template"]["spec"]["restartPolicy"] = json!("Always");
    world.spec["template"]["spec"]["containers"][0]["terminationMessagePath"] = json!("/dev/termination-log");
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert!(plan.revisions.is_empty());
}

#[test]
fn a_template_that_the_apiserver_refuses_touches_no_pod() {
    let mut world = World::settled(2, json!({}));
    let bad = template("app:v2");
    world.spec["template"] = bad.clone();
    let Question::DefaultedTemplate { hash, template } = world.plan().questions[0].clone() else { panic!() };
    assert_eq!(&*template, canonical::text(&bad));
    world.answers.templates = [(hash, TemplateAnswer::Invalid("spec.x: Invalid value".into()))].into();
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert!(plan.revisions.is_empty());
    assert_eq!(condition(&plan, "ReplicaFailure"), ("True", "InvalidTemplate"));
}

#[test]
fn the_apiserver_is_asked_about_a_template_with_its_claims_volumes() {
    let mut world = World::settled(2, json!({}));
    world.spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
    world.spec["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let Question::DefaultedTemplate { template, .. } = world.plan().questions[0].clone() else { panic!() };
    let asked: Value = serde_json::from_str(&template).unwrap();
    assert_eq!(asked.pointer("/spec/volumes/0/name"), Some(&json!("data")));
}

#[test]
fn a_bad_spec_written_past_the_schema_is_said_and_not_acted_on() {
    let mut world = World::settled(2, json!({"maxUnavailable": "200%"}));
    world.spec["replicas"] = json!(5);
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert_eq!(condition(&plan, "ReplicaFailure"), ("True", "InvalidSpec"));
}

#[test]
fn a_set_that_is_being_deleted_gets_status_only() {
    let world = World::rolling(3, json!({}));
    let mut snapshot = world.snapshot();
    snapshot.set.terminating = true;
    snapshot.pods.remove("web-0");
    let plan = plan(&snapshot);
    assert_eq!(deeds(&plan), [""; 0]);
    assert!(plan.revisions.is_empty());
}

#[test]
fn the_current_revision_moves_when_all_is_done_and_nobody_is_held() {
    let mut world = World::rolling(2, json!({}));
    world.pods = vec![pod(0, "app:v2"), pod(1, "app:v2")];
    let second = revision_name("web", &hash_of("app:v2"));
    assert_eq!(world.plan().status.current_revision, Some(second));
    world.spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(1);
    world.pods[0] = pod(0, "app:v1");
    let first = revision_name("web", &hash_of("app:v1"));
    assert_eq!(world.plan().status.current_revision, Some(first));
}

#[test]
fn priorities_choose_who_is_updated_and_who_is_held() {
    let mut world = World::rolling(
        3,
        json!({
            "partition": 1,
            "maxUnavailable": 3,
            "unorderedUpdate": {"priorityStrategy": {"weightPriority": [
                {"weight": 50, "matchSelector": {"matchLabels": {"role": "replica"}}}]}},
        }),
    );
    for (index, role) in ["replica", "replica", "leader"].iter().enumerate() {
        world.pods[index].labels.insert("role".into(), (*role).into());
    }
    assert_eq!(deeds(&world.plan()), ["close web-1", "close web-0"]);
}

#[test]
fn no_progress_until_the_deadline_is_said() {
    let mut world = World::rolling(2, json!({}));
    world.pods[1] = crashing(pod(1, "app:v2"));
    world.status = world.plan().status;
    let mut snapshot = world.snapshot();
    snapshot.now = at(-601);
    let plan = plan(&snapshot);
    assert_eq!(condition(&plan, "Progressing"), ("False", "ProgressDeadlineExceeded"));
}

/// `Progressing` eleven minutes after a Pod that is not updated was lost.
fn progressing_long_after(strategy: Value) -> (String, String) {
    let mut world = World::rolling(2, json!({}));
    world.spec["updateStrategy"] = strategy;
    world.pods[0] = lost(pod(0, "app:v1"));
    world.pods[1] = pod(1, "app:v2");
    world.status = world.plan().status;
    let mut snapshot = world.snapshot();
    snapshot.now = at(-661);
    let plan = plan(&snapshot);
    let found = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    (format!("{} {}", found.status, found.reason.as_deref().unwrap()), found.message.clone().unwrap())
}

#[test]
fn the_deadline_does_not_run_while_the_rollout_stands_by_order() {
    for (strategy, stands) in [
        (json!({"rollingUpdate": {"paused": true}}), "True Paused"),
        (json!({"rollingUpdate": {"partition": 1}}), "True Partitioned"),
        (json!({"type": "OnDelete"}), "True OnDelete"),
    ] {
        let (says, message) = progressing_long_after(strategy);
        assert_eq!(says, stands);
        assert!(message.contains("Pod web-0 is not Ready"), "{message}");
    }
    let (says, _) = progressing_long_after(json!({"rollingUpdate": {"podUpdatePolicy": "InPlaceOnly"}}));
    assert_eq!(says, "False ProgressDeadlineExceeded");
}

#[test]
fn a_set_without_pods_says_what_its_pods_will_wait_for() {
    for (rolling, reason) in
        [(json!({"paused": true}), "Paused"), (json!({"partition": 1}), "Partitioned"), (json!({}), "Complete")]
    {
        let mut world = World::rolling(0, rolling);
        world.status.current_revision = Some(revision_name("web", &hash_of("app:v1")));
        assert_eq!(condition(&world.plan(), "Progressing"), ("True", reason));
    }
}

#[test]
fn waiting_for_an_update_that_cannot_be_made_names_the_pods() {
    let mut world = World::rolling(2, json!({"podUpdatePolicy": "InPlaceOnly"}));
    let mut other = template("app:v1");
    other["spec"]["containers"][0]["command"] = json!(["x"]);
    world.spec["template"] = other.clone();
    world.add_revision(&other, 3);
    let plan = world.plan();
    let found = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    assert_eq!(found.reason.as_deref(), Some("WaitingForInPlaceUpdate"));
    assert!(found.message.as_ref().unwrap().contains("web-1, web-0"), "{:?}", found.message);
}

#[test]
fn a_claim_name_that_is_too_long_is_said_and_no_pod_is_made() {
    let mut world = World::settled(12, json!({}));
    let name = "c".repeat(63);
    world.spec["volumeClaimTemplates"] = json!([{"metadata": {"name": name}}]);
    world.pods.clear();
    let mut snapshot = world.snapshot();
    snapshot.set.name = "n".repeat(187).into();
    snapshot.revisions.clear();
    let plan = plan(&snapshot);
    let creates = plan.actions.iter().flatten().filter(|action| matches!(action, Action::CreatePod { .. })).count();
    assert_eq!(creates, 10, "ordinals of one digit fit");
    assert_eq!(condition(&plan, "ReplicaFailure"), ("True", "NameTooLong"));
}

#[test]
fn one_plan_makes_a_bounded_number_of_pods_and_says_the_same_of_all() {
    let mut world = World::settled(100, json!({}));
    world.spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    world.pods.clear();
    let mut snapshot = world.snapshot();
    snapshot.revisions.clear();
    let all = plan(&snapshot);
    snapshot.creates_max = 64;
    let some = plan(&snapshot);
    let made = |plan: &Plan| -> Vec<i64> {
        let created = |action: &Action| match action {
            Action::CreatePod { ordinal, claims, .. } if claims.len() == 1 => Some(*ordinal),
            _ => None,
        };
        plan.actions.iter().flatten().filter_map(created).collect()
    };
    assert_eq!(made(&all), (0..100).collect::<Vec<_>>());
    assert_eq!(made(&some), (0..64).collect::<Vec<_>>());
    let rest = |plan: Plan| Plan { actions: Vec::new(), ..plan };
    assert_eq!(rest(some), rest(all), "only the bodies are left out");
}

#[test]
fn an_empty_restart_policy_is_an_absent_one() {
    let mut world = World::settled(1, json!({}));
    world.spec["template"]["spec"]["restartPolicy"] = json!("");
    let plan = world.plan();
    assert_eq!(condition(&plan, "ReplicaFailure").0, "False");
    assert!(plan.revisions.is_empty() && deeds(&plan).is_empty(), "{plan:?}");
}

#[test]
fn a_long_min_ready_time_moves_the_deadline() {
    let deadline = |fields: &[(&str, i64)]| {
        let mut world = World::settled(1, json!({}));
        fields.iter().for_each(|(field, value)| world.spec[*field] = json!(value));
        crate::model::ValidSpec::parse(&world.snapshot().set.spec).unwrap().progress_deadline_seconds
    };
    assert!(deadline(&[("minReadySeconds", 700)]) > 700);
    assert_eq!(deadline(&[("progressDeadlineSeconds", 5)]), 5);
    assert_eq!(deadline(&[("minReadySeconds", 3), ("progressDeadlineSeconds", 5)]), 5);
}

#[test]
fn a_pod_that_loses_its_runtime_long_after_its_update_is_not_re_created() {
    let mut world = World::settled(2, json!({}));
    let state = json!({
        "revision": hash_of("app:v1"), "patchedAt": at(5000).to_string(), "generation": 1,
        "containers": {"app": {"containerID": "containerd://old", "image": "app:v0"}},
    });
    world.pods[1] = lost(pod(1, "app:v1"));
    world.pods[1].in_place_state = Some(state.to_string().into());
    world.pods[1].containers[0].container_id = None;
    world.pods[1].containers[0].running = None;
    assert_eq!(deeds(&world.plan()), [""; 0]);
    world.pods[1].ready = Some(ReadyFacts { status: false, since: Some(at(5010)) });
    assert_eq!(deeds(&world.plan()), ["delete web-1"], "it was never Ready since the patch");
}

#[test]
fn an_equal_revision_is_relabelled_under_re_create_too() {
    let mut world = World::settled(2, json!({"podUpdatePolicy": "ReCreate"}));
    let mut same = template("app:v1");
    same["spec"]["restartPolicy"] = json!("Always");
    world.add_revision(&same, 2);
    world.status.update_revision = Some(world.revisions[1].name.to_string());
    assert_eq!(deeds(&world.plan()), ["patch web-0", "patch web-1"]);
}

#[test]
fn a_pod_that_lost_readiness_is_mended_while_a_higher_one_waits_for_it() {
    let mut world = World::rolling(3, json!({}));
    world.spec["podManagementPolicy"] = json!("OrderedReady");
    world.pods[1] = lost(pod(1, "app:v1"));
    world.pods.remove(2);
    assert_eq!(deeds(&world.plan()), ["close web-1"]);
}

#[test]
fn a_retried_init_container_does_not_make_a_pod_one_that_cannot_run() {
    let mut world = World::rolling(3, json!({"podUpdatePolicy": "ReCreate"}));
    for ordinal in 0..3 {
        let mut pod = lost(pod(ordinal, "app:v1"));
        let init = ContainerFacts {
            name: "setup".into(),
            kind: crate::model::ContainerKind::Init,
            restart_count: 1,
            ..ContainerFacts::default()
        };
        pod.containers.insert(0, init);
        world.pods[usize::try_from(ordinal).unwrap()] = pod;
    }
    assert_eq!(deeds(&world.plan()), ["delete web-2"]);
}

#[test]
fn a_paused_set_that_is_scaled_to_0_keeps_its_current_revision() {
    let mut world = World::rolling(2, json!({"paused": true}));
    world.spec["replicas"] = json!(0);
    world.pods.clear();
    assert_eq!(world.plan().status.current_revision, Some(revision_name("web", &hash_of("app:v1"))));
}

#[test]
fn a_held_pod_that_dies_under_priorities_comes_back_on_its_revision() {
    let mut world = World::rolling(
        3,
        json!({"partition": 1, "unorderedUpdate": {"priorityStrategy": {"weightPriority": [
            {"weight": 50, "matchSelector": {"matchLabels": {"role": "replica"}}}]}}}),
    );
    for index in [1, 2] {
        world.pods[index].labels.insert("role".into(), "replica".into());
    }
    world.pods[2] = PodFacts { labels: world.pods[2].labels.clone(), ..pod(2, "app:v2") };
    world.pods[2].labels.insert(names::REVISION_LABEL.into(), hash_of("app:v2").into());
    world.pods.remove(0);
    assert_eq!(deeds(&world.plan()), ["create web-0 app:v1"]);
}

#[test]
fn a_missing_pod_has_the_priority_that_its_own_labels_will_give_it() {
    let labels = [
        json!({"apps.kubernetes.io/pod-index": "0"}),
        json!({"statefulset.kubernetes.io/pod-name": "web-0"}),
        json!({"app": "web", "apps.kubernetes.io/pod-index": "0"}),
    ];
    for labels in labels {
        let term = json!({"weight": 5, "matchSelector": {"matchLabels": labels}});
        let priority = json!({"partition": 2, "unorderedUpdate": {"priorityStrategy": {"weightPriority": [term]}}});
        let mut world = World::rolling(3, priority);
        world.pods.remove(0);
        assert_eq!(deeds(&world.plan()), ["create web-0 app:v2"], "{labels}");
    }
}

#[test]
fn a_pod_deleted_for_its_update_under_priorities_comes_back_updated() {
    let mut world = World::rolling(
        2,
        json!({"partition": 1, "podUpdatePolicy": "ReCreate", "unorderedUpdate": {"priorityStrategy": {
            "orderPriority": [{"orderedKey": "order"}]}}}),
    );
    world.pods[0].labels.insert("order".into(), "9".into());
    world.status.update_revision = Some(revision_name("web", &hash_of("app:v2")));
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["delete web-0"]);
    assert_eq!(plan.status.updated_ordinals.as_deref(), Some("0"));
    world.status = plan.status;
    world.pods.remove(0);
    assert_eq!(deeds(&world.plan()), ["create web-0 app:v2"]);
}

#[test]
fn an_adoption_is_complete_when_the_labels_are_ours() {
    let mut world = World::settled(1, json!({}));
    world.pods[0].labels.insert(names::REVISION_LABEL.into(), revision_name("web", &hash_of("app:v1")).into());
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-0"]);
    assert_ne!(condition(&plan, "Progressing"), ("True", "Complete"));
}

#[test]
fn a_claim_without_a_pod_is_let_go_when_the_policy_no_longer_deletes_it() {
    let mut world = World::settled(1, json!({}));
    world.spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
    let claim = |made_for: &str| {
        Arc::new(crate::model::ClaimFacts {
            name: "data-web-7".into(),
            uid: "claim".into(),
            resource_version: "5".into(),
            made_for: Some(made_for.into()),
            owners: vec![crate::model::claim::ClaimOwner {
                kind: names::KIND.into(),
                name: "web".into(),
                uid: "set".into(),
                controller: false,
                our_group: true,
            }],
            ..crate::model::ClaimFacts::default()
        })
    };
    let owned = |policy: &str, made_for: &str| {
        let mut world = World { spec: world.spec.clone(), ..World::settled(1, json!({})) };
        world.spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": policy});
        let data = revision_data(&template("app:v1"), ["data"]);
        world.revisions[0].data = Arc::new(data);
        let mut snapshot = world.snapshot();
        snapshot.claims = [("data-web-7".into(), claim(made_for))].into();
        deeds(&plan(&snapshot)).contains(&"own data-web-7".to_owned())
    };
    assert!(owned("Retain", "web"));
    assert!(!owned("Delete", "web"));
    assert!(!owned("Retain", "other"));
}
