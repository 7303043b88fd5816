//! Lifecycle hooks.

use super::*;
use crate::model::HookState;

const STATE: &str = "/metadata/labels/lifecycle.apps.asts.dev~1state";

/// A rollout of `replicas` Pods, each with the label `hold=true`, on a set with these hooks.
fn world(replicas: i64, rolling: Value, lifecycle: Value) -> World {
    let mut world = World::rolling(replicas, rolling);
    world.spec["lifecycle"] = lifecycle;
    for pod in &mut world.pods {
        hold(pod);
    }
    world
}

fn hook(mark: bool) -> Value {
    json!({"labelsHandler": {"hold": "true"}, "markPodNotReady": mark})
}

fn hold(pod: &mut PodFacts) {
    pod.labels.insert("hold".into(), "true".into());
}

fn release(pod: &mut PodFacts) {
    pod.labels.remove("hold");
}

fn in_state(pod: &mut PodFacts, state: HookState, seconds_ago: i64) {
    pod.labels.insert(names::HOOK_STATE_LABEL.into(), state.text().into());
    pod.hook_state_since = Some(at(seconds_ago));
}

fn close(pod: &mut PodFacts) {
    pod.gate = Gate::Closed { since: Some(at(5)), reason: names::REASON_CONTAINER_REBUILDING.into() };
    pod.ready = Some(ReadyFacts { status: false, since: Some(at(4)) });
}

fn entry(ordinal: i64) -> Disruption {
    Disruption { ordinal, uid: format!("uid-{ordinal}"), resource_version: "1".into(), revision: hash_of("app:v2") }
}

/// The same as [`deeds`], with the state that each patch brings.
fn moves(plan: &Plan) -> Vec<String> {
    let all = plan.actions.iter().flatten().chain(&plan.disruptions);
    all.zip(deeds(plan))
        .map(|(action, deed)| match action {
            Action::PatchPod { patch: body, .. }
            | Action::PatchPodStatus { patch: body, .. }
            | Action::CreatePod { pod: body, .. } => match body.pointer(STATE) {
                Some(state) => format!("{deed} -> {}", state.as_str().unwrap_or("none")),
                None => deed,
            },
            _ => deed,
        })
        .collect()
}

fn progressing(plan: &Plan) -> (String, String) {
    let found = plan.status.conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
    (found.reason.clone().unwrap(), found.message.clone().unwrap())
}

#[test]
fn a_held_pod_is_told_stays_in_service_and_is_deleted_when_it_is_let_go() {
    let mut world = world(3, json!({"podUpdatePolicy": "ReCreate"}), json!({"preDelete": hook(false)}));
    let plan = world.plan();
    assert_eq!(moves(&plan), ["state web-2 -> PreparingDelete"]);
    assert_eq!((plan.disruptions.len(), plan.status.disrupted.len()), (0, 0), "nothing was taken down");
    assert_eq!(plan.status.available_replicas, 3);
    in_state(&mut world.pods[2], HookState::PreparingDelete, 30);
    let plan = world.plan();
    assert_eq!(moves(&plan), [""; 0], "one told at a time");
    let (reason, message) = progressing(&plan);
    assert_eq!(reason, "WaitingForHook");
    assert_eq!(
        message,
        format!("Pod web-2 waits to be deleted: the hook preDelete holds it by label hold=true since {}", at(30))
    );
    release(&mut world.pods[2]);
    let plan = world.plan();
    assert_eq!(moves(&plan), ["delete web-2"]);
    assert_eq!(plan.disruptions.len(), 1, "by the ledger");
}

