//! Pods go from a set to another of the same name. Each step looks at the cluster first, so that all of them can be gone
//! through again, wherever an earlier call was ended.
//!
//! The new set is made first, in a state in which it touches no Pod that is there, so that the old one is not deleted for a
//! set that cannot be made. Then the old one goes, its Pods stay, and the new one's controller takes them. A Pod that is lost
//! meanwhile may be made anew for either.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::claims::{self, is_owned_by};
use super::facts::{self, is_controlled_by, is_observed, uid};
use super::kinds::{OURS, SetKind};
use super::patience::{Look, Patience};
use super::record::{self, Record};
use super::retention;
use super::revisions;
use super::stage::{self, Stage, Stop};
use super::writes::{self, Met};
use crate::api::names;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::cli::output::say;
use crate::model::Ordinal;

/// How long a controller may take to see a set before it is doubted.
const OBSERVED_LIMIT: Duration = Duration::from_secs(10);

/// Pods of a set, by ordinal.
pub type Pods = BTreeMap<Ordinal, Pod>;

/// From which set to which.
pub struct Moving {
    pub session: Session,
    pub name: String,
    pub from: SetKind,
    pub to: SetKind,
    pub old: Api<DynamicObject>,
    pub new: Api<DynamicObject>,
    pub patience: Patience,
}

/// What is different between the two ways.
pub trait Transfer {
    type Record: Record;

    /// The new set, as the old one is now, and what is to be known of it later.
    ///
    /// # Errors
    /// The old set cannot be said in the new kind.
    fn wanted(
        &self,
        old: &DynamicObject,
        pods: &Pods,
        earlier: Option<&Self::Record>,
    ) -> Result<(DynamicObject, Self::Record), CliError>;

    /// Why the new set would not leave the Pods as they are: somebody has changed it since it was made as `wanted` says.
    fn spoilt(&self, wanted: &DynamicObject, new: &DynamicObject) -> Option<String>;

    /// Why the old set must not be deleted yet, though its new one is there.
    fn hold(&self, old: &DynamicObject, new: &DynamicObject, pods: &Pods) -> Option<String>;
}

impl Moving {
    pub fn new(session: Session, name: String, (from, to): (SetKind, SetKind), patience: Patience) -> Moving {
        Moving { old: from.api(&session), new: to.api(&session), session, name, from, to, patience }
    }

    pub fn old_shown(&self) -> String {
        format!("{}/{}", self.from.shown, self.name)
    }

    pub fn new_shown(&self) -> String {
        format!("{}/{}", self.to.shown, self.name)
    }

    /// The answer, or that the cluster does not know the kind.
    fn known<T>(&self, kind: SetKind, answer: Result<T, kube::Error>) -> Result<T, CliError> {
        match answer {
            Err(kube::Error::Api(status))
                if kind != OURS && names::is_unknown_resource(status.code, &status.message) =>
            {
                Err(CliError::Failed(format!("{}.{} is not installed in this cluster", kind.plural, kind.group)))
            }
            other => Ok(other?),
        }
    }

    pub async fn stage<R: Record>(&self) -> Result<Stage<R>, CliError> {
        // In this order: what is deleted between the two reads is then not seen as something that never was.
        let old = self.known(self.from, self.old.get_opt(&self.name).await)?;
        let new = self.known(self.to, self.new.get_opt(&self.name).await)?;
        stage::of((self.from, self.to), old, new).map_err(|stop| match stop {
            Stop::Said(text) => CliError::Failed(text),
            Stop::NotFound => CliError::Failed(format!(
                "{}.{} {:?} not found in namespace {}",
                self.from.plural, self.from.group, self.name, self.session.namespace
            )),
        })
    }

    /// The stage, also when the apiserver is away for a moment.
    async fn looked_at<R: Record>(&self) -> Result<Stage<R>, CliError> {
        self.patience.until(async || self.stage().await.map(Look::Done)).await
    }

