use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::inplace::{
    Cluster, Contents, Decision, Pace, Rules, next_state, samples, should_do_in_place_update, with_defaults,
};
use crate::model::Abilities;

const NOW: &str = "2026-01-01T00:01:00.25Z";

fn patch_for(pod: &PodFacts, old: &Value, new: &Value) -> Value {
    let contents = |template| Contents { template, claims: &[] };
    let abilities = Abilities::stock();
    let cluster = Cluster {
        abilities: &abilities,
        in_place_only: false,
        rules: &Rules::default(),
        now: samples::time("2026-01-01T01:00:00Z"),
    };
    let Decision::Patch(update) = should_do_in_place_update(contents(old), contents(new), pod, &cluster) else {
        panic!("the sample is to be patched")
    };
    let state = (update.pace != Pace::Free).then(|| next_state(pod, &update, "new", samples::time(NOW)));
    let parts = PatchParts {
        old_template: old,
        new_template: new,
        update: &update,
        revision_hash: "new",
        state: state.as_ref(),
        tolerations: &[],
    };
    pod_patch(pod, parts)
}

#[test]
fn one_patch_has_it_all() {
    let mut old = samples::three_kinds("app:v1", "proxy:v1", "setup:v1");
    old["metadata"]["labels"]["gone"] = json!("x");
    let mut new = samples::three_kinds("app:v2", "proxy:v2", "setup:v1");
    new["metadata"]["annotations"] = json!({"note": "1"});
    new["metadata"]["labels"][names::POD_NAME_LABEL] = json!("not a template's business");
    new["spec"]["terminationGracePeriodSeconds"] = json!(5);
    old["spec"]["terminationGracePeriodSeconds"] = json!(5);
    let pod = samples::facts(&samples::admitted_pod(&old));
    let patch = patch_for(&pod, &old, &new);
    assert_eq!(patch["metadata"]["uid"], "u1");
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    assert_eq!(patch["metadata"]["labels"], json!({names::REVISION_LABEL: "new", "gone": null}));
    assert_eq!(patch["metadata"]["annotations"]["note"], "1");
    assert_eq!(patch["spec"]["containers"], json!([{"name": "app", "image": "app:v2"}]));
    assert_eq!(patch["spec"]["initContainers"], json!([{"name": "proxy", "image": "proxy:v2"}]));
    let state = patch["metadata"]["annotations"][names::IN_PLACE_STATE_ANNOTATION].as_str().unwrap();
    let state = InPlaceState::parse(state).unwrap();
    assert_eq!((&*state.revision, state.termination_grace_seconds), ("new", 5));
    assert_eq!(state.containers.len(), 2);
}

#[test]
fn nothing_but_the_revision_label() {
    let template = samples::three_kinds("app:v1", "proxy:v1", "setup:v1");
    let pod = samples::facts(&samples::admitted_pod(&template));
    assert_eq!(
        patch_for(&pod, &template, &template),
        json!({"metadata": {"uid": "u1", "resourceVersion": "7", "labels": {names::REVISION_LABEL: "new"}}})
    );
}

#[test]
fn a_label_that_the_pod_lost_is_set_again() {
    let template = samples::three_kinds("app:v1", "proxy:v1", "setup:v1");
    let mut pod = samples::facts(&samples::admitted_pod(&template));
    pod.labels.remove("app");
    assert_eq!(patch_for(&pod, &template, &template)["metadata"]["labels"]["app"], "web");
}

#[test]
fn the_gate() {
    let pod = PodFacts { uid: "u1".into(), resource_version: "7".into(), ..PodFacts::default() };
    let condition = |open| gate_patch(&pod, open, samples::time(NOW), "why")["status"]["conditions"][0].clone();
    assert_eq!(
        condition(false),
        json!({
            "type": "InPlaceUpdateReady", "status": "False", "reason": "ContainerRebuilding", "message": "why",
            "lastTransitionTime": "2026-01-01T00:01:00Z",
        })
    );
    assert_eq!(condition(true)["status"], "True");
    assert_eq!(condition(true)["reason"], "ContainersCurrent");
    let patch = gate_patch(&pod, true, samples::time(NOW), "why");
    assert_eq!(patch["metadata"], json!({"uid": "u1", "resourceVersion": "7"}));
}

#[test]
fn two_fences_in_one_second_are_two_writes() {
    let at = |version: &str| {
        let pod = PodFacts { uid: "u1".into(), resource_version: version.into(), ..PodFacts::default() };
        let patch = fence_patch(&pod, samples::time(NOW));
        assert_eq!(patch["metadata"]["resourceVersion"], version);
        patch["metadata"]["annotations"][names::FENCED_AT_ANNOTATION].clone()
    };
    assert_ne!(at("7"), at("8"));
}

