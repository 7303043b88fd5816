//! How fast what goes on in a running Pod goes on: free, by a slot of the budget, or out of service.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::inplace::InPlaceState;
use crate::model::pod::ResizeFacts;
use crate::model::{Can, FieldKind, Nodes, Resources};

fn probed(port: i64) -> Value {
    let mut template = template("app:v1");
    template["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": port}});
    template
}

fn with_mode(mode: &str) -> Value {
    let mut template = template("app:v1");
    template["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "value": mode}]);
    template
}

fn with_cpu(cpu: &str) -> Value {
    let mut template = template("app:v1");
    template["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    template
}

/// Three available Pods of `app:v1` on a customised cluster, and this template.
fn changed(template: &Value, rolling_update: Value) -> World {
    let mut world = World::settled(3, rolling_update);
    world.abilities = Abilities::customised();
    change(&mut world, template);
    world
}

fn change(world: &mut World, template: &Value) {
    world.spec["template"] = template.clone();
    let number = i64::try_from(world.revisions.len()).unwrap() + 1;
    world.add_revision(template, number);
}

fn newest(world: &World) -> Box<str> {
    world.revisions.last().unwrap().hash.clone()
}

/// What the plan's patch of this Pod made of it, seen by the kubelet, so many seconds ago.
fn carry_out(world: &mut World, plan: &Plan, ordinal: usize, seconds_ago: i64) {
    let patches = plan.actions.iter().flatten().chain(&plan.disruptions);
    let name = world.pods[ordinal].name.clone();
    let patch = patches
        .into_iter()
        .find_map(|action| match action {
            Action::PatchPod { target, patch, .. } if target.name == name => Some(patch.clone()),
            _ => None,
        })
        .unwrap();
    let annotations = patch.pointer("/metadata/annotations").unwrap();
    let state = annotations[names::IN_PLACE_STATE_ANNOTATION].as_str().unwrap();
    let mut state = InPlaceState::parse(state).unwrap();
    state.patched_at = at(seconds_ago);
    let revision = newest(world);
    let pod = &mut world.pods[ordinal];
    pod.generation = state.generation;
    pod.observed_generation = Some(state.generation);
    pod.in_place_state = Some(state.to_json().into());
    pod.labels.insert(names::REVISION_LABEL.into(), revision);
    pod.resource_version = format!("20{ordinal}").into();
    world.status.disrupted = plan.status.disrupted.clone();
}

fn ledger(plan: &Plan) -> Vec<i64> {
    plan.status.disrupted.iter().map(|entry| entry.ordinal).collect()
}

#[test]
fn a_probe_takes_a_slot_and_leaves_the_gate_alone() {
    let plan = changed(&probed(80), json!({})).plan();
    assert_eq!(deeds(&plan), ["patch web-2"]);
    assert!(plan.actions.iter().flatten().next().is_none(), "it stands in no ledger");
    assert_eq!(ledger(&plan), [2]);
    assert_eq!(deeds(&changed(&probed(80), json!({"maxUnavailable": 2})).plan()), ["patch web-2", "patch web-1"]);
}

/// A bad probe shows when the Pod has been watched for a while: until then nobody else gets it.
#[test]
fn the_slot_is_held_until_the_pod_was_available_for_min_ready_seconds_since_the_patch() {
    let mut world = changed(&probed(80), json!({"minReadySeconds": 10}));
    let first = world.plan();
    carry_out(&mut world, &first, 2, 4);
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert_eq!((ledger(&plan), plan.wake_at), (vec![2], Some(at(-6))));
    carry_out(&mut world, &first, 2, 11);
    assert_eq!(world.plan().questions, [Question::LivePod { ordinal: 2, name: "web-2".into() }]);
    world.answers.live_pods = [(2, LivePod::Found(Arc::new(world.pods[2].clone())))].into();
    let plan = world.plan();
    assert_eq!((deeds(&plan), ledger(&plan)), (vec!["patch web-1".to_owned()], vec![1]));
}

#[test]
fn a_pod_that_loses_readiness_by_its_probe_holds_the_others_up_and_is_mended_by_the_next_template() {
    let mut world = changed(&probed(80), json!({}));
    let first = world.plan();
    carry_out(&mut world, &first, 2, 30);
    world.pods[2] = lost(world.pods[2].clone());
    assert_eq!(deeds(&world.plan()), [""; 0]);
    change(&mut world, &probed(81));
    assert_eq!(deeds(&world.plan()), ["patch web-2"]);
}

/// The slot is the Pod's own: it goes on with it, and the status is written before.
#[test]
fn a_second_change_goes_on_in_the_same_slot() {
    let mut world = changed(&probed(80), json!({"minReadySeconds": 30}));
    let first = world.plan();
    carry_out(&mut world, &first, 2, 4);
    change(&mut world, &probed(81));
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-2"]);
    assert_eq!((ledger(&plan), &*plan.status.disrupted[0].resource_version), (vec![2], "202"));
    assert_eq!(plan.status_write, StatusWrite::Now);
}

/// Labels take nobody down: no Pod waits for another one to get them.
#[test]
fn a_label_reaches_all_pods_that_lost_their_readiness() {
    let mut labelled = template("app:v1");
    labelled["metadata"]["labels"]["tier"] = "x".into();
    let mut world = changed(&labelled, json!({}));
    for ordinal in [1, 2] {
        world.pods[ordinal] = lost(world.pods[ordinal].clone());
    }
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-2", "patch web-1", "patch web-0"]);
    assert_eq!(ledger(&plan), [0; 0]);
    // As before, where containers are touched.
    change(&mut world, &probed(80));
    assert_eq!(deeds(&world.plan()), ["patch web-2"]);
}

#[test]
fn tolerations_go_to_all_pods_at_once_behind_the_pods_own() {
    let mut template = template("app:v1");
    template["spec"]["tolerations"] = json!([{"key": "mine", "operator": "Exists"}]);
    let mut world = changed(&template, json!({}));
    world.abilities = Abilities::stock();
    let asked = world.plan().questions;
    assert_eq!(asked.len(), 3, "{asked:?}");
    let own = json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300});
    let whole = Arc::new(json!({"spec": {"tolerations": [own]}}));
    world.answers.whole_pods = world.pods.iter().map(|pod| (pod.uid.clone(), Arc::clone(&whole))).collect();
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-2", "patch web-1", "patch web-0"]);
    assert_eq!(ledger(&plan), [0; 0]);
    let Some(Action::PatchPod { patch, .. }) = plan.actions.iter().flatten().next() else { panic!("no patch") };
    assert_eq!(patch.pointer("/spec/tolerations/0"), Some(&own));
    assert_eq!(patch.pointer("/spec/tolerations/1/key"), Some(&json!("mine")));
}

