//! An AdvancedStatefulSet in the shape of a native StatefulSet, and what is lost by that.

use serde_json::{Map, Value, json};

use crate::api::names;
use crate::api::spec::{
    AdvancedStatefulSetSpec, EnvUpdate, PodUpdatePolicy, RollingUpdate, VolumeClaimUpdateStrategyType,
};
use crate::cli::convert::set::{Remark, users_metadata};
use crate::cli::error::CliError;
use crate::model::ValidSpec;
use crate::model::count::Count;

/// Fields that both have, with the same meaning.
const SHARED: [&str; 8] = [
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
    "podManagementPolicy",
    "replicas",
    "revisionHistoryLimit",
    "selector",
    "serviceName",
    "volumeClaimTemplates",
];

/// A native StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct Native {
    /// Its `updateStrategy` is the one that it is to have in the end.
    pub object: Value,
    /// Fields that have no counterpart, and do something.
    pub lost: Vec<Remark>,
    /// Metadata that does not go along, and does nothing for the set itself.
    pub left: Vec<Remark>,
}

/// Shapes a whole AdvancedStatefulSet.
///
/// # Errors
/// The spec makes no sense.
pub fn shaped(set: &Value) -> Result<Native, CliError> {
    let failed = |text: String| CliError::Failed(format!("the set's spec: {text}"));
    let raw = set.get("spec").cloned().unwrap_or_default();
    let typed: AdvancedStatefulSetSpec =
        serde_json::from_value(raw.clone()).map_err(|error| failed(error.to_string()))?;
    let valid = ValidSpec::parse(&typed)
        .map_err(|errors| failed(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let mut lost = Vec::new();
    let mut spec: Map<String, Value> = SHARED
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), raw.get(*key).filter(|value| !value.is_null())?.clone())))
        .collect();
    spec.insert("template".into(), template(raw.get("template"), &mut lost));
    if valid.min_ready_seconds > 0 {
        spec.insert("minReadySeconds".into(), valid.min_ready_seconds.into());
    }
    let rolling = typed.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.clone());
    spec.insert("updateStrategy".into(), strategy(&valid, &rolling.clone().unwrap_or_default()));
    lost.extend(of_set(&typed, &valid));
    lost.extend(rolling.iter().flat_map(of_rollouts));
    let metadata = users_metadata(set.get("metadata"));
    Ok(Native {
        object: json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}),
        lost,
        left: Vec::new(),
    })
}

/// A template as [`shaped`] has it.
pub fn template_of(given: &Value) -> Value {
    template(Some(given), &mut Vec::new())
}

/// Our gate in a template would keep the native set's new Pods from ever being Ready.
fn template(given: Option<&Value>, lost: &mut Vec<Remark>) -> Value {
    let mut template = given.cloned().unwrap_or_default();
    let Some(pod) = template.get_mut("spec").and_then(Value::as_object_mut) else { return template };
    let Some(gates) = pod.get_mut("readinessGates").and_then(Value::as_array_mut) else { return template };
    let before = gates.len();
    gates.retain(|gate| gate.get("conditionType").and_then(Value::as_str) != Some(names::READINESS_GATE));
    if gates.len() < before {
        let text = format!("nobody opens the gate {} of a native set's Pods", names::READINESS_GATE);
        lost.push(Remark::new("spec.template.spec.readinessGates", text));
    }
    if gates.is_empty() {
        pod.remove("readinessGates");
    }
    template
}

fn strategy(valid: &ValidSpec, rolling: &RollingUpdate) -> Value {
    if valid.on_delete {
        return json!({"type": "OnDelete"});
    }
    let mut native = json!({"partition": valid.rolling.partition});
    if let Some(budget) = &rolling.max_unavailable {
        native["maxUnavailable"] = json!(budget);
    }
    json!({"type": "RollingUpdate", "rollingUpdate": native})
}

fn of_set(spec: &AdvancedStatefulSetSpec, valid: &ValidSpec) -> Vec<Remark> {
    let mut lost = Vec::new();
    let mut note = |is_there: bool, field: &str, text: &str| {
        if is_there {
            lost.push(Remark::new(format!("spec.{field}"), text));
        }
    };
    let reserves = spec.reserve_ordinals.as_ref().is_some_and(|list| !list.is_empty());
    note(reserves, "reserveOrdinals", "a native set uses every ordinal");
    note(valid.scale_max_unavailable.is_some(), "scaleStrategy.maxUnavailable", "a native set makes all Pods at once");
    note(!valid.hooks.is_empty(), "lifecycle", "a native set has no hooks");
    let grows = spec.volume_claim_update_strategy.as_ref().and_then(|strategy| strategy.type_)
        == Some(VolumeClaimUpdateStrategyType::OnPodRollingUpdate);
    note(grows, "volumeClaimUpdateStrategy.type", "claims of a native set do not grow with its template");
    let deadline = spec.progress_deadline_seconds.is_some_and(|seconds| seconds != 600);
    note(deadline, "progressDeadlineSeconds", "a native set has no deadline");
    lost
}

