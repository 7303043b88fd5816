//! An adoption: how the new set is made of the old one, and how it ends.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::checks::pods_and_rollout;
use crate::api::names;
use crate::api::spec::PodUpdatePolicy;
use crate::cli::convert::set::{Converted, Remark, converted};
use crate::cli::error::CliError;
use crate::cli::migrate::facts::{self, counted, is_observed, some_of, uid};
use crate::cli::migrate::findings::{Findings, Force, Weight};
use crate::cli::migrate::marks;
use crate::cli::migrate::moving::{Moving, Pods, Transfer, outdated};
use crate::cli::migrate::patience::{Look, Moved};
use crate::cli::migrate::record::{Adoption, Giver};
use crate::cli::migrate::retention;
use crate::cli::output::say;
use crate::model::revision::hash;

/// What is done, in order.
pub const DESCRIPTIONS: [&str; 6] = [
    "make the AdvancedStatefulSet from the live StatefulSet, paused",
    "wait until the manager has seen it",
    "have the StatefulSet let its claims go, where they are to go with it (whenDeleted: Delete)",
    "delete the StatefulSet and leave its Pods",
    "wait until the manager has taken Pods, revisions and claims",
    "see that every Pod counts as up to date, and lift the pause",
];

/// How long no Pod may be relabelled. Those that are not by then are different.
const RELABEL_LIMIT: Duration = Duration::from_secs(60);

/// One adoption.
pub struct Work {
    pub moving: Moving,
    pub policy: Option<PodUpdatePolicy>,
    pub force: Force,
}

/// The set that is to be, as the old one is now.
pub struct Wanted {
    /// Paused.
    pub object: DynamicObject,
    /// Hash of the spec, by which a change is seen.
    hash: String,
    resume: bool,
    pub notes: Vec<Remark>,
}

impl Work {
    /// The old set in the shape of the new one.
    ///
    /// # Errors
    /// The fields that have no counterpart.
    pub fn shaped(&self, old: &DynamicObject) -> Result<Wanted, Vec<Remark>> {
        let old = retention::as_users(old);
        let mut whole = old.data;
        whole["metadata"] = serde_json::to_value(&old.metadata).unwrap_or_default();
        let Converted { mut object, mut notes } = converted(&whole, self.moving.from.source(), self.policy)?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            notes.extend(marks::leave_out(metadata, &old.metadata));
        }
        let hash = hash(&object["spec"], 0);
        let mut resume = false;
        if let Some(rolling) = object.pointer_mut("/spec/updateStrategy/rollingUpdate").filter(|it| it.is_object()) {
            resume = rolling.get("paused") != Some(&json!(true));
            rolling["paused"] = json!(true);
        }
        let object =
            serde_json::from_value(object).map_err(|error| vec![Remark::new("metadata", error.to_string())])?;
        Ok(Wanted { object, hash, resume, notes })
    }

    /// Goes through all steps.
    pub async fn run(&self) -> Result<DynamicObject, CliError> {
        let moving = &self.moving;
        let Some(record) = moving.hand_over(self, 6).await? else { return Ok(moving.new.get(&moving.name).await?) };
        let (pods, claims) = moving.taken::<Adoption>().await?;
        say(&format!("5/6   {} and {} have their new owner", counted(pods, "Pod"), counted(claims, "claim")));
        moving.patience.until(async || self.seen_by_the_manager().await).await?;
        let looked = moving.patience.while_it_moves(RELABEL_LIMIT, async || self.up_to_date(&record).await).await?;
        if let Moved::Still(different) = looked {
            return Err(CliError::Failed(format!(
                "{different}, and for {} s no Pod was relabelled. The set stays paused, and no Pod is restarted: kubectl asts \
                 plan {name} tells what differs; kubectl asts rollout resume {name} updates these Pods; the same command \
                 looks again",
                RELABEL_LIMIT.as_secs(),
                name = moving.name,
            )));
        }
        let resumed = json!({"spec": {"updateStrategy": {"rollingUpdate": {"paused": null}}}});
        let set = moving.finish::<Adoption>(if record.resume { resumed } else { json!({}) }).await?;
        let pods = facts::pods(&moving.session, &set).await?;
        say(&format!("6/6   {}; rollouts go on as the set says", ended(&set, &pods, &record)));
        Ok(set)
    }

    /// How long that takes says nothing of the Pods.
    async fn seen_by_the_manager(&self) -> Result<Look<()>, CliError> {
        let set = self.moving.new.get(&self.moving.name).await?;
        let told = "the manager has not seen the set yet".to_owned();
        Ok(if is_observed(&set) { Look::Done(()) } else { Look::Waiting(told) })
    }

    /// Whether the Pods are on the set's revision.
    async fn up_to_date(&self, record: &Adoption) -> Result<Look<()>, CliError> {
        let set = self.moving.new.get(&self.moving.name).await?;
        let update = facts::text(&set, "/status/updateRevision").and_then(|name| Some(name.rsplit_once('-')?.1));
        if !is_observed(&set) || update.is_none() {
            return Ok(Look::Waiting("the manager has not seen the set yet".to_owned()));
        }
        let pods = facts::pods(&self.moving.session, &set).await?;
        let others = outdated(pods.values(), update);
        if others.is_empty() || !record.complete {
            return Ok(Look::Done(()));
        }
        let label = names::REVISION_LABEL;
        Ok(Look::Waiting(format!(
            "{} not up to date: their {label} is not {}",
            some_of(others),
            update.unwrap_or_default()
        )))
    }
}

