//! One StatefulSet → one AdvancedStatefulSet that behaves as before, with a remark on each difference.

use std::fmt;

use serde_json::{Map, Value, json};

use super::kruise;
use crate::api::names;
use crate::api::spec::{AdvancedStatefulSetSpec, PodUpdatePolicy};
use crate::model::{ValidSpec, canonical};

/// Whose StatefulSet a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `apps/v1`.
    Native,
    /// `apps.kruise.io/v1beta1`.
    Kruise,
    /// `apps.kruise.io/v1alpha1`, which has fewer fields.
    KruiseAlpha,
}

/// What is to be said of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Such as `spec.updateStrategy.type`.
    pub field: String,
    pub text: String,
}

impl Remark {
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Remark {
        Remark { field: field.into(), text: text.into() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.text)
    }
}

/// An AdvancedStatefulSet, and what is different from before.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    pub object: Value,
    pub notes: Vec<Remark>,
}

impl Source {
    /// `None`: no StatefulSet.
    ///
    /// # Errors
    /// A StatefulSet of a version that is not known.
    pub fn of(object: &Value) -> Result<Option<Source>, Remark> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("kind") != "StatefulSet" {
            return Ok(None);
        }
        let version = text("apiVersion");
        let unknown = |why: &str| Err(Remark::new("apiVersion", format!("{version:?} {why}")));
        match version {
            "apps/v1" => Ok(Some(Source::Native)),
            "apps.kruise.io/v1beta1" => Ok(Some(Source::Kruise)),
            "apps.kruise.io/v1alpha1" => Ok(Some(Source::KruiseAlpha)),
            "apps/v1beta1" | "apps/v1beta2" => unknown("is not served any more: write the manifest as apps/v1 first"),
            _ if version.starts_with("apps/") || version.starts_with("apps.kruise.io/") => {
                unknown("is no version that is known: apps/v1, apps.kruise.io/v1beta1 and v1alpha1 are")
            }
            _ => Ok(None),
        }
    }

    fn is_kruise(self) -> bool {
        self != Source::Native
    }

    /// Fields of its spec.
    fn fields(self) -> Vec<&'static str> {
        let mut fields = vec![
            "podManagementPolicy",
            "replicas",
            "revisionHistoryLimit",
            "selector",
            "serviceName",
            "template",
            "updateStrategy",
            "volumeClaimTemplates",
        ];
        match self {
            Source::Native => fields.extend(["minReadySeconds", "ordinals", "persistentVolumeClaimRetentionPolicy"]),
            Source::Kruise => fields.extend(kruise::BETA_FIELDS),
            Source::KruiseAlpha => {}
        }
        fields
    }

    /// Fields of its `updateStrategy.rollingUpdate`.
    fn rolling_fields(self) -> &'static [&'static str] {
        match self {
            Source::Native => &["maxUnavailable", "partition"],
            Source::Kruise | Source::KruiseAlpha => &kruise::ROLLING_FIELDS,
        }
    }
}

/// What the server writes, and what kubectl keeps of its own.
const SERVERS_METADATA: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const SERVERS_FINALIZERS: [&str; 2] = ["orphan", "foregroundDeletion"];

pub(super) const ROLLING: &str = "spec.updateStrategy.rollingUpdate";

/// Converts a StatefulSet. `policy`: how Pods are to be updated, where not as before.
///
/// # Errors
/// Each field that has no counterpart, or no sense.
pub fn converted(object: &Value, source: Source, policy: Option<PodUpdatePolicy>) -> Result<Converted, Vec<Remark>> {
    let mut notes = Vec::new();
    let mut errors = Vec::new();
    let metadata = metadata(object.get("metadata"), source, &mut notes);
    // A null is an absent field, and not so to a server-side apply of a custom resource.
    let Some(mut spec) = object.get("spec").map(canonical::without_nulls).and_then(object_of) else {
        return Err(vec![Remark::new("spec", "is missing")]);
    };
    if source.is_kruise() {
        kruise::spec(&mut spec, source, &mut notes);
    }
    refuse_unknown(&spec, source, &mut errors);
    strategy(&mut spec, source, policy, &mut notes, &mut errors);
    if errors.is_empty() {
        errors = check(&spec);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let object = json!({"apiVersion": names::API_VERSION, "kind": names::KIND, "metadata": metadata, "spec": spec});
    Ok(Converted { object, notes })
}

fn object_of(value: Value) -> Option<Map<String, Value>> {
    if let Value::Object(object) = value { Some(object) } else { None }
}

fn without_nulls(object: &Map<String, Value>) -> Map<String, Value> {
    object.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What a user wrote of the metadata.
pub fn users_metadata(given: Option<&Value>) -> Map<String, Value> {
    let mut metadata = given.and_then(Value::as_object).map(without_nulls).unwrap_or_default();
    metadata.retain(|key, _| !SERVERS_METADATA.contains(&key.as_str()));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|one| !one.as_str().is_some_and(|name| SERVERS_FINALIZERS.contains(&name)));
    }
    drop_empty(&mut metadata);
    metadata
}

fn drop_empty(metadata: &mut Map<String, Value>) {
    metadata.retain(|_, value| !value.as_object().is_some_and(Map::is_empty));
    metadata.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
}

