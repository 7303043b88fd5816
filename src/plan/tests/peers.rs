//! What other controllers of stateful Pods got wrong once, by the public reports of their users.

use super::*;

fn in_order(world: &mut World) {
    world.spec["podManagementPolicy"] = json!("OrderedReady");
}

/// kubernetes/kubernetes#137409: the first revision of a set is faulty.
#[test]
fn a_faulty_first_revision_is_mended_by_the_next_template_in_order_too() {
    let mut world = World::rolling(3, json!({}));
    in_order(&mut world);
    world.pods = vec![crashing(pod(0, "app:v1"))];
    world.pods[0].gate = Gate::Unset;
    assert_eq!(deeds(&world.plan()), ["patch web-0"]);
}

/// kubernetes/kubernetes#67250: a broken update holds up the template that would mend it.
#[test]
fn a_broken_update_is_mended_by_a_third_template_in_order_too() {
    let mut world = World::rolling(3, json!({}));
    in_order(&mut world);
    world.add_revision(&template("app:broken"), 3);
    world.pods[2] = crashing(pod(2, "app:broken"));
    assert_eq!(deeds(&world.plan()), ["patch web-2"]);
}

/// openkruise/kruise#1480: an unready Pod of the old revision at a low ordinal uses the budget up, and a ready one at a
/// high ordinal is looked at first.
#[test]
fn an_unready_old_pod_at_a_low_ordinal_does_not_stop_the_rollout() {
    let mut world = World::rolling(4, json!({"podUpdatePolicy": "ReCreate"}));
    world.pods[0] = crashing(pod(0, "app:v1"));
    assert_eq!(deeds(&world.plan()), ["delete web-0"]);
}

/// openkruise/kruise#898: all Pods that are not ready were deleted at once.
#[test]
fn unready_pods_that_may_come_back_are_not_deleted_all_at_once() {
    let mut world = World::rolling(5, json!({"podUpdatePolicy": "ReCreate", "maxUnavailable": 2}));
    world.pods = (0..5).map(|ordinal| lost(pod(ordinal, "app:v1"))).collect();
    assert_eq!(deeds(&world.plan()), ["delete web-4", "delete web-3"]);
}

/// openkruise/kruise#1134: scaleStrategy held back the update of broken Pods.
#[test]
fn a_cap_on_scaling_up_does_not_hold_back_the_update_of_broken_pods() {
    let mut world = World::rolling(3, json!({}));
    world.spec["scaleStrategy"] = json!({"maxUnavailable": 1});
    world.pods = (0..2).map(|ordinal| crashing(pod(ordinal, "app:v1"))).collect();
    assert_eq!(deeds(&world.plan()), ["patch web-1", "patch web-0"]);
}

/// openkruise/kruise#2109: one Pod that is stuck terminating stopped all higher ones.
#[test]
fn a_pod_that_is_stuck_terminating_stops_no_other_beyond_its_place_in_the_budget() {
    let mut world = World::rolling(4, json!({"maxUnavailable": 2}));
    world.pods[0].deletion = Some(at(3600));
    world.pods.remove(2);
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["create web-2 app:v2"]);
    world.pods.push(pod(2, "app:v2"));
    assert_eq!(deeds(&world.plan()), ["close web-3"]);
}

/// openkruise/kruise#1730: an update that the apiserver refuses took the Pod out of service and back, over and over.
#[test]
fn a_refused_update_in_place_does_not_take_the_pod_out_of_service_again() {
    let mut world = World::rolling(1, json!({"podUpdatePolicy": "InPlaceOnly"}));
    let key = (Box::from("uid-0"), Box::from(hash_of("app:v2")));
    world.answers.refused_patches.insert(key, "spec: Forbidden".into());
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert_eq!(condition(&plan, "InPlaceUpdateBlocked"), ("True", "NotPossibleInPlace"));
    world.pods[0].gate = Gate::Closed { since: Some(at(30)), reason: "ContainerRebuilding".into() };
    assert_eq!(deeds(&world.plan()), ["open web-0"], "it goes back to service");
}