    /// Steps 1 to 4: the new set is there, the old one gone. `None`: nothing was left to be done.
    pub async fn hand_over<T: Transfer>(&self, transfer: &T, last: u8) -> Result<Option<T::Record>, CliError> {
        let mut begun = false;
        let told = Cell::new(0);
        let tell = |step: u8, line: String| {
            if told.get() < step {
                told.set(step);
                say(&format!("{step}/{last}   {line}"));
            }
        };
        loop {
            let (old, new, found) = match self.looked_at::<T::Record>().await? {
                Stage::Done => return Ok(None),
                Stage::Alone { record, .. } => {
                    self.gone(&record.giver().uid).await?;
                    tell(4, format!("{} is deleted, its Pods are left", self.old_shown()));
                    return Ok(Some(record));
                }
                Stage::Fresh(_) if begun => {
                    let (old, new) = (self.old_shown(), self.new_shown());
                    return Err(CliError::Failed(format!("{new} was deleted by somebody else meanwhile; {old} stays")));
                }
                Stage::Fresh(old) => {
                    let met = self.make(transfer, &old).await?;
                    self.after(met, &self.new_shown()).await?;
                    continue;
                }
                Stage::Begun { old, new, record } => (old, new, record),
            };
            begun = true;
            tell(1, format!("{} is made, and touches no Pod that is there", self.new_shown()));
            let pods = self.pods(&old).await?;
            let (wanted, record) = transfer.wanted(&old, &pods, Some(&found))?;
            if record.giver().spec != found.giver().spec {
                let met = self.follow(&new, wanted, &record).await?;
                self.after(met, &self.new_shown()).await?;
                continue;
            }
            self.seen().await?;
            tell(2, "its controller has seen it".to_owned());
            self.stands_still(transfer, &old).await?;
            let met = match self.claims_let_go(uid(&old.metadata)).await? {
                Some(old) => {
                    tell(3, format!("no claim goes with {}", self.old_shown()));
                    self.delete(transfer, &record, old, uid(&new.metadata)).await?
                }
                None => Met::No,
            };
            self.after(met, &self.old_shown()).await?;
        }
    }

    /// What was not met is looked at again, after a pause and as long as there is time.
    async fn after(&self, met: Met, shown: &str) -> Result<(), CliError> {
        match met {
            Met::Yes => Ok(()),
            Met::No => self.patience.again(&format!("{shown} changes all the time")).await,
        }
    }

    async fn pods(&self, set: &DynamicObject) -> Result<Pods, CliError> {
        self.patience.until(async || facts::pods(&self.session, set).await.map(Look::Done)).await
    }

    async fn make<T: Transfer>(&self, transfer: &T, old: &DynamicObject) -> Result<Met, CliError> {
        let pods = self.pods(old).await?;
        let (mut object, record) = transfer.wanted(old, &pods, None)?;
        record::write(&mut object, &record);
        self.patience
            .until(async || match self.new.create(&writes::create_parameters(), &object).await {
                Ok(_) => Ok(Look::Done(Met::Yes)),
                // Another call was faster, or the answer to ours was lost.
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(Look::Done(Met::No)),
                Err(error) => Err(error.into()),
            })
            .await
    }

    /// The old set was changed since the new one was made: so is the new one.
    async fn follow<R: Record>(&self, new: &DynamicObject, wanted: DynamicObject, record: &R) -> Result<Met, CliError> {
        let mut object = new.clone();
        object.data["spec"] = wanted.data["spec"].clone();
        record::write(&mut object, record);
        self.patience
            .until(async || match self.new.replace(&self.name, &writes::create_parameters(), &object).await {
                Ok(_) => Ok(Look::Done(Met::Yes)),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(Look::Done(Met::No)),
                Err(error) => Err(error.into()),
            })
            .await
    }

    /// The old set when its controller has seen it. What was written a moment ago, by an earlier call too, is no doubt.
    pub async fn observed(&self, old: &DynamicObject) -> Result<DynamicObject, CliError> {
        let mut last = old.clone();
        let look = async || {
            if !is_observed(&last) {
                last = self.old.get(&self.name).await?;
            }
            Ok(if is_observed(&last) { Look::Done(()) } else { Look::Waiting(String::new()) })
        };
        match Patience::of(OBSERVED_LIMIT).until(look).await {
            Ok(()) | Err(CliError::Failed(_)) => Ok(last),
            Err(error) => Err(error),
        }
    }

