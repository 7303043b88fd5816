//! A release: how the native set is made, what its Pods need to stay as they are, and how it ends.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::checks::{moves, revision, waits_for_ready};
use super::history;
use super::native::{self, Native};
use crate::api::names;
use crate::cli::error::CliError;
use crate::cli::migrate::facts::{self, counted, is_observed, some_of, uid};
use crate::cli::migrate::marks;
use crate::cli::migrate::moving::{Moving, Pods, Transfer, outdated};
use crate::cli::migrate::patience::Look;
use crate::cli::migrate::progress;
use crate::cli::migrate::record::{Giver, Release};
use crate::cli::migrate::retention;
use crate::cli::migrate::writes;
use crate::cli::output::say;
use crate::inplace::differences;
use crate::model::revision::{hash, revision_name};

/// With this strategy a native set leaves its Pods alone.
const ON_DELETE: &str = "OnDelete";

/// What is done, in order.
pub const DESCRIPTIONS: [&str; 7] = [
    "make the native StatefulSet, OnDelete",
    "wait until its controller has seen it",
    "have the AdvancedStatefulSet let its claims go, where they are to go with it (whenDeleted: Delete)",
    "delete the AdvancedStatefulSet and leave its Pods",
    "wait until the StatefulSet has taken Pods and claims",
    "label the Pods with the StatefulSet's revision",
    "see that every Pod counts as up to date, and set the strategy",
];

/// `--drop-fields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Refused,
    Accepted,
}

/// One release.
pub struct Work {
    pub moving: Moving,
    pub loss: Loss,
}

impl Work {
    pub fn shaped(&self, old: &DynamicObject) -> Result<Native, CliError> {
        let old = retention::as_users(old);
        let mut whole = old.data;
        whole["metadata"] = serde_json::to_value(&old.metadata).unwrap_or_default();
        let mut native = native::shaped(&whole)?;
        if let Some(metadata) = native.object.get_mut("metadata").and_then(Value::as_object_mut) {
            native.left = marks::leave_out(metadata, &old.metadata);
        }
        Ok(native)
    }

    /// The native set, and what is to be known of it later.
    pub fn made_of(&self, old: &DynamicObject, shape: Native) -> Result<(DynamicObject, Release), CliError> {
        let mut object = shape.object;
        let record = Release {
            giver: Giver {
                from: self.moving.from.shown.to_owned(),
                uid: uid(&old.metadata).to_owned(),
                spec: hash(&json!([object["spec"], revision(old)]), 0),
            },
            revision: revision(old).unwrap_or_default().to_owned(),
            update_strategy: object["spec"]["updateStrategy"].take(),
        };
        object["spec"]["updateStrategy"] = json!({"type": ON_DELETE});
        let object = serde_json::from_value(object)
            .map_err(|error| CliError::Failed(format!("{}: {error}", self.moving.old_shown())))?;
        Ok((object, record))
    }

    /// How many steps are done, by reads alone.
    pub async fn steps_done(&self) -> Result<usize, CliError> {
        let done = progress::steps_done::<Release>(&self.moving).await?;
        if done < 5 {
            return Ok(done);
        }
        let set = self.moving.new.get(&self.moving.name).await?;
        let pods = facts::pods(&self.moving.session, &set).await?;
        let left = outdated(pods.values(), facts::text(&set, "/status/updateRevision"));
        Ok(if is_observed(&set) && left.is_empty() { 6 } else { 5 })
    }

    /// Goes through all steps.
    pub async fn run(&self) -> Result<DynamicObject, CliError> {
        let moving = &self.moving;
        let Some(record) = moving.hand_over(self, 7).await? else { return Ok(moving.new.get(&moving.name).await?) };
        let (pods, claims) = moving.taken::<Release>().await?;
        say(&format!("5/7   {} and {} have their new owner", counted(pods, "Pod"), counted(claims, "claim")));
        moving.patience.until(async || self.relabel(&record).await).await?;
        say("6/7   their labels name the StatefulSet's revision");
        moving.patience.until(async || self.counted_as_updated().await).await?;
        history::translate(moving).await?;
        let strategy = json!({"spec": {"updateStrategy": record.update_strategy}});
        let set = moving.finish::<Release>(strategy).await?;
        let pods = facts::pods(&moving.session, &set).await?;
        let is_newer = |name: &&str| {
            let pod = pods.values().find(|pod| facts::name(pod) == *name);
            pod.is_some_and(|pod| pod.metadata.creation_timestamp > set.metadata.creation_timestamp)
        };
        let newer: Vec<&str> = pods.values().map(facts::name).filter(is_newer).collect();
        let told = match newer.len() {
            0 => "none of them made anew".to_owned(),
            _ => format!("made anew meanwhile: {}", some_of(newer)),
        };
        let pods = counted(pods.len(), "Pod");
        say(&format!("7/7   {pods} up to date, {told}; rollouts go on as the StatefulSet says"));
        Ok(set)
    }

