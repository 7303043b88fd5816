//! What is OpenKruise's own in a StatefulSet: names that are mapped, marks that nobody obeys here, defaults that differ.

use serde_json::{Map, Value};

use super::set::{ROLLING, Remark, Source, at_most_all};
use crate::api::names;

/// Fields of the spec that `v1beta1` has and neither `v1alpha1` nor the common part has.
pub(super) const BETA_FIELDS: [&str; 6] = [
    "lifecycle",
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
    "reserveOrdinals",
    "scaleStrategy",
    "volumeClaimUpdateStrategy",
];

pub(super) const ROLLING_FIELDS: [&str; 7] = [
    "inPlaceUpdateStrategy",
    "maxUnavailable",
    "minReadySeconds",
    "partition",
    "paused",
    "podUpdatePolicy",
    "unorderedUpdate",
];

const HOOKS: &str = "lifecycle.apps.kruise.io/";
const HOOKS_HERE: &str = "lifecycle.apps.asts.dev/";
const SPECIFIED_DELETE: &str = "apps.kruise.io/specified-delete";
const PRE_DOWNLOAD: &str = "apps.kruise.io/image-predownload-";
/// Condition of a readiness gate that OpenKruise's webhook and controllers serve.
const POD_READY_GATE: &str = "KruisePodReady";

/// The name that a label, annotation or finalizer has here, where it has another.
fn mapped(name: &str) -> Option<String> {
    if name == SPECIFIED_DELETE {
        return Some(names::SPECIFIED_DELETE_LABEL.to_owned());
    }
    name.strip_prefix(HOOKS).map(|rest| format!("{HOOKS_HERE}{rest}"))
}

/// Whether a key is in a domain of OpenKruise.
fn is_kruises(key: &str) -> bool {
    key.split('/').next().is_some_and(|domain| domain == "kruise.io" || domain.ends_with(".kruise.io"))
}

/// The set's own labels and annotations.
pub(super) fn metadata(metadata: &mut Map<String, Value>, notes: &mut Vec<Remark>) {
    for part in ["labels", "annotations"] {
        let Some(map) = metadata.get_mut(part).and_then(Value::as_object_mut) else { continue };
        rename_keys(map, &format!("metadata.{part}"), notes);
        map.retain(|key, _| {
            let goes = part == "annotations" && key.starts_with(PRE_DOWNLOAD);
            if goes {
                let text = "left out: use inPlaceUpdateStrategy.prePull to have images on the nodes first";
                notes.push(Remark::new(format!("metadata.{part}[{key}]"), text));
            }
            !goes
        });
        for key in map.keys().filter(|key| is_kruises(key)) {
            notes.push(Remark::new(format!("metadata.{part}[{key}]"), "kept, but nothing obeys it on this kind"));
        }
    }
}

pub(super) fn spec(spec: &mut Map<String, Value>, source: Source, notes: &mut Vec<Remark>) {
    if source == Source::KruiseAlpha {
        for field in BETA_FIELDS {
            if spec.remove(field).is_some() {
                let text = "left out: v1alpha1 does not have it, so it had no effect";
                notes.push(Remark::new(format!("spec.{field}"), text));
            }
        }
    }
    rename_everywhere(spec, notes);
    template(spec, notes);
    scale_strategy(spec, notes);
    hooks(spec, notes);
    gated(spec, notes);
    rolling(spec, notes);
}

/// Keys of labels and annotations, finalizers, and field paths that name them.
fn rename_everywhere(spec: &mut Map<String, Value>, notes: &mut Vec<Remark>) {
    let mut root = Value::Object(std::mem::take(spec));
    rename_in(&mut root, "spec", notes);
    if let Value::Object(object) = root {
        *spec = object;
    }
}

