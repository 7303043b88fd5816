//! The ControllerRevisions of a set that gives its Pods away, or takes them.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::Api;
use kube::api::{DynamicObject, ListParams, ObjectMeta};

use super::facts::{self, uid};
use super::kinds::OURS;
use super::moving::Moving;
use crate::cli::error::CliError;
use crate::model::revision::is_named_after;

/// Those of the set and those that nobody owns: labels and the beginning of a name are shared by other sets too.
pub async fn of(moving: &Moving, set: &DynamicObject) -> Result<Vec<ControllerRevision>, CliError> {
    let api: Api<ControllerRevision> = Api::namespaced(moving.session.client.clone(), &moving.session.namespace);
    let selector = ListParams::default().labels(&facts::selector(set)?.to_text());
    let mut revisions = api.list(&selector).await?.items;
    revisions.retain(|one| is_of(&one.metadata, set, &moving.name));
    Ok(revisions)
}

fn is_of(revision: &ObjectMeta, set: &DynamicObject, set_name: &str) -> bool {
    let is_named = revision.name.as_ref().is_some_and(|name| is_named_after(set_name, name));
    is_named && facts::controller(revision).is_none_or(|owner| owner.uid == uid(&set.metadata))
}

/// A revision that the manager has not taken yet. The native controller looks for them when something else happens.
pub async fn orphan(moving: &Moving, set: &DynamicObject) -> Result<Option<String>, CliError> {
    if moving.to != OURS {
        return Ok(None);
    }
    let orphan = of(moving, set).await?.into_iter().find(|revision| facts::controller(&revision.metadata).is_none());
    Ok(orphan.and_then(|revision| revision.metadata.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn no_other_set_s_revision_is_taken_for_this_one_s() {
        let set: DynamicObject = serde_json::from_value(json!({"metadata": {"name": "web", "uid": "u"}})).unwrap();
        let owner = |uid: &str| json!([{"apiVersion": "a", "kind": "b", "name": "c", "uid": uid, "controller": true}]);
        let is = |name: &str, owners: Value| {
            let metadata = serde_json::from_value(json!({"name": name, "ownerReferences": owners})).unwrap();
            is_of(&metadata, &set, "web")
        };
        assert!(is("web-6d4f", owner("u")) && is("web-6d4f", json!([])));
        assert!(!is("web-6d4f", owner("other")));
        assert!(!is("web-cache-6d4f", json!([])) && !is("web-cache-6d4f", owner("other")));
    }
}