    async fn seen(&self) -> Result<(), CliError> {
        self.patience
            .until(async || {
                let set = self.new.get(&self.name).await?;
                if is_observed(&set) && facts::text(&set, "/status/updateRevision").is_some() {
                    return Ok(Look::Done(()));
                }
                let why = facts::failure(&set).map_or_else(String::new, |message| format!(" ({message})"));
                let (new, old) = (self.new_shown(), self.old_shown());
                Ok(Look::Waiting(format!("no controller has begun with {new} yet{why}; {old} is as it was")))
            })
            .await
    }

    /// Claims that are to go with the old set must not, should their owner reference be left when it goes. `None`: the
    /// old set is not there any more.
    async fn claims_let_go(&self, set_uid: &str) -> Result<Option<DynamicObject>, CliError> {
        self.patience
            .until(async || {
                let old = self.old.get_opt(&self.name).await?;
                let Some(old) = old.filter(|old| uid(&old.metadata) == set_uid) else { return Ok(Look::Done(None)) };
                if retention::deletes_claims(&old) {
                    writes::merge(&self.old, &old, retention::let_go()).await?;
                    return Ok(Look::Waiting(format!("whenDeleted of {} is not Retain yet", self.old_shown())));
                }
                // Those of Pods that were made anew for the new set are let go when the old one is deleted.
                let claims = claims::of_own_pods(self, &old).await?;
                let held = claims.iter().find(|claim| is_owned_by(claim, set_uid));
                Ok(match held.and_then(|claim| claim.metadata.name.as_deref()) {
                    Some(claim) => Look::Waiting(format!("claim {claim} still goes with {}", self.old_shown())),
                    None => Look::Done(Some(old)),
                })
            })
            .await
    }

    /// Deletes the old set as the new one was made from it, and as it stands still.
    async fn delete<T: Transfer>(
        &self,
        transfer: &T,
        record: &T::Record,
        old: DynamicObject,
        taker: &str,
    ) -> Result<Met, CliError> {
        let pods = self.pods(&old).await?;
        let (wanted, now) = transfer.wanted(&old, &pods, Some(record))?;
        if now.giver().spec != record.giver().spec {
            return Ok(Met::No);
        }
        self.stands_still(transfer, &old).await?;
        let delete = async || {
            self.is_there_to_take(transfer, record, &wanted, taker).await?;
            writes::delete_orphaning(&self.old, &old).await.map(Look::Done)
        };
        let met = self.patience.until(delete).await?;
        if met == Met::Yes {
            self.gone(&record.giver().uid).await?;
        }
        Ok(met)
    }

    /// The new set, as late as it can be looked at: without it the Pods would be nobody's.
    async fn is_there_to_take<T: Transfer>(
        &self,
        transfer: &T,
        record: &T::Record,
        wanted: &DynamicObject,
        taker: &str,
    ) -> Result<(), CliError> {
        let new = self.new.get_opt(&self.name).await?;
        let is_taker = |new: &DynamicObject| {
            uid(&new.metadata) == taker
                && !facts::is_terminating(&new.metadata)
                && record::read::<T::Record>(new).is_some_and(|found| found.giver() == record.giver())
        };
        let why = match new.filter(is_taker) {
            Some(new) => transfer.spoilt(wanted, &new),
            None => Some(format!("{} was deleted or changed by somebody else meanwhile", self.new_shown())),
        };
        why.map_or(Ok(()), |why| Err(CliError::Failed(format!("{why}; {} stays", self.old_shown()))))
    }

    async fn stands_still<T: Transfer>(&self, transfer: &T, old: &DynamicObject) -> Result<(), CliError> {
        self.patience
            .until(async || {
                let pods = facts::pods(&self.session, old).await?;
                let sets = (self.old.get_opt(&self.name).await?, self.new.get_opt(&self.name).await?);
                let (Some(old), Some(new)) = sets else { return Ok(Look::Done(())) };
                Ok(transfer.hold(&old, &new, &pods).map_or(Look::Done(()), Look::Waiting))
            })
            .await
    }