fn rename_in(value: &mut Value, path: &str, notes: &mut Vec<Remark>) {
    match value {
        Value::Object(map) => {
            rename_keys(map, path, notes);
            for (key, inner) in map.iter_mut() {
                rename_in(inner, &format!("{path}.{key}"), notes);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter_mut().enumerate() {
                rename_in(inner, &format!("{path}[{index}]"), notes);
            }
        }
        Value::String(text) => {
            let new = renamed_text(text);
            if let Some(new) = new {
                notes.push(Remark::new(path, format!("{text} is {new} here")));
                *text = new;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn rename_keys(map: &mut Map<String, Value>, path: &str, notes: &mut Vec<Remark>) {
    let renamed: Vec<(String, String)> =
        map.keys().filter_map(|key| mapped(key).map(|new| (key.clone(), new))).collect();
    for (old, new) in renamed {
        if let Some(value) = map.remove(&old) {
            notes.push(Remark::new(format!("{path}[{old}]"), format!("is {new} here: whoever reads it has to change")));
            map.entry(new).or_insert(value);
        }
    }
}

/// A text that is such a name as a whole (a finalizer, an ordered key), or a field path with one in it.
fn renamed_text(text: &str) -> Option<String> {
    if let Some(new) = mapped(text) {
        return Some(new);
    }
    let (before, rest) = text.split_once("['")?;
    let (key, after) = rest.split_once("']")?;
    let is_path = before == "metadata.labels" || before == "metadata.annotations";
    mapped(key).filter(|_| is_path && after.is_empty()).map(|new| format!("{before}['{new}']"))
}

fn template(spec: &mut Map<String, Value>, notes: &mut Vec<Remark>) {
    let Some(template) = spec.get_mut("template") else { return };
    if let Some(gates) = template.pointer_mut("/spec/readinessGates").and_then(Value::as_array_mut) {
        let before = gates.len();
        gates.retain(|gate| gate.get("conditionType").and_then(Value::as_str) != Some(POD_READY_GATE));
        if gates.len() < before {
            let text = format!("{POD_READY_GATE} is left out: only OpenKruise opens it, on Pods of its own kinds");
            notes.push(Remark::new("spec.template.spec.readinessGates", text));
        }
        if gates.is_empty()
            && let Some(pod) = template.get_mut("spec").and_then(Value::as_object_mut)
        {
            pod.remove("readinessGates");
        }
    }
    for part in ["labels", "annotations"] {
        let keys = template.pointer(&format!("/metadata/{part}")).and_then(Value::as_object);
        for key in keys.into_iter().flat_map(Map::keys).filter(|key| is_kruises(key)) {
            notes.push(of_the_webhook(format!("spec.template.metadata.{part}[{key}]")));
        }
    }
    for kind in ["containers", "initContainers"] {
        let containers = template.pointer(&format!("/spec/{kind}")).and_then(Value::as_array);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            for variable in container.get("env").and_then(Value::as_array).into_iter().flatten() {
                let name = variable.get("name").and_then(Value::as_str).unwrap_or_default();
                if name.starts_with("KRUISE_") {
                    notes.push(of_the_webhook(format!("spec.template.spec.{kind}[{index}].env[{name}]")));
                }
            }
        }
    }
}

fn of_the_webhook(field: String) -> Remark {
    Remark::new(field, "kept: it works as long as OpenKruise's webhook and agents are installed")
}

fn scale_strategy(spec: &mut Map<String, Value>, notes: &mut Vec<Remark>) {
    let replicas = spec.get("replicas").cloned().unwrap_or_else(|| 1.into());
    if let Some(scale) = spec.get_mut("scaleStrategy").and_then(Value::as_object_mut) {
        at_most_all(scale, "spec.scaleStrategy", &replicas, notes);
    }
}

fn hooks(spec: &mut Map<String, Value>, notes: &mut Vec<Remark>) {
    let Some(lifecycle) = spec.get_mut("lifecycle") else { return };
    let Some(normal) = lifecycle.get_mut("preNormal").and_then(Value::as_object_mut) else { return };
    if normal.remove("markPodNotReady") == Some(Value::Bool(true)) {
        let text = "left out: OpenKruise does not obey it there, and here it would be obeyed";
        notes.push(Remark::new("spec.lifecycle.preNormal.markPodNotReady", text));
    }
}

/// Fields that OpenKruise obeys only with a feature gate of its own on.
fn gated(spec: &Map<String, Value>, notes: &mut Vec<Remark>) {
    let resizes = spec.get("volumeClaimUpdateStrategy").and_then(|it| it.get("type")?.as_str());
    for (field, is_there, gate) in [
        ("spec.volumeClaimUpdateStrategy", resizes == Some("OnPodRollingUpdate"), "StatefulSetAutoResizePVCGate"),
        ("spec.ordinals", spec.contains_key("ordinals"), "StatefulSetStartOrdinal"),
    ] {
        if is_there {
            let text = format!("is always obeyed here; OpenKruise does so with its feature gate {gate} only");
            notes.push(Remark::new(field, text));
        }
    }
}

fn rolling(spec: &mut Map<String, Value>, notes: &mut Vec<Remark>) {
    let strategy = spec.get_mut("updateStrategy").and_then(|it| it.get_mut("rollingUpdate"));
    let Some(rolling) = strategy.and_then(Value::as_object_mut) else { return };
    if let Some(in_place) = rolling.get_mut("inPlaceUpdateStrategy").and_then(Value::as_object_mut) {
        in_place.retain(|key, _| {
            let goes = key.starts_with("imagePreDownload");
            if goes {
                let text = "left out: use prePull to have images on the nodes first";
                notes.push(Remark::new(format!("{ROLLING}.inPlaceUpdateStrategy.{key}"), text));
            }
            !goes
        });
    }
    let terms = rolling.get("unorderedUpdate").and_then(|it| it.pointer("/priorityStrategy/orderPriority"));
    if terms.and_then(Value::as_array).is_some_and(|terms| !terms.is_empty()) {
        notes.push(Remark::new(
            format!("{ROLLING}.unorderedUpdate.priorityStrategy.orderPriority"),
            "Pods with none of the labels are updated last here, and first by OpenKruise",
        ));
    }
}
