//! The history goes along: revisions of an AdvancedStatefulSet say which claims their Pods had, with which
//! `kubectl rollout undo` of a native set fails. Each is written again without, and then deleted.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::api::names;
use crate::cli::error::CliError;
use crate::cli::migrate::facts;
use crate::cli::migrate::moving::Moving;
use crate::cli::migrate::patience::Look;
use crate::cli::migrate::revisions;
use crate::cli::migrate::writes::{self, Met};
use crate::inplace::differences;
use crate::model::revision::{hash, revision_name};

/// Writes the revisions of the set that was released as native ones.
pub async fn translate(moving: &Moving) -> Result<(), CliError> {
    moving.patience.until(async || looked_at(moving).await).await
}

/// One pass over what is left. A revision that changed since it was read is left to the next.
async fn looked_at(moving: &Moving) -> Result<Look<()>, CliError> {
    let set = moving.new.get(&moving.name).await?;
    let api: Api<ControllerRevision> = Api::namespaced(moving.session.client.clone(), &moving.session.namespace);
    let mut left = None;
    for revision in revisions::of(moving, &set).await?.into_iter().filter(|one| is_to_go(one, &set)) {
        if let Some(native) = native_of(&revision, &set) {
            match api.create(&writes::create_parameters(), &native).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
                Err(error) => return Err(error.into()),
            }
        }
        if writes::delete(&api, &revision).await? == Met::No {
            left = revision.metadata.name;
        }
    }
    Ok(left.map_or(Look::Done(()), |name| Look::Waiting(format!("ControllerRevision {name} changes all the time"))))
}

/// Whether a revision is of ours, and not in use.
fn is_to_go(revision: &ControllerRevision, set: &DynamicObject) -> bool {
    let data = revision.data.as_ref().map(|data| &data.0);
    let is_ours = data.is_some_and(|data| data.pointer("/spec/volumeClaimTemplates").is_some());
    let name = revision.metadata.name.as_deref();
    let in_use = ["/status/currentRevision", "/status/updateRevision"].map(|pointer| facts::text(set, pointer));
    is_ours && !in_use.contains(&name)
}

/// The template that a revision holds, without what it says to kubectl.
pub fn template_of(revision: &ControllerRevision) -> Option<Value> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut().map(|fields| fields.remove("$patch"));
    Some(template)
}

/// The same revision as a native set would have written it; `None` for the one that the set is on.
fn native_of(revision: &ControllerRevision, set: &DynamicObject) -> Option<ControllerRevision> {
    let template = revision.data.as_ref()?.0.pointer("/spec/template")?;
    if differences(&template_of(revision)?, set.data.pointer("/spec/template").unwrap_or(&Value::Null)).is_empty() {
        return None;
    }
    let data = json!({"spec": {"template": template}});
    let hash = hash(&data, 0);
    let mut native = ControllerRevision { revision: revision.revision, ..ControllerRevision::default() };
    native.metadata.name = Some(revision_name(set.metadata.name.as_deref()?, &hash));
    let mut labels = revision.metadata.labels.clone().unwrap_or_default();
    labels.insert(names::HASH_LABEL.to_owned(), hash);
    native.metadata.labels = Some(labels);
    native.data = Some(RawExtension(data));
    Some(native)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(template: Value) -> ControllerRevision {
        let data = json!({"spec": {"template": template, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
        serde_json::from_value(json!({
            "metadata": {"name": "web-x", "labels": {"app": "web", "controller.kubernetes.io/hash": "x"}},
            "revision": 3, "data": data,
        }))
        .unwrap()
    }

    fn template(image: &str) -> Value {
        json!({"$patch": "replace", "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
    }

    fn set() -> DynamicObject {
        let mut now = template("app:v2");
        now.as_object_mut().unwrap().remove("$patch");
        serde_json::from_value(json!({
            "metadata": {"name": "web"}, "spec": {"template": now}, "status": {"updateRevision": "web-n", "currentRevision": "web-n"},
        }))
        .unwrap()
    }

    #[test]
    fn an_older_revision_goes_along_without_its_claims() {
        let native = native_of(&revision(template("app:v1")), &set()).unwrap();
        assert_eq!(native.data.unwrap().0, json!({"spec": {"template": template("app:v1")}}));
        let labels = native.metadata.labels.unwrap();
        let name = native.metadata.name.unwrap();
        assert_eq!((native.revision, &labels["app"]), (3, &"web".to_owned()));
        assert_eq!(name, format!("web-{}", labels["controller.kubernetes.io/hash"]));
        assert_eq!(native_of(&revision(template("app:v2")), &set()), None);
    }

    #[test]
    fn only_unused_revisions_of_ours_go() {
        assert!(is_to_go(&revision(template("app:v1")), &set()));
        let mut used = revision(template("app:v1"));
        used.metadata.name = Some("web-n".into());
        assert!(!is_to_go(&used, &set()));
        let mut native = revision(template("app:v1"));
        native.data = Some(RawExtension(json!({"spec": {"template": template("app:v1")}})));
        assert!(!is_to_go(&native, &set()));
    }
}
