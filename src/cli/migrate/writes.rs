//! The few writes that steps are made of.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{
    DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use serde_json::Value;

use crate::cli::connect::Session;
use crate::cli::error::CliError;

/// Under which name the plugin owns fields.
pub const FIELD_MANAGER: &str = "kubectl-asts";

pub fn create_parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

pub fn patch_parameters() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Whether an optimistic write met the object that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    Yes,
    /// It has changed meanwhile: look again.
    No,
}

fn met(result: Result<(), kube::Error>) -> Result<Met, CliError> {
    match result {
        Ok(()) => Ok(Met::Yes),
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(Met::No),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the object as it was read, and leaves what it owns.
pub async fn delete_orphaning(api: &Api<DynamicObject>, object: &DynamicObject) -> Result<Met, CliError> {
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..as_read(&object.metadata) };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    met(api.delete(name, &orphan).await.map(|_| ()))
}

/// Deletes the revision as it was read.
pub async fn delete(api: &Api<ControllerRevision>, revision: &ControllerRevision) -> Result<Met, CliError> {
    let name = revision.metadata.name.as_deref().unwrap_or_default();
    met(api.delete(name, &as_read(&revision.metadata)).await.map(|_| ()))
}

fn as_read(metadata: &ObjectMeta) -> DeleteParams {
    let preconditions =
        Preconditions { uid: metadata.uid.clone(), resource_version: metadata.resource_version.clone() };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

/// A merge patch of the object as it was read.
pub async fn merge(api: &Api<DynamicObject>, object: &DynamicObject, mut patch: Value) -> Result<Met, CliError> {
    patch["metadata"]["uid"] = object.metadata.uid.clone().into();
    patch["metadata"]["resourceVersion"] = object.metadata.resource_version.clone().into();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    met(api.patch(name, &patch_parameters(), &Patch::Merge(&patch)).await.map(|_| ()))
}

/// A merge patch of a Pod; one that came too late is made again after the next look.
pub async fn merge_pod(session: &Session, name: &str, patch: &Value) -> Result<Met, CliError> {
    let api: Api<Pod> = Api::namespaced(session.client.clone(), &session.namespace);
    met(api.patch(name, &patch_parameters(), &Patch::Merge(patch)).await.map(|_| ()))
}
