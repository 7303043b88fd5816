//! Carries out what a plan wants of ControllerRevisions.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::actions;
use super::apply::{Adoption, Outcome};
use super::cache::CachedSet;
use super::cache::revision::RevisionObject;
use super::cache::set::SetObject;
use super::client::{At, Kind, Verb};
use super::error::{CallError, Failure};
use super::inflight::Shows;
use super::inquire::{escaped, unknown_fields};
use super::memory::{REVISIONS, SetMemory};
use super::reconcile::Reconciler;
use super::template_cache::UnknownFields;
use crate::api::names;
use crate::model::SetFacts;
use crate::plan::action::{PlannedEvent, RevisionAction, Target};
use crate::plan::revisions::template_hash;

/// Longest value that a label selector takes, in bytes.
const LABEL_VALUE_BYTES_MAX: usize = names::LABEL_VALUE_BYTES_MAX;

#[derive(Deserialize)]
struct AnyList {
    #[serde(default)]
    items: Option<Vec<IgnoredAny>>,
}

impl Reconciler {
    /// One after another; stops at the first that fails, or was refused a short while ago. Only the end of old ones is
    /// nothing that the rest has to wait for.
    pub(super) async fn apply_revisions(
        &self,
        set: &SetFacts,
        wanted: &[RevisionAction],
        memory: &mut SetMemory,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for action in wanted {
            let object = action.object();
            let is_needed = !matches!(action, RevisionAction::Delete { .. });
            if !memory.refusals.may_try(&object) {
                if !is_needed {
                    continue;
                }
                outcome.retries_later = true;
                break;
            }
            let mut shows = Vec::new();
            let result = self.apply_revision(set, action, &mut shows, &mut outcome).await;
            let waits = !shows.is_empty();
            for (kind, name, show) in shows {
                memory.inflight.expect(kind, &name, show);
            }
            if result.is_ok() {
                memory.refusals.made(&object);
            }
            if let Err(error) = result {
                if error.failure == Failure::Conflict {
                    tracing::debug!(object = error.object, "a revision was not written: {}", error.message);
                } else {
                    tracing::warn!(object = error.object, "a revision was not written: {}", error.message);
                }
                outcome.events.extend(refusal_event(&error));
                memory.refusals.refused(&object, REVISIONS, &error, &self.apiserver.chance);
                outcome.retries_later |= is_needed && matches!(error.failure, Failure::Refused(_));
                outcome.note(&error, waits);
            }
            if outcome.must_stop() {
                break;
            }
        }
        outcome
    }

    async fn apply_revision(
        &self,
        set: &SetFacts,
        action: &RevisionAction,
        shows: &mut actions::Owed,
        outcome: &mut Outcome,
    ) -> Result<(), CallError> {
        match action {
            RevisionAction::Create { name, hash, number, data } => {
                // The first of a set can be undone by nobody that sees more.
                if set.status.observed_generation.is_some() {
                    self.look_at_set(set, shows).await?;
                }
                self.create_revision(set, name, hash, *number, data, shows).await?;
                outcome.events.extend(self.unknown_fields_event(set, data).await);
                Ok(())
            }
            RevisionAction::Renumber { name, uid, resource_version, number } => {
                self.look_at_set(set, shows).await?;
                let target =
                    Target { name: name.clone(), uid: uid.clone(), resource_version: resource_version.clone() };
                let patch = json!({"metadata": {"uid": uid, "resourceVersion": resource_version}, "revision": number});
                let at = At::one(Kind::Revision, &set.namespace, name);
                self.patch::<RevisionObject>(Verb::MergePatch, at, &target, &patch, shows).await
            }
            RevisionAction::NoteClaims { name, uid, resource_version, note } => {
                let target =
                    Target { name: name.clone(), uid: uid.clone(), resource_version: resource_version.clone() };
                let patch = json!({"metadata": {
                    "uid": uid, "resourceVersion": resource_version,
                    "annotations": {names::REVISION_CLAIMS_ANNOTATION: note},
                }});
                let at = At::one(Kind::Revision, &set.namespace, name);
                self.patch::<RevisionObject>(Verb::MergePatch, at, &target, &patch, shows).await
            }
            RevisionAction::Adopt { name, uid, resource_version } => {
                if self.may_adopt(set, outcome).await != Adoption::Allowed {
                    return Ok(());
                }
                let target =
                    Target { name: name.clone(), uid: uid.clone(), resource_version: resource_version.clone() };
                let patch = json!({"metadata": {
                    "uid": uid, "resourceVersion": resource_version, "ownerReferences": [owner_reference(set)],
                }});
                let at = At::one(Kind::Revision, &set.namespace, name);
                self.patch::<RevisionObject>(Verb::StrategicPatch, at, &target, &patch, shows).await
            }
            RevisionAction::Delete { name, uid, resource_version, hash } => {
                if self.is_in_use(set, name, hash).await? {
                    tracing::debug!(revision = &**name, "kept: a live Pod or the live status names it");
                    return Ok(());
                }
                let target =
                    Target { name: name.clone(), uid: uid.clone(), resource_version: resource_version.clone() };
                self.delete(Kind::Revision, set, &target, shows).await
            }
        }
    }