/// openkruise/kruise#996: controller and kubelet wrote the Ready condition against each other.
#[test]
fn nothing_but_its_own_readiness_gate_is_written_into_a_pods_status() {
    let mut plans = vec![World::rolling(3, json!({"maxUnavailable": 3})).plan()];
    let mut world = World::settled(2, json!({}));
    world.pods[0].gate = Gate::Unset;
    world.pods[1].gate = Gate::Closed { since: Some(at(30)), reason: "ContainerRebuilding".into() };
    plans.push(world.plan());
    let mut written = 0;
    for action in plans.iter().flat_map(|plan| plan.actions.iter().flatten().chain(&plan.disruptions)) {
        let Action::PatchPodStatus { patch, .. } = action else { continue };
        let conditions = patch.pointer("/status/conditions").and_then(Value::as_array).unwrap();
        assert!(conditions.iter().all(|one| one["type"] == names::READINESS_GATE), "{conditions:?}");
        assert_eq!(patch["status"].as_object().unwrap().len(), 1);
        written += 1;
    }
    assert_eq!(written, 5);
}

/// openkruise/kruise#196, #201: a fifth of three was none, and nothing was ever updated.
#[test]
fn a_percentage_of_less_than_one_pod_is_one() {
    assert_eq!(deeds(&World::rolling(3, json!({"maxUnavailable": "20%"})).plan()), ["close web-2"]);
}

/// openkruise/kruise#261, #410: a partition that is raised again; Pods that are updated stay so.
#[test]
fn a_raised_partition_rolls_no_pod_back() {
    let mut world = World::rolling(3, json!({"partition": 3}));
    world.pods[2] = pod(2, "app:v2");
    assert_eq!(deeds(&world.plan()), [""; 0]);
}

/// openkruise/kruise#1749: with a first ordinal, the partition was another one for Pods that were made anew.
#[test]
fn a_pod_below_the_partition_comes_back_as_it_was_with_any_first_ordinal() {
    let mut world = World::rolling(5, json!({"partition": 3}));
    world.spec["ordinals"] = json!({"start": 2});
    world.pods = (2..7).map(|ordinal| pod(ordinal, if ordinal < 5 { "app:v1" } else { "app:v2" })).collect();
    for (index, made) in [(0, "web-2 app:v1"), (1, "web-3 app:v1"), (2, "web-4 app:v1"), (3, "web-5 app:v2")] {
        let deleted = world.pods.remove(index);
        assert_eq!(deeds(&world.plan()), [format!("create {made}")]);
        world.pods.insert(index, deleted);
    }
}

/// openkruise/kruise#844: a view from before an update, and another order of updates asked for meanwhile, took down one
/// Pod more. What was taken down stands in the set's status, and only a live read takes it out.
#[test]
fn another_order_asked_for_takes_nothing_down_beside_what_an_old_view_still_shows_in_service() {
    let prefers = |role: &str| {
        let weights = json!([{"weight": 50, "matchSelector": {"matchLabels": {"role": role}}}]);
        json!({"unorderedUpdate": {"priorityStrategy": {"weightPriority": weights}}})
    };
    let mut world = World::rolling(3, prefers("last"));
    for (index, role) in ["first", "other", "last"].iter().enumerate() {
        world.pods[index].labels.insert("role".into(), (*role).into());
    }
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["close web-2"]);
    world.status = plan.status;
    world.spec["updateStrategy"]["rollingUpdate"] = prefers("first");
    assert_eq!(deeds(&world.plan()), ["close web-2"], "the same again, which the apiserver refuses where it was done");
}

/// openkruise/kruise#2276: a step that was skipped by a view from before it. Closing the gate and the patch after it
/// rest each on the very state of the Pod that was seen.
#[test]
fn each_step_of_an_update_rests_on_the_state_of_the_pod_that_was_seen() {
    let mut world = World::rolling(1, json!({}));
    let seen = |plan: &Plan| {
        let action = plan.actions.iter().flatten().chain(&plan.disruptions).next().unwrap().clone();
        let (Action::PatchPod { patch, .. } | Action::PatchPodStatus { patch, .. }) = action else { panic!() };
        patch["metadata"]["resourceVersion"].clone()
    };
    assert_eq!(seen(&world.plan()), json!("100"));
    world.pods[0] = lost(world.pods[0].clone());
    world.pods[0].gate = Gate::Closed { since: Some(at(30)), reason: "ContainerRebuilding".into() };
    world.pods[0].resource_version = "107".into();
    assert_eq!(seen(&world.plan()), json!("107"));
}