#[test]
fn a_pod_that_is_marked_not_ready_is_a_disruption_of_ours_and_told_in_the_same_write() {
    for (hooks, policy, state, reason) in [
        (json!({"preDelete": hook(true)}), "ReCreate", "PreparingDelete", "PreparingDelete"),
        (json!({"inPlaceUpdate": hook(true)}), "InPlaceIfPossible", "PreparingUpdate", "ContainerRebuilding"),
    ] {
        let mut world = world(3, json!({"podUpdatePolicy": policy}), hooks);
        let plan = world.plan();
        assert_eq!(moves(&plan), [format!("close web-2 -> {state}")]);
        assert_eq!((plan.disruptions.len(), plan.status.disrupted.len()), (1, 1));
        let Action::PatchPodStatus { patch, .. } = &plan.disruptions[0] else { panic!("{plan:?}") };
        assert_eq!(patch.pointer("/status/conditions/0/reason"), Some(&json!(reason)));
        world.status.disrupted = plan.status.disrupted;
        world.pods[2].resource_version = "2".into();
        close(&mut world.pods[2]);
        in_state(
            &mut world.pods[2],
            if policy == "ReCreate" { HookState::PreparingDelete } else { HookState::PreparingUpdate },
            5,
        );
        assert_eq!(moves(&world.plan()), [""; 0], "held");
        release(&mut world.pods[2]);
        let done = if policy == "ReCreate" { "delete web-2" } else { "patch web-2 -> Updating" };
        assert_eq!(moves(&world.plan()), [done]);
    }
}

#[test]
fn a_disruption_for_a_hook_that_was_only_written_down_is_carried_out_after_a_crash() {
    let mut world = world(3, json!({"podUpdatePolicy": "ReCreate"}), json!({"preDelete": hook(true)}));
    let first = world.plan();
    world.status = first.status;
    let second = world.plan();
    assert_eq!(second.disruptions, first.disruptions);
    assert_eq!(second.status.disrupted.len(), 1);
}

#[test]
fn no_more_are_told_at_a_time_than_may_be_down() {
    let mut world =
        world(4, json!({"podUpdatePolicy": "ReCreate", "maxUnavailable": 2}), json!({"preDelete": hook(false)}));
    assert_eq!(moves(&world.plan()), ["state web-3 -> PreparingDelete", "state web-2 -> PreparingDelete"]);
    world.pods[0].ready = Some(ReadyFacts { status: false, since: Some(at(60)) });
    assert_eq!(moves(&world.plan()), ["state web-0 -> PreparingDelete", "state web-3 -> PreparingDelete"]);
}

#[test]
fn a_held_pod_that_is_available_stops_no_other() {
    let mut world = world(3, json!({"podUpdatePolicy": "ReCreate"}), json!({"preDelete": hook(false)}));
    in_state(&mut world.pods[2], HookState::PreparingDelete, 30);
    release(&mut world.pods[1]);
    assert_eq!(moves(&world.plan()), ["delete web-1"]);
}

#[test]
fn a_pod_that_is_stuck_in_its_hook_is_said_and_gives_its_place_away() {
    let mut world = world(3, json!({"podUpdatePolicy": "ReCreate"}), json!({"preDelete": hook(false)}));
    in_state(&mut world.pods[2], HookState::PreparingDelete, 599);
    let plan = world.plan();
    assert_eq!(moves(&plan), [""; 0]);
    assert_eq!(plan.wake_at, Some(at(-1)));
    in_state(&mut world.pods[2], HookState::PreparingDelete, 600);
    let plan = world.plan();
    assert_eq!(moves(&plan), ["state web-1 -> PreparingDelete"]);
    let stuck: Vec<&PlannedEvent> = plan.events.iter().filter(|event| event.reason == "StuckInHook").collect();
    assert!(stuck.len() == 1 && stuck[0].message.contains("web-2"), "{:?}", plan.events);
}