    /// A conflict where the live set is another than the one that was planned for: a revision that is made or raised for
    /// an older one would be undone by the garbage collector, or by a controller that sees more. The cache then shows
    /// what was found.
    async fn look_at_set(&self, set: &SetFacts, shows: &mut actions::Owed) -> Result<(), CallError> {
        let at = At::one(Kind::Set, &set.namespace, &set.name);
        let conflict = |message: &str| CallError {
            failure: Failure::Conflict,
            code: 409,
            verb: "get",
            object: format!("AdvancedStatefulSet {}", set.name),
            message: message.to_owned(),
            retry_after: None,
        };
        match self.apiserver.read::<SetObject>(Verb::Get, at).await {
            Ok(live) => {
                let meta = &live.metadata;
                if meta.uid.as_deref() == Some(&*set.uid)
                    && meta.generation == Some(set.generation)
                    && meta.deletion_timestamp.is_none()
                {
                    return Ok(());
                }
                let planned = Shows::OtherThan { uid: set.uid.clone(), resource_version: set.resource_version.clone() };
                shows.push((Kind::Set, set.name.clone(), planned));
                self.refresh(live);
                Err(conflict("the set was changed"))
            }
            Err(error) if error.failure == Failure::NotFound => {
                self.vanished::<SetObject>(&set.namespace, &set.name, &set.uid);
                Err(conflict("the set is gone"))
            }
            Err(error) => Err(error),
        }
    }

    async fn create_revision(
        &self,
        set: &SetFacts,
        name: &str,
        hash: &str,
        number: i64,
        data: &Arc<Value>,
        shows: &mut actions::Owed,
    ) -> Result<(), CallError> {
        let body = revision_object(set, name, hash, number, data);
        let created = self.create::<RevisionObject>(&set.namespace, name, &body, shows).await;
        let Err(error) = created else {
            tracing::info!(object = format!("ControllerRevision {name}"), what = "Create", "the template is new");
            return Ok(());
        };
        if error.failure != Failure::AlreadyExists {
            return Err(error);
        }
        let at = At::one(Kind::Revision, &set.namespace, name);
        let found: RevisionObject = self.apiserver.read(Verb::Get, at).await?;
        let facts = found.clone().whole().facts;
        self.refresh(found);
        let ours = facts.controller.as_ref().is_some_and(|owner| owner.uid == set.uid);
        if ours && facts.data == *data {
            return Ok(());
        }
        // Another object has the name: the count gives the next one another.
        let mut status = (*set.status).clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
        self.write_status(set, &status, shows).await?;
        Err(CallError { failure: Failure::Conflict, ..error })
    }

    /// Told once a revision: a field that is misspelt would be missed by nobody else.
    async fn unknown_fields_event(&self, set: &SetFacts, data: &Value) -> Option<PlannedEvent> {
        let mut template = data.pointer("/spec/template")?.clone();
        // Of the revision, for kubectl: no field of the template.
        template.as_object_mut()?.remove("$patch");
        let hash = template_hash(&template);
        let UnknownFields(told) = match self.unknown_fields.get(&hash) {
            Some(known) => known,
            None => {
                let found = UnknownFields(unknown_fields(&self.apiserver, &set.namespace, &template).await.ok()?);
                self.unknown_fields.put(&hash, found.clone());
                found
            }
        };
        let told = told?;
        let message = format!("the apiserver does not know, and ignores: {told}");
        Some(PlannedEvent { warning: true, reason: "UnknownTemplateFields", action: "Update", message })
    }

    /// Looks live whether a Pod's label or the status names the revision.
    async fn is_in_use(&self, set: &SetFacts, name: &str, hash: &str) -> Result<bool, CallError> {
        let at = At::one(Kind::Set, &set.namespace, &set.name);
        let live: SetObject = self.apiserver.read(Verb::Get, at).await?;
        if let CachedSet::Sound(live) = live.whole() {
            // A spec that the plan has not seen may go back to this revision.
            if live.uid != set.uid || live.generation != set.generation {
                return Ok(true);
            }
            let status = &live.status;
            if [&status.current_revision, &status.update_revision].into_iter().flatten().any(|named| named == name) {
                return Ok(true);
            }
        }
        let values: Vec<&str> = [hash, name].into_iter().filter(|value| value.len() <= LABEL_VALUE_BYTES_MAX).collect();
        let selector = escaped(&format!("{} in ({})", names::REVISION_LABEL, values.join(",")));
        let query = format!("limit=1&labelSelector={selector}");
        let pods: AnyList = self.apiserver.read(Verb::List, At::all(Kind::Pod, &set.namespace).query(&query)).await?;
        Ok(pods.items.is_some_and(|pods| !pods.is_empty()))
    }
}

fn refusal_event(error: &CallError) -> Option<PlannedEvent> {
    let Failure::Refused(_) = error.failure else { return None };
    let message = format!("{}: {}", error.object, error.message);
    Some(PlannedEvent { warning: true, reason: "FailedUpdate", action: "Update", message })
}

/// The template's labels make an orphaned revision findable by the set's selector.
fn revision_object(set: &SetFacts, name: &str, hash: &str, number: i64, data: &Value) -> Value {
    let mut labels = set.spec.template.0.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(names::HASH_LABEL.to_owned(), Value::from(hash));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": set.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(set)],
        },
        "revision": number,
        "data": data,
    })
}

fn owner_reference(set: &SetFacts) -> Value {
    json!({
        "apiVersion": names::API_VERSION,
        "kind": names::KIND,
        "name": set.name,
        "uid": set.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