proptest! {
    #![proptest_config(samples::cases(256))]

    /// The patched Pod has the images, labels and annotations of the new template, and all that
    /// admission added.
    #[test]
    fn the_patched_pod_is_what_the_new_template_asks_for((old, new) in samples::template_and_next()) {
        let before = samples::admitted_pod(&old);
        let after = samples::merged(&before, &patch_for(&samples::facts(&before), &old, &new));
        let wanted = with_defaults(&new);

        for list in ["containers", "initContainers"] {
            let names = |pod: &Value| -> Vec<Value> {
                pod["spec"][list].as_array().into_iter().flatten().map(|container| container["name"].clone()).collect()
            };
            prop_assert_eq!(names(&before), names(&after));
            for container in wanted["spec"][list].as_array().into_iter().flatten() {
                let found = after["spec"][list].as_array().unwrap().iter().find(|found| found["name"] == container["name"]);
                let image = found.unwrap()["image"].as_str().unwrap();
                prop_assert!(crate::inplace::image::same_reference(image, container["image"].as_str().unwrap()));
            }
        }
        for map in ["labels", "annotations"] {
            for (key, value) in wanted["metadata"][map].as_object().into_iter().flatten() {
                prop_assert_eq!(&after["metadata"][map][key], value);
            }
            for key in old["metadata"][map].as_object().into_iter().flatten().map(|(key, _)| key) {
                let kept = after["metadata"][map].get(key).is_some();
                prop_assert_eq!(kept, new["metadata"][map].get(key).is_some());
            }
        }
        prop_assert_eq!(&after["metadata"]["labels"][names::REVISION_LABEL], &json!("new"));
        prop_assert_eq!(&after["metadata"]["labels"][names::POD_NAME_LABEL], &json!("web-0"));
        prop_assert_eq!(&after["metadata"]["labels"]["injected"], &json!("yes"));
        prop_assert_eq!(&after["metadata"]["annotations"]["cni.example/ip"], &json!("10.0.0.1"));
        // Beside images nothing of the spec has changed.
        let blanked = |pod: &Value| {
            let mut spec = pod["spec"].clone();
            for list in ["containers", "initContainers"] {
                for container in spec[list].as_array_mut().into_iter().flatten() {
                    container["image"] = Value::Null;
                }
            }
            spec
        };
        prop_assert_eq!(blanked(&before), blanked(&after));
    }

    /// Over every field that a running Pod can take anywhere: the patched Pod is what the new
    /// template makes, and what admission added is untouched.
    #[test]
    fn a_customised_clusters_pod_becomes_what_the_new_template_makes((old, new) in samples::changeable_templates()) {
        let before = samples::admitted_pod(&old);
        let pod = samples::facts(&before);
        let contents = |template| Contents { template, claims: &[] };
        let abilities = Abilities::customised();
        let cluster = Cluster { abilities: &abilities, in_place_only: false, rules: &Rules::default(), now: samples::time(NOW) };
        let decision = should_do_in_place_update(contents(&old), contents(&new), &pod, &cluster);
        let Decision::Patch(update) = decision else { panic!("{decision:?}") };
        let parts = PatchParts {
            old_template: &old,
            new_template: &new,
            update: &update,
            revision_hash: "new",
            state: None,
            tolerations: before["spec"]["tolerations"].as_array().unwrap(),
        };
        let resized = resize_patch(&pod, &update).map_or_else(|| before.clone(), |patch| samples::merged(&before, &patch));
        let after = samples::merged(&resized, &pod_patch(&pod, parts));
        let found = crate::inplace::template_of_pod(&after, &new);
        prop_assert_eq!(crate::inplace::differences(&found, &new), []);
        // Order counts where variables refer to others.
        for (list, index) in [("containers", 0), ("containers", 1), ("initContainers", 1)] {
            let env = |pod: &Value| pod["spec"][list][index]["env"].as_array().cloned().unwrap_or_default();
            let order_counts = [&old, &new].iter().any(|template| json!(env(template)).to_string().contains("$("));
            let names = |pod: &Value| -> Vec<String> {
                let mut names: Vec<String> = env(pod).iter().map(|variable| variable["name"].to_string()).collect();
                if !order_counts {
                    names.sort();
                }
                names
            };
            prop_assert_eq!(names(&after), names(&with_defaults(&new)));
        }
        for (pointer, entry) in [
            ("/spec/volumes", json!({"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": []}})),
            ("/spec/volumes", json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}})),
            ("/spec/containers", json!({"name": "mesh", "image": "mesh:v9"})),
        ] {
            prop_assert!(after.pointer(pointer).unwrap().as_array().unwrap().contains(&entry), "{} {}", pointer, entry);
        }
        let token = json!({"name": "kube-api-access-x", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
        for list in ["containers", "initContainers"] {
            for container in after["spec"][list].as_array().unwrap().iter().filter(|container| container["name"] != "mesh") {
                prop_assert!(container["volumeMounts"].as_array().unwrap().contains(&token), "{}", container);
            }
        }
        let tolerations = after["spec"]["tolerations"].as_array().unwrap();
        prop_assert!(tolerations.iter().any(|one| one["key"] == "node.kubernetes.io/not-ready"));
        // What came from nowhere but the template goes by nothing else: the rest of the Pod is as it was.
        for field in ["hostname", "subdomain", "nodeName", "readinessGates", "priority", "serviceAccountName"] {
            prop_assert_eq!(&after["spec"][field], &before["spec"][field]);
        }
    }
}
