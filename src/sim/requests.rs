//! The requests that a plan's actions are.

use std::collections::VecDeque;

use serde_json::Value;

use super::chaos::Sort;
use super::controller::{Intent, Request, Verb};
use super::facts;
use super::mutants::Mutant;
use super::store::{Guard, Kind};
use super::world::{SET, World};
use crate::api::names;
use crate::plan::action::{Action, DeleteWhy, PatchWhy, RevisionAction, StatusWrite, Target};

fn guard(target: &Target) -> Guard {
    Guard { uid: Some(target.uid.clone()), version: Some(target.resource_version.clone()) }
}

impl Request {
    pub fn sort(&self) -> Sort {
        let updates = |action: &Action| {
            matches!(action, Action::PatchPod { why: PatchWhy::InPlace | PatchWhy::Live, .. })
                && self.body.get("spec").is_some()
        };
        match (self.verb, &self.intent) {
            (Verb::Get | Verb::DryRun, _) => Sort::Read,
            (_, Intent::Act(action)) if updates(action) => Sort::InPlace,
            _ => Sort::Write,
        }
    }
}

impl World {
    pub fn status_request(&self, controller: usize) -> Option<VecDeque<Request>> {
        let run = self.controllers[controller].run.as_ref()?;
        if run.plan.status_write == StatusWrite::None {
            return None;
        }
        let mut request = self.request(controller, Verb::PutStatus, Kind::Set, SET, Intent::Status);
        request.body = serde_json::to_value(&run.plan.status).unwrap_or_default();
        request.guard = Guard { uid: None, version: Some(run.snapshot.set.resource_version.clone()) };
        if self.mutant == Some(Mutant::StatusWithoutVersion) {
            request.guard.version = None;
        }
        Some(VecDeque::from([request]))
    }

    pub fn revision(&self, controller: usize, action: &RevisionAction) -> VecDeque<Request> {
        let intent = Intent::Revision(action.clone());
        let run = self.controllers[controller].run.as_ref();
        match action {
            RevisionAction::Create { name, hash, number, data } => {
                let owner = run.map(|run| crate::plan::build::controller_reference(&run.snapshot.set));
                let mut request = self.request(controller, Verb::Create, Kind::Revision, name, intent);
                request.body = serde_json::json!({
                    "metadata": {"name": name, "labels": {names::HASH_LABEL: hash}, "ownerReferences": [owner]},
                    "revision": number, "data": **data,
                });
                let is_first = run.is_none_or(|run| run.snapshot.set.status.observed_generation.is_none());
                let look = (!is_first).then(|| self.look_at_set(controller));
                look.into_iter().chain([request]).collect()
            }
            RevisionAction::Renumber { name, uid, resource_version, number } => {
                let mut request = self.request(controller, Verb::Patch, Kind::Revision, name, intent);
                request.body = serde_json::json!({
                    "metadata": {"uid": uid, "resourceVersion": resource_version}, "revision": number,
                });
                VecDeque::from([self.look_at_set(controller), request])
            }
            RevisionAction::NoteClaims { name, uid, resource_version, note } => {
                let mut request = self.request(controller, Verb::Patch, Kind::Revision, name, intent);
                request.body = serde_json::json!({"metadata": {
                    "uid": uid, "resourceVersion": resource_version,
                    "annotations": {names::REVISION_CLAIMS_ANNOTATION: note},
                }});
                VecDeque::from([request])
            }
            RevisionAction::Adopt { name, uid, resource_version } => {
                let owner = run.map(|run| crate::plan::build::controller_reference(&run.snapshot.set));
                let check = self.request(controller, Verb::Get, Kind::Set, SET, Intent::CheckSet);
                let mut request = self.request(controller, Verb::Patch, Kind::Revision, name, intent);
                request.body = serde_json::json!({"metadata": {
                    "uid": uid, "resourceVersion": resource_version, "ownerReferences": [owner],
                }});
                VecDeque::from([check, request])
            }
            RevisionAction::Delete { name, uid, resource_version, hash } => {
                let check = self.request(controller, Verb::Get, Kind::Set, SET, Intent::CheckRevision(hash.clone()));
                let mut request = self.request(controller, Verb::Delete, Kind::Revision, name, intent);
                request.guard = Guard { uid: Some(uid.clone()), version: Some(resource_version.clone()) };
                VecDeque::from([check, request])
            }
        }
    }

    /// The set is looked at live before a write that a controller with a newer view of it would undo.
    fn look_at_set(&self, controller: usize) -> Request {
        self.request(controller, Verb::Get, Kind::Set, SET, Intent::LookAtSet)
    }

