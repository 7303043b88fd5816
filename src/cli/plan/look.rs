//! What a plan is made from, read live with the rights of whoever asks. Where a right is lacking, the plan goes on with
//! less, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::api::names;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::cli::target::Target;
use crate::control::abilities::{AbilityCache, InPlace};
use crate::control::backoff::Chance;
use crate::control::cache::claim::ClaimObject;
use crate::control::cache::pod::PodObject;
use crate::control::cache::revision::RevisionObject;
use crate::control::cache::set::SetObject;
use crate::control::cache::{Scope, SetKey, SetView, Store, Watched};
use crate::control::client::{Apiserver, At, Kind, Verb};
use crate::control::clock::Clock;
use crate::control::error::{CallError, Failure, Refused};
use crate::control::gate::WriteGate;
use crate::control::inquire::{Took, ask_to_patch, default_template, unknown_fields, why_not_bound};
use crate::control::metrics::Metrics;
use crate::inplace::Pace;
use crate::model::snapshot::{HeldUpdate, Refusal};
use crate::model::{Can, FieldKind, Nodes, Patterns, Snapshot, TemplateAnswer};
use crate::plan::Question;
use crate::plan::action::Target as PodTarget;
use crate::plan::explain::UpdateOutlook;

/// How often a dry run is made again because the Pod has just changed.
const CONFLICTS_MAX: usize = 5;

/// The manager's settings, as far as they decide.
#[derive(Clone, Debug)]
pub struct Settings {
    pub in_place: InPlace,
    pub injectors: Patterns,
}

/// Reads one cluster. Nothing is ever written: its gate is closed, and what it asks are dry runs.
pub struct Look<'a> {
    session: &'a Session,
    apiserver: Apiserver,
    abilities: AbilityCache,
    injectors: Patterns,
    /// What could not be asked, once each, in words that end a line.
    pub notes: BTreeSet<String>,
    denials: BTreeMap<FieldKind, Can>,
    /// Pods, by UID, whose update a policy denies, and its words.
    pub denied: BTreeMap<Box<str>, Box<str>>,
}

