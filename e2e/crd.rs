//! The definition: what the apiserver refuses, accepts and fills in by itself.

use asts::api::AdvancedStatefulSet;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::crd_cases::{Change, accepted_specs, changes, refused_specs};
use crate::harness::manifest::merge;
use crate::harness::{Context, Failure, Result, Space};
use crate::{ensure, ensure_eq, test_list};

test_list![
    impossible_specs_are_refused_with_the_field_named,
    possible_specs_are_accepted,
    changes_of_what_cannot_change_are_refused,
    names_leave_room_for_pods_and_claims,
    defaults_are_those_of_the_contract_and_no_others,
    every_field_of_the_others_is_accepted_and_kept,
    samples_are_accepted,
    a_strategy_is_changed_by_apply,
    the_scale_subresource_works,
    a_condition_needs_type_and_status_only,
];

/// The least that a set must have, with a merge patch of its spec.
pub fn minimal(name: &str, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "apps.asts.dev/v1beta1",
        "kind": "AdvancedStatefulSet",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
            },
        },
    });
    keep_nulls(&mut manifest["spec"], spec);
    manifest
}

/// A merge patch that writes nulls instead of removing what they name, but for what is there.
fn keep_nulls(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Some(fields) = target.as_object_mut() {
        for (key, value) in patch {
            keep_nulls(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

async fn dry_create(space: &Space, manifest: Value) -> std::result::Result<DynamicObject, kube::Error> {
    let object: DynamicObject = serde_json::from_value(manifest).map_err(kube::Error::SerdeError)?;
    space.sets().create(&PostParams { dry_run: true, ..Default::default() }, &object).await
}

fn all_of(failures: Vec<String>) -> Result {
    ensure!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

/// The message of a refusal, or why it was none.
fn refusal<T>(answer: std::result::Result<T, kube::Error>) -> std::result::Result<String, String> {
    match answer {
        Ok(_) => Err("was accepted".to_owned()),
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(status.message),
        Err(error) => Err(format!("failed otherwise: {error}")),
    }
}

async fn impossible_specs_are_refused_with_the_field_named(space: Space) -> Result {
    let mut failures = Vec::new();
    for case in refused_specs() {
        match refusal(dry_create(&space, minimal("web", case.spec.clone())).await) {
            Ok(message) if message.contains(case.says) => {}
            Ok(message) => {
                failures.push(format!("{}: {}: does not say {}: {message}", case.what, case.spec, case.says))
            }
            Err(why) => failures.push(format!("{}: {}: {why}", case.what, case.spec)),
        }
    }
    all_of(failures)
}

async fn possible_specs_are_accepted(space: Space) -> Result {
    let mut failures = Vec::new();
    for (what, spec) in accepted_specs() {
        match dry_create(&space, minimal("web", spec.clone())).await {
            Ok(object) => {
                let value = serde_json::to_value(&object)?;
                if let Err(error) = serde_json::from_value::<AdvancedStatefulSet>(value) {
                    failures.push(format!("{what}: {spec}: cannot be read back: {error}"));
                }
            }
            Err(error) => failures.push(format!("{what}: {spec}: {error}")),
        }
    }
    all_of(failures)
}

async fn changes_of_what_cannot_change_are_refused(space: Space) -> Result {
    let mut failures = Vec::new();
    for (number, Change { what, before, change, says }) in changes().into_iter().enumerate() {
        let name = format!("set-{number}");
        let spec = json!({"replicas": 0});
        let mut manifest = minimal(&name, spec);
        merge(&mut manifest["spec"], before);
        space.create(manifest).await.context(what)?;
        let parameters = PatchParams { dry_run: true, ..Default::default() };
        let answer = space.sets().patch(&name, &parameters, &Patch::Merge(json!({"spec": change}))).await;
        match (says, answer) {
            (None, Ok(_)) => {}
            (None, Err(error)) => failures.push(format!("{what}: {error}")),
            (Some(says), answer) => match refusal(answer) {
                Ok(message) if message.contains(says) => {}
                Ok(message) => failures.push(format!("{what}: does not say {says}: {message}")),
                Err(why) => failures.push(format!("{what}: {why}")),
            },
        }
    }
    all_of(failures)
}

async fn names_leave_room_for_pods_and_claims(space: Space) -> Result {
    let claims = |length: usize| json!({"volumeClaimTemplates": [{"metadata": {"name": "c".repeat(length)}}]});
    for (name, claim, fits) in [(180, 63, true), (251, 0, true), (252, 0, false), (187, 63, true), (188, 63, false)] {
        let spec = if claim == 0 { json!({}) } else { claims(claim) };
        let answer = dry_create(&space, minimal(&"n".repeat(name), spec)).await;
        let shown = format!("a name of {name} with a claim of {claim}");
        match (fits, answer) {
            (true, answer) => drop(answer.context(shown)?),
            (false, answer) => {
                let message = refusal(answer).map_err(|why| Failure(format!("{shown}: {why}")))?;
                ensure!(message.contains("metadata.name: must have"), "{shown}: {message}");
            }
        }
    }
    let upper = refusal(dry_create(&space, minimal("Web", json!({}))).await).map_err(Failure)?;
    ensure!(upper.contains("metadata.name"), "{upper}");
    dry_create(&space, minimal("web.with.dots", json!({}))).await.context("a name with dots")?;
    Ok(())
}

async fn defaults_are_those_of_the_contract_and_no_others(space: Space) -> Result {
    let defaulted = async |spec: Value| -> Result<Value> {
        let stored = dry_create(&space, minimal("web", spec)).await?;
        let mut spec = stored.data["spec"].clone();
        let fields = spec.as_object_mut().context("the spec")?;
        fields.retain(|key, _| !matches!(key.as_str(), "selector" | "template"));
        Ok(spec)
    };
    let mut expected = json!({
        "replicas": 1,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate"},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "volumeClaimUpdateStrategy": {"type": "OnDelete"},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    });
    ensure_eq!(defaulted(json!({})).await?, expected, "with nothing given");
    expected["updateStrategy"] = json!({"type": "OnDelete"});
    ensure_eq!(defaulted(json!({"updateStrategy": {"type": "OnDelete"}})).await?, expected, "with OnDelete");
    let null = json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}});
    ensure_eq!(defaulted(null).await?, expected, "with OnDelete and a null");
    expected["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {
        "partition": 0, "maxUnavailable": 1, "paused": false, "podUpdatePolicy": "InPlaceIfPossible",
        "inPlaceUpdateStrategy": {"gracePeriodSeconds": 0, "timeoutSeconds": 600, "env": "Patch", "prePull": false},
    }});
    let blocks = json!({"updateStrategy": {"rollingUpdate": {"inPlaceUpdateStrategy": {}}}});
    ensure_eq!(defaulted(blocks).await?, expected, "with empty blocks");
    let stored = dry_create(&space, minimal("web", json!({}))).await?;
    let template = minimal("web", json!({}))["spec"]["template"].clone();
    ensure_eq!(stored.data["spec"]["template"], template, "the template");
    Ok(())
}

/// Where `written` says something, `stored` says the same. Fields that mean nothing may be gone.
fn kept(written: &Value, stored: &Value, path: &str) -> Result {
    match (written, stored) {
        (Value::Object(written), Value::Object(stored)) => written
            .iter()
            .filter(|(_, value)| !value.is_null())
            .try_for_each(|(key, value)| kept(value, &stored[key], &format!("{path}.{key}"))),
        (Value::Array(written), Value::Array(stored)) if written.len() == stored.len() => {
            written.iter().zip(stored).enumerate().try_for_each(|(n, (w, s))| kept(w, s, &format!("{path}[{n}]")))
        }
        (Value::Number(written), Value::Number(stored)) if written.as_f64() == stored.as_f64() => Ok(()),
        (written, stored) => {
            ensure_eq!(stored, written, "{path}");
            Ok(())
        }
    }
}

async fn every_field_of_the_others_is_accepted_and_kept(space: Space) -> Result {
    for file in ["native-every-field.yaml", "openkruise-every-field.yaml"] {
        let path = format!("e2e/fixtures/{file}");
        let text = std::fs::read_to_string(&path).context(&path)?;
        let mut written: Value = serde_saphyr::from_str(&text).context(&path)?;
        written["apiVersion"] = json!("apps.asts.dev/v1beta1");
        written["kind"] = json!("AdvancedStatefulSet");
        // kubectl checks strictly: a field that the schema does not know is an error.
        space.apply(&written).context(file)?;
        let name = written["metadata"]["name"].as_str().context("the name")?;
        let stored = space.sets().get(name).await?;
        kept(&written["spec"], &stored.data["spec"], &format!("{file}: spec"))?;
        space.set(name).await.context(format!("{file}: read back"))?;
    }
    Ok(())
}

async fn samples_are_accepted(space: Space) -> Result {
    let answer = space.kubectl(&["apply", "--dry-run=server", "-f", "config/samples"], None)?;
    ensure!(answer.lines().count() >= 10, "few samples: {answer}");
    Ok(())
}

/// Defaults inside `rollingUpdate` must not stay behind when the block is taken out of a manifest.
async fn a_strategy_is_changed_by_apply(space: Space) -> Result {
    for (name, mode) in [("by-client", "--server-side=false"), ("by-server", "--server-side=true")] {
        let with = |strategy: Value| minimal(name, json!({"replicas": 0, "updateStrategy": strategy})).to_string();
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2, "inPlaceUpdateStrategy": {}}});
        space.kubectl(&["apply", mode, "-f", "-"], Some(&with(rolling))).context(name)?;
        let on_delete = json!({"type": "OnDelete"});
        space.kubectl(&["apply", mode, "-f", "-"], Some(&with(on_delete.clone()))).context(name)?;
        let stored = space.sets().get(name).await?;
        ensure_eq!(stored.data["spec"]["updateStrategy"], on_delete, "{name}: the strategy");
    }
    Ok(())
}

