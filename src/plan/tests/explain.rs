//! What people are told before anything is done.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::inplace::Class;
use crate::inplace::Pace;
use crate::model::Nodes;
use crate::plan::explain::{Explained, Explanation, Verdict, explain};

/// With every template as it is written.
fn explained(world: &World) -> Explanation {
    let mut snapshot = world.snapshot();
    loop {
        match explain(&snapshot) {
            Explained::Known(explanation) => return explanation,
            Explained::Ask(questions) => {
                for question in questions {
                    let Question::DefaultedTemplate { hash, .. } = question else { panic!("{question:?}") };
                    assert_eq!(snapshot.answers.templates.insert(hash, TemplateAnswer::Unavailable), None);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Two Pods, and another template of which no revision is there.
fn changed(rolling_update: serde_json::Value, change: impl FnOnce(&mut serde_json::Value)) -> World {
    let mut world = World::settled(2, rolling_update);
    let mut changed = template("app:v1");
    change(&mut changed);
    world.spec["template"] = changed;
    world
}

fn fields(explanation: &Explanation) -> Vec<(&str, Class, bool)> {
    let all = explanation.groups.iter().flat_map(|group| &group.fields);
    all.map(|field| (field.path.as_str(), field.class, field.in_place)).collect()
}

#[test]
fn an_image_is_in_place_for_all_pods_of_its_revision() {
    let explanation = explained(&World::rolling(2, json!({})));
    assert_eq!(fields(&explanation), [("spec.containers[app].image", Class::Rebuild, true)]);
    assert_eq!(explanation.groups[0].pods, ["web-0".into(), "web-1".into()]);
    let in_place = Verdict::InPlace { pace: Pace::Gate, containers: vec!["app".into()] };
    assert!(explanation.pods.values().all(|pod| pod.verdict == in_place), "{:?}", explanation.pods);
    assert!(!explanation.update.is_new, "the revision is there");
}

#[test]
fn one_static_field_re_creates_and_the_others_keep_their_own_verdict() {
    let world = changed(json!({}), |template| {
        template["spec"]["containers"][0]["image"] = json!("app:v2");
        template["spec"]["hostNetwork"] = json!(true);
    });
    let explanation = explained(&world);
    assert_eq!(
        fields(&explanation),
        [("spec.containers[app].image", Class::Rebuild, true), ("spec.hostNetwork", Class::Static, false)]
    );
    let why = |verdict: &Verdict| matches!(verdict, Verdict::Recreate { why } if why.contains("spec.hostNetwork"));
    assert!(explanation.pods.values().all(|pod| why(&pod.verdict)), "{:?}", explanation.pods);
    assert!(explanation.update.is_new);
}

#[test]
fn policies_decide_as_in_a_plan() {
    let host = |template: &mut serde_json::Value| template["spec"]["hostNetwork"] = json!(true);
    let only = explained(&changed(json!({"podUpdatePolicy": "InPlaceOnly"}), host));
    assert!(matches!(only.pods["web-0"].verdict, Verdict::Blocked { .. }), "{:?}", only.pods);
    let never = explained(&{
        let mut world = World::rolling(2, json!({"podUpdatePolicy": "ReCreate", "partition": 1}));
        world.pods[1] = pod(1, "app:v2");
        world
    });
    assert_eq!(fields(&never), [("spec.containers[app].image", Class::Rebuild, false)]);
    assert!(never.pods["web-0"].held && never.pods["web-1"].verdict == Verdict::Current);
}

#[test]
fn pods_of_many_revisions_are_told_apart() {
    let mut world = World::rolling(3, json!({}));
    world.add_revision(&template("app:v3"), 3);
    world.spec["template"] = template("app:v3");
    world.pods[2] = pod(2, "app:v2");
    let explanation = explained(&world);
    let groups: Vec<usize> = explanation.groups.iter().map(|group| group.pods.len()).collect();
    assert_eq!(groups, [2, 1], "those of most Pods first");
}

#[test]
fn one_update_of_those_that_are_alike_is_to_be_tried() {
    let mut world = World::rolling(4, json!({"partition": 1}));
    world.add_revision(&template("app:v0"), 3);
    world.pods[2] = pod(2, "app:v0");
    let explanation = explained(&world);
    let tried: Vec<(usize, &str)> = explanation.updates.iter().map(|one| (one.pods.len(), &*one.pods[0].0)).collect();
    assert_eq!(tried, [(2, "web-3"), (1, "web-2")], "the first to go of each revision, and not what is held back");
    let Question::Update { target, patch, .. } = &explanation.updates[0].dry_run else { panic!("{explanation:?}") };
    assert_eq!(&*target.name, "web-3");
    assert!(patch.contains("app:v2") && patch.contains("resourceVersion"), "{patch}");
    let paused = explained(&World::rolling(2, json!({"paused": true})));
    assert!(paused.updates.is_empty(), "nothing is updated during a pause");
}

#[test]
fn an_update_that_the_apiserver_refuses_re_creates_or_is_blocked() {
    for (policy, verdict_is) in [("InPlaceIfPossible", "Recreate"), ("InPlaceOnly", "Blocked")] {
        let mut world = World::rolling(2, json!({"podUpdatePolicy": policy}));
        let update = explained(&world).updates.remove(0);
        let refused =
            update.pods.iter().map(|(_, uid)| ((uid.clone(), update.revision.clone()), "it is immutable".into()));
        world.answers.refused_patches.extend(refused);
        let explanation = explained(&world);
        assert_eq!(fields(&explanation), [("spec.containers[app].image", Class::Rebuild, false)]);
        for pod in explanation.pods.values() {
            let told = format!("{:?}", pod.verdict);
            assert!(told.starts_with(verdict_is) && told.contains("it is immutable"), "{told}");
        }
        assert!(explanation.updates.is_empty(), "{:?}", explanation.updates);
    }
}

#[test]
fn what_the_cluster_takes_is_asked_as_in_a_plan() {
    let mut world = changed(json!({}), |template| {
        template["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]);
    });
    world.abilities = Abilities { apiserver: BTreeMap::new(), nodes: Nodes::Unreadable, by_hand: BTreeSet::new() };
    world.answers = Answers::default();
    let asked = |world: &World| match explain(&world.snapshot()) {
        Explained::Ask(questions) => questions,
        other => panic!("{other:?}"),
    };
    for question in asked(&world) {
        let Question::DefaultedTemplate { hash, .. } = question else { panic!("{question:?}") };
        world.answers.templates.insert(hash, TemplateAnswer::Unavailable);
    }
    assert!(matches!(asked(&world).as_slice(), [Question::Ability { .. }]));
}

#[test]
fn claim_templates_that_come_are_fields_too() {
    let mut world = World::settled(1, json!({}));
    world.spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
    let explanation = explained(&world);
    assert_eq!(fields(&explanation), [("volumeClaimTemplates[data]", Class::Static, false)]);
    assert_eq!(explanation.groups[0].fields[0].why, "claim template added: a running Pod's volumes cannot be changed");
}

#[test]
fn a_set_without_pods_is_told_its_fields_too() {
    let mut world = World::rolling(2, json!({}));
    world.pods.clear();
    let explanation = explained(&world);
    assert_eq!(fields(&explanation), [("spec.containers[app].image", Class::Rebuild, true)]);
    assert!(explanation.groups[0].pods.is_empty());
}

#[test]
fn injectors_annotations_are_told_as_such() {
    let world = changed(json!({}), |template| {
        template["metadata"]["annotations"] = json!({"sidecar.istio.io/inject": "true"});
    });
    assert_eq!(fields(&explained(&world)), [("metadata.annotations[sidecar.istio.io/inject]", Class::Static, false)]);
}
