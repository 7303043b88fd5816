use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inplace::samples;

fn with_app(fields: Value) -> Value {
    let mut app = json!({"name": "app", "image": "app:v1"});
    for (key, value) in fields.as_object().unwrap() {
        app[key] = value.clone();
    }
    json!({"metadata": {}, "spec": {"containers": [app]}})
}

fn paths(old: &Value, new: &Value) -> Vec<(String, Class)> {
    differences(old, new).into_iter().map(|difference| (difference.path, difference.class)).collect()
}

fn one(path: &str, class: Class) -> Vec<(String, Class)> {
    vec![(path.to_owned(), class)]
}

#[test]
fn the_same_in_other_words() {
    for (old, new) in [
        (json!({"image": "nginx:1"}), json!({"image": "docker.io/library/nginx:1"})),
        (json!({"resources": {"limits": {"cpu": "0.5"}}}), json!({"resources": {"limits": {"cpu": "500m"}}})),
        (
            json!({"resources": {"requests": {"memory": "1Gi"}}}),
            json!({"resources": {"requests": {"memory": "1024Mi"}}}),
        ),
        (json!({"resources": {}}), json!({})),
        (
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}),
            json!({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}),
        ),
        (
            json!({"ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]}),
            json!({"ports": [{"containerPort": 1, "protocol": "UDP"}, {"containerPort": 1, "protocol": "TCP"}]}),
        ),
        (
            json!({"securityContext": {"capabilities": {"add": ["A", "B"]}}}),
            json!({"securityContext": {"capabilities": {"add": ["B", "A"]}}}),
        ),
        (
            json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}, {"name": "y", "mountPath": "/y"}]}),
            json!({"volumeMounts": [{"name": "y", "mountPath": "/y"}, {"name": "x", "mountPath": "/x"}]}),
        ),
    ] {
        assert_eq!(paths(&with_app(old.clone()), &with_app(new)), [], "{old}");
    }
}

#[test]
fn each_difference_has_its_path_and_class() {
    for (old, new, path, class) in [
        (json!({}), json!({"image": "app:v2"}), "spec.containers[app].image", Class::Rebuild),
        (json!({}), json!({"imagePullPolicy": "Always"}), "spec.containers[app].imagePullPolicy", Class::Static),
        (
            json!({"env": [{"name": "A", "value": "1"}]}),
            json!({"env": [{"name": "A", "value": "2"}]}),
            "spec.containers[app].env[A].value",
            Class::Rebuild,
        ),
        (json!({}), json!({"env": [{"name": "A", "value": "2"}]}), "spec.containers[app].env[A]", Class::Rebuild),
        (json!({"command": ["a", "b"]}), json!({"command": ["b", "a"]}), "spec.containers[app].command", Class::Static),
        (
            json!({"resources": {"limits": {"cpu": 1}}}),
            json!({"resources": {"limits": {"cpu": 1}, "requests": {"cpu": "2m"}}}),
            "spec.containers[app].resources.requests[cpu]",
            Class::Dynamic,
        ),
        (
            json!({"livenessProbe": {"exec": {"command": ["a"]}}}),
            json!({"livenessProbe": {"exec": {"command": ["b"]}}}),
            "spec.containers[app].livenessProbe.exec.command",
            Class::Dynamic,
        ),
        (json!({"fieldOfTomorrow": 1}), json!({}), "spec.containers[app].fieldOfTomorrow", Class::Static),
    ] {
        assert_eq!(paths(&with_app(old), &with_app(new)), one(path, class));
    }
}

#[test]
fn metadata_entry_by_entry() {
    let old = json!({"metadata": {"labels": {"a": "1"}}, "spec": {}});
    let new = json!({"metadata": {"annotations": {"note/x": "1", "checksum/x": "2"}}, "spec": {}});
    assert_eq!(
        paths(&old, &new),
        [
            ("metadata.annotations[checksum/x]".to_owned(), Class::Rebuild),
            ("metadata.annotations[note/x]".to_owned(), Class::Dynamic),
            ("metadata.labels[a]".to_owned(), Class::Dynamic),
        ]
    );
    let removed = differences(&old, &new).pop().unwrap();
    assert_eq!((removed.old, removed.new), (Some(json!("1")), None));
}