#[test]
fn an_update_in_place_goes_through_its_hook_before_and_after() {
    let mut world = world(2, json!({}), json!({"inPlaceUpdate": hook(false)}));
    world.spec["template"]["metadata"]["labels"]["hold"] = json!("true");
    let template = world.spec["template"].clone();
    world.add_revision(&template, 3);
    let new_hash = hash(&revision_data(&template, []), 0);
    let mut old = template.clone();
    old["spec"]["containers"][0]["image"] = json!("app:v1");
    world.add_revision(&old, 4);
    for pod in &mut world.pods {
        pod.labels.insert(names::REVISION_LABEL.into(), hash(&revision_data(&old, []), 0).into());
    }
    assert_eq!(moves(&world.plan()), ["state web-1 -> PreparingUpdate"]);
    in_state(&mut world.pods[1], HookState::PreparingUpdate, 5);
    assert_eq!(moves(&world.plan()), [""; 0]);
    release(&mut world.pods[1]);
    let plan = world.plan();
    assert_eq!(moves(&plan), ["close web-1"]);
    world.status.disrupted = plan.status.disrupted;
    world.pods[1].resource_version = "2".into();
    close(&mut world.pods[1]);
    let plan = world.plan();
    assert_eq!(moves(&plan), ["patch web-1 -> Updating"]);
    let Action::PatchPod { patch, .. } = &plan.actions[0][0] else { panic!("{plan:?}") };
    assert_eq!(patch.pointer("/metadata/labels/hold"), None, "it belongs to whoever answers the hook");
    world.pods[1].labels.insert(names::REVISION_LABEL.into(), new_hash.into());
    world.pods[1].containers[0].image = "app:v2".into();
    in_state(&mut world.pods[1], HookState::Updating, 2);
    let plan = world.plan();
    assert_eq!(moves(&plan), ["open web-1 -> Updated"], "one write");
    world.pods[1].gate = Gate::Open;
    world.pods[1].ready = Some(ReadyFacts { status: true, since: Some(at(1)) });
    in_state(&mut world.pods[1], HookState::Updated, 1);
    let plan = world.plan();
    assert_eq!(moves(&plan), [""; 0]);
    assert_eq!((plan.status.ready_replicas, plan.status.available_replicas), (2, 1), "not called normal");
    assert!(progressing(&plan).1.contains("inPlaceUpdate misses label hold=true"), "{:?}", progressing(&plan));
    hold(&mut world.pods[1]);
    assert_eq!(moves(&world.plan()), ["state web-1 -> Normal"]);
}

