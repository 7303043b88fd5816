//! From what was typed to the set as it would be: the apiserver says so in a dry run, with its own checks and defaults.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::edits::Edit;
use super::merges::{merge, overlay, three_way};
use crate::api::names;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::cli::manifest::Manifest;
use crate::cli::target::Target;
use crate::control::inquire::escaped;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A set before and after.
#[derive(Debug)]
pub struct Proposal {
    pub target: Target,
    /// `None`: it is not there yet.
    pub before: Option<Value>,
    pub after: Value,
}

/// How a manifest would be applied, as the flags of `kubectl apply` say.
#[derive(Clone, Debug)]
pub struct Applying {
    pub server_side: bool,
    pub force_conflicts: bool,
    pub field_manager: String,
}

/// A change of a set that is there.
#[derive(Clone, Debug)]
pub enum Change {
    None,
    Merge(Value),
    Json(Value),
}

fn sets(session: &Session, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(names::GROUP, names::VERSION, names::KIND);
    let resource = ApiResource::from_gvk_with_plural(&kind, "advancedstatefulsets");
    Api::namespaced_with(session.client.clone(), namespace, &resource)
}

fn json_of(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// What applying a manifest would make of its set.
pub async fn of_manifest(
    session: &Session,
    target: Target,
    manifest: &Manifest,
    edits: &[Edit],
    applying: &Applying,
) -> Result<Proposal, CliError> {
    let wrong = |message: String| CliError::Manifest { place: manifest.place.clone(), message };
    let mut wanted = manifest.object.clone();
    for edit in edits {
        edit.make(&mut wanted).map_err(wrong)?;
    }
    let api = sets(session, &target.namespace);
    let before = api.get_opt(&target.name).await?.map(|live| json_of(&live));
    let after = match &before {
        _ if applying.server_side => apply(&api, &target, &wanted, applying).await?,
        None => create(session, &target, &wanted, applying).await?,
        Some(live) => {
            let last = live.pointer("/metadata/annotations").and_then(|annotations| annotations.get(LAST_APPLIED));
            let last: Option<Value> = last.and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
            let patch = three_way(last.as_ref(), &wanted, live);
            patched(&api, &target, &Patch::Merge(patch), applying).await?
        }
    };
    Ok(Proposal { target, before, after })
}

/// What a patch and small changes would make of a set that is there.
pub async fn of_change(
    session: &Session,
    target: Target,
    edits: &[Edit],
    change: &Change,
    applying: &Applying,
) -> Result<Proposal, CliError> {
    let api = sets(session, &target.namespace);
    let before = json_of(&api.get(&target.name).await?);
    let given = match change {
        Change::Merge(given) => given.clone(),
        Change::None | Change::Json(_) => json!({}),
    };
    let patch = with_edits(&before, given, edits)
        .map_err(|message| CliError::Failed(format!("--set: set {}: {message}", target.name)))?;
    let after = match change {
        Change::None if edits.is_empty() => before.clone(),
        Change::None | Change::Merge(_) => patched(&api, &target, &Patch::Merge(patch), applying).await?,
        Change::Json(given) => {
            let given = serde_json::from_value(given.clone())
                .map_err(|error| CliError::Flag { flag: "--patch", message: format!("not a JSON patch: {error}") })?;
            patched(&api, &target, &Patch::Json::<()>(given), applying).await?
        }
    };
    Ok(Proposal { target, before: Some(before), after })
}

/// A merge patch, and small changes of what it makes of a set.
fn with_edits(before: &Value, mut patch: Value, edits: &[Edit]) -> Result<Value, String> {
    let mut edited = before.clone();
    merge(&mut edited, &patch);
    for edit in edits {
        edit.make(&mut edited)?;
    }
    // Lists go whole in a merge patch.
    for field in ["containers", "initContainers"].into_iter().filter(|_| !edits.is_empty()) {
        if let Some(list) = edited.pointer(&format!("/spec/template/spec/{field}")) {
            overlay(&mut patch, json!({"spec": {"template": {"spec": {field: list}}}}));
        }
    }
    Ok(patch)
}

/// What `kubectl apply` does where there is nothing yet. (`Api::create` does not ask for strict validation.)
async fn create(session: &Session, target: &Target, wanted: &Value, applying: &Applying) -> Result<Value, CliError> {
    let uri = format!(
        "/apis/{}/namespaces/{}/advancedstatefulsets?dryRun=All&fieldValidation=Strict&fieldManager={}",
        names::API_VERSION,
        escaped(&target.namespace),
        escaped(&applying.field_manager)
    );
    let request = http::Request::post(uri)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(wanted.to_string().into_bytes())
        .map_err(|error| CliError::Failed(format!("the request cannot be made: {error}")))?;
    Ok(session.client.request(request).await?)
}

async fn apply(
    api: &Api<DynamicObject>,
    target: &Target,
    wanted: &Value,
    applying: &Applying,
) -> Result<Value, CliError> {
    let parameters = PatchParams {
        dry_run: true,
        force: applying.force_conflicts,
        field_manager: Some(applying.field_manager.clone()),
        field_validation: Some(ValidationDirective::Strict),
    };
    Ok(json_of(&api.patch(&target.name, &parameters, &Patch::Apply(wanted)).await?))
}

async fn patched<P: serde::Serialize + std::fmt::Debug>(
    api: &Api<DynamicObject>,
    target: &Target,
    patch: &Patch<P>,
    applying: &Applying,
) -> Result<Value, CliError> {
    let parameters = PatchParams {
        dry_run: true,
        field_manager: Some(applying.field_manager.clone()),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    };
    Ok(json_of(&api.patch(&target.name, &parameters, patch).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_are_made_of_what_the_patch_brings() {
        let before = json!({"spec": {"replicas": 3, "template": {"spec": {
            "hostNetwork": true,
            "containers": [{"name": "app", "image": "app:v1"}],
        }}}});
        let edits: Vec<Edit> = vec!["image=app=app:v3".parse().unwrap()];
        let given = json!({"spec": {"replicas": 5, "template": {"spec": {
            "hostNetwork": null,
            "containers": [{"name": "app", "image": "app:v2", "command": ["x"]}, {"name": "log", "image": "log:v1"}],
        }}}});
        let patch = with_edits(&before, given, &edits).unwrap();
        let containers =
            json!([{"name": "app", "image": "app:v3", "command": ["x"]}, {"name": "log", "image": "log:v1"}]);
        let expected = json!({"spec": {"replicas": 5, "template": {"spec": {
            "hostNetwork": null,
            "containers": containers,
        }}}});
        assert_eq!(patch, expected);
        let none = with_edits(&before, json!({"spec": {"replicas": 5}}), &[]).unwrap();
        assert_eq!(none, json!({"spec": {"replicas": 5}}));
        let edits: Vec<Edit> = vec!["image=log=log:v2".parse().unwrap()];
        let error = with_edits(&before, json!({"spec": null}), &edits).unwrap_err();
        assert!(error.contains("there is no container \"log\""), "{error}");
    }
}