    /// What the Pods were made from, in the native shape; `None` where the revision is gone.
    async fn template_of(&self, record: &Release) -> Result<Option<Value>, CliError> {
        let moving = &self.moving;
        let api: Api<ControllerRevision> = Api::namespaced(moving.session.client.clone(), &moving.session.namespace);
        let revision = api.get_opt(&revision_name(&moving.name, &record.revision)).await?;
        let template = revision.as_ref().and_then(history::template_of);
        Ok(template.map(|template| native::template_of(&template)))
    }

    /// Gives each Pod of the set's last revision the label of the native one.
    async fn relabel(&self, record: &Release) -> Result<Look<()>, CliError> {
        let moving = &self.moving;
        let set = moving.new.get(&moving.name).await?;
        let Some(update) = facts::text(&set, "/status/updateRevision").filter(|_| is_observed(&set)) else {
            return Ok(Look::Waiting(format!("the controller of {} has not seen it", moving.new_shown())));
        };
        if let Some(path) = other_template(self.template_of(record).await?.as_ref(), &set) {
            return Err(CliError::Failed(changed_template(&moving.new_shown(), &path)));
        }
        let pods = facts::pods(&moving.session, &set).await?;
        let mut left = None;
        for pod in pods.values().filter(|pod| !facts::is_terminating(&pod.metadata)) {
            let label = facts::revision_label(pod);
            if label == update {
                continue;
            }
            let name = facts::name(pod);
            if label != record.revision {
                return Err(CliError::Failed(format!(
                    "Pod {name} is on {label:?}, and not on the revision {} that the set had. {} stays OnDelete: delete the \
                     Pod, and call again",
                    record.revision,
                    moving.new_shown()
                )));
            }
            let patch = json!({"metadata": {
                "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version,
                "labels": {names::REVISION_LABEL: update},
            }});
            writes::merge_pod(&moving.session, name, &patch).await?;
            left = Some(format!("Pod {name} is relabelled"));
        }
        Ok(left.map_or(Look::Done(()), Look::Waiting))
    }

    async fn counted_as_updated(&self) -> Result<Look<()>, CliError> {
        let set = self.moving.new.get(&self.moving.name).await?;
        let replicas = facts::integer(&set, "/spec/replicas").unwrap_or(1);
        let updated = facts::integer(&set, "/status/updatedReplicas").unwrap_or(0);
        let waiting = format!("{updated} of {replicas} Pods of {} count as up to date", self.moving.new_shown());
        Ok(if is_observed(&set) && updated == replicas { Look::Done(()) } else { Look::Waiting(waiting) })
    }
}

/// The first field in which the set's template is not this one.
fn other_template(made_of: Option<&Value>, set: &DynamicObject) -> Option<String> {
    let found = differences(made_of?, set.data.pointer("/spec/template")?);
    found.first().map(|difference| difference.path.to_string())
}

fn changed_template(shown: &str, path: &str) -> String {
    format!(
        "the template of {shown} is not the one that the Pods were made from ({path}): somebody changed it since it was made. \
         Set it back and call again; until then it is {ON_DELETE}, and no Pod is made anew"
    )
}

impl Transfer for Work {
    type Record = Release;

    fn wanted(&self, old: &DynamicObject, _: &Pods, _: Option<&Release>) -> Result<(DynamicObject, Release), CliError> {
        let shape = self.shaped(old)?;
        if self.loss == Loss::Refused && !shape.lost.is_empty() {
            let lost: Vec<String> = shape.lost.iter().map(ToString::to_string).collect();
            return Err(CliError::Failed(format!(
                "{}: {}; --drop-fields leaves that out",
                self.moving.old_shown(),
                lost.join("; ")
            )));
        }
        self.made_of(old, shape)
    }

    fn spoilt(&self, wanted: &DynamicObject, new: &DynamicObject) -> Option<String> {
        let shown = self.moving.new_shown();
        let strategy = facts::text(new, "/spec/updateStrategy/type").unwrap_or_default();
        if strategy != ON_DELETE {
            return Some(format!(
                "{shown} has the strategy {strategy} and not {ON_DELETE} any more, with which it was made: it would make every \
                 Pod anew. Set it back and call again; the strategy comes with the last step"
            ));
        }
        other_template(wanted.data.pointer("/spec/template"), new).map(|path| changed_template(&shown, &path))
    }

    fn hold(&self, old: &DynamicObject, new: &DynamicObject, pods: &Pods) -> Option<String> {
        moves(old, Some(new), pods)
            .or_else(|| waits_for_ready(old, pods))
            .map(|why| format!("{}: {why}", self.moving.old_shown()))
    }
}
