//! `inPlaceUpdateStrategy.env: Annotations`.

use serde_json::{Value, json};

use super::*;
use crate::inplace::env_annotations::key;

fn annotations() -> Value {
    json!({"inPlaceUpdateStrategy": {"env": "Annotations"}})
}

fn with_mode(value: &str) -> Value {
    let mut template = template("app:v1");
    template["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "value": value}]);
    template
}

/// A settled set whose template says `MODE=<value>`, with no Pod.
fn empty(value: &str, rolling_update: Value) -> World {
    let mut world = World::settled(0, rolling_update);
    world.spec["replicas"] = json!(1);
    world.spec["template"] = with_mode(value);
    world.revisions.clear();
    let name = world.add_revision(&with_mode(value), 1);
    world.status.current_revision = Some(name.clone());
    world.status.update_revision = Some(name);
    world
}

fn created(world: &World) -> Value {
    let plan = world.plan();
    let Some(Action::CreatePod { pod, .. }) = plan.actions.iter().flatten().next() else { panic!("{plan:?}") };
    (**pod).clone()
}

#[test]
fn a_new_pod_holds_its_variables_in_annotations() {
    let pod = created(&empty("fast", annotations()));
    let key = key("app", "MODE");
    assert_eq!(pod["metadata"]["annotations"], json!({&key: "fast"}));
    assert_eq!(
        pod.pointer("/spec/containers/0/env/0/valueFrom/fieldRef/fieldPath"),
        Some(&json!(format!("metadata.annotations['{key}']")))
    );
    assert_eq!(created(&empty("fast", json!({}))).pointer("/spec/containers/0/env/0/value"), Some(&json!("fast")));
}

#[test]
fn the_revision_is_that_of_the_template_as_written() {
    let label = |rolling_update| created(&empty("fast", rolling_update))["metadata"]["labels"].clone();
    assert_eq!(label(annotations()), label(json!({})));
}

#[test]
fn annotations_that_no_apiserver_takes_are_refused_and_no_pod_is_touched() {
    let mut world = empty("fast", annotations());
    world.pods = vec![pod(0, "app:v1")];
    world.pods[0].labels.insert(names::REVISION_LABEL.into(), world.revisions[0].hash.clone());
    world.spec["template"] = with_mode(&"x".repeat(260 * 1024));
    let plan = world.plan();
    assert_eq!(deeds(&plan), [""; 0]);
    assert!(plan.revisions.is_empty());
    let failure = plan.status.conditions.iter().find(|one| one.type_ == "ReplicaFailure").unwrap();
    assert_eq!(failure.reason.as_deref(), Some("InvalidTemplate"));
    assert!(failure.message.as_deref().unwrap_or_default().contains("env Annotations"), "{failure:?}");
}

/// Its revision label says nothing: only what it is tells what it was made from.
#[test]
fn an_adopted_pod_with_references_equals_its_template() {
    let mut world = empty("fast", annotations());
    let mut whole = created(&world);
    whole["metadata"]["uid"] = json!("uid-0");
    world.pods = vec![pod(0, "app:v1")];
    world.pods[0].labels.remove(names::REVISION_LABEL);
    world.answers.whole_pods = [("uid-0".into(), Arc::new(whole.clone()))].into();
    assert_eq!(deeds(&world.plan()), ["patch web-0"], "the label alone");
    whole["metadata"]["annotations"] = json!({key("app", "MODE"): "slow"});
    world.answers.whole_pods = [("uid-0".into(), Arc::new(whole))].into();
    assert_ne!(deeds(&world.plan()), ["patch web-0"]);
}

/// One available Pod with `MODE=slow`, made so; the template says `MODE=fast`.
fn changing(rolling_update: Value) -> World {
    let mut world = empty("slow", rolling_update);
    world.pods = vec![pod(0, "app:v1")];
    world.pods[0].labels.insert(names::REVISION_LABEL.into(), world.revisions[0].hash.clone());
    world.pods[0].containers[0].env_in_annotations = ["MODE".into()].into();
    world.spec["template"] = with_mode("fast");
    world.add_revision(&with_mode("fast"), 2);
    world
}

fn with(mut rolling_update: Value, field: &str, value: Value) -> Value {
    rolling_update[field] = value;
    rolling_update
}

#[test]
fn a_changed_value_goes_through_gate_and_ledger_and_is_one_patch() {
    let mut world = changing(annotations());
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["close web-0"]);
    assert_eq!(plan.status.disrupted.len(), 1);
    world.status = plan.status;
    world.pods[0] = PodFacts {
        gate: Gate::Closed { since: Some(at(1)), reason: names::REASON_CONTAINER_REBUILDING.into() },
        ..lost(world.pods[0].clone())
    };
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["patch web-0"]);
    let Some(Action::PatchPod { patch, resize: None, .. }) = plan.actions.iter().flatten().next() else {
        panic!("{plan:?}")
    };
    assert_eq!(patch["metadata"]["annotations"][key("app", "MODE")], "fast");
    assert_eq!(patch["metadata"]["labels"][names::REVISION_LABEL], json!(world.revisions[1].hash));
    assert!(patch["metadata"]["annotations"][names::IN_PLACE_STATE_ANNOTATION].is_string());
    assert_eq!(patch["spec"], json!({"containers": [{"name": "app", "image": "docker.io/library/app:v1"}]}));
}

#[test]
fn policies_hold_for_changed_values_too() {
    assert_eq!(deeds(&changing(with(annotations(), "paused", json!(true))).plan()), [""; 0]);
    assert_eq!(deeds(&changing(with(annotations(), "partition", json!(1))).plan()), [""; 0]);
    let recreated = changing(with(annotations(), "podUpdatePolicy", json!("ReCreate"))).plan();
    assert_eq!(deeds(&recreated), ["delete web-0"]);
    assert_eq!(deeds(&changing(with(annotations(), "podUpdatePolicy", json!("InPlaceOnly"))).plan()), ["close web-0"]);
}

#[test]
fn a_pod_without_references_is_re_created_once_or_blocked() {
    let without = |policy: &str| {
        let mut world = changing(with(annotations(), "podUpdatePolicy", json!(policy)));
        world.pods[0].containers[0].env_in_annotations = Box::default();
        world.plan()
    };
    let plan = without("InPlaceIfPossible");
    let Some(Action::DeletePod { reason, .. }) = plan.disruptions.first() else { panic!("{plan:?}") };
    assert!(reason.contains("made before env was set to Annotations"), "{reason}");
    let plan = without("InPlaceOnly");
    assert_eq!(deeds(&plan), [""; 0]);
    let blocked = plan.status.conditions.iter().find(|one| one.type_ == "InPlaceUpdateBlocked").unwrap();
    assert!(blocked.message.as_deref().unwrap_or_default().contains("env[MODE]"), "{blocked:?}");
}