/// openkruise/kruise#1156: a template that was taken back left the Pod in PreparingUpdate for ever.
#[test]
fn a_held_pod_goes_back_to_service_when_its_update_is_not_wanted_any_more() {
    let prepared = || {
        let mut world = world(2, json!({}), json!({"inPlaceUpdate": hook(true), "preDelete": hook(true)}));
        world.status.disrupted = vec![entry(1)];
        close(&mut world.pods[1]);
        in_state(&mut world.pods[1], HookState::PreparingUpdate, 5);
        world
    };
    assert_eq!(moves(&prepared().plan()), [""; 0]);
    let back = ["open web-1 -> Normal"];
    let mut turned = prepared();
    turned.spec["template"] = template("app:v1");
    assert_eq!(moves(&turned.plan()), back);
    let mut paused = prepared();
    paused.spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(true);
    assert_eq!(moves(&paused.plan()), back);
    let mut held = prepared();
    held.spec["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
    assert_eq!(moves(&held.plan()), back);
    let mut blocked = prepared();
    blocked.spec["updateStrategy"]["rollingUpdate"]["podUpdatePolicy"] = json!("InPlaceOnly");
    blocked.spec["template"]["spec"]["hostNetwork"] = json!(true);
    let changed = blocked.spec["template"].clone();
    blocked.add_revision(&changed, 3);
    assert_eq!(moves(&blocked.plan()), back);
    // Let go already: whoever answers puts it back first.
    let mut let_go = prepared();
    let_go.spec["template"] = template("app:v1");
    release(&mut let_go.pods[1]);
    assert_eq!(moves(&let_go.plan()), ["open web-1 -> Updated"]);
}

#[test]
fn a_template_that_overtakes_a_held_pod_is_asked_for_by_its_own_hook() {
    let hooks = json!({"preDelete": hook(false), "inPlaceUpdate": hook(false)});
    let mut to_update = world(2, json!({}), hooks.clone());
    in_state(&mut to_update.pods[1], HookState::PreparingDelete, 5);
    assert_eq!(moves(&to_update.plan()), ["state web-1 -> PreparingUpdate"]);
    release(&mut to_update.pods[1]);
    assert_eq!(moves(&to_update.plan()), ["close web-1"]);
    let mut to_delete = world(2, json!({"podUpdatePolicy": "ReCreate"}), hooks);
    in_state(&mut to_delete.pods[1], HookState::PreparingUpdate, 5);
    assert_eq!(moves(&to_delete.plan()), ["state web-1 -> PreparingDelete"]);
    release(&mut to_delete.pods[1]);
    assert_eq!(moves(&to_delete.plan()), ["delete web-1"]);
}

/// openkruise/kruise#676: a Pod that was Updated took no other template any more.
#[test]
fn an_updated_pod_that_is_not_back_yet_is_prepared_anew_for_the_next_template() {
    let hook = json!({"labelsHandler": {"hold": "true"}, "finalizersHandler": ["example.com/drain"]});
    let mut world = world(2, json!({}), json!({"inPlaceUpdate": hook}));
    release(&mut world.pods[1]);
    in_state(&mut world.pods[1], HookState::Updated, 5);
    world.status.disrupted = vec![entry(1)];
    let plan = world.plan();
    assert_eq!(moves(&plan), ["state web-1 -> PreparingUpdate"]);
    let Action::PatchPod { patch, .. } = &plan.actions[0][0] else { panic!("{plan:?}") };
    assert_eq!(patch.pointer("/metadata/labels/hold"), Some(&json!("true")));
    assert_eq!(patch.pointer("/metadata/finalizers"), Some(&json!(["example.com/drain"])));
}

#[test]
fn a_pod_that_its_hook_never_calls_normal_is_mended_by_the_next_template() {
    // It is Ready, in the ledger since its predecessor was deleted, and will never be available.
    let mut world = world(3, json!({}), json!({"preNormal": {"labelsHandler": {"good": "yes"}}}));
    in_state(&mut world.pods[2], HookState::PreparingNormal, 50);
    world.pods[2].uid = "another".into();
    world.status.disrupted = vec![entry(2)];
    world.answers.live_pods = [(2, LivePod::Found(Arc::new(world.pods[2].clone())))].into();
    let plan = world.plan();
    assert_eq!(moves(&plan), ["close web-2"]);
    assert_eq!(plan.status.disrupted.len(), 1, "one ordinal, one disruption");
    assert_eq!((&*plan.status.disrupted[0].uid, &*plan.status.disrupted[0].resource_version), ("another", "102"));
}

/// openkruise/kruise#528: a Pod was called normal with half of what its hook asks for.
#[test]
fn a_new_pod_is_called_normal_when_its_hook_has_all_it_asks_for() {
    let mut world = World::settled(2, json!({}));
    world.spec["podManagementPolicy"] = json!("OrderedReady");
    world.spec["lifecycle"] = json!({"preNormal": {"labelsHandler": {"online": "true", "warm": "true"}}});
    world.pods.clear();
    assert_eq!(moves(&world.plan()), ["create web-0 app:v1 -> PreparingNormal"]);
    let mut new = pod(0, "app:v1");
    in_state(&mut new, HookState::PreparingNormal, 40);
    world.pods.push(new);
    let plan = world.plan();
    assert_eq!(moves(&plan), [""; 0], "the next one is not made yet");
    assert_eq!((plan.status.ready_replicas, plan.status.available_replicas), (1, 0));
    assert_eq!(progressing(&plan).0, "WaitingForHook");
    world.pods[0].labels.insert("online".into(), "true".into());
    assert_eq!(moves(&world.plan()), [""; 0], "half of it");
    world.pods[0].labels.insert("warm".into(), "true".into());
    assert_eq!(moves(&world.plan()), ["state web-0 -> Normal"]);
    in_state(&mut world.pods[0], HookState::Normal, 1);
    world.pods[0].labels.remove("online");
    let plan = world.plan();
    assert_eq!(moves(&plan), ["create web-1 app:v1 -> PreparingNormal"], "what is normal stays so");
    assert_eq!(plan.status.available_replicas, 1);
}

#[test]
fn a_new_pod_that_is_marked_not_ready_gets_its_gate_opened_when_it_is_called_normal() {
    let mut world = World::settled(1, json!({}));
    world.spec["lifecycle"] = json!({"preNormal": {"labelsHandler": {"online": "true"}, "markPodNotReady": true}});
    world.pods[0].gate = Gate::Unset;
    world.pods[0].ready = Some(ReadyFacts { status: false, since: Some(at(60)) });
    in_state(&mut world.pods[0], HookState::PreparingNormal, 60);
    assert_eq!(moves(&world.plan()), [""; 0]);
    world.pods[0].labels.insert("online".into(), "true".into());
    assert_eq!(moves(&world.plan()), ["open web-0 -> Normal"]);
    world.pods[0].containers_ready = false;
    assert_eq!(moves(&world.plan()), [""; 0], "with the gate, in one write");
}

#[test]
fn every_deletion_goes_through_the_hook() {
    let settled = || {
        let mut world = World::settled(3, json!({}));
        world.spec["lifecycle"] = json!({"preDelete": hook(false)});
        world.pods.iter_mut().for_each(hold);
        world
    };
    let told = ["state web-2 -> PreparingDelete"];
    let mut scaled = settled();
    scaled.spec["replicas"] = json!(2);
    assert_eq!(moves(&scaled.plan()), told);
    in_state(&mut scaled.pods[2], HookState::PreparingDelete, 5);
    assert_eq!(moves(&scaled.plan()), [""; 0]);
    assert_eq!(progressing(&scaled.plan()).0, "WaitingForHook");
    release(&mut scaled.pods[2]);
    assert_eq!(moves(&scaled.plan()), ["delete web-2"]);
    hold(&mut scaled.pods[2]);
    scaled.spec["replicas"] = json!(3);
    assert_eq!(moves(&scaled.plan()), ["state web-2 -> Normal"], "scaled up again");

    let mut marked = settled();
    marked.pods[2].labels.insert(names::SPECIFIED_DELETE_LABEL.into(), "".into());
    assert_eq!(moves(&marked.plan()), told);
    in_state(&mut marked.pods[2], HookState::PreparingDelete, 5);
    let plan = marked.plan();
    assert_eq!(moves(&plan), [""; 0]);
    assert_eq!(progressing(&plan).0, "WaitingForHook", "not complete");

    let mut ended = settled();
    ended.pods[2].phase = PodPhase::Failed;
    ended.pods[2].ready = None;
    assert_eq!(moves(&ended.plan()), told);
    release(&mut ended.pods[2]);
    assert_eq!(moves(&ended.plan()), ["delete web-2"]);

    let mut reserved = settled();
    reserved.spec["reserveOrdinals"] = json!([2]);
    reserved.pods.push(pod(3, "app:v1"));
    assert_eq!(moves(&reserved.plan()), told);
}

#[test]
fn a_reserved_ordinals_pod_counts_while_its_hook_has_it() {
    let mut world = World::settled(3, json!({}));
    world.spec["lifecycle"] = json!({"preDelete": hook(true)});
    world.spec["reserveOrdinals"] = json!([1, 2]);
    world.pods = [0, 1, 2, 3, 4].map(|ordinal| pod(ordinal, "app:v1")).into();
    world.pods.iter_mut().for_each(hold);
    let plan = world.plan();
    assert_eq!(moves(&plan), ["close web-2 -> PreparingDelete"]);
    assert_eq!(plan.status.disrupted, [], "outside the ledger");
    close(&mut world.pods[2]);
    in_state(&mut world.pods[2], HookState::PreparingDelete, 5);
    assert_eq!(moves(&world.plan()), [""; 0], "the other one waits for it");
    release(&mut world.pods[2]);
    assert_eq!(moves(&world.plan()), ["delete web-2"]);
}

#[test]
fn pods_from_before_the_hooks_count_as_normal_and_cost_no_write() {
    let mut world = World::settled(3, json!({}));
    world.spec["lifecycle"] = json!({
        "preDelete": hook(true), "inPlaceUpdate": hook(true), "preNormal": {"labelsHandler": {"online": "true"}},
    });
    let plan = world.plan();
    assert_eq!(moves(&plan), [""; 0]);
    assert_eq!(plan.status.available_replicas, 3);
    assert_eq!(condition(&plan, "Progressing"), ("True", "Complete"));
    assert!(plan.status.conditions.iter().all(|one| one.type_ != "FieldsNotActedOn"));
}

#[test]
fn without_hooks_the_state_goes_and_what_was_held_goes_on() {
    let mut world = World::rolling(3, json!({}));
    in_state(&mut world.pods[0], HookState::Normal, 60);
    in_state(&mut world.pods[1], HookState::PreparingNormal, 60);
    in_state(&mut world.pods[2], HookState::PreparingUpdate, 60);
    close(&mut world.pods[2]);
    world.status.disrupted = vec![entry(2)];
    assert_eq!(moves(&world.plan()), ["patch web-2 -> none", "state web-0 -> none", "state web-1 -> none"]);
}

#[test]
fn a_pod_gets_the_gate_that_its_hook_turns_whatever_the_policy() {
    let mut world = World::settled(1, json!({"podUpdatePolicy": "ReCreate"}));
    world.pods.clear();
    let gate = |world: &World| {
        let plan = world.plan();
        let Some(Action::CreatePod { pod, .. }) = plan.actions[0].first() else { panic!("{plan:?}") };
        pod.pointer("/spec/readinessGates/0/conditionType").cloned()
    };
    assert_eq!(gate(&world), None);
    world.spec["lifecycle"] = json!({"preDelete": hook(true)});
    assert_eq!(gate(&world), Some(json!(names::READINESS_GATE)));
}

#[test]
fn labels_alone_wait_for_no_hook() {
    let mut world = world(2, json!({}), json!({"inPlaceUpdate": hook(true)}));
    world.spec["template"] = template("app:v1");
    world.spec["template"]["metadata"]["labels"]["tier"] = json!("gold");
    let changed = world.spec["template"].clone();
    world.add_revision(&changed, 3);
    assert_eq!(moves(&world.plan()), ["patch web-1", "patch web-0"]);
}

#[test]
fn a_pod_that_its_hook_keeps_down_goes_with_no_room_in_the_fresh_budget() {
    // In order, nothing comes after it until it is normal, and it will not be.
    let mut world = world(3, json!({}), json!({"preNormal": {"labelsHandler": {"good": "yes"}}}));
    world.spec["podManagementPolicy"] = json!("OrderedReady");
    world.pods.truncate(1);
    in_state(&mut world.pods[0], HookState::PreparingNormal, 50);
    assert_eq!(moves(&world.plan()), ["close web-0"]);
    in_state(&mut world.pods[0], HookState::Normal, 50);
    assert_eq!(moves(&world.plan()), ["create web-1 app:v2 -> PreparingNormal"], "one that is normal waits");
}

/// Another controller has gone on with the disruption: its request could still come, and would stand in no ledger.
#[test]
fn an_old_view_of_a_pod_that_a_hook_keeps_down_sets_no_entry_back() {
    let mut world = world(1, json!({}), json!({"preNormal": {"labelsHandler": {"good": "yes"}}}));
    in_state(&mut world.pods[0], HookState::PreparingNormal, 50);
    let live = |pod: &PodFacts| [(0, LivePod::Found(Arc::new(pod.clone())))].into();
    let mut newer = world.pods[0].clone();
    newer.resource_version = "105".into();
    let later = Disruption { resource_version: "105".into(), ..entry(0) };
    world.status.disrupted = vec![later.clone()];
    world.answers.live_pods = live(&newer);
    let plan = world.plan();
    assert_eq!((moves(&plan), plan.status.disrupted), (vec![], vec![later.clone()]));
    world.pods[0].resource_version = "107".into();
    assert_eq!(moves(&world.plan()), ["close web-0"]);
    // Which of two Pods is the later one is known live alone.
    world.status.disrupted = vec![Disruption { uid: "another".into(), ..later }];
    world.answers.live_pods.clear();
    assert_eq!(world.plan().questions, [Question::LivePod { ordinal: 0, name: "web-0".into() }]);
    world.answers.live_pods = live(&world.pods[0]);
    assert_eq!(moves(&world.plan()), ["close web-0"]);
}

#[test]
fn condemned_pods_that_were_let_go_do_not_wait_for_each_other() {
    let mut world = World::settled(3, json!({}));
    world.spec["podManagementPolicy"] = json!("OrderedReady");
    world.spec["replicas"] = json!(1);
    world.spec["lifecycle"] = json!({"preDelete": hook(true)});
    for pod in &mut world.pods[1..] {
        close(pod);
        in_state(pod, HookState::PreparingDelete, 5);
    }
    assert_eq!(moves(&world.plan()), ["delete web-2"]);
}

/// openkruise/kruise#1183: a Pod that was made anew took the held one's place among the updated, and that one was held
/// for ever.
#[test]
fn a_pod_that_is_made_anew_below_the_partition_takes_no_place_of_a_held_one() {
    let mut world = world(2, json!({"partition": 1}), json!({"inPlaceUpdate": hook(false)}));
    in_state(&mut world.pods[1], HookState::PreparingUpdate, 5);
    let below = world.pods.remove(0);
    assert_eq!(deeds(&world.plan()), ["create web-0 app:v1"]);
    world.pods.insert(0, PodFacts { uid: "another".into(), ..below });
    assert_eq!(moves(&world.plan()), [""; 0], "it is held");
    release(&mut world.pods[1]);
    assert_eq!(moves(&world.plan()), ["close web-1"]);
}

/// openkruise/kruise#1662: a Pod that waits in preDelete for one template, and a third template comes.
#[test]
fn a_third_template_while_a_pod_is_held_ends_on_that_template() {
    for policy in ["ReCreate", "InPlaceIfPossible"] {
        let hooks = json!({"preDelete": hook(true), "inPlaceUpdate": hook(true)});
        let mut world = world(3, json!({"podUpdatePolicy": policy}), hooks);
        in_state(&mut world.pods[2], HookState::PreparingDelete, 60);
        close(&mut world.pods[2]);
        world.status.disrupted = vec![entry(2)];
        world.spec["template"] = template("app:v3");
        world.add_revision(&template("app:v3"), 3);
        release(&mut world.pods[2]);
        let wanted = if policy == "ReCreate" { "delete web-2" } else { "patch web-2 -> Updating" };
        let plan = world.plan();
        assert_eq!(moves(&plan), [wanted]);
        if let Action::PatchPod { revision, .. } = &plan.actions[0][0] {
            assert_eq!(**revision, hash_of("app:v3"));
        }
        // The one in its place is available again: the next one goes.
        world.pods[2] = pod(2, "app:v3");
        world.pods[2].uid = "another".into();
        world.answers.live_pods.insert(2, LivePod::Found(Arc::new(world.pods[2].clone())));
        assert_eq!(deeds(&world.plan()), ["close web-1"], "{policy}");
    }
}

#[test]
fn after_an_update_in_place_a_pod_is_called_normal_by_its_hook_too() {
    let updated = |mark: bool| {
        let mut world = World::settled(1, json!({}));
        world.spec["lifecycle"] = json!({"preNormal": {"labelsHandler": {"online": "true"}, "markPodNotReady": mark}});
        close(&mut world.pods[0]);
        in_state(&mut world.pods[0], HookState::Updating, 5);
        world
    };
    assert_eq!(moves(&updated(false).plan()), ["open web-0 -> PreparingNormal"]);
    assert_eq!(moves(&updated(true).plan()), ["state web-0 -> PreparingNormal"], "no traffic yet");
    let mut online = updated(true);
    online.pods[0].labels.insert("online".into(), "true".into());
    assert_eq!(moves(&online.plan()), ["open web-0 -> Normal"]);
}

/// Two were taken down under a larger budget. One serves again, and its hook has not called it normal.
#[test]
fn a_pod_that_its_hook_keeps_down_and_that_serves_waits_for_others_that_are_down() {
    let hooks = json!({"preDelete": hook(false), "preNormal": hook(false)});
    let mut world = world(2, json!({"podUpdatePolicy": "ReCreate"}), hooks);
    world.status.disrupted = vec![entry(0), entry(1)];
    world.pods[0] = lost(pod(0, "app:v2"));
    in_state(&mut world.pods[1], HookState::PreparingDelete, 30);
    release(&mut world.pods[1]);
    assert_eq!(world.plan().questions, [Question::LivePod { ordinal: 0, name: "web-0".into() }]);
    let live = |pod: &PodFacts| [(0, LivePod::Found(Arc::new(pod.clone())))].into();
    world.answers.live_pods = live(&world.pods[0]);
    assert_eq!(moves(&world.plan()), [""; 0]);
    // Its own hook may take as long as it likes.
    world.pods[0] = pod(0, "app:v2");
    in_state(&mut world.pods[0], HookState::PreparingNormal, 30);
    world.answers.live_pods = live(&world.pods[0]);
    assert_eq!(moves(&world.plan()), ["delete web-1"]);
}

/// The one that waits for it is the one that it would wait for.
#[test]
fn a_pod_that_the_rollout_took_down_comes_back_whatever_the_hooks_of_lower_ones_say() {
    let mut world = world(2, json!({}), json!({"preNormal": hook(false)}));
    world.spec["podManagementPolicy"] = "OrderedReady".into();
    world.pods = vec![pod(0, "app:v2")];
    in_state(&mut world.pods[0], HookState::PreparingNormal, 30);
    assert_eq!(moves(&world.plan()), [""; 0]);
    world.status.disrupted = vec![entry(1)];
    assert_eq!(moves(&world.plan()), ["create web-1 app:v2 -> PreparingNormal"]);
    // Also what somebody else took away below it.
    world.spec["replicas"] = 3.into();
    world.status.disrupted = vec![entry(2)];
    assert_eq!(moves(&world.plan()), ["create web-1 app:v2 -> PreparingNormal"]);
}

/// Both were told as condemned Pods, and let go; then their ordinals came back, and the rollout wants them.
#[test]
fn pods_that_were_let_go_and_are_wanted_again_do_not_wait_for_each_other() {
    let hooks = json!({"preDelete": hook(true), "inPlaceUpdate": hook(true), "preNormal": hook(false)});
    let mut world = world(3, json!({"podUpdatePolicy": "ReCreate"}), hooks);
    in_state(&mut world.pods[0], HookState::Normal, 50);
    for index in [1, 2] {
        in_state(&mut world.pods[index], HookState::PreparingDelete, 30);
        release(&mut world.pods[index]);
    }
    assert_eq!(moves(&world.plan()), ["delete web-2"]);
}
