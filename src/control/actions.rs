//! Carries out one action: one call for most, with its preconditions, and what it makes the
//! cache owe.

use serde_json::{Value, json};

use super::cache::Watched;
use super::cache::claim::ClaimObject;
use super::cache::pod::PodObject;
use super::client::{At, Kind, Verb};
use super::error::{CallError, Failure, Refused};
use super::inflight::Shows;
use super::reconcile::Reconciler;
use crate::model::{FieldKind, SetFacts};
use crate::plan::Action;
use crate::plan::action::{Resize, Target};

/// What the cache must show, of which object.
pub type Owed = Vec<(Kind, Box<str>, Shows)>;

/// What became of an action.
#[derive(Debug)]
pub struct Done<'a> {
    pub action: &'a Action,
    /// What the cache must show before the set is planned again.
    pub shows: Owed,
    pub result: Result<(), CallError>,
}

impl Reconciler {
    pub(super) async fn act<'a>(&self, set: &SetFacts, action: &'a Action) -> Done<'a> {
        let mut shows = Vec::new();
        let result = match action {
            Action::CreatePod { name, claims, pod, .. } => self.create_pod(set, name, claims, pod, &mut shows).await,
            Action::CreateClaim { claim, .. } => self.create_claim(set, claim, &mut shows).await,
            Action::CreateHelper { name, pod, .. } => self.create_helper(set, name, pod, &mut shows).await,
            Action::DeletePod { target, .. } | Action::DeleteHelper { target, .. } => {
                self.delete(Kind::Pod, set, target, &mut shows).await
            }
            Action::PatchPod { target, resize: Some(resize), patch, .. } => {
                self.resize_and_patch(set, target, resize, patch, &mut shows).await
            }
            Action::PatchPod { target, patch, .. }
            | Action::ReleasePod { target, patch, .. }
            | Action::AdoptPod { target, patch, .. } => {
                let at = At::one(Kind::Pod, &set.namespace, &target.name);
                self.patch::<PodObject>(Verb::StrategicPatch, at, target, patch, &mut shows).await
            }
            Action::PatchPodStatus { target, patch, .. } => {
                let at = At::one(Kind::Pod, &set.namespace, &target.name).status();
                self.patch::<PodObject>(Verb::StrategicPatch, at, target, patch, &mut shows).await
            }
            Action::PatchClaim { target, patch, .. } | Action::GrowClaim { target, patch, .. } => {
                let at = At::one(Kind::Claim, &set.namespace, &target.name);
                self.patch::<ClaimObject>(Verb::StrategicPatch, at, target, patch, &mut shows).await
            }
        };
        Done { action, shows, result }
    }

    /// The resize, and the rest on the state that came of it. The kubelet answers the resize with
    /// writes of its own: as long as they leave the spec alone, the rest still holds. Should it fail,
    /// the next plan finds a Pod that says what was begun.
    async fn resize_and_patch(
        &self,
        set: &SetFacts,
        target: &Target,
        resize: &Resize,
        patch: &Value,
        shows: &mut Owed,
    ) -> Result<(), CallError> {
        const TRIES_MAX: u32 = 4;
        let at = At::one(Kind::Pod, &set.namespace, &target.name);
        let mut target = target.clone();
        let mut resize_patch = resize.patch.clone();
        if let Some(note) = &resize.note {
            let noted = self.patched::<PodObject>(Verb::StrategicPatch, at, &target, note, shows).await?;
            target.resource_version = noted.metadata.resource_version.as_deref().unwrap_or_default().into();
            resize_patch["metadata"]["resourceVersion"] = (*target.resource_version).into();
            self.refresh(noted);
        }
        let target = &target;
        let written = self.apiserver.write::<PodObject>(Verb::StrategicPatch, at.resize(), Some(&resize_patch)).await;
        if let Err(error) = &written
            && error.failure == Failure::NotFound
            && self.is_still_there(at, target).await?
        {
            // The Pod is there: it is `pods/resize` that is not. The next plan takes another way.
            self.abilities.refuses(&[FieldKind::Resize]);
            return Err(CallError { failure: Failure::Conflict, ..error.clone() });
        }
        note_written(Kind::Pod, &target.name, &written, Some(target), shows);
        let resized = written?.metadata;
        let mut found = resized.clone();
        let mut patch = patch.clone();
        let mut tries = 1;
        loop {
            let version = found.resource_version.as_deref().unwrap_or_default();
            patch["metadata"]["resourceVersion"] = version.into();
            let target = Target { resource_version: version.into(), ..target.clone() };
            let mut owed = Owed::new();
            let result = self.patch::<PodObject>(Verb::StrategicPatch, at, &target, &patch, &mut owed).await;
            let again = tries < TRIES_MAX && result.as_ref().is_err_and(|error| error.failure == Failure::Conflict);
            if again {
                tries += 1;
                found = self.apiserver.read::<PodObject>(Verb::Get, at).await?.metadata;
            }
            let same = found.uid == resized.uid
                && found.generation == resized.generation
                && found.deletion_timestamp == resized.deletion_timestamp;
            if !again || !same {
                shows.extend(owed);
                return result;
            }
        }
    }

    /// Whether a live read finds the same Pod.
    async fn is_still_there(&self, at: At<'_>, target: &Target) -> Result<bool, CallError> {
        match self.apiserver.read::<PodObject>(Verb::Get, at).await {
            Ok(found) => {
                let same = found.metadata.uid.as_deref() == Some(&*target.uid);
                self.refresh(found);
                Ok(same)
            }
            Err(error) if error.failure == Failure::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create_pod(
        &self,
        set: &SetFacts,
        name: &str,
        claims: &[Value],
        pod: &Value,
        shows: &mut Owed,
    ) -> Result<(), CallError> {
        for claim in claims {
            self.create_claim(set, claim, shows).await?;
        }
        let created = self.create::<PodObject>(&set.namespace, name, pod, shows).await;
        let Err(error) = created else { return Ok(()) };
        if error.failure != Failure::AlreadyExists {
            return Err(error);
        }
        // The cache did not show it: it does now, and the next plan sees whose it is.
        let found: PodObject = self.read_into_cache(Kind::Pod, &set.namespace, name, &error).await?;
        match found.whole().controller {
            Some(owner) if owner.uid == set.uid => Ok(()),
            owner => {
                let whose = owner.map_or("nobody controls it".to_owned(), |owner| {
                    format!("{} {} controls it", owner.kind, owner.name)
                });
                let message = format!("another Pod has the name {name}: {whose}");
                Err(CallError { failure: Failure::Refused(Refused::NameTaken), message, ..error })
            }
        }
    }

    async fn create_helper(&self, set: &SetFacts, name: &str, pod: &Value, shows: &mut Owed) -> Result<(), CallError> {
        match self.create::<PodObject>(&set.namespace, name, pod, shows).await {
            Err(error) if error.failure == Failure::AlreadyExists => {
                self.read_into_cache::<PodObject>(Kind::Pod, &set.namespace, name, &error).await.map(|_| ())
            }
            created => created.map(|_| ()),
        }
    }

    async fn create_claim(&self, set: &SetFacts, claim: &Value, shows: &mut Owed) -> Result<(), CallError> {
        let name = claim.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let created = self.create::<ClaimObject>(&set.namespace, name, claim, shows).await;
        let Err(error) = created else { return Ok(()) };
        if error.failure != Failure::AlreadyExists {
            return Err(error);
        }
        let found: ClaimObject = self.read_into_cache(Kind::Claim, &set.namespace, name, &error).await?;
        let found = found.whole();
        if found.terminating {
            return Err(CallError { failure: Failure::Conflict, ..error });
        }
        match &found.made_for {
            Some(other) if **other != *set.name => {
                let message = format!("the claim {name} was made for the set {other}");
                Err(CallError { failure: Failure::Refused(Refused::NameTaken), message, ..error })
            }
            _ => Ok(()),
        }
    }

    /// Reads an object whose name was found taken. Where it is gone by now, `taken` is a conflict.
    async fn read_into_cache<W: Watched>(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        taken: &CallError,
    ) -> Result<W, CallError> {
        match self.apiserver.read::<W>(Verb::Get, At::one(kind, namespace, name)).await {
            Ok(found) => {
                self.refresh(found.clone());
                Ok(found)
            }
            Err(error) if error.failure == Failure::NotFound => {
                Err(CallError { failure: Failure::Conflict, ..taken.clone() })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create<W: Watched>(
        &self,
        namespace: &str,
        name: &str,
        body: &Value,
        shows: &mut Owed,
    ) -> Result<W, CallError> {
        let written = self.apiserver.write::<W>(Verb::Create, At::all(W::KIND, namespace), Some(body)).await;
        note_written(W::KIND, name, &written, None, shows);
        if let Ok(object) = &written {
            self.refresh(object.clone());
        }
        written
    }

    pub(super) async fn patch<W: Watched>(
        &self,
        verb: Verb,
        at: At<'_>,
        target: &Target,
        patch: &Value,
        shows: &mut Owed,
    ) -> Result<(), CallError> {
        // The answer shows what the watch would: the next look need not wait for it.
        self.patched::<W>(verb, at, target, patch, shows).await.map(|object| self.refresh(object))
    }

    async fn patched<W: Watched>(
        &self,
        verb: Verb,
        at: At<'_>,
        target: &Target,
        patch: &Value,
        shows: &mut Owed,
    ) -> Result<W, CallError> {
        let written = self.apiserver.write::<W>(verb, at, Some(patch)).await;
        note_written(at.kind, &target.name, &written, Some(target), shows);
        written
    }

    /// Deletes exactly the incarnation and state that was decided on.
    pub(super) async fn delete(
        &self,
        kind: Kind,
        set: &SetFacts,
        target: &Target,
        shows: &mut Owed,
    ) -> Result<(), CallError> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": target.uid, "resourceVersion": target.resource_version},
        });
        let at = At::one(kind, &set.namespace, &target.name);
        let deleted = self.apiserver.write::<serde::de::IgnoredAny>(Verb::Delete, at, Some(&options)).await;
        let (show, result) = match deleted {
            Ok(_) => (Some(Shows::Leaving { uid: target.uid.clone() }), Ok(())),
            // It is gone, as was wanted.
            Err(error) if error.failure == Failure::NotFound => {
                (Some(Shows::Leaving { uid: target.uid.clone() }), Ok(()))
            }
            Err(error) => (after_failure(&error, Some(target)), Err(error)),
        };
        shows.extend(show.map(|show| (kind, target.name.clone(), show)));
        result
    }
}

fn note_written<W: Watched>(
    kind: Kind,
    name: &str,
    written: &Result<W, CallError>,
    target: Option<&Target>,
    shows: &mut Owed,
) {
    let show = match written {
        Ok(object) => {
            let meta = object.meta();
            Some(Shows::AtLeast {
                uid: meta.uid.as_deref().unwrap_or_default().into(),
                resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
            })
        }
        Err(error) => after_failure(error, target),
    };
    shows.extend(show.map(|show| (kind, name.into(), show)));
}

/// What a failed write leaves to be seen.
fn after_failure(error: &CallError, target: Option<&Target>) -> Option<Shows> {
    match error.failure {
        Failure::Unknown => Some(Shows::LiveRead),
        Failure::Conflict | Failure::NotFound => target.map(|target| Shows::OtherThan {
            uid: target.uid.clone(),
            resource_version: target.resource_version.clone(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_is_left_to_be_seen() {
        let target = Target { name: "web-0".into(), uid: "u".into(), resource_version: "7".into() };
        let error = |failure| CallError {
            failure,
            code: 0,
            verb: "patch",
            object: "Pod web-0".to_owned(),
            message: String::new(),
            retry_after: None,
        };
        let changed = Shows::OtherThan { uid: "u".into(), resource_version: "7".into() };
        assert_eq!(after_failure(&error(Failure::Unknown), Some(&target)), Some(Shows::LiveRead));
        assert_eq!(after_failure(&error(Failure::Unknown), None), Some(Shows::LiveRead));
        assert_eq!(after_failure(&error(Failure::Conflict), Some(&target)), Some(changed.clone()));
        assert_eq!(after_failure(&error(Failure::NotFound), Some(&target)), Some(changed));
        assert_eq!(after_failure(&error(Failure::Conflict), None), None);
        assert_eq!(after_failure(&error(Failure::Refused(Refused::Forbidden)), Some(&target)), None);
    }
}