async fn the_scale_subresource_works(space: Space) -> Result {
    space.create(minimal("web", json!({"replicas": 0, "updateStrategy": {"type": "OnDelete"}}))).await?;
    space.kubectl(&["scale", "asts/web", "--replicas=2"], None)?;
    let scale = space.sets().get_scale("web").await?;
    ensure_eq!(scale.spec.and_then(|spec| spec.replicas), Some(2), "the scale's replicas");
    let columns = space.kubectl(&["get", "asts", "-o", "wide"], None)?;
    for column in ["DESIRED", "UPDATED", "READY", "AVAILABLE", "PAUSED", "AGE", "IMAGES", "REVISION"] {
        ensure!(columns.contains(column), "no {column}: {columns}");
    }
    Ok(())
}

async fn a_condition_needs_type_and_status_only(space: Space) -> Result {
    space.create(minimal("web", json!({"replicas": 0}))).await?;
    let parameters = PatchParams { dry_run: true, ..Default::default() };
    let patch = async |conditions: Value| {
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        space.sets().patch_status("web", &parameters, &patch).await
    };
    patch(json!([{"type": "Mine", "status": "True"}])).await.context("type and status")?;
    let message = refusal(patch(json!([{"type": "Mine"}])).await).map_err(Failure)?;
    ensure!(message.contains("status.conditions[0].status"), "{message}");
    let twice = json!([{"type": "Mine", "status": "True"}, {"type": "Mine", "status": "False"}]);
    let message = refusal(patch(twice).await).map_err(Failure)?;
    ensure!(message.contains("Duplicate"), "{message}");
    Ok(())
}
