use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inplace::diff::differences;
use crate::inplace::{samples, template_of_pod};

fn template(env: Value) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:v1", "env": env}]}})
}

/// The Pod that the controller makes, as JSON.
fn made(template: &Value) -> Value {
    let mut pod = template.clone();
    let mut annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default();
    move_to_annotations(pod["spec"].as_object_mut().unwrap(), &mut annotations);
    pod["metadata"]["annotations"] = annotations.into();
    pod
}

/// What a container sees, by the kubelet's rules (pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables):
/// in order, each value expanded with the variables before it, references as they are.
fn seen_by_container(pod: &Value, container: &Value) -> BTreeMap<String, String> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let value = match (variable["value"].as_str().unwrap_or_default(), variable.pointer("/valueFrom/fieldRef")) {
            ("", Some(reference)) => {
                let path = reference["fieldPath"].as_str().unwrap();
                let key = path.strip_prefix("metadata.annotations['").and_then(|path| path.strip_suffix("']"));
                let held = key.and_then(|key| pod["metadata"]["annotations"].get(key));
                held.and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            (value, _) => expanded(value, &seen),
        };
        seen.insert(variable["name"].as_str().unwrap().to_owned(), value);
    }
    seen
}

/// `$(NAME)` of a variable that is known; `$$` is a `$`.
fn expanded(value: &str, seen: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            result.push_str(&seen.get(name).cloned().unwrap_or_else(|| format!("$({name})")));
            rest = after;
        } else {
            result.push('$');
        }
    }
    result + rest
}

#[test]
fn a_literal_becomes_a_reference_to_an_annotation() {
    let pod = made(&template(json!([{"name": "MODE", "value": "fast"}])));
    let key = key("app", "MODE");
    assert_eq!(pod["metadata"]["annotations"][&key], "fast");
    assert_eq!(
        pod["spec"]["containers"][0]["env"],
        json!([{"name": "MODE", "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.annotations['{key}']")}}}])
    );
}

#[test]
fn a_key_is_short_and_of_one_variable_only() {
    let keys = [key("app", "A"), key("app", "B"), key("side", "A"), key("appA", ""), key(&"x".repeat(63), "y")];
    for (index, one) in keys.iter().enumerate() {
        assert!(one.len() <= 63 && one.starts_with(names::ENV_ANNOTATION_PREFIX), "{one}");
        assert!(one.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"./-".contains(&byte)));
        assert!(!keys[..index].contains(one), "{one}");
    }
    // Running Pods refer to it: another one would make their values empty.
    assert_eq!(key("app", "MODE"), "apps.asts.dev/env-7kdlb79xlt9qp5wkv4h8");
}

#[test]
fn what_cannot_be_a_reference_stays() {
    let env = json!([
        {"name": "BASE", "value": "/data"},
        {"name": "LOGS", "value": "$(BASE)/logs"},
        {"name": "PRICE", "value": "5$$"},
        {"name": "OTHER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['other']"}}},
        {"name": "TWICE", "value": "1"},
        {"name": "TWICE", "value": "2"},
        {"name": "EMPTY"},
    ]);
    let pod = made(&template(env.clone()));
    let held = pod["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(
        held.keys().cloned().collect::<std::collections::BTreeSet<_>>(),
        [key("app", "BASE"), key("app", "EMPTY")].into()
    );
    for index in 1..6 {
        assert_eq!(pod["spec"]["containers"][0]["env"][index], env[index]);
    }
    assert_eq!(seen_by_container(&pod, &pod["spec"]["containers"][0])["LOGS"], "/data/logs");
}

#[test]
fn an_init_container_that_runs_once_keeps_its_literals() {
    let mut template = samples::three_kinds("app:v1", "proxy:v1", "setup:v1");
    for index in [0, 1] {
        template["spec"]["initContainers"][index]["env"] = json!([{"name": "A", "value": "1"}]);
    }
    let pod = made(&template);
    assert_eq!(pod["spec"]["initContainers"][0]["env"][0]["value"], "1");
    assert_eq!(pod["metadata"]["annotations"], json!({key("proxy", "A"): "1"}));
}

#[test]
fn too_many_annotations_are_refused_before_a_pod_is_touched() {
    let of = |bytes: usize| template(json!([{"name": "A", "value": "x".repeat(bytes)}]));
    assert_eq!(check_size(&of(200 * 1024)), Ok(()));
    let refused = check_size(&of(256 * 1024)).unwrap_err();
    assert!(refused.contains("262144") && refused.contains("env Annotations"), "{refused}");
    // What stays a literal is no annotation.
    assert_eq!(check_size(&template(json!([{"name": "A", "value": "$".repeat(300 * 1024)}]))), Ok(()));
}

#[test]
fn a_lost_annotation_is_an_empty_value() {
    let mut pod = made(&template(json!([{"name": "MODE", "value": "fast"}])));
    pod["metadata"]["annotations"] = json!({});
    assert_eq!(with_literals(&pod)["spec"]["containers"][0]["env"], json!([{"name": "MODE", "value": ""}]));
}

#[test]
fn another_reference_is_no_literal() {
    let other = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['mine']"}}}]);
    let pod = made(&template(other.clone()));
    assert_eq!(with_literals(&pod)["spec"]["containers"][0]["env"], other);
}

fn env() -> impl Strategy<Value = Value> {
    let value = prop_oneof![Just(""), Just("1"), Just("$(A)"), Just("x$(B)y"), Just("$$"), Just("$("), Just("é\n ")];
    proptest::collection::vec(("[A-D]", value, 0..4_u8), 0..5).prop_map(|variables| {
        let made = variables.into_iter().map(|(name, value, form)| match form {
            0 => json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['mine']"}}}),
            1 if value.is_empty() => json!({"name": name}),
            _ => json!({"name": name, "value": value}),
        });
        made.collect()
    })
}

proptest! {
    #![proptest_config(samples::cases(512))]

    /// The kubelet gives the container the same as it would with the template as written.
    #[test]
    fn the_container_sees_the_same(env in env()) {
        let literal = template(env);
        let pod = made(&literal);
        prop_assert_eq!(
            seen_by_container(&pod, &pod["spec"]["containers"][0]),
            seen_by_container(&literal, &literal["spec"]["containers"][0])
        );
    }

    /// A Pod that was made so is what its template makes.
    #[test]
    fn the_pod_equals_the_template(env in env()) {
        let literal = template(env);
        let admitted = made(&samples::admitted_pod(&literal));
        prop_assert_eq!(differences(&template_of_pod(&admitted, &literal), &literal), []);
    }

    #[test]
    fn calm_on_any_json(pod in samples::near_template()) {
        let _ = (with_literals(&pod), annotation_bytes(&pod), check_size(&pod));
    }
}
