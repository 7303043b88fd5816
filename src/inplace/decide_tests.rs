use serde_json::{Value, json};

use super::*;
use crate::inplace::samples;
use crate::model::PodPhase;

fn decide(old: &Value, new: &Value, pod: &PodFacts) -> Decision {
    should_do_in_place_update(Contents { template: old, claims: &[] }, Contents { template: new, claims: &[] }, pod)
}

fn rebuilt(decision: &Decision) -> Vec<(&str, &str)> {
    match decision {
        Decision::Patch(patch) => patch.rebuild.iter().map(|(name, image)| (&**name, &**image)).collect(),
        Decision::Recreate { reasons } => panic!("{reasons:?}"),
    }
}

fn reasons(decision: Decision) -> String {
    match decision {
        Decision::Patch(patch) => panic!("{patch:?}"),
        Decision::Recreate { reasons } => reasons.join("; "),
    }
}

fn template() -> Value {
    samples::three_kinds("app:v1", "proxy:v1", "setup:v1")
}

fn pod() -> PodFacts {
    samples::facts(&samples::admitted_pod(&template()))
}

#[test]
fn nothing_differs() {
    let decision = decide(&template(), &template(), &pod());
    assert_eq!(rebuilt(&decision), []);
    assert!(matches!(decision, Decision::Patch(InPlacePatch { metadata_only: true, .. })));
}

#[test]
fn images_of_lasting_containers() {
    let new = samples::three_kinds("app:v2", "proxy:v2", "setup:v1");
    let decision = decide(&template(), &new, &pod());
    assert_eq!(rebuilt(&decision), [("proxy", "proxy:v2"), ("app", "app:v2")]);
    assert!(matches!(decision, Decision::Patch(InPlacePatch { metadata_only: false, .. })));
}

#[test]
fn labels_alone_touch_no_container() {
    let mut new = template();
    new["metadata"]["labels"]["tier"] = json!("gold");
    let decision = decide(&template(), &new, &pod());
    assert!(matches!(&decision, Decision::Patch(patch) if patch.metadata_only && patch.differences.len() == 1));
}

#[test]
fn a_static_difference_outweighs_the_rest() {
    let mut new = samples::three_kinds("app:v2", "proxy:v1", "setup:v2");
    new["spec"]["containers"][0]["command"] = json!(["run"]);
    let reasons = reasons(decide(&template(), &new, &pod()));
    assert!(reasons.contains("spec.containers[app].command: "), "{reasons}");
    assert!(reasons.contains("spec.initContainers[setup].image: "), "{reasons}");
    assert!(!reasons.contains("[app].image"), "{reasons}");
}

/// Admission may have the Pods pull from a mirror: no template asked for that image, so none patches it.
#[test]
fn an_image_that_admission_changed_is_left_alone() {
    let mut mirrored = pod();
    mirrored.containers.iter_mut().find(|container| &*container.name == "app").unwrap().image = "mirror/app:v1".into();
    assert_eq!(rebuilt(&decide(&template(), &template(), &mirrored)), []);
    let new = samples::three_kinds("app:v9", "proxy:v1", "setup:v1");
    assert_eq!(rebuilt(&decide(&template(), &new, &mirrored)), [("app", "app:v9")]);
}

/// Somebody set the new image by hand: the running container has it, no other one is to be waited for.
#[test]
fn an_image_that_the_pod_has_already_is_not_rebuilt() {
    let mut ahead = pod();
    ahead.containers.iter_mut().find(|container| &*container.name == "app").unwrap().image = "app:v9".into();
    let new = samples::three_kinds("app:v9", "proxy:v1", "setup:v1");
    assert_eq!(rebuilt(&decide(&template(), &new, &ahead)), []);
}

#[test]
fn another_spelling_of_an_image_is_no_change() {
    let new = samples::three_kinds("docker.io/library/app:v1", "proxy:v1", "setup:v1");
    assert_eq!(rebuilt(&decide(&template(), &new, &pod())), []);
}

#[test]
fn an_image_that_admission_gave_a_run_once_container_is_left_alone() {
    let mut mirrored = pod();
    mirrored.containers.iter_mut().find(|container| &*container.name == "setup").unwrap().image = "mirror/setup".into();
    assert_eq!(rebuilt(&decide(&template(), &template(), &mirrored)), []);
}

#[test]
fn a_pod_without_the_container() {
    let mut without = pod();
    without.containers.retain(|container| &*container.name != "proxy");
    assert!(reasons(decide(&template(), &template(), &without)).starts_with("spec.initContainers[proxy]: "));
    let mut other_kind = pod();
    other_kind.containers.iter_mut().find(|container| &*container.name == "proxy").unwrap().kind = ContainerKind::Init;
    assert!(reasons(decide(&template(), &template(), &other_kind)).starts_with("spec.initContainers[proxy]: "));
}

#[test]
fn a_pod_that_has_ended() {
    for phase in [PodPhase::Failed, PodPhase::Succeeded] {
        let ended = PodFacts { phase, ..pod() };
        assert!(reasons(decide(&template(), &template(), &ended)).contains("has ended"));
    }
}

#[test]
fn claim_templates() {
    let template = template();
    let with = |claims| Contents { template: &template, claims };
    let added = should_do_in_place_update(with(&["data"]), with(&["data", "log"]), &pod());
    assert!(reasons(added).starts_with("volumeClaimTemplates[log]: claim template added"));
    let removed = should_do_in_place_update(with(&["data", "log"]), with(&["data"]), &pod());
    assert!(reasons(removed).starts_with("volumeClaimTemplates[log]: claim template removed"));
    assert_eq!(rebuilt(&should_do_in_place_update(with(&["a", "b"]), with(&["b", "a"]), &pod())), []);
}
