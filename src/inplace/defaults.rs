//! Local defaulting of a Pod template: what kube-apiserver 1.33 to 1.37 fills in, and the
//! spellings that it stores alike brought to one. For comparing only: Pods are made from the
//! template as it was written.

use serde_json::{Map, Value, json};

use super::image::Reference;
use super::quantity::same_quantity;
use crate::api::names;

type Object = Map<String, Value>;

/// Fields of a template's metadata that no Pod gets.
const METADATA_WITHOUT_EFFECT: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "managedFields",
];
/// Labels that the controller sets itself, whatever the template says.
const LABELS_OF_OURS: &[&str] = &[names::REVISION_LABEL, names::POD_NAME_LABEL, names::POD_INDEX_LABEL];

/// Fields where false, 0, an empty text or an empty object mean the same as no field.
const SPEC_ZEROS: &[&str] = &[
    "affinity",
    "dnsConfig",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostname",
    "nodeName",
    "nodeSelector",
    "overhead",
    "priorityClassName",
    "subdomain",
];
const CONTAINER_ZEROS: &[&str] =
    &["lifecycle", "resources", "securityContext", "stdin", "stdinOnce", "tty", "workingDir"];

/// A field and what the apiserver writes where it is absent.
type Default = (&'static str, fn() -> Value);
/// Defaults inside a volume, by its source.
const VOLUME_DEFAULTS: &[(&str, &[Default])] = &[
    ("configMap", &[("defaultMode", || json!(0o644))]),
    ("secret", &[("defaultMode", || json!(0o644))]),
    ("projected", &[("defaultMode", || json!(0o644))]),
    ("downwardAPI", &[("defaultMode", || json!(0o644))]),
    ("hostPath", &[("type", || json!(""))]),
    ("iscsi", &[("iscsiInterface", || json!("default"))]),
    ("rbd", &[("pool", || json!("rbd")), ("user", || json!("admin")), ("keyring", || json!("/etc/ceph/keyring"))]),
    ("scaleIO", &[("storageMode", || json!("ThinProvisioned")), ("fsType", || json!("xfs"))]),
    (
        "azureDisk",
        &[
            ("cachingMode", || json!("ReadWrite")),
            ("fsType", || json!("ext4")),
            ("readOnly", || json!(false)),
            ("kind", || json!("Shared")),
        ],
    ),
];

/// The template with the apiserver's defaults filled in. Idempotent; never fails: what has another
/// shape than a Pod template's stays as it is.
pub fn with_defaults(template: &Value) -> Value {
    let mut defaulted = pruned(template);
    if let Some(root) = defaulted.as_object_mut() {
        for key in ["apiVersion", "kind", "status"] {
            root.remove(key);
        }
        within(root, "metadata", default_metadata);
        drop_zeros(root, &["metadata"]);
        within(root, "spec", default_spec);
    }
    defaulted
}

/// Without nulls, and without empty lists, which mean the same as none everywhere.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, field)| !field.is_null() && !field.as_array().is_some_and(Vec::is_empty))
            .map(|(key, field)| (key.clone(), pruned(field)))
            .collect(),
        Value::Array(list) => list.iter().map(pruned).collect(),
        _ => value.clone(),
    }
}

fn default_metadata(metadata: &mut Object) {
    for key in METADATA_WITHOUT_EFFECT {
        metadata.remove(*key);
    }
    within(metadata, "labels", |labels| {
        for key in LABELS_OF_OURS {
            labels.remove(*key);
        }
    });
    within(metadata, "annotations", |annotations| {
        annotations.retain(|key, _| !names::is_own_pod_annotation(key));
    });
    drop_zeros(metadata, &["labels", "annotations"]);
}

fn default_spec(spec: &mut Object) {
    default_service_account(spec);
    // An affinity without terms asks for nothing.
    within(spec, "affinity", |affinity| drop_zeros(affinity, &["nodeAffinity", "podAffinity", "podAntiAffinity"]));
    drop_zeros(spec, SPEC_ZEROS);
    fill(spec, "dnsPolicy", json!("ClusterFirst"));
    fill(spec, "restartPolicy", json!("Always"));
    fill(spec, "schedulerName", json!("default-scheduler"));
    if !spec.contains_key("securityContext") {
        spec.insert("securityContext".into(), json!({}));
    }
    if !spec.contains_key("enableServiceLinks") {
        spec.insert("enableServiceLinks".into(), json!(true));
    }
    match spec.get("terminationGracePeriodSeconds").map(Value::as_i64) {
        None => drop(spec.insert("terminationGracePeriodSeconds".into(), json!(30))),
        Some(Some(seconds)) if seconds < 0 => drop(spec.insert("terminationGracePeriodSeconds".into(), json!(1))),
        Some(_) => {}
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["initContainers", "containers"] {
        each(spec, list, |container| default_container(container, host_network));
    }
    each(spec, "ephemeralContainers", |container| default_container(container, false));
    each(spec, "volumes", default_volume);
}

/// `serviceAccount` is the older name of `serviceAccountName`; no account means the one called
/// `default`, which admission writes into each Pod.
fn default_service_account(spec: &mut Object) {
    let old_name = spec.remove("serviceAccount");
    let given = spec.remove("serviceAccountName").filter(|name| name.as_str() != Some(""));
    if let Some(name) = given.or(old_name).filter(|name| !matches!(name.as_str(), Some("" | "default"))) {
        spec.insert("serviceAccountName".into(), name);
    }
}

fn default_container(container: &mut Object, host_network: bool) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let pull_policy = if !image.is_empty() && Reference::parse(image).is_latest() { "Always" } else { "IfNotPresent" };
    fill(container, "imagePullPolicy", json!(pull_policy));
    fill(container, "terminationMessagePath", json!("/dev/termination-log"));
    fill(container, "terminationMessagePolicy", json!("File"));
    within(container, "resources", default_resources);
    within(container, "securityContext", |context| drop_zeros(context, &["capabilities", "seLinuxOptions"]));
    each(container, "ports", |port| {
        fill(port, "protocol", json!("TCP"));
        drop_zeros(port, &["name", "hostIP", "hostPort"]);
        if let (true, false, Some(number)) =
            (host_network, port.contains_key("hostPort"), port.get("containerPort").cloned())
        {
            port.insert("hostPort".into(), number);
        }
    });
    each(container, "env", default_env);
    each(container, "envFrom", |source| drop_zeros(source, &["prefix"]));
    each(container, "volumeMounts", |mount| drop_zeros(mount, &["readOnly", "subPath", "subPathExpr"]));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        within(container, probe, default_probe);
    }
    within(container, "lifecycle", |lifecycle| {
        for hook in ["postStart", "preStop"] {
            within(lifecycle, hook, |handler| within(handler, "httpGet", default_http_get));
        }
        drop_zeros(lifecycle, &["postStart", "preStop"]);
    });
    drop_zeros(container, CONTAINER_ZEROS);
}

