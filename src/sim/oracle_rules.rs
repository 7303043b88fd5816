//! What the oracle asks of single writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::controller::Request;
use super::facts;
use super::oracle::SetState;
use super::store::{Kind, Object, Store};
use super::world::SET;
use crate::inplace::differences;
use crate::model::revision::is_named_after;
use crate::model::{HookState, Ordinal, PodFacts, RevisionFacts, canonical};
use crate::plan::action::{Action, DeleteWhy, PatchWhy, RevisionAction};

pub fn short(action: &Action) -> String {
    let mut text = format!("{action:?}");
    text.truncate(text.char_indices().nth(60).map_or(text.len(), |(index, _)| index));
    text
}

/// Whether this revision is what the spec of that moment asks for.
pub fn means(templates: &BTreeMap<Box<str>, Value>, hash: &str, state: &SetState) -> bool {
    templates.get(hash).is_some_and(|template| {
        canonical::text(template) == *state.text || differences(template, &state.spec.template).is_empty()
    })
}

pub fn judge_create(
    ordinal: Ordinal,
    hash: &str,
    window: &[Arc<SetState>],
    templates: &BTreeMap<Box<str>, Value>,
) -> Result<(), String> {
    if !window.iter().any(|state| state.spec.slots.contains(ordinal)) {
        return Err(format!("S1: a Pod is made for ordinal {ordinal}, which no spec asks for"));
    }
    let legal = window.iter().any(|state| {
        let rolling = &state.spec.rolling;
        let Some(index) = state.spec.slots.index_of(ordinal) else { return false };
        let Some(current) = &state.current else { return true };
        let is_current = current.ends_with(hash);
        let is_update = means(templates, hash, state);
        if state.spec.on_delete {
            return is_update;
        }
        if rolling.paused {
            return if state.updated.contains(ordinal) { is_update || is_current } else { is_current };
        }
        // By priority the partition holds back others than the lowest.
        if rolling.priority.is_some() && rolling.partition > 0 {
            return is_current || is_update;
        }
        if index < rolling.partition { is_current } else { is_update }
    });
    if legal {
        return Ok(());
    }
    Err(format!("S8/S9: {SET}-{ordinal} is made on {hash}, which no spec asks for"))
}

pub fn judge_revision_delete(
    hash: &str,
    name: &str,
    store: &Store,
    made_late: &BTreeSet<Box<str>>,
) -> Result<(), String> {
    let status = store.get(Kind::Set, SET).and_then(|set| set.set()).map(|set| Arc::clone(&set.status));
    let named = status.is_some_and(|status| {
        [&status.current_revision, &status.update_revision].iter().any(|held| held.as_deref() == Some(name))
    });
    let is_on = |pod: &PodFacts| pod.revision_label() == hash && !made_late.contains(&pod.uid);
    let lives = store.all(Kind::Pod).find(|(_, pod)| pod.pod().is_some_and(|pod| is_on(pod)));
    match (named, lives) {
        (true, _) => Err(format!("S14: revision {name} is deleted and the status names it")),
        (_, Some((pod, _))) => Err(format!("S14: revision {name} is deleted and {pod} is on it")),
        _ => Ok(()),
    }
}

/// S3 and S14: only revisions of this set are written, orphans are taken by their whole name, and numbers grow.
pub fn judge_revision(action: &RevisionAction, revision: &RevisionFacts, set_uid: &str) -> Result<(), String> {
    let name = &revision.name;
    let owner = revision.controller.as_ref().map(|owner| &*owner.uid);
    match action {
        RevisionAction::Adopt { .. } if owner.is_some() => Err(format!("S3: revision {name} is no orphan")),
        RevisionAction::Adopt { .. } if !is_named_after(SET, name) => {
            Err(format!("S3: revision {name} is adopted by its labels alone"))
        }
        RevisionAction::Adopt { .. } | RevisionAction::Create { .. } => Ok(()),
        _ if owner != Some(set_uid) => Err(format!("S3: revision {name} is written and is not ours")),
        RevisionAction::Renumber { number, .. } if *number <= revision.number => {
            Err(format!("S14: revision {name} gets the number {number} after {}", revision.number))
        }
        _ => Ok(()),
    }
}

/// The ordinal in a claim's name.
pub fn claim_ordinal(name: &str) -> Option<Ordinal> {
    name.rsplit_once('-')?.1.parse().ok()
}

/// S12: a claim is made with, or is given, an owner with which it will go only as the retention policy says.
pub fn judge_claim_owners(request: &Request, window: &[Arc<SetState>]) -> Result<(), String> {
    let name = &request.name;
    let ordinal = claim_ordinal(name);
    for owner in facts::list(&request.body, "/metadata/ownerReferences") {
        if owner.get("$patch").is_some() {
            continue;
        }
        let of_pod = &*facts::text(owner, "/kind") == "Pod";
        let asked = window.iter().any(|state| {
            let condemned = ordinal.is_some_and(|ordinal| !state.spec.slots.contains(ordinal));
            if of_pod { state.spec.delete_claims_when_scaled && condemned } else { state.spec.delete_claims_with_set }
        });
        if !asked {
            let kind = facts::text(owner, "/kind");
            return Err(format!("S12: claim {name} is handed to a {kind} and no policy says so"));
        }
    }
    Ok(())
}

/// What another controller has is left alone.
pub fn judge_claim(request: &Request, target: Option<&Arc<Object>>) -> Result<(), String> {
    let owner = target.and_then(|claim| facts::controller(&claim.value));
    match owner.filter(|owner| owner.uid != request.read.set_uid) {
        Some(owner) => Err(format!("S12: claim {} of {} {} is changed", request.name, owner.kind, owner.name)),
        None => Ok(()),
    }
}

/// A Pod in service that a hook holds stays as it is.
pub fn judge_hooks(action: &Action, pod: &PodFacts, window: &[Arc<SetState>]) -> Result<(), String> {
    let hook = |state: &Arc<SetState>| match action {
        Action::PatchPod { why: PatchWhy::InPlace, .. } => state.spec.hooks.in_place_update.clone(),
        Action::DeletePod { why: DeleteWhy::Terminal | DeleteWhy::InPlaceTimeout, .. } => None,
        Action::DeletePod { .. } => state.spec.hooks.pre_delete.clone(),
        _ => None,
    };
    let states = [HookState::Normal, HookState::PreparingUpdate, HookState::PreparingDelete];
    // One without a state is taken as normal.
    let serves = pod.is_ready() && pod.hook_state().is_none_or(|state| states.contains(&state));
    if serves && window.iter().all(|state| hook(state).is_some_and(|hook| hook.held_by(pod).is_some())) {
        return Err(format!("hooks: {} is taken down and a hook holds it", pod.name));
    }
    Ok(())
}