fn of_rollouts(rolling: &RollingUpdate) -> Vec<Remark> {
    let mut lost = Vec::new();
    let mut note = |is_there: bool, field: &str, text: &str| {
        if is_there {
            lost.push(Remark::new(format!("spec.updateStrategy.rollingUpdate.{field}"), text));
        }
    };
    let percent = rolling.partition.as_ref().and_then(|value| Count::parse(value).ok());
    let percent = matches!(percent, Some(Count::Percent(percent)) if percent > 0);
    note(percent, "partition", "a native partition is a number, and does not follow the replicas");
    note(rolling.paused == Some(true), "paused", "a native set cannot be paused; its partition can hold Pods back");
    let policy = rolling.pod_update_policy == Some(PodUpdatePolicy::InPlaceOnly);
    note(policy, "podUpdatePolicy", "a native set re-creates Pods for every change");
    note(rolling.unordered_update.is_some(), "unorderedUpdate", "a native set goes from the highest ordinal down");
    let in_place = rolling.in_place_update_strategy.clone().unwrap_or_default();
    let only = "has no meaning where Pods are re-created";
    let later_than = |given: Option<i32>, default: i32| given.is_some_and(|seconds| seconds != default);
    for (is_there, field) in [
        (later_than(in_place.grace_period_seconds, 0), "gracePeriodSeconds"),
        (later_than(in_place.timeout_seconds, 600), "timeoutSeconds"),
        (in_place.env == Some(EnvUpdate::Annotations), "env"),
        (in_place.pre_pull == Some(true), "prePull"),
        (in_place.restart_annotations.is_some(), "restartAnnotations"),
    ] {
        note(is_there, &format!("inPlaceUpdateStrategy.{field}"), only);
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spec: Value) -> Value {
        let mut object = json!({
            "apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": {"a": "b"}, "resourceVersion": "1"},
            "spec": {
                "replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "serviceName": "web",
                "podManagementPolicy": "Parallel", "revisionHistoryLimit": 3, "ordinals": {"start": 2},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
                "progressDeadlineSeconds": 600,
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
                },
            },
            "status": {"replicas": 4},
        });
        if let (Some(target), Some(more)) = (object["spec"].as_object_mut(), spec.as_object()) {
            target.extend(more.clone());
        }
        object
    }

    fn lost(spec: Value) -> Vec<String> {
        shaped(&set(spec)).unwrap().lost.into_iter().map(|remark| remark.field).collect()
    }

    #[test]
    fn what_both_have_is_kept() {
        let before = set(
            json!({"minReadySeconds": 7, "updateStrategy": {"rollingUpdate": {"maxUnavailable": "25%", "partition": 1}}}),
        );
        let native = shaped(&before).unwrap();
        let mut spec = before["spec"].clone();
        spec.as_object_mut().unwrap().remove("progressDeadlineSeconds");
        spec["updateStrategy"] =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "partition": 1}});
        assert_eq!(
            native.object,
            json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}}, "spec": spec,
            })
        );
        assert_eq!(native.lost, []);
    }

    #[test]
    fn what_a_native_set_does_not_have_is_named() {
        for (spec, field) in [
            (json!({"reserveOrdinals": [9]}), "spec.reserveOrdinals"),
            (json!({"scaleStrategy": {"maxUnavailable": 2}}), "spec.scaleStrategy.maxUnavailable"),
            (json!({"lifecycle": {"preDelete": {"labelsHandler": {"a": "b"}}}}), "spec.lifecycle"),
            (
                json!({"volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"}}),
                "spec.volumeClaimUpdateStrategy.type",
            ),
            (json!({"progressDeadlineSeconds": 30}), "spec.progressDeadlineSeconds"),
        ] {
            assert_eq!(lost(spec), [field]);
        }
        for (rolling, field) in [
            (json!({"partition": "50%"}), "partition"),
            (json!({"paused": true}), "paused"),
            (json!({"podUpdatePolicy": "InPlaceOnly"}), "podUpdatePolicy"),
            (
                json!({"unorderedUpdate": {"priorityStrategy": {"orderPriority": [{"orderedKey": "a"}]}}}),
                "unorderedUpdate",
            ),
            (json!({"inPlaceUpdateStrategy": {"gracePeriodSeconds": 5}}), "inPlaceUpdateStrategy.gracePeriodSeconds"),
            (json!({"inPlaceUpdateStrategy": {"env": "Annotations"}}), "inPlaceUpdateStrategy.env"),
            (json!({"inPlaceUpdateStrategy": {"prePull": true}}), "inPlaceUpdateStrategy.prePull"),
        ] {
            let found = lost(json!({"updateStrategy": {"rollingUpdate": rolling}}));
            assert_eq!(found, [format!("spec.updateStrategy.rollingUpdate.{field}")]);
        }
        let gates = json!({"template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "containers": [{"name": "app"}], "readinessGates": [{"conditionType": "InPlaceUpdateReady"}]}}});
        assert_eq!(lost(gates), ["spec.template.spec.readinessGates"]);
    }

    #[test]
    fn defaults_are_no_loss() {
        let rolling = json!({
            "partition": 0, "paused": false, "podUpdatePolicy": "InPlaceIfPossible",
            "inPlaceUpdateStrategy": {"gracePeriodSeconds": 0, "timeoutSeconds": 600, "env": "Patch", "prePull": false},
        });
        assert_eq!(
            lost(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}, "reserveOrdinals": []})),
            [""; 0]
        );
    }

    #[test]
    fn a_percentage_becomes_what_it_is_now() {
        let native =
            shaped(&set(json!({"updateStrategy": {"rollingUpdate": {"partition": "50%", "minReadySeconds": 9}}})))
                .unwrap();
        assert_eq!(native.object.pointer("/spec/updateStrategy/rollingUpdate/partition"), Some(&json!(2)));
        assert_eq!(native.object.pointer("/spec/minReadySeconds"), Some(&json!(9)));
        let on_delete = shaped(&set(json!({"updateStrategy": {"type": "OnDelete"}}))).unwrap();
        assert_eq!(on_delete.object["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    }
}