/// How the Pods came through it.
fn ended(set: &DynamicObject, pods: &Pods, record: &Adoption) -> String {
    let is_newer = |pod: &&Pod| pod.metadata.creation_timestamp > set.metadata.creation_timestamp;
    let newer: Vec<&str> = pods.values().filter(is_newer).map(facts::name).collect();
    let state = if record.complete { "up to date" } else { "taken, with a rollout under way" };
    match newer.len() {
        0 => format!("{} {state}, none of them made anew", counted(pods.len(), "Pod")),
        _ => format!("{} {state}; made anew meanwhile: {}", counted(pods.len(), "Pod"), some_of(newer)),
    }
}

impl Transfer for Work {
    type Record = Adoption;

    fn wanted(
        &self,
        old: &DynamicObject,
        pods: &Pods,
        earlier: Option<&Adoption>,
    ) -> Result<(DynamicObject, Adoption), CliError> {
        let wanted = self.shaped(old).map_err(|remarks| {
            let told: Vec<String> = remarks.iter().map(ToString::to_string).collect();
            CliError::Failed(format!("{}: {}", self.moving.old_shown(), told.join("; ")))
        })?;
        let complete = match earlier {
            Some(earlier) if earlier.giver.spec == wanted.hash => earlier.complete,
            _ => is_complete(old, pods),
        };
        let record = Adoption {
            giver: Giver {
                from: self.moving.from.shown.to_owned(),
                uid: uid(&old.metadata).to_owned(),
                spec: wanted.hash,
            },
            resume: wanted.resume,
            complete,
        };
        Ok((wanted.object, record))
    }

    fn spoilt(&self, wanted: &DynamicObject, new: &DynamicObject) -> Option<String> {
        let paused =
            |set: &DynamicObject| set.data.pointer("/spec/updateStrategy/rollingUpdate/paused") == Some(&json!(true));
        let is_resumed = self.force == Force::Stop && paused(wanted) && !paused(new);
        is_resumed.then(|| {
            let name = &self.moving.name;
            format!(
                "{} was resumed before it has the Pods: kubectl asts rollout pause {name}, and call again",
                self.moving.new_shown()
            )
        })
    }

    /// With `--force` whatever moves goes on under the new set.
    fn hold(&self, old: &DynamicObject, new: &DynamicObject, pods: &Pods) -> Option<String> {
        if self.force == Force::GoOn {
            return None;
        }
        let mut findings = Findings::default();
        pods_and_rollout(old, Some(new), pods, self.moving.from.shown, &mut findings);
        findings.0.into_iter().find(|finding| finding.weight >= Weight::Doubt).map(|finding| finding.text)
    }
}

/// Whether every Pod of the old set is on its newest revision.
fn is_complete(old: &DynamicObject, pods: &Pods) -> bool {
    let own = pods.values().filter(|pod| facts::is_controlled_by(&pod.metadata, uid(&old.metadata)));
    is_observed(old) && outdated(own, facts::text(old, "/status/updateRevision")).is_empty()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::connect::Session;
    use crate::cli::migrate::kinds::{NATIVE, OURS};
    use crate::cli::migrate::patience::Patience;

    fn work(force: Force) -> Work {
        let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let session = Session { client, namespace: "shop".into(), namespace_is_given: false };
        let moving = Moving::new(session, "web".into(), (NATIVE, OURS), Patience::of(Duration::ZERO));
        Work { moving, policy: None, force }
    }

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn old(update: &str) -> DynamicObject {
        object(json!({
            "metadata": {"name": "web", "uid": "old", "generation": 1},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
                    "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
                }},
            "status": {"observedGeneration": 1, "updateRevision": update},
        }))
    }

    fn pods() -> Pods {
        let owner =
            json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "old", "controller": true}]);
        let metadata =
            json!({"name": "web-0", "labels": {"controller-revision-hash": "web-a"}, "ownerReferences": owner});
        Pods::from([(0, serde_json::from_value(json!({"metadata": metadata})).unwrap())])
    }

    #[tokio::test]
    async fn a_rollout_that_begins_in_between_is_waited_for_unless_forced() {
        let new = object(json!({"metadata": {"name": "web", "uid": "new"}}));
        let held = |force, update: &str| work(force).hold(&old(update), &new, &pods());
        assert_eq!(held(Force::Stop, "web-a"), None);
        assert!(held(Force::Stop, "web-b").is_some_and(|why| why.contains("a rollout is under way")));
        assert_eq!(held(Force::GoOn, "web-b"), None);
    }

    #[tokio::test]
    async fn whether_all_pods_are_up_to_date_is_looked_at_again_when_the_set_changed() {
        let work = work(Force::GoOn);
        let (_, record) = work.wanted(&old("web-a"), &pods(), None).unwrap();
        assert!(record.complete);
        let (_, same) = work.wanted(&old("web-b"), &pods(), Some(&record)).unwrap();
        assert!(same.complete, "the spec is as it was");
        let mut changed = old("web-b");
        changed.data["spec"]["minReadySeconds"] = json!(5);
        let (_, other) = work.wanted(&changed, &pods(), Some(&record)).unwrap();
        assert!(!other.complete);
    }
}
