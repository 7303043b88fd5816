//! Defaults and bounds that the derived schema does not know, by path.
//!
//! A default stands here only where it can do no harm when it is stored: none that makes
//! `rollingUpdate` out of nothing, and none for `minReadySeconds`, of which the first that is
//! given wins.

use serde_json::{Value, json};

use super::crd::{CrdError, at};
use super::rules;

/// Most labels of a template, and so of a Pod that it makes.
const TEMPLATE_LABELS_MAX: u32 = 500;
/// Most entries of the lists that rules look through.
const ENTRIES_MAX: u32 = 100;
/// Most entries of `reserveOrdinals`.
const RESERVED_MAX: u32 = 1000;
/// Longest key of a label or annotation: a DNS name of 253, a slash and 63, in bytes.
const LABEL_KEY_BYTES_MAX: u32 = 317;
/// Longest label value, DNS label and condition type, in bytes.
const LABEL_BYTES_MAX: u32 = 63;
const INT32_MAX: u32 = 2_147_483_647;
/// A label's key and value, as the apiserver takes them in a selector.
const LABEL_KEY: &str = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
const PRIORITY: &str = "spec.updateStrategy.rollingUpdate.unorderedUpdate.priorityStrategy";

/// Completes the schema with defaults, bounds and rules.
pub(super) fn complete(schema: &mut Value) -> Result<(), CrdError> {
    for (path, part) in fragments() {
        merge(at(schema, &path)?, part);
    }
    for (path, rules) in rules::by_path() {
        merge(at(schema, path)?, json!({"x-kubernetes-validations": rules}));
    }
    Ok(())
}

fn fragments() -> Vec<(String, Value)> {
    let mut all = counts();
    all.extend(strategy());
    all.extend(names());
    all.extend(selector("spec.selector"));
    all.extend(selector(&format!("{PRIORITY}.weightPriority[].matchSelector")));
    all.extend(status());
    all
}

fn counts() -> Vec<(String, Value)> {
    vec![
        part("spec.replicas", json!({"default": 1, "minimum": 0})),
        part("spec.minReadySeconds", json!({"minimum": 0})),
        part("spec.revisionHistoryLimit", json!({"default": 10})),
        part("spec.progressDeadlineSeconds", json!({"default": 600, "minimum": 1})),
        part("spec.ordinals.start", json!({"default": 0, "minimum": 0})),
        part("spec.reserveOrdinals", json!({"maxItems": RESERVED_MAX})),
        part("spec.reserveOrdinals[]", json!({"maxLength": 31})),
        part("spec.scaleStrategy.maxUnavailable", json!({"maximum": INT32_MAX, "maxLength": 10})),
    ]
}

fn strategy() -> Vec<(String, Value)> {
    let retain = json!({"default": "Retain", "enum": ["Retain", "Delete", ""]});
    let in_place = |field: &str| format!("{ROLLING}.inPlaceUpdateStrategy.{field}");
    vec![
        part("spec.podManagementPolicy", json!({"default": "OrderedReady", "enum": ["OrderedReady", "Parallel", ""]})),
        part("spec.updateStrategy", json!({"default": {"type": "RollingUpdate"}})),
        part(
            "spec.updateStrategy.type",
            json!({"default": "RollingUpdate", "enum": ["RollingUpdate", "OnDelete", ""]}),
        ),
        part(&format!("{ROLLING}.partition"), json!({"default": 0, "maximum": INT32_MAX, "maxLength": 10})),
        part(&format!("{ROLLING}.maxUnavailable"), json!({"default": 1, "maximum": INT32_MAX, "maxLength": 10})),
        part(&format!("{ROLLING}.paused"), json!({"default": false})),
        part(
            &format!("{ROLLING}.podUpdatePolicy"),
            json!({"default": "InPlaceIfPossible", "enum": ["InPlaceIfPossible", "ReCreate", "InPlaceOnly", ""]}),
        ),
        part(&format!("{ROLLING}.minReadySeconds"), json!({"minimum": 0})),
        part(&in_place("gracePeriodSeconds"), json!({"default": 0, "minimum": 0})),
        part(&in_place("timeoutSeconds"), json!({"default": 600, "minimum": 1})),
        part(&in_place("env"), json!({"default": "Patch"})),
        part(&in_place("prePull"), json!({"default": false})),
        part(&in_place("restartAnnotations"), json!({"maxItems": ENTRIES_MAX})),
        part(&in_place("restartAnnotations[]"), json!({"minLength": 1, "maxLength": 400})),
        part(&format!("{ROLLING}.inPlaceUpdateStrategy"), json!({"properties": ignored_in_place()})),
        part(&format!("{PRIORITY}.orderPriority"), json!({"maxItems": ENTRIES_MAX})),
        part(
            &format!("{PRIORITY}.orderPriority[].orderedKey"),
            json!({"minLength": 1, "maxLength": LABEL_KEY_BYTES_MAX}),
        ),
        part(&format!("{PRIORITY}.weightPriority"), json!({"maxItems": ENTRIES_MAX})),
        part(&format!("{PRIORITY}.weightPriority[].weight"), json!({"minimum": 0, "maximum": 100})),
        part(
            "spec.persistentVolumeClaimRetentionPolicy",
            json!({"default": {"whenDeleted": "Retain", "whenScaled": "Retain"}}),
        ),
        part("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", retain.clone()),
        part("spec.persistentVolumeClaimRetentionPolicy.whenScaled", retain),
        part("spec.volumeClaimUpdateStrategy", json!({"default": {"type": "OnDelete"}})),
        part(
            "spec.volumeClaimUpdateStrategy.type",
            json!({"default": "OnDelete", "enum": ["OnDelete", "OnPodRollingUpdate", ""]}),
        ),
    ]
}

