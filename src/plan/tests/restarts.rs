//! Annotations of the template that ask for a restart, and those that only a new Pod sees.

use serde_json::{Value, json};

use super::*;
use crate::model::{ContainerKind, Patterns};

/// Two available Pods; the template has got one more annotation.
fn annotated(key: &str, rolling_update: Value) -> World {
    let mut world = World::settled(2, rolling_update);
    let mut changed = template("app:v1");
    changed["metadata"]["annotations"] = json!({key: "1"});
    world.spec["template"] = changed.clone();
    world.add_revision(&changed, 2);
    world
}

fn reason(plan: &Plan) -> String {
    match plan.disruptions.first() {
        Some(Action::DeletePod { reason, .. }) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restart_takes_one_pod_after_another_out_of_service() {
    for key in ["kubectl.kubernetes.io/restartedAt", "checksum/config"] {
        let plan = annotated(key, json!({})).plan();
        assert_eq!(deeds(&plan), ["close web-1"], "{key}");
        assert_eq!(plan.status.disrupted.len(), 1);
    }
    assert_eq!(deeds(&annotated("note", json!({})).plan()), ["patch web-1", "patch web-0"], "a plain one is free");
}

#[test]
fn own_patterns_say_what_a_restart_is() {
    let own = json!({"inPlaceUpdateStrategy": {"restartAnnotations": ["mine"]}});
    assert_eq!(deeds(&annotated("mine", own.clone()).plan()), ["close web-1"]);
    assert_eq!(deeds(&annotated("checksum/config", own).plan()), ["patch web-1", "patch web-0"]);
    let none = json!({"inPlaceUpdateStrategy": {"restartAnnotations": []}});
    assert_eq!(deeds(&annotated("checksum/config", none).plan()), ["patch web-1", "patch web-0"]);
}

#[test]
fn an_annotation_of_an_injector_takes_a_new_pod() {
    assert_eq!(deeds(&annotated("sidecar.istio.io/inject", json!({})).plan()), ["delete web-1"]);
    let mut snapshot = annotated("mine/inject", json!({})).snapshot();
    assert_eq!(deeds(&plan(&snapshot)), ["patch web-1", "patch web-0"]);
    snapshot.injectors = Patterns::of_injectors(["mine/*"]);
    assert_eq!(deeds(&plan(&snapshot)), ["delete web-1"], "the manager's flag");
}

#[test]
fn a_restart_with_an_init_container_that_runs_once_says_why_the_pod_goes() {
    let mut world = annotated("checksum/config", json!({}));
    for pod in &mut world.pods {
        let setup = ContainerFacts { name: "setup".into(), kind: ContainerKind::Init, ..ContainerFacts::default() };
        pod.containers.insert(0, setup);
    }
    let plan = world.plan();
    assert_eq!(deeds(&plan), ["delete web-1"]);
    assert!(reason(&plan).contains("init container setup"), "{}", reason(&plan));
}

/// The patch is made, and the old container still runs: nothing of it counts as done.
#[test]
fn a_restart_is_not_done_before_another_container_runs() {
    let mut world = annotated("checksum/config", json!({}));
    let state = json!({
        "revision": world.revisions[1].hash, "patchedAt": at(30).to_string(), "generation": 2,
        "containers": {"app": {
            "containerID": "containerd://1", "image": "app:v1", "started": "before", "wanted": "after"}},
    });
    let revision = world.revisions[1].hash.clone();
    let one = &mut world.pods[1];
    one.labels.insert(names::REVISION_LABEL.into(), revision);
    one.containers[0].image = "docker.io/library/app:v1".into();
    one.in_place_state = Some(state.to_string().into());
    (one.generation, one.observed_generation) = (2, Some(2));
    one.gate = Gate::Closed { since: Some(at(31)), reason: names::REASON_CONTAINER_REBUILDING.into() };
    let waiting = lost(one.clone());
    *one = waiting;
    assert_eq!(deeds(&world.plan()), [""; 0]);
    let one = &mut world.pods[1].containers[0];
    one.container_id = Some("containerd://other".into());
    one.running = Some(Running { since: Some(at(2)) });
    assert_eq!(deeds(&world.plan()), [""; 0], "it may have crashed by itself just then");
    world.pods[1].containers[0].running = Some(Running { since: Some(at(3)) });
    assert_eq!(deeds(&world.plan()), ["open web-1"]);
}
