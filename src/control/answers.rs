//! Finds out what a plan asks for.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use serde::Deserialize;
use serde_json::Value;

use super::cache::pod::PodObject;
use super::cache::revision::RevisionObject;
use super::client::{At, Kind, Verb};
use super::error::{CallError, Failure};
use super::inquire::{Took, ask_to_patch, default_template, escaped, why_not_bound};
use super::memory::SetMemory;
use super::reconcile::Reconciler;
use crate::api::names;
use crate::model::revision::{is_named_after, revision_name};
use crate::model::{FieldKind, LivePod, Selector, Snapshot, TemplateAnswer};
use crate::plan::Question;
use crate::plan::action::Target;

/// Reads of one set at the same time.
const READS_MAX: usize = 8;
/// More Pods than this are asked for by one list.
const SINGLE_READS_MAX: usize = 4;
/// Pods that one list may name, and objects of one page.
const LIST_PAGE: usize = 250;

#[derive(Deserialize)]
struct PodList {
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<PodObject>>,
}

#[derive(Deserialize)]
struct ListMeta {
    #[serde(rename = "continue", default)]
    token: Option<String>,
}

impl Reconciler {
    /// Answers all questions into the snapshot.
    pub(super) async fn answer(
        &self,
        questions: &[Question],
        snapshot: &mut Snapshot,
        memory: &mut SetMemory,
    ) -> Result<(), CallError> {
        let namespace = snapshot.set.namespace.clone();
        let mut pods = Vec::new();
        let mut whole = Vec::new();
        for question in questions {
            match question {
                Question::LivePod { ordinal, name } => pods.push((*ordinal, &**name)),
                Question::DefaultedTemplate { hash, template } => {
                    memory.templates.insert(hash.clone());
                    let answer = self.template(&namespace, hash, template).await?;
                    snapshot.answers.templates.insert(hash.clone(), answer);
                }
                Question::Ability { kinds, target, patch } => {
                    self.ask_ability(&namespace, kinds, target, patch, memory).await?;
                    snapshot.abilities = self.abilities.abilities();
                    memory.add_denials(&mut snapshot.abilities);
                }
                Question::Update { target, revision, resize, patch } => {
                    let patches = [(true, resize.as_deref()), (false, Some(&**patch))];
                    let taken = self.ask_to_update(&namespace, target, revision, patches, memory).await?;
                    snapshot.answers.tried_updates.insert(target.uid.clone(), taken);
                    snapshot.answers.refused_patches = memory.refused_patches();
                    snapshot.answers.held_updates = memory.held_updates();
                }
                Question::BoundClaim { name } => {
                    let answer = why_not_bound(&self.apiserver, &namespace, name).await?;
                    snapshot.answers.bound_claims.insert(name.clone(), answer);
                }
                Question::WholePod { name, uid } => whole.push((&**name, &**uid)),
            }
        }
        self.whole_pods(&whole, snapshot, memory).await?;
        if pods.len() > SINGLE_READS_MAX {
            self.list_live(&pods, snapshot).await
        } else {
            self.read_each_live(&pods, snapshot).await
        }
    }