/// Fields of OpenKruise's strategy that mean nothing here: its manifests stay valid.
fn ignored_in_place() -> Value {
    let description = "Accepted and ignored, so that manifests of OpenKruise stay valid; see `prePull`.";
    json!({
        "imagePreDownloadParallelism": {"description": description, "x-kubernetes-int-or-string": true},
        "imagePreDownloadTimeoutSeconds": {"description": description, "type": "integer", "format": "int32"},
        "imagePreDownloadMinUpdatedReadyPods": {"description": description, "x-kubernetes-int-or-string": true},
    })
}

fn names() -> Vec<(String, Value)> {
    vec![
        part("spec.serviceName", json!({"maxLength": LABEL_BYTES_MAX})),
        part("spec.template", json!({"required": ["spec"]})),
        part("spec.template.metadata.labels", json!({"maxProperties": TEMPLATE_LABELS_MAX})),
        part("spec.template.metadata.labels{}", json!({"maxLength": LABEL_BYTES_MAX})),
        part("spec.template.spec.containers", json!({"minItems": 1})),
        part("spec.template.spec.restartPolicy", json!({"maxLength": LABEL_BYTES_MAX})),
        part("spec.volumeClaimTemplates", json!({"maxItems": ENTRIES_MAX})),
        part("spec.volumeClaimTemplates[]", json!({"required": ["metadata"]})),
        part("spec.volumeClaimTemplates[].metadata", json!({"required": ["name"]})),
        part("spec.volumeClaimTemplates[].metadata.name", json!({"maxLength": LABEL_BYTES_MAX, "pattern": DNS_LABEL})),
        part(
            "spec.volumeClaimTemplates[].status",
            json!({"description": "Accepted and ignored.", "properties": null, "required": null}),
        ),
    ]
}

fn selector(path: &str) -> Vec<(String, Value)> {
    let operators = ["In", "NotIn", "Exists", "DoesNotExist"];
    vec![
        part(&format!("{path}.matchLabels"), json!({"maxProperties": ENTRIES_MAX})),
        part(&format!("{path}.matchLabels{{}}"), json!({"maxLength": LABEL_BYTES_MAX})),
        part(&format!("{path}.matchExpressions"), json!({"maxItems": ENTRIES_MAX})),
        part(
            &format!("{path}.matchExpressions[].key"),
            json!({"minLength": 1, "maxLength": LABEL_KEY_BYTES_MAX, "pattern": LABEL_KEY}),
        ),
        part(&format!("{path}.matchExpressions[].operator"), json!({"enum": operators})),
        part(&format!("{path}.matchExpressions[].values"), json!({"maxItems": ENTRIES_MAX})),
        part(
            &format!("{path}.matchExpressions[].values[]"),
            json!({"maxLength": LABEL_BYTES_MAX, "pattern": LABEL_VALUE}),
        ),
    ]
}

/// A status that others write in part gets no counts that nobody counted.
fn status() -> Vec<(String, Value)> {
    let counts = [
        "status.replicas",
        "status.readyReplicas",
        "status.availableReplicas",
        "status.currentReplicas",
        "status.updatedReplicas",
        "status.updatedReadyReplicas",
        "status.updatedAvailableReplicas",
        "status.volumeClaims[].compatibleReplicas",
        "status.volumeClaims[].compatibleReadyReplicas",
    ];
    let conditions = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]});
    let mut all = vec![part("status.conditions", conditions)];
    all.extend(counts.map(|path| part(path, json!({"default": null}))));
    all
}

fn part(path: &str, part: Value) -> (String, Value) {
    (path.to_owned(), part)
}

/// Puts the keys of `part` into `schema`; objects are merged, null removes.
fn merge(schema: &mut Value, part: Value) {
    match (schema, part) {
        (Value::Object(schema), Value::Object(part)) => {
            for (key, value) in part {
                match (schema.get_mut(&key), value) {
                    (_, Value::Null) => {
                        schema.remove(&key);
                    }
                    (Some(present), value) => merge(present, value),
                    (None, value) => {
                        schema.insert(key, value);
                    }
                }
            }
        }
        (schema, part) => *schema = part,
    }
}