    async fn gone(&self, set_uid: &str) -> Result<(), CliError> {
        self.patience
            .until(async || {
                Ok(match self.old.get_opt(&self.name).await? {
                    Some(old) if uid(&old.metadata) == set_uid => {
                        let held = old.metadata.finalizers.unwrap_or_default().join(", ");
                        Look::Waiting(format!("{} is not gone, its finalizers: {held}", self.old_shown()))
                    }
                    _ => Look::Done(()),
                })
            })
            .await
    }

    /// Step 5: how many Pods and claims have the new owner.
    pub async fn taken<R: Record>(&self) -> Result<(usize, usize), CliError> {
        self.patience.until(async || self.look_for_orphans::<R>().await).await
    }

    pub async fn look_for_orphans<R: Record>(&self) -> Result<Look<(usize, usize)>, CliError> {
        // Also tells whether another set was made in the old one's place.
        let (new, record) = match self.stage::<R>().await? {
            Stage::Alone { new, record } => (new, record),
            // Another call was faster.
            Stage::Done => {
                let new = self.new.get(&self.name).await?;
                let pods = facts::pods(&self.session, &new).await?;
                return Ok(Look::Done((pods.len(), claims::of_pods(self, &new).await?.len())));
            }
            Stage::Fresh(_) | Stage::Begun { .. } => {
                return Ok(Look::Waiting(format!("{} is there again", self.old_shown())));
            }
        };
        let set_uid = uid(&new.metadata);
        let pods = facts::pods(&self.session, &new).await?;
        for pod in pods.values().filter(|pod| !is_controlled_by(&pod.metadata, set_uid)) {
            let owner = match facts::controller(&pod.metadata) {
                Some(owner) => format!("belongs to {} {}", owner.kind, owner.name),
                None if facts::is_terminating(&pod.metadata) => continue,
                None => "has no owner yet".to_owned(),
            };
            return Ok(Look::Waiting(format!("Pod {} {owner}", facts::name(pod))));
        }
        if let Some(revision) = revisions::orphan(self, &new).await? {
            return Ok(Look::Waiting(format!("ControllerRevision {revision} has no owner yet")));
        }
        let claims = claims::of_pods(self, &new).await?;
        let goes_with_set = retention::deletes_claims(&new);
        for claim in &claims {
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            if is_owned_by(claim, &record.giver().uid) {
                return Ok(Look::Waiting(format!("claim {name} still names {} as its owner", self.old_shown())));
            }
            if goes_with_set && !is_owned_by(claim, set_uid) && claims::may_be_owned(claim, &self.name) {
                return Ok(Look::Waiting(format!("claim {name} is to go with {} and does not yet", self.new_shown())));
            }
        }
        Ok(Look::Done((pods.len(), claims.len())))
    }

    /// Takes the record away, and writes `change` with it: the last step.
    pub async fn finish<R: Record>(&self, change: Value) -> Result<DynamicObject, CliError> {
        self.patience
            .until(async || {
                let set = self.new.get(&self.name).await?;
                if record::read::<R>(&set).is_none() {
                    return Ok(Look::Done(set));
                }
                let mut patch = change.clone();
                patch["metadata"]["annotations"] = json!({R::ANNOTATION: null});
                writes::merge(&self.new, &set, patch).await?;
                Ok(Look::Waiting(format!("{} changes all the time", self.new_shown())))
            })
            .await
    }
}

/// The Pods whose label does not name this revision.
pub fn outdated<'a>(pods: impl IntoIterator<Item = &'a Pod>, revision: Option<&str>) -> Vec<&'a str> {
    let living = pods.into_iter().filter(|pod| !facts::is_terminating(&pod.metadata));
    living.filter(|pod| Some(facts::revision_label(pod)) != revision).map(facts::name).collect()
}