/// A limit without a request is the request too.
fn default_resources(resources: &mut Object) {
    if let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() {
        let requests = resources.entry("requests").or_insert_with(|| json!({}));
        if let Some(requests) = requests.as_object_mut() {
            for (name, amount) in limits {
                requests.entry(name).or_insert(amount);
            }
        }
    }
    drop_zeros(resources, &["limits", "requests"]);
}

fn default_env(variable: &mut Object) {
    drop_zeros(variable, &["value"]);
    within(variable, "valueFrom", |source| {
        default_downward_reference(source);
        within(source, "fileKeyRef", |file| {
            file.entry("optional").or_insert(json!(false));
        });
    });
}

/// A reference to a field or a resource of the Pod, in an environment variable or a file.
fn default_downward_reference(holder: &mut Object) {
    within(holder, "fieldRef", |reference| fill(reference, "apiVersion", json!("v1")));
    within(holder, "resourceFieldRef", |reference| {
        // The apiserver writes no divisor as "0".
        if reference.get("divisor").is_some_and(|divisor| same_quantity(divisor, &json!(0))) {
            reference.remove("divisor");
        }
    });
}

fn default_probe(probe: &mut Object) {
    drop_zeros(probe, &["initialDelaySeconds"]);
    for (key, seconds_or_times) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        fill(probe, key, json!(seconds_or_times));
    }
    within(probe, "httpGet", default_http_get);
    within(probe, "grpc", |grpc| {
        grpc.entry("service").or_insert(json!(""));
    });
}

fn default_http_get(action: &mut Object) {
    fill(action, "path", json!("/"));
    fill(action, "scheme", json!("HTTP"));
    drop_zeros(action, &["host"]);
    // Newer servers may write what older ones leave out.
    if action.get("protocol").and_then(Value::as_str) == Some("HTTP1") {
        action.remove("protocol");
    }
}

fn default_volume(volume: &mut Object) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".into(), json!({}));
    }
    for (source, defaults) in VOLUME_DEFAULTS {
        within(volume, source, |source| {
            for (key, default) in *defaults {
                source.entry(*key).or_insert_with(default);
            }
        });
    }
    for source in ["persistentVolumeClaim", "nfs"] {
        within(volume, source, |source| drop_zeros(source, &["readOnly"]));
    }
    within(volume, "emptyDir", |source| drop_zeros(source, &["medium"]));
    within(volume, "downwardAPI", |source| {
        each(source, "items", default_downward_reference);
    });
    within(volume, "projected", |projected| each(projected, "sources", default_projection));
    within(volume, "ephemeral", |ephemeral| {
        within(ephemeral, "volumeClaimTemplate", |template| {
            within(template, "spec", |spec| {
                fill(spec, "volumeMode", json!("Filesystem"));
                drop_zeros(spec, &["resources"]);
            });
            drop_zeros(template, &["metadata"]);
        });
    });
    within(volume, "image", |source| {
        let reference = source.get("reference").and_then(Value::as_str).unwrap_or_default();
        let latest = !reference.is_empty() && Reference::parse(reference).is_latest();
        fill(source, "pullPolicy", json!(if latest { "Always" } else { "IfNotPresent" }));
    });
}

fn default_projection(projection: &mut Object) {
    within(projection, "downwardAPI", |source| {
        each(source, "items", default_downward_reference);
    });
    within(projection, "serviceAccountToken", |token| {
        token.entry("expirationSeconds").or_insert(json!(3600));
    });
}

/// Sets a field that is absent, empty text or 0.
fn fill(object: &mut Object, key: &str, default: Value) {
    if object.get(key).is_none_or(is_zero) {
        object.insert(key.to_owned(), default);
    }
}

fn drop_zeros(object: &mut Object, keys: &[&str]) {
    for key in keys {
        if object.get(*key).is_some_and(is_zero) {
            object.remove(*key);
        }
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

/// Runs `change` on the object under `key`, where there is one.
fn within(object: &mut Object, key: &str, change: impl FnOnce(&mut Object)) {
    if let Some(inner) = object.get_mut(key).and_then(Value::as_object_mut) {
        change(inner);
    }
}

/// Runs `change` on each object of the list under `key`, where there is one.
fn each(object: &mut Object, key: &str, change: impl Fn(&mut Object)) {
    for entry in object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            change(entry);
        }
    }
}

#[cfg(test)]
#[path = "defaults_tests.rs"]
mod tests;
