//! Updates in place that were refused when a Pod was out of service for them.

use super::*;
use crate::model::snapshot::HeldUpdate;

fn held(how: HeldUpdate) -> World {
    let mut world = World::rolling(2, json!({}));
    world.answers.held_updates.insert(hash_of("app:v2").into(), how);
    world
}

fn denied() -> HeldUpdate {
    HeldUpdate::Denied { reason: "AdmissionDenied".into(), message: "Pod web-1: images are frozen".into() }
}

#[test]
fn a_pod_whose_update_is_denied_goes_back_to_service_and_no_other_leaves_it() {
    let mut world = held(denied());
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert!(plan.wake_at.is_some());
    assert_eq!(condition(&plan, "ReplicaFailure"), ("True", "AdmissionDenied"));
    assert_eq!(condition(&plan, "InPlaceUpdateBlocked").0, "False");
    world.pods[1] = lost(pod(1, "app:v1"));
    world.pods[1].gate = Gate::Closed { since: Some(at(30)), reason: "ContainerRebuilding".into() };
    assert_eq!(deeds(&world.plan()), ["open web-1"]);
    world.pods[1] = crashing(pod(1, "app:v1"));
    assert_eq!(deeds(&world.plan()), ["patch web-1"], "it has no service to lose");
}

#[test]
fn a_dry_run_says_whether_a_pod_leaves_its_service_after_a_refusal() {
    let mut world = held(HeldUpdate::Ask);
    let questions = world.plan().questions;
    let [Question::Update { target, revision, resize: None, patch }] = questions.as_slice() else {
        panic!("{questions:?}")
    };
    assert_eq!((&*target.name, &**revision), ("web-1", hash_of("app:v2").as_str()));
    assert!(patch.contains("app:v2") && patch.contains("resourceVersion"), "{patch}");
    world.answers.tried_updates.insert("uid-1".into(), true);
    assert_eq!(deeds(&world.plan()), ["close web-1"], "and the other has to wait for its turn");
    world.answers.tried_updates.insert("uid-1".into(), false);
    world.answers.held_updates.insert(hash_of("app:v2").into(), denied());
    assert_eq!(deeds(&world.plan()), [""; 0]);
    // Under way, and nothing was denied since.
    let mut closed = held(HeldUpdate::Ask);
    closed.pods[1] = lost(pod(1, "app:v1"));
    closed.pods[1].gate = Gate::Closed { since: Some(at(30)), reason: "ContainerRebuilding".into() };
    assert_eq!(deeds(&closed.plan()), ["patch web-1"]);
}