    /// Whole Pods by name and UID, where their revision is not found after all. Those that did not change since they
    /// were read for an earlier look are not read again.
    async fn whole_pods(
        &self,
        asked: &[(&str, &str)],
        snapshot: &mut Snapshot,
        memory: &mut SetMemory,
    ) -> Result<(), CallError> {
        let mut unread = Vec::new();
        let mut labels: HashMap<Box<str>, bool> = HashMap::new();
        for (name, uid) in asked {
            let Some(pod) = snapshot.pods.get(*name).cloned() else {
                unread.push((*name, *uid));
                continue;
            };
            let label = pod.revision_label();
            let is_found = match labels.get(label) {
                Some(found) => *found,
                None => {
                    let found = self.find_revision(snapshot, label).await?;
                    labels.insert(label.into(), found);
                    found
                }
            };
            if is_found {
                continue;
            }
            match memory.whole_pods.get(&pod) {
                Some(whole) => drop(snapshot.answers.whole_pods.insert((*uid).into(), Arc::new(whole))),
                None => unread.push((*name, *uid)),
            }
        }
        let namespace = snapshot.set.namespace.clone();
        for some in unread.chunks(READS_MAX) {
            let mut reads = Vec::with_capacity(some.len());
            for (name, _) in some {
                reads.push(self.apiserver.read::<Value>(Verb::Get, At::one(Kind::Pod, &namespace, name)));
            }
            let mut failed = None;
            for ((name, uid), answer) in some.iter().zip(join_all(reads).await) {
                match answer {
                    Ok(pod) => {
                        let pod = without_status(pod);
                        memory.whole_pods.put(name, &pod);
                        snapshot.answers.whole_pods.insert((*uid).into(), Arc::new(pod));
                    }
                    Err(error) if error.failure == Failure::NotFound => {
                        self.vanished::<PodObject>(&namespace, name, uid);
                        failed = Some(CallError { failure: Failure::Conflict, ..error });
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Looks live for the revision that Pods' label names, where the cache shows none: a Pod must not be judged by
    /// itself, as one of unknown make, because a watch is behind. True: found, and in the snapshot now.
    async fn find_revision(&self, snapshot: &mut Snapshot, label: &str) -> Result<bool, CallError> {
        let is_known = snapshot.revisions.iter().any(|facts| *facts.hash == *label || *facts.name == *label);
        if label.is_empty() || is_known {
            return Ok(false);
        }
        let namespace = snapshot.set.namespace.clone();
        // A Pod that was adopted has its revision's whole name.
        let is_name = is_named_after(&snapshot.set.name, label);
        let name = if is_name { label.to_owned() } else { revision_name(&snapshot.set.name, label) };
        let found =
            match self.apiserver.read::<RevisionObject>(Verb::Get, At::one(Kind::Revision, &namespace, &name)).await {
                Ok(found) => found,
                Err(error) if error.failure == Failure::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
        self.refresh(found);
        snapshot.revisions = self.store.lock().revisions_of(&snapshot.set);
        Ok(snapshot.revisions.iter().any(|facts| *facts.name == *name))
    }

    async fn read_each_live(&self, pods: &[(i64, &str)], snapshot: &mut Snapshot) -> Result<(), CallError> {
        let namespace: &str = &snapshot.set.namespace;
        let mut reads = Vec::with_capacity(pods.len());
        for (_, name) in pods {
            reads.push(self.live_pod(namespace, name));
        }
        let answers: Vec<_> = stream::iter(reads).buffered(READS_MAX).collect().await;
        for ((ordinal, _), answer) in pods.iter().zip(answers) {
            snapshot.answers.live_pods.insert(*ordinal, answer?);
        }
        Ok(())
    }

    /// A live read of one Pod; the cache takes it in.
    async fn live_pod(&self, namespace: &str, name: &str) -> Result<LivePod, CallError> {
        let known = self.store.lock().known_uid(Kind::Pod, namespace, name);
        match self.apiserver.read::<PodObject>(Verb::Get, At::one(Kind::Pod, namespace, name)).await {
            Ok(pod) => {
                self.refresh(pod.clone());
                Ok(LivePod::Found(Arc::new(pod.whole())))
            }
            Err(error) if error.failure == Failure::NotFound => {
                if let Some(uid) = known {
                    self.vanished::<PodObject>(namespace, name, &uid);
                }
                Ok(LivePod::Gone)
            }
            Err(error) => Err(error),
        }
    }

    /// Lists by the ordinals' labels instead of many reads. A label may be taken away, so that only a read by name
    /// shows that a Pod is gone.
    async fn list_live(&self, pods: &[(i64, &str)], snapshot: &mut Snapshot) -> Result<(), CallError> {
        let set_selector = Selector::parse(&snapshot.set.spec.selector).map(|selector| selector.to_text());
        for chunk in pods.chunks(LIST_PAGE) {
            let ordinals: Vec<String> = chunk.iter().map(|(ordinal, _)| ordinal.to_string()).collect();
            let mut selector = format!("{} in ({})", names::POD_INDEX_LABEL, ordinals.join(","));
            if let Ok(set_selector) = &set_selector {
                selector = format!("{selector},{set_selector}");
            }
            self.list_page_by_page(&selector, chunk, snapshot).await?;
        }
        let is_missing = |(ordinal, _): &&(i64, &str)| !snapshot.answers.live_pods.contains_key(ordinal);
        let missing: Vec<(i64, &str)> = pods.iter().filter(is_missing).copied().collect();
        self.read_each_live(&missing, snapshot).await
    }

    async fn list_page_by_page(
        &self,
        selector: &str,
        wanted: &[(i64, &str)],
        snapshot: &mut Snapshot,
    ) -> Result<(), CallError> {
        let ordinals: HashMap<&str, i64> = wanted.iter().map(|(ordinal, name)| (*name, *ordinal)).collect();
        let first = format!("limit={LIST_PAGE}&labelSelector={}", escaped(selector));
        let mut query = first.clone();
        loop {
            let at = At::all(Kind::Pod, &snapshot.set.namespace).query(&query);
            let page: PodList = self.apiserver.read(Verb::List, at).await?;
            for pod in page.items.unwrap_or_default() {
                if let Some(ordinal) = ordinals.get(pod.metadata.name.as_deref().unwrap_or_default()) {
                    snapshot.answers.live_pods.insert(*ordinal, LivePod::Found(Arc::new(pod.whole())));
                }
            }
            match page.metadata.token.filter(|token| !token.is_empty()) {
                Some(token) => query = format!("{first}&continue={}", escaped(&token)),
                None => return Ok(()),
            }
        }
    }

    async fn ask_ability(
        &self,
        namespace: &str,
        kinds: &[FieldKind],
        target: &Target,
        patch: &str,
        memory: &mut SetMemory,
    ) -> Result<(), CallError> {
        let at = At::one(Kind::Pod, namespace, &target.name);
        match ask_to_patch(&self.apiserver, at, patch).await? {
            Took::Yes => self.abilities.takes(kinds),
            Took::No(_) => self.abilities.refuses(kinds),
            Took::CannotTell => self.abilities.cannot_tell(kinds),
            Took::Denied { refused, message } => memory.deny(kinds, refused.reason(), &message),
            Took::Gone(error) => {
                self.vanished::<PodObject>(namespace, &target.name, &target.uid);
                return Err(CallError { failure: Failure::Conflict, ..error });
            }
        }
        Ok(())
    }

    /// Dry runs of an update's patches; the first is the resize. What refuses them is remembered.
    async fn ask_to_update(
        &self,
        namespace: &str,
        target: &Target,
        revision: &str,
        patches: [(bool, Option<&str>); 2],
        memory: &mut SetMemory,
    ) -> Result<bool, CallError> {
        for (resizes, patch) in patches {
            let Some(patch) = patch else { continue };
            let at = At::one(Kind::Pod, namespace, &target.name);
            match ask_to_patch(&self.apiserver, if resizes { at.resize() } else { at }, patch).await? {
                // Who cannot be asked is tried in earnest, more and more seldom.
                Took::Yes | Took::CannotTell => {}
                Took::No(message) => {
                    memory.refuse_patch(&target.uid, revision, &message);
                    return Ok(false);
                }
                Took::Denied { refused, message } => {
                    let message = format!("Pod {}: {message}", target.name);
                    memory.deny_update(revision, refused.reason(), &message, true);
                    return Ok(false);
                }
                Took::Gone(error) => {
                    self.vanished::<PodObject>(namespace, &target.name, &target.uid);
                    return Err(CallError { failure: Failure::Conflict, ..error });
                }
            }
        }
        Ok(true)
    }

    async fn template(&self, namespace: &str, hash: &str, template: &str) -> Result<TemplateAnswer, CallError> {
        if let Some(answer) = self.templates.get(hash) {
            return Ok(answer);
        }
        let answer = match default_template(&self.apiserver, namespace, template).await {
            Ok(answer) => answer,
            // It may work the next time: no answer is better than a wrong one.
            Err(error) if !matches!(error.failure, Failure::Refused(_) | Failure::NotFound) => return Err(error),
            Err(error) => {
                tracing::debug!("a template cannot be defaulted, comparing locally: {error}");
                TemplateAnswer::Unavailable
            }
        };
        self.templates.put(hash, answer.clone());
        Ok(answer)
    }
}

/// A Pod without what no plan looks at.
fn without_status(mut pod: Value) -> Value {
    if let Some(fields) = pod.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    pod
}
