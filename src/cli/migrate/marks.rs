//! What tools write on the objects that they deploy. On a set that no manifest of theirs names it would count as left over,
//! and could be deleted with its Pods; so it stays behind.

use kube::api::ObjectMeta;
use serde_json::{Map, Value};

use crate::cli::convert::set::Remark;

/// A tool's mark: a label or annotation.
struct Mark {
    key: Key,
    /// Alone where it has this value.
    value: Option<&'static str>,
    tool: &'static str,
    /// What the tool does by it.
    why: &'static str,
}

enum Key {
    Is(&'static str),
    Begins(&'static str),
}

const fn mark(key: Key, tool: &'static str, why: &'static str) -> Mark {
    Mark { key, value: None, tool, why }
}

const HELM: &str = "Helm takes what has it for its release's, to be changed and uninstalled with it";
const ARGO: &str = "Argo CD prunes what has it and is in no manifest of the application";
const FLUX: &str = "Flux prunes what has it and is in no manifest of its own";

const MARKS: [Mark; 11] = [
    mark(Key::Begins("meta.helm.sh/"), "Helm", HELM),
    Mark { key: Key::Is("app.kubernetes.io/managed-by"), value: Some("Helm"), tool: "Helm", why: HELM },
    mark(Key::Is("argocd.argoproj.io/instance"), "Argo CD", ARGO),
    mark(Key::Is("argocd.argoproj.io/tracking-id"), "Argo CD", ARGO),
    mark(Key::Begins("kustomize.toolkit.fluxcd.io/"), "Flux", FLUX),
    mark(Key::Begins("helm.toolkit.fluxcd.io/"), "Flux", FLUX),
    mark(Key::Begins("objectset.rio.cattle.io/"), "Fleet", "Fleet prunes what has it and is in no bundle"),
    mark(Key::Begins("kapp.k14s.io/"), "kapp", "kapp deletes what has it and is in no manifest of the app"),
    mark(
        Key::Is("applyset.kubernetes.io/part-of"),
        "kubectl apply --prune",
        "kubectl prunes what has it and is in no manifest of the set of objects",
    ),
    mark(Key::Is("config.k8s.io/owning-inventory"), "kpt", "kpt prunes what has it and is in no package"),
    mark(Key::Begins("configmanagement.gke.io/"), "Config Sync", "Config Sync prunes what has it and is in no source"),
];

impl Mark {
    fn is(&self, key: &str, value: &str) -> bool {
        let is_key = match self.key {
            Key::Is(whole) => key == whole,
            Key::Begins(first) => key.starts_with(first),
        };
        is_key && self.value.is_none_or(|wanted| wanted == value)
    }
}

fn found(key: &str, value: &str) -> Option<&'static Mark> {
    MARKS.iter().find(|mark| mark.is(key, value))
}

/// Argo CD may track by this label, which many give; that it wrote the object shows among the managers of fields.
const ARGO_BY_LABEL: Mark = mark(Key::Is("app.kubernetes.io/instance"), "Argo CD", ARGO);

fn is_of_argo(set: &ObjectMeta) -> bool {
    let mut managers = set.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref());
    managers.any(|manager| manager.starts_with("argocd"))
}

/// The tools that have left marks on the set.
pub fn tools(set: &ObjectMeta) -> Vec<&'static str> {
    let marks = set.labels.iter().flatten().chain(set.annotations.iter().flatten());
    let mut tools: Vec<&str> = marks.filter_map(|(key, value)| found(key, value)).map(|mark| mark.tool).collect();
    tools.extend(is_of_argo(set).then_some(ARGO_BY_LABEL.tool));
    tools.sort_unstable();
    tools.dedup();
    tools
}

/// Takes the marks, and finalizers, out of the metadata of a set that is to be made of `old`.
pub fn leave_out(metadata: &mut Map<String, Value>, old: &ObjectMeta) -> Vec<Remark> {
    let by_label = is_of_argo(old).then_some(&ARGO_BY_LABEL);
    let mut remarks = Vec::new();
    for part in ["labels", "annotations"] {
        let Some(entries) = metadata.get_mut(part).and_then(Value::as_object_mut) else { continue };
        entries.retain(|key, value| {
            let value = value.as_str().unwrap_or_default();
            let mark = found(key, value).or_else(|| by_label.filter(|mark| mark.is(key, value)));
            if let Some(mark) = mark {
                remarks.push(Remark::new(format!("metadata.{part}[{key}]"), format!("left out: {}", mark.why)));
            }
            mark.is_none()
        });
        if entries.is_empty() {
            metadata.remove(part);
        }
    }
    for finalizer in metadata.remove("finalizers").iter().filter_map(Value::as_array).flatten() {
        let text = "left out: whoever takes it away knows the other kind alone, and the set could not be deleted";
        remarks.push(Remark::new(format!("metadata.finalizers[{}]", finalizer.as_str().unwrap_or_default()), text));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_stay_behind_and_are_told_and_the_rest_goes_along() {
        let mut metadata = json!({
            "name": "web",
            "labels": {
                "app": "web", "app.kubernetes.io/managed-by": "Helm", "argocd.argoproj.io/instance": "shop",
                "kustomize.toolkit.fluxcd.io/name": "shop",
            },
            "annotations": {"meta.helm.sh/release-name": "web", "kapp.k14s.io/identity": "v1"},
            "finalizers": ["example.com/backup"],
        });
        let remarks = leave_out(metadata.as_object_mut().unwrap(), &ObjectMeta::default());
        assert_eq!(metadata, json!({"name": "web", "labels": {"app": "web"}}));
        let fields: Vec<&str> = remarks.iter().map(|remark| remark.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "metadata.labels[app.kubernetes.io/managed-by]",
                "metadata.labels[argocd.argoproj.io/instance]",
                "metadata.labels[kustomize.toolkit.fluxcd.io/name]",
                "metadata.annotations[kapp.k14s.io/identity]",
                "metadata.annotations[meta.helm.sh/release-name]",
                "metadata.finalizers[example.com/backup]",
            ]
        );
        assert!(remarks.iter().all(|remark| remark.text.starts_with("left out: ")));
    }

    #[test]
    fn labels_that_others_give_too_are_told_by_what_else_is_there() {
        let labels = json!({"app.kubernetes.io/managed-by": "us", "app.kubernetes.io/instance": "shop"});
        let mut metadata = json!({"labels": labels});
        assert_eq!(leave_out(metadata.as_object_mut().unwrap(), &ObjectMeta::default()), []);
        assert_eq!(metadata, json!({"labels": labels}));
        let managed = json!({"managedFields": [{"manager": "argocd-controller"}], "labels": {"meta.helm.sh/x": ""}});
        let old: ObjectMeta = serde_json::from_value(managed).unwrap();
        assert_eq!(leave_out(metadata.as_object_mut().unwrap(), &old).len(), 1);
        assert_eq!(tools(&old), ["Argo CD", "Helm"]);
    }
}