    pub fn action(&self, controller: usize, action: &Action) -> Vec<VecDeque<Request>> {
        let intent = || Intent::Act(action.clone());
        let one = |request: Request| vec![VecDeque::from([request])];
        let patch = |verb: Verb, kind: Kind, target: &Target, body: &Value| {
            let mut request = self.request(controller, verb, kind, &target.name, intent());
            request.body = body.clone();
            request
        };
        match action {
            Action::CreatePod { name, claims, pod, .. } => {
                let mut chain = VecDeque::new();
                for claim in claims {
                    let name = facts::text(claim, "/metadata/name");
                    let mut request = self.request(controller, Verb::Create, Kind::Claim, &name, Intent::Claim);
                    request.body = claim.clone();
                    chain.push_back(request);
                }
                let mut request = self.request(controller, Verb::Create, Kind::Pod, name, intent());
                request.body = (**pod).clone();
                chain.push_back(request);
                vec![chain]
            }
            Action::CreateClaim { name, claim, .. } => {
                let mut request = self.request(controller, Verb::Create, Kind::Claim, name, Intent::Claim);
                request.body = (**claim).clone();
                one(request)
            }
            Action::CreateHelper { name, pod, .. } => {
                let mut request = self.request(controller, Verb::Create, Kind::Pod, name, intent());
                request.body = (**pod).clone();
                one(request)
            }
            Action::DeleteHelper { target, .. } => {
                let mut request = self.request(controller, Verb::Delete, Kind::Pod, &target.name, intent());
                request.guard = guard(target);
                one(request)
            }
            Action::DeletePod { ordinal, target, why, .. } => {
                let mut request = self.request(controller, Verb::Delete, Kind::Pod, &target.name, intent());
                request.guard = guard(target);
                match self.mutant {
                    Some(Mutant::NoUidPrecondition) => request.guard = Guard::default(),
                    Some(Mutant::NoVersionPrecondition) => request.guard.version = None,
                    Some(Mutant::DeletesByForce) => request.grace_seconds = Some(0),
                    _ => {}
                }
                let mut chains = one(request);
                if self.mutant == Some(Mutant::DeletesClaims) && *why == DeleteWhy::ScaleDown {
                    let name = format!("data-{SET}-{ordinal}");
                    chains.extend(one(self.request(controller, Verb::Delete, Kind::Claim, &name, Intent::Claim)));
                }
                chains
            }
            Action::PatchPod { target, patch: body, resize: Some(resize), .. } => {
                let note = resize.note.as_ref().map(|note| patch(Verb::Patch, Kind::Pod, target, note));
                let rest = [
                    patch(Verb::Resize, Kind::Pod, target, &resize.patch),
                    patch(Verb::Patch, Kind::Pod, target, body),
                ];
                vec![note.into_iter().chain(rest).collect()]
            }
            Action::PatchPod { target, patch: body, why, .. } => {
                let mut request = patch(Verb::Patch, Kind::Pod, target, body);
                if self.mutant == Some(Mutant::NoVersionPrecondition) {
                    drop(request.body["metadata"].as_object_mut().map(|metadata| metadata.remove("resourceVersion")));
                }
                if self.mutant == Some(Mutant::LabelInSecondPatch) && *why == PatchWhy::InPlace {
                    return vec![in_two(request)];
                }
                one(request)
            }
            Action::PatchPodStatus { target, patch: body, .. } => {
                one(patch(Verb::PatchStatus, Kind::Pod, target, body))
            }
            Action::PatchClaim { target, patch: body, .. } | Action::GrowClaim { target, patch: body, .. } => {
                one(patch(Verb::Patch, Kind::Claim, target, body))
            }
            Action::AdoptPod { target, patch: body, .. } if self.mutant == Some(Mutant::AdoptsWithoutALook) => {
                one(patch(Verb::Patch, Kind::Pod, target, body))
            }
            Action::AdoptPod { target, patch: body, .. } => {
                let check = self.request(controller, Verb::Get, Kind::Set, SET, Intent::CheckSet);
                vec![VecDeque::from([check, patch(Verb::Patch, Kind::Pod, target, body)])]
            }
            Action::ReleasePod { target, patch: body, .. } => one(patch(Verb::Patch, Kind::Pod, target, body)),
        }
    }
}

/// The revision label after the images, as nobody should do it.
fn in_two(request: Request) -> VecDeque<Request> {
    let mut first = request.clone();
    let mut second = request;
    drop(first.body["metadata"].as_object_mut().map(|metadata| metadata.remove("labels")));
    if let Some(body) = second.body.as_object_mut() {
        body.remove("spec");
    }
    drop(second.body["metadata"].as_object_mut().map(|metadata| metadata.remove("resourceVersion")));
    VecDeque::from([first, second])
}