fn metadata(given: Option<&Value>, source: Source, notes: &mut Vec<Remark>) -> Map<String, Value> {
    let mut metadata = users_metadata(given);
    if source.is_kruise() {
        kruise::metadata(&mut metadata, notes);
        drop_empty(&mut metadata);
    }
    for owner in metadata.get("ownerReferences").and_then(Value::as_array).into_iter().flatten() {
        let named = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
        notes.push(Remark::new(
            "metadata.ownerReferences",
            format!(
                "kept: {} {} owns the set, and may make a StatefulSet in its place again",
                named("kind"),
                named("name")
            ),
        ));
    }
    metadata
}

fn refuse_unknown(spec: &Map<String, Value>, source: Source, errors: &mut Vec<Remark>) {
    let known = source.fields();
    let unknown = spec.keys().filter(|key| !known.contains(&key.as_str())).map(|key| format!("spec.{key}"));
    let parts = |pointer: &str| {
        let mut at = spec.get("updateStrategy");
        if pointer == "rollingUpdate" {
            at = at.and_then(|strategy| strategy.get(pointer));
        }
        at.and_then(Value::as_object).map(|object| object.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
    };
    let in_strategy = parts("").into_iter().filter(|key| !["type", "rollingUpdate"].contains(&key.as_str()));
    let in_rolling = parts("rollingUpdate").into_iter().filter(|key| !source.rolling_fields().contains(&key.as_str()));
    let unknown = unknown
        .chain(in_strategy.map(|key| format!("spec.updateStrategy.{key}")))
        .chain(in_rolling.map(|key| format!("{ROLLING}.{key}")));
    errors.extend(unknown.map(|field| Remark::new(field, "has no counterpart: take it out, or correct its name")));
}

/// `updateStrategy`: bounds that are narrower here, and the policy written out where the default would be another.
fn strategy(
    spec: &mut Map<String, Value>,
    source: Source,
    policy: Option<PodUpdatePolicy>,
    notes: &mut Vec<Remark>,
    errors: &mut Vec<Remark>,
) {
    let replicas = spec.get("replicas").cloned().unwrap_or_else(|| json!(1));
    let strategy = spec.entry("updateStrategy").or_insert_with(|| json!({}));
    let Some(strategy) = strategy.as_object_mut() else { return };
    let kind = strategy.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "" | "RollingUpdate" => {}
        "OnDelete" => {
            strategy.retain(|key, value| key != "rollingUpdate" || !value.is_null());
            return;
        }
        "Recreate" => {
            let text = "Recreate has no counterpart: use RollingUpdate, with maxUnavailable: 100% and \
                        podManagementPolicy: Parallel to replace all Pods at once";
            return errors.push(Remark::new("spec.updateStrategy.type", text));
        }
        other => {
            let text = format!("{other:?} has no counterpart: RollingUpdate and OnDelete are known");
            return errors.push(Remark::new("spec.updateStrategy.type", text));
        }
    }
    if strategy.get("rollingUpdate").is_none_or(Value::is_null) {
        strategy.insert("rollingUpdate".into(), json!({}));
    }
    let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) else { return };
    at_most_all(rolling, ROLLING, &replicas, notes);
    write_policy(rolling, source, policy, notes);
}

/// More than 100 % is refused here, and means as much.
pub(super) fn at_most_all(parent: &mut Map<String, Value>, path: &str, replicas: &Value, notes: &mut Vec<Remark>) {
    let Some(value) = parent.get_mut("maxUnavailable") else { return };
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|digits| digits.parse::<u64>().ok());
    if percent.is_some_and(|percent| percent > 100) {
        let text =
            format!("{} is written as 100%, which is as much: all {replicas} Pods", value.as_str().unwrap_or_default());
        notes.push(Remark::new(format!("{path}.maxUnavailable"), text));
        *value = json!("100%");
    }
}

fn write_policy(
    rolling: &mut Map<String, Value>,
    source: Source,
    policy: Option<PodUpdatePolicy>,
    notes: &mut Vec<Remark>,
) {
    let field = format!("{ROLLING}.podUpdatePolicy");
    let given =
        rolling.get("podUpdatePolicy").and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(policy) = policy {
        let text = format!("{policy:?}, as --pod-update-policy says");
        if given.is_none_or(|given| given != format!("{policy:?}")) {
            notes.push(Remark::new(field, text));
        }
        rolling.insert("podUpdatePolicy".into(), json!(policy));
        return;
    }
    match given.as_deref() {
        None => {
            let whose = if source.is_kruise() { "OpenKruise's default" } else { "as a native StatefulSet does" };
            let text = format!(
                "ReCreate is written out: {whose}. Without this line Pods are updated in place where \
                 that can be; those made with it have no readiness gate {} and are taken out of service first only once \
                 they were made anew",
                names::READINESS_GATE
            );
            notes.push(Remark::new(field, text));
            rolling.insert("podUpdatePolicy".into(), json!("ReCreate"));
        }
        Some("InPlaceIfPossible" | "InPlaceOnly") => {
            let text = "more is changed in place here than images, labels and annotations: kubectl asts plan tells";
            notes.push(Remark::new(field, text));
        }
        Some(_) => {}
    }
}

/// Whether the spec is one that the manager understands.
fn check(spec: &Map<String, Value>) -> Vec<Remark> {
    // Checked by the apiserver against its own types when it is applied.
    let typed: AdvancedStatefulSetSpec = match serde_json::from_value(Value::Object(spec.clone())) {
        Ok(typed) => typed,
        Err(error) => return vec![Remark::new("spec", error.to_string())],
    };
    match ValidSpec::parse(&typed) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| Remark::new(error.path, error.message)).collect(),
    }
}
