//! The claims of a set.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::Value;

use super::facts;
use super::moving::Moving;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::model::Ordinal;

/// The claims of the Pods that are there.
pub async fn of_pods(moving: &Moving, set: &DynamicObject) -> Result<Vec<PersistentVolumeClaim>, CliError> {
    if templates(set).is_empty() {
        return Ok(Vec::new());
    }
    let pods = facts::pods(&moving.session, set).await?;
    let wanted = wanted(set, &moving.name, &pods.keys().copied().collect());
    let mut found = listed(&moving.session).await?;
    Ok(wanted.iter().filter_map(|name| found.remove(name)).collect())
}

pub fn is_owned_by(claim: &PersistentVolumeClaim, uid: &str) -> bool {
    claim.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

async fn listed(session: &Session) -> Result<BTreeMap<String, PersistentVolumeClaim>, CliError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(session.client.clone(), &session.namespace);
    let claims = api.list(&ListParams::default()).await?.items;
    Ok(claims.into_iter().filter_map(|claim| Some((claim.metadata.name.clone()?, claim))).collect())
}

fn templates(set: &DynamicObject) -> Vec<&str> {
    let templates = set.data.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    templates.into_iter().flatten().filter_map(|one| one.pointer("/metadata/name")?.as_str()).collect()
}

fn wanted(set: &DynamicObject, set_name: &str, ordinals: &BTreeSet<Ordinal>) -> Vec<String> {
    let of_template = |template| ordinals.iter().map(move |ordinal| format!("{template}-{set_name}-{ordinal}"));
    templates(set).into_iter().flat_map(of_template).collect()
}