/// However many Pods there are: each look reads a bounded number of them.
#[test]
fn a_bounded_number_of_whole_pods_is_read_for_tolerations() {
    let mut template = template("app:v1");
    template["spec"]["tolerations"] = json!([{"key": "mine", "operator": "Exists"}]);
    let mut world = World::settled(40, json!({}));
    change(&mut world, &template);
    // Others, of a revision that nobody knows, were read for another reason and wait behind the partition.
    let others = (0..20).map(|other| (format!("other-{other}").into(), Arc::new(json!({}))));
    world.answers.whole_pods = others.collect();
    let asked = world.plan().questions;
    assert_eq!(asked.len(), 16);
    for question in asked {
        let Question::WholePod { uid, .. } = question else { panic!("{question:?}") };
        world.answers.whole_pods.insert(uid, Arc::new(json!({"spec": {}})));
    }
    let plan = world.plan();
    assert_eq!(deeds(&plan).len(), 16);
    assert!(plan.wake_at.is_some(), "the others' turn comes");
}

#[test]
fn what_nobody_knows_is_asked_once_and_nothing_is_done_before() {
    let mut world = changed(&with_mode("a"), json!({}));
    let labelled: BTreeSet<Box<str>> = ["node".into()].into();
    world.abilities =
        Abilities { apiserver: BTreeMap::new(), nodes: Nodes::Labelled(Arc::new(labelled)), by_hand: BTreeSet::new() };
    let plan = world.plan();
    let [Question::Ability { kinds, target, patch }] = plan.questions.as_slice() else {
        panic!("{:?}", plan.questions)
    };
    assert_eq!((kinds.as_slice(), &*target.name), (&[FieldKind::Env][..], "web-2"));
    assert!(patch.contains(r#""resourceVersion":"102""#) && patch.contains("MODE"), "{patch}");
    world.abilities.apiserver.insert(FieldKind::Env, Can::Yes);
    assert_eq!(deeds(&world.plan()), ["close web-2"]);
    world.abilities.apiserver.insert(FieldKind::Env, Can::No("this apiserver does not take it".into()));
    assert_eq!(deeds(&world.plan()), ["delete web-2"]);
    // Paused, nobody needs to know.
    world.abilities.apiserver.clear();
    world.spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(true);
    assert_eq!(world.plan().questions, []);
}

#[test]
fn a_policys_denial_is_told_and_no_pod_is_touched() {
    let mut world = changed(&with_mode("a"), json!({}));
    world.abilities = Abilities { by_hand: BTreeSet::new(), ..Abilities::stock() };
    let denied = Can::Denied { reason: "AdmissionDenied".into(), message: "policy x says no".into() };
    world.abilities.apiserver.insert(FieldKind::Env, denied);
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert_eq!(condition(&plan, "ReplicaFailure"), ("True", "AdmissionDenied"));
    assert!(plan.wake_at.is_some_and(|at| at > world.snapshot().now));
}

#[test]
fn what_blocks_many_pods_is_told_once_with_every_field() {
    let mut template = with_mode("a");
    template["spec"]["containers"][0]["command"] = json!(["run"]);
    let mut world = changed(&template, json!({"podUpdatePolicy": "InPlaceOnly"}));
    world.abilities = Abilities::stock();
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    let blocked = plan.status.conditions.iter().find(|one| one.type_ == "InPlaceUpdateBlocked").unwrap();
    let message = blocked.message.clone().unwrap();
    assert!(message.starts_with("Pods web-2, web-1, web-0: "), "{message}");
    assert!(message.contains("[app].env[MODE]") && message.contains("[app].command"), "{message}");
    assert_eq!(message.matches("[app].command").count(), 1, "{message}");
}

/// A world in which all Pods are to have more cpu.
fn resizing(rolling_update: Value) -> World {
    let mut world = World::settled(3, rolling_update);
    let old = with_cpu("1");
    world.revisions.clear();
    let name = world.add_revision(&old, 1);
    world.status.current_revision = Some(name.clone());
    world.status.update_revision = Some(name);
    for pod in &mut world.pods {
        pod.labels.insert(names::REVISION_LABEL.into(), world.revisions[0].hash.clone());
        let one = Resources { cpu_request_millicores: Some(1000), ..Resources::default() };
        pod.containers[0].resources = Some(Box::new(one));
        pod.containers[0].status_resources = Some(Box::new(one));
    }
    change(&mut world, &with_cpu("64"));
    world
}

/// A world in which web-2 was given more cpu `seconds_ago`, and its node has no room.
fn deferred(rolling_update: Value, seconds_ago: i64) -> World {
    let mut world = resizing(rolling_update);
    let plan = world.plan();
    carry_out(&mut world, &plan, 2, seconds_ago);
    let wanted = Resources { cpu_request_millicores: Some(64_000), ..Resources::default() };
    world.pods[2].containers[0].resources = Some(Box::new(wanted));
    let facts = ResizeFacts { reason: "Infeasible".into(), message: "not enough cpu".into() };
    world.pods[2].resize = Some(Box::new(facts));
    world
}

#[test]
fn a_resize_goes_first_and_takes_a_slot() {
    let mut world = World::settled(2, json!({}));
    change(&mut world, &with_cpu("1"));
    // From BestEffort: another QoS class.
    assert_eq!(deeds(&world.plan()), ["delete web-1"]);
    let world = deferred(json!({}), 5);
    assert_eq!(world.status.disrupted.len(), 1);
}

#[test]
fn a_resize_that_the_node_cannot_do_is_told_and_given_up_after_its_time() {
    let plan = deferred(json!({}), 5).plan();
    assert_eq!(deeds(&plan), [""; 0]);
    let progressing = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    assert_eq!(progressing.reason.as_deref(), Some("WaitingForResize"));
    assert!(progressing.message.clone().unwrap().contains("Infeasible: not enough cpu"), "{progressing:?}");
    assert_eq!(deeds(&deferred(json!({}), 601).plan()), ["delete web-2"]);
    let plan = deferred(json!({"podUpdatePolicy": "InPlaceOnly"}), 601).plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert_eq!(condition(&plan, "InPlaceUpdateBlocked").0, "True");
}

/// Begun under a budget of two. The revert lowers it: neither of them serves less than the other, and each has its slot.
#[test]
fn resizes_without_room_are_taken_back_one_by_one_where_the_budget_was_lowered() {
    let mut world = deferred(json!({}), 5);
    let entry = world.status.disrupted[0].clone();
    let stuck = &world.pods[2];
    let (name, uid, id) =
        (world.pods[1].name.clone(), world.pods[1].uid.clone(), world.pods[1].containers[0].container_id.clone());
    let mut labels = stuck.labels.clone();
    labels.insert(names::POD_NAME_LABEL.into(), name.clone());
    labels.insert(names::POD_INDEX_LABEL.into(), "1".into());
    let mut other = PodFacts { name, uid, labels, ..stuck.clone() };
    other.containers[0].container_id = id;
    world.pods[1] = other;
    world.status.disrupted.push(Disruption { ordinal: 1, uid: "uid-1".into(), ..entry });
    change(&mut world, &with_cpu("1"));
    assert!(!world.plan().questions.is_empty());
    let live = |world: &World, ordinal: usize| {
        (i64::try_from(ordinal).unwrap(), LivePod::Found(Arc::new(world.pods[ordinal].clone())))
    };
    world.answers.live_pods = [live(&world, 1), live(&world, 2)].into();
    assert_eq!(deeds(&world.plan()), ["patch web-2"]);
    // One that is down in truth goes on, and is waited for.
    let down = PodFacts { ready: Some(ReadyFacts { status: false, since: Some(at(1)) }), ..world.pods[1].clone() };
    world.answers.live_pods.insert(1, LivePod::Found(Arc::new(down)));
    assert_eq!(deeds(&world.plan()), ["patch web-1"]);
}

#[test]
fn where_the_cluster_serves_no_resizes_the_policy_decides_and_says_why() {
    for (rolling_update, deed) in
        [(json!({}), "delete web-2"), (json!({"podUpdatePolicy": "InPlaceOnly"}), "open web-2")]
    {
        let mut world = resizing(rolling_update);
        assert_eq!(deeds(&world.plan()), ["patch web-2"]);
        // Found out when the first Pod was out of service already, for a restart beside it.
        world.pods[2].gate = Gate::Closed { since: Some(at(5)), reason: "ContainerRebuilding".into() };
        world.pods[2].ready = Some(ReadyFacts { status: false, since: Some(at(5)) });
        let no = Can::No("this apiserver does not take it".into());
        world.abilities.apiserver.insert(FieldKind::Resize, no);
        let plan = world.plan();
        assert_eq!(deeds(&plan), [deed]);
        let told = format!("{:?} {:?}", plan.actions, plan.status.conditions);
        assert!(told.contains("this apiserver does not take it"), "{told}");
    }
}

#[test]
fn over_its_time_an_update_is_only_reported_while_things_stand_by_order() {
    let mut paused = deferred(json!({}), 601);
    paused.spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(true);
    let mut on_delete = deferred(json!({}), 601);
    on_delete.spec["updateStrategy"] = json!({"type": "OnDelete"});
    let mut held = deferred(json!({}), 601);
    held.spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(3);
    for world in [paused, on_delete, held] {
        let plan = world.plan();
        assert_eq!(deeds(&plan), [""; 0]);
        assert!(plan.events.iter().any(|event| event.reason == "InPlaceUpdateTimeout"), "{:?}", plan.events);
    }
}

/// What the first two of a resize's three writes made of web-2: the note and the resize, not the label.
fn half_resized(mut world: World, seconds_ago: i64) -> World {
    let plan = world.plan();
    let Some(Action::PatchPod { resize: Some(resize), .. }) = plan.disruptions.first() else { panic!("{plan:?}") };
    let note = resize.note.as_ref().expect("it says what is begun");
    let state = note.pointer("/metadata/annotations").unwrap()[names::IN_PLACE_STATE_ANNOTATION].as_str().unwrap();
    assert!(state.contains(r#""resizing":{"amounts":{"app":{"requests.cpu":"#), "{state}");
    let pod = &mut world.pods[2];
    pod.in_place_state = Some(state.into());
    let wanted = Resources { cpu_request_millicores: Some(64_000), ..Resources::default() };
    pod.containers[0].resources = Some(Box::new(wanted));
    pod.containers[0].status_resources = Some(Box::new(wanted));
    pod.resource_version = "202".into();
    pod.created_at = Some(at(seconds_ago));
    world.status.disrupted.clone_from(&plan.status.disrupted);
    world
}

fn resize_of(plan: &Plan) -> Option<&crate::plan::action::Resize> {
    plan.actions.iter().flatten().chain(&plan.disruptions).find_map(|action| match action {
        Action::PatchPod { resize, .. } => resize.as_deref(),
        _ => None,
    })
}

/// The template turns back between the resize and the patch with the label.
#[test]
fn a_resize_half_done_that_nobody_wants_any_more_is_taken_back() {
    let mut world = half_resized(resizing(json!({})), 60);
    world.spec["template"] = with_cpu("1");
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-2"]);
    let resize = resize_of(&plan).unwrap();
    assert_eq!(resize.patch.pointer("/spec/containers/0/resources"), Some(&json!({"requests": {"cpu": "1000m"}})));
    let Some(Action::PatchPod { patch, reason, why: PatchWhy::Live, .. }) = plan.disruptions.first() else {
        panic!("{plan:?}")
    };
    assert!(reason.contains("a resize that was begun is taken back"), "{reason}");
    assert!(!patch.to_string().contains("resizing"), "{patch}");
    assert_eq!(ledger(&plan), [2]);

    // The second half done too, without the last patch: nothing is to be resized, and the note goes.
    let one = Resources { cpu_request_millicores: Some(1000), ..Resources::default() };
    world.pods[2].containers[0].resources = Some(Box::new(one));
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-2"]);
    assert_eq!(resize_of(&plan), None);
    assert!(!format!("{plan:?}").contains("resizing"), "{plan:?}");
}

#[test]
fn a_resize_half_done_goes_on() {
    let plan = half_resized(resizing(json!({})), 60).plan();
    assert_eq!(deeds(&plan), ["patch web-2"]);
    assert_eq!(resize_of(&plan), None, "the Pod has its resources");
    assert!(!format!("{plan:?}").contains("resizing"), "{plan:?}");
}

/// A late write of it may still come: its entry stays until the Pod's resourceVersion was moved.
#[test]
fn a_resize_half_done_keeps_its_entry_until_no_write_can_come() {
    let mut world = half_resized(resizing(json!({})), 60);
    world.spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(true);
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["fence web-2"]);
    assert_eq!(ledger(&plan), [2]);
    let Some(Action::PatchPod { patch, .. }) = plan.actions.iter().flatten().next() else { panic!("{plan:?}") };
    let state = patch.pointer("/metadata/annotations").unwrap()[names::IN_PLACE_STATE_ANNOTATION].as_str().unwrap();
    world.pods[2].in_place_state = Some(state.into());
    world.pods[2].resource_version = "203".into();
    assert_eq!(world.plan().questions, [Question::LivePod { ordinal: 2, name: "web-2".into() }]);
}

/// The entry is of the Pod that was there before: no write of the new one stands in it.
#[test]
fn a_resize_half_done_does_not_keep_the_entry_of_the_pod_before() {
    let mut world = half_resized(resizing(json!({})), 60);
    world.status.disrupted[0].uid = "before".into();
    assert_eq!(world.plan().questions, [Question::LivePod { ordinal: 2, name: "web-2".into() }]);
}

/// What the kubelet has still to do is waited for from the last write on, not from the start of the Pod.
#[test]
fn a_resize_that_was_taken_back_has_its_whole_time() {
    let mut world = half_resized(resizing(json!({})), 6000);
    world.spec["template"] = with_cpu("1");
    let one = Resources { cpu_request_millicores: Some(1000), ..Resources::default() };
    world.pods[2].containers[0].resources = Some(Box::new(one));
    let plan = world.plan();
    let Some(Action::PatchPod { patch, why: PatchWhy::Metadata, .. }) = plan.actions.iter().flatten().next() else {
        panic!("{plan:?}")
    };
    let state = patch.pointer("/metadata/annotations").unwrap()[names::IN_PLACE_STATE_ANNOTATION].as_str().unwrap();
    assert!(InPlaceState::parse(state).is_some_and(|state| state.patched_at == at(0) && state.resizing.is_none()));
    assert_ne!(condition(&plan, "Progressing").1, "Complete");
}

/// An autoscaler had given it more, and the resize was refused: it has what it had.
#[test]
fn what_a_pod_had_before_a_resize_that_never_came_is_left_alone() {
    let mut world = resizing(json!({}));
    let more = Resources { cpu_request_millicores: Some(1300), ..Resources::default() };
    world.pods[2].containers[0].resources = Some(Box::new(more));
    let mut world = half_resized(world, 60);
    world.pods[2].containers[0].resources = Some(Box::new(more));
    world.spec["template"] = with_cpu("1");
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-2"]);
    assert_eq!(resize_of(&plan), None);
}

/// A container that a resize restarts is not restarted under traffic to take the resize back.
#[test]
fn a_resize_that_restarts_is_taken_back_out_of_service() {
    let sized = |cpu: &str| {
        let mut template = with_cpu(cpu);
        template["spec"]["containers"][0]["resizePolicy"] =
            json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        template
    };
    let mut world = resizing(json!({}));
    world.revisions.clear();
    let (old, new) = (sized("1"), sized("64"));
    for (number, template) in [(1, &old), (2, &new)] {
        world.add_revision(template, number);
    }
    for pod in &mut world.pods {
        pod.labels.insert(names::REVISION_LABEL.into(), world.revisions[0].hash.clone());
    }
    world.spec["template"] = new;
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["close web-2"]);
    let Some(Action::PatchPodStatus { patch, .. }) = plan.disruptions.first() else { panic!("{plan:?}") };
    let annotations = patch.pointer("/metadata/annotations").expect("the note goes with the gate");
    world.pods[2].in_place_state = annotations[names::IN_PLACE_STATE_ANNOTATION].as_str().map(Into::into);
    world.pods[2].gate = Gate::Closed { since: Some(at(5)), reason: "ContainerRebuilding".into() };
    world.pods[2].ready = Some(ReadyFacts { status: false, since: Some(at(5)) });
    world.pods[2].resource_version = "202".into();
    world.status.disrupted.clone_from(&plan.status.disrupted);
    let plan = world.plan();
    assert!(resize_of(&plan).is_some_and(|resize| resize.note.is_none()), "{plan:?}");

    // The resize is done, the rest is not, and the gate is open again when the template turns back.
    let much = Resources { cpu_request_millicores: Some(64_000), ..Resources::default() };
    world.pods[2].containers[0].resources = Some(Box::new(much));
    world.pods[2].containers[0].status_resources = Some(Box::new(much));
    (world.pods[2].gate, world.pods[2].ready) = (Gate::Open, Some(ReadyFacts { status: true, since: Some(at(2)) }));
    world.spec["template"] = old;
    assert_eq!(deeds(&world.plan()), ["close web-2"]);
}

/// The kubelet may have started the old container already, and say so a moment later.
#[test]
fn a_pod_that_is_starting_is_taken_out_of_service_before_it_is_patched() {
    let mut world = World::rolling(1, json!({}));
    let new = &mut world.pods[0];
    (new.ready, new.containers_ready, new.phase) = (None, false, PodPhase::Pending);
    new.containers[0] = ContainerFacts { name: "app".into(), image: "app:v1".into(), ..ContainerFacts::default() };
    assert_eq!(deeds(&world.plan()), ["close web-0"]);
    world.pods[0].gate = Gate::Closed { since: Some(at(1)), reason: "ContainerRebuilding".into() };
    assert_eq!(deeds(&world.plan()), ["patch web-0"]);
    // One whose image cannot be pulled starts nothing.
    world.pods[0].gate = Gate::Open;
    world.pods[0].containers[0].waiting_reason = Some("ImagePullBackOff".into());
    assert_eq!(deeds(&world.plan()), ["patch web-0"]);
}

/// The controller's clock is behind its kubelets': what it wrote down of them tells.
#[test]
fn a_pod_that_was_never_ready_since_its_patch_is_known_by_its_kubelets_clock() {
    let mut world = World::rolling(1, json!({}));
    world.pods[0] = lost(pod(0, "app:v1"));
    let update = crate::inplace::InPlacePatch::default();
    let mut state = crate::inplace::next_state(&world.pods[0], &update, "hash", at(100));
    assert!(super::super::rollout::cannot_run(
        &PodFacts { in_place_state: Some(state.to_json().into()), ..world.pods[0].clone() },
        at(0)
    ));
    state.unready_since = Some(at(70));
    assert!(!super::super::rollout::cannot_run(
        &PodFacts { in_place_state: Some(state.to_json().into()), ..world.pods[0].clone() },
        at(0)
    ));
}

/// Without a gate it is Ready until its old container ends; what it loses later is a readiness that it had.
#[test]
fn a_pod_without_a_gate_that_was_never_ready_since_its_containers_came_cannot_run() {
    let cannot_run = |lost_at: i64, started_at: i64| {
        let mut patched = pod(0, "app:v1");
        patched.gate = Gate::Absent;
        let rebuild = crate::inplace::Rebuild {
            container: "app".into(),
            image: None,
            old_fields: "old".into(),
            new_fields: "new".into(),
        };
        let update = crate::inplace::InPlacePatch { rebuild: vec![rebuild], ..Default::default() };
        let state = crate::inplace::next_state(&patched, &update, "hash", at(500));
        patched.in_place_state = Some(state.to_json().into());
        patched.started_at = Some(at(900));
        patched.ready = Some(ReadyFacts { status: false, since: Some(at(lost_at)) });
        patched.containers[0].container_id = Some("containerd://new".into());
        patched.containers[0].running = Some(Running { since: Some(at(started_at)) });
        super::super::rollout::cannot_run(&patched, at(0))
    };
    assert!(cannot_run(490, 488), "lost when the old container ended");
    assert!(!cannot_run(480, 488), "lost after the new one had come");
    assert!(!cannot_run(60, 50), "its container crashed long after, and came back");
}

/// A resize that others asked for has no part in ours.
#[test]
fn a_resize_by_others_is_not_waited_for() {
    let mut world = deferred(json!({}), 700);
    let other = Resources { cpu_request_millicores: Some(5000), ..Resources::default() };
    world.pods[2].containers[0].resources = Some(Box::new(other));
    assert_eq!(world.plan().questions, [Question::LivePod { ordinal: 2, name: "web-2".into() }]);
}

/// A kubelet that has to look again before the Pod is Ready takes a second or two for it.
#[test]
fn the_gate_of_a_new_pod_is_opened_once_its_kubelet_has_reported() {
    let mut world = World::settled(1, json!({}));
    let new = &mut world.pods[0];
    (new.gate, new.ready, new.containers_ready, new.phase) = (Gate::Unset, None, false, PodPhase::Pending);
    new.containers[0] = ContainerFacts { name: "app".into(), image: "app:v1".into(), ..ContainerFacts::default() };
    new.started_at = None;
    assert_eq!(deeds(&world.plan()), [""; 0], "the scheduler and the kubelet write first");
    world.pods[0].started_at = Some(at(1));
    assert_eq!(deeds(&world.plan()), ["open web-0"]);
}

/// The apiserver took the change and the kubelet does not follow.
#[test]
fn a_stock_kubelet_behind_a_customised_apiserver_is_named_and_the_pod_re_created_in_the_end() {
    let patched = |seconds_ago: i64| {
        let mut world = changed(&with_mode("a"), json!({}));
        let closing = world.plan();
        assert_eq!(deeds(&closing), ["close web-2"]);
        world.status.disrupted = closing.status.disrupted.clone();
        world.pods[2].gate = Gate::Closed { since: Some(at(20)), reason: names::REASON_CONTAINER_REBUILDING.into() };
        world.pods[2] = lost(world.pods[2].clone());
        let plan = world.plan();
        assert_eq!(deeds(&plan), ["patch web-2"]);
        carry_out(&mut world, &plan, 2, seconds_ago);
        world
    };
    let plan = patched(60).plan();
    assert_eq!(deeds(&plan), [""; 0]);
    let progressing = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    let message = progressing.message.clone().unwrap();
    assert!(message.contains("container app") && message.contains("its env changed"), "{message}");
    assert!(message.contains("the kubelet of node node seems to be a stock one"), "{message}");
    assert_eq!(deeds(&patched(601).plan()), ["delete web-2"]);
    // The template goes back: the container was started with it, so all is well.
    let mut back = patched(60);
    back.spec["template"] = template("app:v1");
    let plan = back.plan();
    assert_eq!(deeds(&plan), ["patch web-2"]);
    back.revisions.rotate_left(1);
    carry_out(&mut back, &plan, 2, 1);
    assert_eq!(deeds(&back.plan()), ["open web-2"]);
}

#[test]
fn a_claim_is_mounted_into_a_running_pod_only_where_it_is_bound() {
    let mut wanted = template("app:v1");
    wanted["spec"]["volumes"] = json!([{"name": "more", "persistentVolumeClaim": {"claimName": "extra"}}]);
    wanted["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "more", "mountPath": "/more"}]);
    let mut world = changed(&wanted, json!({}));
    assert_eq!(world.plan().questions, [Question::BoundClaim { name: "extra".into() }]);
    world.answers.bound_claims.insert("extra".into(), None);
    assert_eq!(deeds(&world.plan()), ["close web-2"]);
    world.answers.bound_claims.insert("extra".into(), Some("the claim extra is not bound to a volume".into()));
    assert_eq!(deeds(&world.plan()), ["delete web-2"]);
    world.spec["updateStrategy"]["rollingUpdate"]["podUpdatePolicy"] = json!("InPlaceOnly");
    let plan = world.plan();
    assert!(deeds(&plan).is_empty());
    let blocked = plan.status.conditions.iter().find(|one| one.type_ == "InPlaceUpdateBlocked").unwrap();
    assert!(
        blocked.message.as_ref().unwrap().contains("spec.volumes[more]: the claim extra is not bound"),
        "{blocked:?}"
    );
}