impl<'a> Look<'a> {
    pub fn new(session: &'a Session, settings: &Settings) -> Look<'a> {
        Look {
            session,
            apiserver: Apiserver::new(
                session.client.clone(),
                Arc::new(WriteGate::default()),
                Arc::new(Metrics::default()),
                Clock::system(),
                Chance::system(),
            ),
            abilities: AbilityCache::new(settings.in_place.clone()),
            injectors: settings.injectors.clone(),
            notes: BTreeSet::new(),
            denials: BTreeMap::new(),
            denied: BTreeMap::new(),
        }
    }

    /// All that a plan may see, with the set as it would be.
    pub async fn snapshot(&mut self, target: &Target, set: &Value) -> Result<Snapshot, CliError> {
        if let Ok(Some(told)) = unknown_fields(&self.apiserver, &target.namespace, &set["spec"]["template"]).await {
            self.notes.insert(format!("the apiserver does not know, and ignores: {told}"));
        }
        let mut store = Store::default();
        self.list::<PodObject>(&mut store, &target.namespace).await?;
        let claims = self.list::<ClaimObject>(&mut store, &target.namespace).await;
        self.forgive(claims, "the claims", "those that the Pods have are there, and no other")?;
        let revisions = self.list::<RevisionObject>(&mut store, &target.namespace).await;
        self.forgive(revisions, "the revisions", "none is like the new template")?;
        let object: SetObject = serde_json::from_value(set.clone())
            .map_err(|error| CliError::Failed(format!("the set cannot be understood: {error}")))?;
        store.refresh(object);
        match store.view(&SetKey::new(&target.namespace, &target.name), Timestamp::now()) {
            Some(SetView::Sound(mut snapshot)) => {
                snapshot.abilities = self.abilities.abilities();
                snapshot.injectors = self.injectors.clone();
                Ok(*snapshot)
            }
            Some(SetView::Poisoned(poisoned)) => Err(CliError::Failed(poisoned.message)),
            None => Err(CliError::Failed("the apiserver answered with another set".into())),
        }
    }

    async fn list<W: Watched>(&self, store: &mut Store, namespace: &str) -> Result<(), kube::Error> {
        let scope = Scope::Namespace(namespace.into());
        let api: Api<W> = Api::namespaced(self.session.client.clone(), namespace);
        let mut parameters = ListParams::default().limit(W::PAGE_SIZE);
        store.event::<W>(&scope, Event::Init);
        loop {
            let page = api.list(&parameters).await?;
            for object in page.items {
                store.event(&scope, Event::InitApply(object));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => break,
            }
        }
        store.event::<W>(&scope, Event::InitDone);
        Ok(())
    }

    /// Goes on where only a right is lacking.
    fn forgive(&mut self, listed: Result<(), kube::Error>, what: &str, assumed: &str) -> Result<(), CliError> {
        match listed {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.note(what, &status.message, assumed);
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn note(&mut self, what: &str, why: &str, assumed: &str) {
        self.notes.insert(format!("not asked: {what} ({why}); assumed: {assumed}"));
    }

    /// Answers what a plan asks for into the snapshot.
    pub async fn answer(&mut self, questions: &[Question], snapshot: &mut Snapshot) -> Result<(), CliError> {
        let namespace = snapshot.set.namespace.clone();
        for question in questions {
            match question {
                // The one is answered by the forecast, the other asked only after a refusal.
                Question::LivePod { .. } | Question::Update { .. } => {}
                Question::DefaultedTemplate { hash, template } => {
                    let answer = self.template(&namespace, template).await?;
                    snapshot.answers.templates.insert(hash.clone(), answer);
                }
                Question::WholePod { name, uid } => {
                    let at = At::one(Kind::Pod, &namespace, name);
                    let pod: Value = self.apiserver.read(Verb::Get, at).await.map_err(|error| failed(&error))?;
                    snapshot.answers.whole_pods.insert(uid.clone(), Arc::new(pod));
                }
                Question::BoundClaim { name } => {
                    let answer = why_not_bound(&self.apiserver, &namespace, name).await;
                    let answer = match answer {
                        Err(error) if matches!(error.failure, Failure::Refused(_)) => {
                            self.note(&format!("whether the claim {name} is bound"), &error.message, "it is");
                            None
                        }
                        other => other.map_err(|error| failed(&error))?,
                    };
                    snapshot.answers.bound_claims.insert(name.clone(), answer);
                }
                Question::Ability { kinds, target, patch } => {
                    self.ask_ability(&namespace, kinds, target, patch).await?;
                    snapshot.abilities = self.abilities.abilities();
                    snapshot.abilities.apiserver.extend(self.denials.clone());
                }
            }
        }
        Ok(())
    }

    /// Dry runs of whole updates, one for all Pods that are alike. True: one was refused, so that the same Pods may be
    /// judged otherwise now.
    pub async fn try_updates(&mut self, updates: &[UpdateOutlook], snapshot: &mut Snapshot) -> Result<bool, CliError> {
        let mut refused = false;
        for update in updates {
            let Question::Update { target, resize, patch, .. } = &update.dry_run else { continue };
            if snapshot.answers.tried_updates.contains_key(&target.uid) {
                continue;
            }
            let taken = self.try_update(update, target, [resize.as_deref(), Some(patch)], snapshot).await?;
            snapshot.answers.tried_updates.insert(target.uid.clone(), taken);
            refused |= !taken;
        }
        Ok(refused)
    }

    /// The patches of one update, the resize first.
    async fn try_update(
        &mut self,
        update: &UpdateOutlook,
        target: &PodTarget,
        patches: [Option<&str>; 2],
        snapshot: &mut Snapshot,
    ) -> Result<bool, CliError> {
        let namespace = snapshot.set.namespace.clone();
        let at = At::one(Kind::Pod, &namespace, &target.name);
        let what = format!("whether the apiserver takes the update of Pod {} while it runs", target.name);
        for (at, patch) in [at.resize(), at].into_iter().zip(patches) {
            let Some(patch) = patch else { continue };
            match self.took(at, target, patch).await? {
                Took::Yes => {}
                Took::CannotTell => self.note(&what, "a webhook knows no dry runs", "it does"),
                // This user's rights are not the manager's. What else is forbidden is so for both, such as too much memory.
                Took::Denied { refused: Refused::Forbidden, message } if message.contains("cannot patch resource") => {
                    self.note(&what, &message, "it does");
                }
                Took::No(message) => {
                    // What follows is the difference of the two Pods as the apiserver knows them.
                    let message: Box<str> = message.lines().next().unwrap_or_default().into();
                    for (_, uid) in &update.pods {
                        let key = (uid.clone(), update.revision.clone());
                        snapshot.answers.refused_patches.insert(key, message.clone());
                    }
                    return Ok(false);
                }
                Took::Denied { refused, message } => {
                    self.deny(update, target, refused.reason(), &message, snapshot);
                    return Ok(false);
                }
                Took::Gone(error) => return Err(failed(&error)),
            }
        }
        Ok(true)
    }

    /// What the manager does after a denial: it holds the revision back, or tries again and again and says why.
    fn deny(
        &mut self,
        update: &UpdateOutlook,
        target: &PodTarget,
        reason: &str,
        message: &str,
        snapshot: &mut Snapshot,
    ) {
        let object = format!("Pod {}", target.name);
        let told: Box<str> = format!("{object}: {message}").into();
        self.denied.extend(update.pods.iter().map(|(_, uid)| (uid.clone(), told.clone())));
        if update.pace == Pace::Gate {
            let held = HeldUpdate::Denied { reason: reason.into(), message: told };
            snapshot.answers.held_updates.insert(update.revision.clone(), held);
        } else {
            let refusal = Refusal { object, reason: reason.into(), message: message.into() };
            snapshot.answers.refusals.push(refusal);
        }
    }

    async fn template(&mut self, namespace: &str, template: &str) -> Result<TemplateAnswer, CliError> {
        match default_template(&self.apiserver, namespace, template).await {
            Ok(answer) => Ok(answer),
            Err(error) if matches!(error.failure, Failure::Refused(_) | Failure::NotFound) => {
                let what = "how the apiserver defaults the template, and whether it takes it";
                self.note(what, &error.message, "it is valid, with the defaults that this plugin knows");
                Ok(TemplateAnswer::Unavailable)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    async fn ask_ability(
        &mut self,
        namespace: &str,
        kinds: &[FieldKind],
        target: &PodTarget,
        patch: &str,
    ) -> Result<(), CliError> {
        self.notes.insert("assumed: the manager runs with --in-place=auto, or give the same flag here".into());
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let what = format!("whether the apiserver takes {} in place", names.join(", "));
        match self.took(At::one(Kind::Pod, namespace, &target.name), target, patch).await? {
            Took::Yes => self.abilities.takes(kinds),
            Took::No(_) => self.abilities.refuses(kinds),
            Took::CannotTell => self.abilities.cannot_tell(kinds),
            Took::Denied { refused: Refused::Forbidden, message } => {
                self.note(&what, &message, "a stock cluster");
                let no = Can::No("nobody could ask whether the apiserver takes it, so it counts as stock".into());
                self.denials.extend(kinds.iter().map(|kind| (*kind, no.clone())));
            }
            Took::Denied { refused, message } => {
                let denied = Can::Denied { reason: refused.reason().into(), message: message.into() };
                self.denials.extend(kinds.iter().map(|kind| (*kind, denied.clone())));
            }
            Took::Gone(error) => return Err(failed(&error)),
        }
        if !self.abilities.is_synced() {
            self.look_at_nodes().await?;
        }
        Ok(())
    }

    /// A dry run for a Pod as it is right now.
    async fn took(&self, at: At<'_>, target: &PodTarget, patch: &str) -> Result<Took, CliError> {
        let mut patch: Value = serde_json::from_str(patch)
            .map_err(|error| CliError::Failed(format!("the planner asks for a patch that is none: {error}")))?;
        for _ in 0..CONFLICTS_MAX {
            match ask_to_patch(&self.apiserver, at, &patch.to_string()).await {
                Err(error) if error.failure == Failure::Conflict => {
                    let at = At::one(Kind::Pod, at.namespace, &target.name);
                    let live: PodObject = self.apiserver.read(Verb::Get, at).await.map_err(|error| failed(&error))?;
                    patch["metadata"]["uid"] = live.metadata.uid.into();
                    patch["metadata"]["resourceVersion"] = live.metadata.resource_version.into();
                }
                other => return other.map_err(|error| failed(&error)),
            }
        }
        Err(CliError::Failed(format!("Pod {} changes all the time: try again", target.name)))
    }

    /// Which nodes have a customised kubelet, by their label.
    async fn look_at_nodes(&mut self) -> Result<(), CliError> {
        let selector = format!("{}=true", names::CUSTOMISED_KUBELET_LABEL);
        let api: Api<Node> = Api::all(self.session.client.clone());
        match api.list_metadata(&ListParams::default().labels(&selector)).await {
            Ok(list) => {
                let names: BTreeSet<Box<str>> = list.items.iter().map(|node| node.name_any().into()).collect();
                self.abilities.nodes_are(Nodes::Labelled(Arc::new(names)));
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.note("which nodes have a customised kubelet", &status.message, "none has");
                self.abilities.nodes_are(Nodes::Unreadable);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn failed(error: &CallError) -> CliError {
    CliError::Failed(format!("cannot ask the apiserver: {error}"))
}