#[test]
fn init_containers() {
    let old = samples::three_kinds("app:v1", "proxy:v1", "setup:v1");
    let other_proxy = samples::three_kinds("app:v1", "proxy:v2", "setup:v1");
    assert_eq!(paths(&old, &other_proxy), one("spec.initContainers[proxy].image", Class::Rebuild));
    let other_setup = samples::three_kinds("app:v1", "proxy:v1", "setup:v2");
    assert_eq!(paths(&old, &other_setup), one("spec.initContainers[setup].image", Class::Static));

    let mut turned = old.clone();
    turned["spec"]["initContainers"].as_array_mut().unwrap().reverse();
    assert_eq!(paths(&old, &turned), one("spec.initContainers", Class::Static));

    // A container that becomes restartable with another image is no plain image change.
    let mut became = samples::three_kinds("app:v1", "proxy:v1", "setup:v2");
    became["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
    assert!(paths(&old, &became).iter().all(|(_, class)| *class == Class::Static));
}

#[test]
fn containers_come_and_go_but_have_no_order() {
    let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    let turned = json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}});
    let fewer = json!({"spec": {"containers": [{"name": "a"}]}});
    assert_eq!(paths(&two, &turned), []);
    assert_eq!(paths(&two, &fewer), one("spec.containers[b]", Class::Static));
    assert_eq!(paths(&fewer, &two), one("spec.containers[b]", Class::Static));
}

#[test]
fn the_order_of_variables_counts_where_they_refer_to_others() {
    let old = with_app(json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}]}));
    let new = with_app(json!({"env": [{"name": "B", "value": "$(A)"}, {"name": "A", "value": "1"}]}));
    assert_eq!(paths(&old, &new), one("spec.containers[app].env", Class::Rebuild));
}

#[test]
fn entries_that_share_a_key_are_compared_as_a_whole() {
    let old = with_app(json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}));
    let new = with_app(json!({"env": [{"name": "A", "value": "2"}, {"name": "A", "value": "1"}]}));
    assert_eq!(paths(&old, &new), one("spec.containers[app].env", Class::Static));
}

#[test]
fn fields_of_the_spec() {
    for (old, new, path) in [
        (json!({"nodeSelector": {"a/b": "1"}}), json!({}), "spec.nodeSelector[a/b]"),
        (json!({"tolerations": [{"key": "a"}]}), json!({}), "spec.tolerations"),
        (json!({}), json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "spec.volumes[v]"),
        (json!({}), json!({"serviceAccountName": "other"}), "spec.serviceAccountName"),
        (json!({"hostNetwork": true}), json!({}), "spec.hostNetwork"),
        (json!({"terminationGracePeriodSeconds": 5}), json!({}), "spec.terminationGracePeriodSeconds"),
    ] {
        assert_eq!(paths(&json!({"spec": old}), &json!({"spec": new})), one(path, Class::Static));
    }
    let tolerations = |keys: [&str; 2]| json!({"spec": {"tolerations": keys.map(|key| json!({"key": key}))}});
    assert_eq!(paths(&tolerations(["a", "b"]), &tolerations(["b", "a"])), []);
}

#[test]
fn what_is_no_template_still_differs() {
    assert_eq!(differences(&json!(1), &json!(1)), []);
    assert_eq!(paths(&json!(1), &json!({"spec": {}})), one("template", Class::Static));
}

proptest! {
    #![proptest_config(samples::cases(256))]

    #[test]
    fn nothing_differs_from_itself(template in samples::template()) {
        prop_assert_eq!(differences(&template, &template), []);
        prop_assert_eq!(differences(&template, &with_defaults(&template)), []);
    }

    #[test]
    fn calm_on_any_json(old in samples::near_template(), new in samples::near_template()) {
        prop_assert_eq!(differences(&old, &old), []);
        // The paths that differ are the same from both sides.
        let sorted = |mut paths: Vec<(String, Class)>| { paths.sort(); paths };
        prop_assert_eq!(sorted(paths(&old, &new)), sorted(paths(&new, &old)));
    }

    #[test]
    fn templates_with_equal_meaning_or_not(old in samples::template(), new in samples::template()) {
        if with_defaults(&old) == with_defaults(&new) {
            prop_assert_eq!(differences(&old, &new), []);
        }
        let none = differences(&old, &new).is_empty();
        prop_assert_eq!(none, differences(&new, &old).is_empty());
    }
}

#[test]
fn a_field_that_is_known_in_another_place_only_is_unknown() {
    let with_volume = |volume: Value| json!({"spec": {"containers": [{"name": "app"}], "volumes": [volume]}});
    let without = json!({"spec": {"containers": [{"name": "app"}]}});
    for (volume, class) in [
        (json!({"name": "x", "emptyDir": {"medium": "Memory"}}), Class::Rebuild),
        (json!({"name": "x", "emptyDir": {"mode": 448}}), Class::Static),
        (json!({"name": "x", "configMap": {"items": [{"key": "a", "path": "b", "mode": 448}]}}), Class::Rebuild),
        (json!({"name": "x", "configMap": {"items": [{"key": "a", "audience": "b"}]}}), Class::Static),
    ] {
        assert_eq!(paths(&without, &with_volume(volume.clone())), one("spec.volumes[x]", class), "{volume}");
    }
    let probe = |fields: Value| with_app(json!({"readinessProbe": {"tcpSocket": fields}}));
    let changed = paths(&probe(json!({"port": 1})), &probe(json!({"port": 1, "scheme": "x"})));
    assert_eq!(changed, one("spec.containers[app].readinessProbe.tcpSocket.scheme", Class::Static));
}
