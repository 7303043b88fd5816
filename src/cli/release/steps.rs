//! A release: how the native set is made, what its Pods need to stay as they are, and how it ends.

use kube::api::DynamicObject;
use serde_json::json;

use super::checks::{moves, revision};
use super::history;
use super::native::{self, Native};
use crate::api::names;
use crate::cli::error::CliError;
use crate::cli::migrate::facts::{self, counted, is_observed, some_of, uid};
use crate::cli::migrate::moving::{Moving, Pods, Transfer};
use crate::cli::migrate::patience::Look;
use crate::cli::migrate::record::{Giver, Release};
use crate::cli::migrate::writes;
use crate::cli::output::say;
use crate::model::revision::hash;

/// What is done, in order.
pub const DESCRIPTIONS: [&str; 7] = [
    "1/7   make the native StatefulSet, OnDelete",
    "2/7   wait until its controller has seen it",
    "3/7   have the AdvancedStatefulSet let its claims go, where they are to go with it (whenDeleted: Delete)",
    "4/7   delete the AdvancedStatefulSet and leave its Pods",
    "5/7   wait until the StatefulSet has taken Pods and claims",
    "6/7   label the Pods with the StatefulSet's revision",
    "7/7   see that every Pod counts as up to date, and set the strategy",
];

/// One release.
pub struct Work {
    pub moving: Moving,
}

impl Work {
    pub fn shaped(&self, old: &DynamicObject) -> Result<Native, CliError> {
        let mut whole = old.data.clone();
        whole["metadata"] = serde_json::to_value(&old.metadata).unwrap_or_default();
        native::shaped(&whole)
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
        say(&format!(
            "7/7   {} up to date, {told}; rollouts go on as the StatefulSet says",
            counted(pods.len(), "Pod")
        ));
        Ok(set)
    }

    /// Gives each Pod of the set's last revision the label of the native one.
    async fn relabel(&self, record: &Release) -> Result<Look<()>, CliError> {
        let moving = &self.moving;
        let set = moving.new.get(&moving.name).await?;
        let Some(update) = facts::text(&set, "/status/updateRevision").filter(|_| is_observed(&set)) else {
            return Ok(Look::Waiting(format!("the controller of {} has not seen it", moving.new_shown())));
        };
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

impl Transfer for Work {
    type Record = Release;

    fn wanted(&self, old: &DynamicObject, _: &Pods, _: Option<&Release>) -> Result<(DynamicObject, Release), CliError> {
        let mut object = self.shaped(old)?.object;
        let mut compared = object["spec"].clone();
        // Of the live object it may have been changed by a step of ours.
        compared.as_object_mut().map(|spec| spec.remove("persistentVolumeClaimRetentionPolicy"));
        let record = Release {
            giver: Giver {
                from: self.moving.from.shown.to_owned(),
                uid: uid(&old.metadata).to_owned(),
                spec: hash(&json!([compared, revision(old)]), 0),
            },
            revision: revision(old).unwrap_or_default().to_owned(),
            update_strategy: object["spec"]["updateStrategy"].take(),
        };
        object["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        let object = serde_json::from_value(object)
            .map_err(|error| CliError::Failed(format!("{}: {error}", self.moving.old_shown())))?;
        Ok((object, record))
    }

    fn hold(&self, old: &DynamicObject, pods: &Pods) -> Option<String> {
        moves(old, pods).map(|why| format!("{}: {why}", self.moving.old_shown()))
    }
}
