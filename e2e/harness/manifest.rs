//! Manifests that tests begin with.

use serde_json::{Value, json};

/// The test image under a tag. The fake kubelet obeys words in it: `broken` cannot be pulled,
/// `crash` crashes, `never-ready` runs and is never Ready, `slow` takes five seconds.
pub fn image(tag: &str) -> String {
    format!("docker.io/library/asts-test:{tag}")
}

/// A set of three Pods with one container `app`, changed by a merge patch of its spec.
pub fn set(name: &str, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "apps.asts.dev/v1beta1",
        "kind": "AdvancedStatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": 3,
            "serviceName": "peers",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent"}],
                },
            },
        },
    });
    merge(&mut manifest["spec"], spec);
    manifest
}

/// A claim template that plain volumes of this cluster satisfy.
pub fn claim_template(name: &str, size: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": size}}},
    })
}

/// A merge patch of a spec that gives the first container another image.
pub fn rolling_update(rolling_update: Value) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling_update}})
}

/// Both merge patches, the second over the first.
pub fn with(mut first: Value, second: Value) -> Value {
    merge(&mut first, second);
    first
}

/// A JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Some(fields) = target.as_object_mut() {
        for (key, value) in patch {
            if value.is_null() {
                fields.remove(&key);
            } else {
                merge(fields.entry(key).or_insert(Value::Null), value);
            }
        }
    }
}
