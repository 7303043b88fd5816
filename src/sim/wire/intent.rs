//! Which part of its manager's last plan a request carries out. A write that no plan asked for is a
//! fault by itself.

use super::call::{Call, Resource};
use super::watches::name_of;
use crate::model::Snapshot;
use crate::plan::Plan;
use crate::plan::action::{Action, RevisionAction, Target};
use crate::sim::controller::{Intent, Read, Request, Verb};
use crate::sim::facts;
use crate::sim::store::{Guard, Kind};
use crate::sim::summary::summary;
use crate::sim::world::{SET, World, note};

impl World {
    /// A manager has made a plan.
    pub fn planned(&mut self, manager: usize, epoch: u64, honest: &Snapshot, plan: &Plan) {
        if plan.questions.is_empty() && *honest.set.name == *SET {
            self.oracle.planned(manager, epoch);
        }
        if plan.questions.is_empty()
            && let Err(violation) = crate::sim::plan_oracle::check(honest, plan)
        {
            self.oracle.fail(format!("m{manager} {violation}"));
        }
        note!(self, "m{manager} plans at set version {}: {}", honest.set.resource_version, summary(plan));
        let read =
            Read { set_version: honest.set.resource_version.parse().unwrap_or(0), set_uid: honest.set.uid.clone() };
        let Some(wire) = &mut self.wire else { return };
        if let Some(seen) = wire.managers.get_mut(manager).filter(|seen| seen.epoch == epoch) {
            seen.plans.insert(honest.set.name.clone(), (read, plan.clone()));
        }
        if self.oracle.violation.is_some() {
            wire.changed.notify_one();
        }
    }

    pub fn intended(&self, call: &Call) -> Result<Request, String> {
        let unplanned = || {
            format!("m{} sends what no plan asked for: {} {:?} {}", call.manager, call.method, call.resource, call.name)
        };
        let Resource::Stored(kind) = call.resource else { return Err(unplanned()) };
        let manager = self.wire.as_ref().and_then(|wire| wire.managers.get(call.manager)).ok_or_else(unplanned)?;
        let name = if call.name.is_empty() { name_of(&call.body) } else { call.name.clone() };
        let verb = verb(call).ok_or_else(unplanned)?;
        let text = |pointer: &str| Some(facts::text(&call.body, pointer)).filter(|text| !text.is_empty());
        let guard = match verb {
            Verb::Delete => Guard { uid: text("/preconditions/uid"), version: text("/preconditions/resourceVersion") },
            _ => Guard { uid: text("/metadata/uid"), version: text("/metadata/resourceVersion") },
        };
        let mut found = manager.plans.iter().filter_map(|(set, (read, plan))| {
            Some((set, read, intent(plan, set, kind, verb, &name, guard.uid.as_deref())?))
        });
        let (set, read, intent) = match found.next() {
            Some((set, read, intent)) => (&**set, read.clone(), intent),
            // Of a set that cannot be understood there is no plan, and only a condition of it is written.
            None if kind == Kind::Set && verb == Verb::PatchStatus => ("", Read::default(), Intent::Status),
            None => return Err(unplanned()),
        };
        let body = if verb == Verb::PutStatus { call.body["status"].clone() } else { call.body.clone() };
        Ok(Request {
            controller: call.manager,
            epoch: call.epoch,
            chain: 0,
            verb,
            kind,
            name: name.into(),
            body,
            guard,
            intent,
            read,
            is_for_another: set != SET,
            abandoned: false,
            fault: None,
            grace_seconds: call.body.get("gracePeriodSeconds").and_then(serde_json::Value::as_i64),
        })
    }
}

fn verb(call: &Call) -> Option<Verb> {
    Some(match (call.method.as_str(), &*call.subresource, call.is_merge_patch) {
        ("POST", "", _) => Verb::Create,
        ("DELETE", "", _) => Verb::Delete,
        ("PUT", "status", _) => Verb::PutStatus,
        ("PATCH", "", true) => Verb::MergePatch,
        ("PATCH", "", false) => Verb::Patch,
        ("PATCH", "status", _) => Verb::PatchStatus,
        ("PATCH", "resize", false) => Verb::Resize,
        _ => return None,
    })
}

/// What of a plan a write carries out.
fn intent(plan: &Plan, set: &str, kind: Kind, verb: Verb, name: &str, uid: Option<&str>) -> Option<Intent> {
    match (kind, verb) {
        (Kind::Set, Verb::PutStatus) => (name == set).then_some(Intent::Status),
        (Kind::Claim, Verb::Create) => makes_claim(plan, name).then_some(Intent::Claim),
        (Kind::Revision, _) => revision(plan, verb, name).map(Intent::Revision),
        (Kind::Pod | Kind::Claim, _) => {
            let mut all = plan.actions.iter().flatten().chain(&plan.disruptions);
            all.find(|action| is_it(action, kind, verb, name, uid)).cloned().map(Intent::Act)
        }
        _ => None,
    }
}

fn makes_claim(plan: &Plan, name: &str) -> bool {
    plan.actions.iter().flatten().chain(&plan.disruptions).any(|action| match action {
        Action::CreatePod { claims, .. } => claims.iter().any(|claim| name_of(claim) == name),
        Action::CreateClaim { name: made, .. } => **made == *name,
        _ => false,
    })
}

fn revision(plan: &Plan, verb: Verb, name: &str) -> Option<RevisionAction> {
    let fits = |action: &&RevisionAction| match action {
        RevisionAction::Create { name: made, .. } => verb == Verb::Create && **made == *name,
        RevisionAction::Renumber { name: made, .. } | RevisionAction::NoteClaims { name: made, .. } => {
            verb == Verb::MergePatch && **made == *name
        }
        RevisionAction::Adopt { name: made, .. } => verb == Verb::Patch && **made == *name,
        RevisionAction::Delete { name: made, .. } => verb == Verb::Delete && **made == *name,
    };
    plan.revisions.iter().find(fits).cloned()
}

fn is_it(action: &Action, kind: Kind, verb: Verb, name: &str, uid: Option<&str>) -> bool {
    let of = |target: &Target| *target.name == *name && uid.is_none_or(|uid| *target.uid == *uid);
    match action {
        Action::CreatePod { name: made, .. } | Action::CreateHelper { name: made, .. } => {
            kind == Kind::Pod && verb == Verb::Create && **made == *name
        }
        Action::CreateClaim { .. } => false,
        Action::DeletePod { target, .. } | Action::DeleteHelper { target, .. } => {
            kind == Kind::Pod && verb == Verb::Delete && of(target)
        }
        Action::PatchPod { target, resize, .. } => {
            kind == Kind::Pod && (verb == Verb::Patch || verb == Verb::Resize && resize.is_some()) && of(target)
        }
        Action::AdoptPod { target, .. } | Action::ReleasePod { target, .. } => {
            kind == Kind::Pod && verb == Verb::Patch && of(target)
        }
        Action::PatchPodStatus { target, .. } => kind == Kind::Pod && verb == Verb::PatchStatus && of(target),
        Action::PatchClaim { target, .. } | Action::GrowClaim { target, .. } => {
            kind == Kind::Claim && verb == Verb::Patch && of(target)
        }
    }
}
