use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inplace::diff::differences;
use crate::inplace::{Class, samples};

fn paths(pod: &Value, like: &Value) -> Vec<(String, Class)> {
    differences(&template_of_pod(pod, like), like)
        .into_iter()
        .map(|difference| (difference.path, difference.class))
        .collect()
}

fn template() -> Value {
    samples::three_kinds("app:v1", "proxy:v1", "setup:v1")
}

#[test]
fn what_differs_on_the_pod_is_seen() {
    let pod = samples::admitted_pod(&template());
    assert_eq!(paths(&pod, &template()), []);
    let other_image = samples::three_kinds("app:v2", "proxy:v1", "setup:v1");
    assert_eq!(paths(&pod, &other_image), [("spec.containers[app].image".to_owned(), Class::Rebuild)]);
    for (pointer, value, path, class) in [
        ("/spec/containers/0/env", json!([{"name": "A", "value": "1"}]), "spec.containers[app].env[A]", Class::Rebuild),
        ("/spec/containers/0/command", json!(["run"]), "spec.containers[app].command", Class::Static),
        ("/spec/nodeSelector", json!({"disk": "fast"}), "spec.nodeSelector[disk]", Class::Static),
        ("/spec/volumes", json!([{"name": "conf", "configMap": {"name": "c"}}]), "spec.volumes[conf]", Class::Rebuild),
    ] {
        let mut like = template();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        like.pointer_mut(parent).unwrap()[key] = value.clone();
        assert_eq!(paths(&pod, &like), [(path.to_owned(), class)]);
    }
}

/// A field that the template has no more is no work of admission.
#[test]
fn what_only_the_pod_has_is_seen() {
    for (pointer, value, path) in [
        ("/spec/containers/0/env", json!([{"name": "A", "value": "1"}]), "spec.containers[app].env[A]"),
        ("/spec/containers/0/command", json!(["run"]), "spec.containers[app].command"),
        ("/spec/containers/0/resources", json!({"limits": {"cpu": "1"}}), "spec.containers[app].resources.limits[cpu]"),
        ("/spec/hostNetwork", json!(true), "spec.hostNetwork"),
        ("/spec/serviceAccountName", json!("runner"), "spec.serviceAccountName"),
    ] {
        let mut pod = samples::admitted_pod(&template());
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = value.clone();
        let seen = paths(&pod, &template());
        assert!(seen.iter().any(|(seen, _)| seen == path), "{path} {seen:?}");
    }
}

#[test]
fn a_missing_container_is_missing() {
    let mut pod = samples::admitted_pod(&template());
    pod["spec"]["initContainers"].as_array_mut().unwrap().remove(1);
    assert_eq!(paths(&pod, &template()), [("spec.initContainers[proxy]".to_owned(), Class::Static)]);
}

#[test]
fn a_claim_stands_for_a_volume_of_the_template() {
    let mut like = template();
    like["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    let pod = samples::admitted_pod(&template());
    assert_eq!(paths(&pod, &like), []);
    // A claim that is not the Pod's own was in the template.
    let mut shared = samples::admitted_pod(&template());
    shared["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"] = json!("shared");
    assert_eq!(paths(&shared, &template()), [("spec.volumes[data]".to_owned(), Class::Rebuild)]);
}

#[test]
fn amounts_of_a_limit_range_are_no_difference() {
    let mut like = template();
    like["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "0.5"}});
    let mut pod = samples::admitted_pod(&like);
    pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"] = json!("LimitRanger plugin set: …");
    pod["spec"]["containers"][0]["resources"] = json!({
        "limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"},
    });
    pod["spec"]["initContainers"][0]["resources"] = json!({"limits": {"memory": "1Gi"}});
    assert_eq!(paths(&pod, &like), []);
}

proptest! {
    #![proptest_config(samples::cases(256))]

    #[test]
    fn the_pod_of_a_template_is_its_own(template in samples::template()) {
        prop_assert_eq!(paths(&samples::admitted_pod(&template), &template), []);
    }

    #[test]
    fn what_templates_differ_in_is_seen(old in samples::template(), new in samples::template()) {
        let from_templates = !differences(&old, &new).is_empty();
        let from_pod = !paths(&samples::admitted_pod(&old), &new).is_empty();
        // Labels and annotations that the new template has no more may be others' by now.
        let only_metadata_removed = differences(&old, &new).iter().all(|difference| {
            // A container that the new template has no more cannot be told from an injected one.
            difference.new.is_none() && (difference.path.starts_with("metadata") || difference.path.ends_with(']'))
        });
        if from_templates && !only_metadata_removed {
            prop_assert!(from_pod);
        }
        if !from_templates {
            prop_assert!(!from_pod);
        }
    }

    #[test]
    fn calm_on_any_json(pod in samples::near_template(), like in samples::near_template()) {
        let _ = paths(&pod, &like);
    }
}
