//! Claims grow as their Pods are updated, under `volumeClaimUpdateStrategy: OnPodRollingUpdate`. Never less, never
//! deleted, never another's.

use serde_json::{Value, json};

use super::action::{Action, Target};
use super::build;
use super::draft::{Context, Draft};
use super::view::{Member, Slot};
use crate::inplace::quantity::quantity_bytes;
use crate::model::{ClaimFacts, Ordinal, Snapshot, ValidSpec};

/// How far a claim is from what the update revision asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// Large enough; or its volume is, and the file system follows on the node.
    Done,
    /// It has to ask for more.
    Short,
    /// It asks for enough, and its volume is not there yet.
    UnderWay,
}

/// Whether no claim of a slot asks for less than its template does.
pub fn all_are_large_enough(snapshot: &Snapshot, spec: &ValidSpec) -> bool {
    let sized =
        spec.claim_templates.iter().filter_map(|claim| Some((claim.name.as_str(), quantity_bytes(claim.size()?)?)));
    sized.into_iter().all(|(template, asked)| {
        spec.slots.ordinals().iter().all(|ordinal| {
            let name = build::claim_name(template, &snapshot.set.name, *ordinal);
            let claim = snapshot.claims.get(name.as_str()).filter(|claim| is_ours(snapshot, claim));
            claim.and_then(|claim| claim.requested_bytes).is_none_or(|requested| requested >= asked)
        })
    })
}

/// A claim that is another set's, that something else controls or that goes is not touched.
fn is_ours(snapshot: &Snapshot, claim: &ClaimFacts) -> bool {
    let set = &snapshot.set;
    !claim.terminating
        && claim.made_for.as_deref().is_none_or(|made_for| made_for == &*set.name)
        && !claim.owners.iter().any(|owner| owner.controller && owner.uid != set.uid)
}

/// The claims of an ordinal that the update revision asks for, with the size asked for.
fn claims_of<'a>(context: Context<'a>, ordinal: Ordinal) -> impl Iterator<Item = (&'a ClaimFacts, &'a Value, Growth)> {
    let snapshot = context.snapshot;
    let sizes = context.revisions.update.claim_sizes.as_ref().filter(|_| context.spec.grow_claims);
    sizes.into_iter().flatten().filter_map(move |(template, size)| {
        let name = build::claim_name(template, &snapshot.set.name, ordinal);
        let claim = snapshot.claims.get(name.as_str()).filter(|claim| is_ours(snapshot, claim))?;
        Some((&**claim, size, growth(claim, quantity_bytes(size)?)))
    })
}

fn growth(claim: &ClaimFacts, asked: u128) -> Growth {
    match (claim.requested_bytes, claim.capacity_bytes) {
        (Some(requested), _) if requested < asked => Growth::Short,
        // Without a capacity it has no volume yet, and gets one that is large enough.
        (_, Some(capacity)) if capacity < asked && !claim.file_system_pending => Growth::UnderWay,
        _ => Growth::Done,
    }
}

/// Claims of Pods that are on the update revision already: one made anew, or one that was broken, did not wait for its
/// claims. And what is to be said of all claims.
pub fn upkeep(context: Context<'_>, draft: &mut Draft) {
    if !context.spec.grow_claims {
        return;
    }
    let slots = || context.view.slots.iter().filter(|slot| !slot.held);
    for slot in slots() {
        if claims_of(context, slot.ordinal).any(|(_, _, growth)| growth == Growth::UnderWay) {
            draft.growing.insert(slot.ordinal);
        }
    }
    for slot in slots() {
        let on_update = slot.member().filter(|member| member.is_on(&context.revisions.update));
        if on_update.is_some_and(|member| !member.pod.is_terminating()) && !context.spec.rolling.paused {
            grow(context, draft, slot);
        }
    }
    say(context, draft);
}

/// Grows the claims of a Pod that is to be updated. False: the Pod waits for them. One that is not Ready does not wait:
/// what it is updated to may be what mends it.
pub fn before_update(context: Context<'_>, draft: &mut Draft, slot: &Slot, member: &Member) -> bool {
    if !context.spec.grow_claims {
        return true;
    }
    let done = grow(context, draft, slot);
    if !member.pod.is_ready() || matches!(member.pod.gate, crate::model::Gate::Closed { .. }) {
        return true;
    }
    done && (draft.growing.is_empty() || has_turn(context, draft, slot.ordinal))
}

/// As many Pods at a time as may be unavailable: those whose claims grow count as such.
fn has_turn(context: Context<'_>, draft: &Draft, ordinal: Ordinal) -> bool {
    draft.busy_besides(ordinal) < context.spec.rolling.max_unavailable
}

/// Asks for what the claims of a slot lack, when it is their turn. True: they have it.
fn grow(context: Context<'_>, draft: &mut Draft, slot: &Slot) -> bool {
    let mut done = true;
    for (claim, size, growth) in claims_of(context, slot.ordinal) {
        if growth == Growth::Done {
            continue;
        }
        done = false;
        let asked = text(size);
        if growth == Growth::UnderWay {
            let why = claim.growth_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            draft.wait("WaitingForClaim", format!("claim {} grows to {asked}{why}", claim.name));
            continue;
        }
        let refused = refusal(context, claim);
        // Nothing that the others would miss.
        let broken = slot.pod().is_some_and(|pod| !pod.is_ready() || !context.view.hooks.let_count(pod));
        if refused.is_none() && !broken && !has_turn(context, draft, slot.ordinal) {
            continue;
        }
        match refused {
            // Others need not wait for it.
            Some(message) => {
                draft.wait("WaitingForClaim", format!("claim {} cannot grow to {asked}: {message}", claim.name));
            }
            None => {
                draft.growing.insert(slot.ordinal);
                draft.wait("WaitingForClaim", format!("claim {} is to grow to {asked}", claim.name));
            }
        }
        draft.act(&claim.name, ask_for(claim, size, &context.revisions.update.name));
    }
    done
}

fn ask_for(claim: &ClaimFacts, size: &Value, revision: &str) -> Action {
    let target =
        Target { name: claim.name.clone(), uid: claim.uid.clone(), resource_version: claim.resource_version.clone() };
    let patch = json!({
        "metadata": {"uid": claim.uid, "resourceVersion": claim.resource_version},
        "spec": {"resources": {"requests": {"storage": size}}},
    });
    Action::GrowClaim { target, patch: Box::new(patch), reason: format!("revision {revision} asks for {}", text(size)) }
}

/// What the apiserver said the last time, until it is tried again with success.
fn refusal<'a>(context: Context<'a>, claim: &ClaimFacts) -> Option<&'a str> {
    let object = format!("PersistentVolumeClaim {}", claim.name);
    let refusals = &context.snapshot.answers.refusals;
    refusals.iter().find(|refusal| refusal.object == object).map(|refusal| refusal.message.as_str())
}

fn text(size: &Value) -> String {
    size.as_str().map_or_else(|| size.to_string(), str::to_owned)
}

/// What stands against a size that was asked for, for the condition.
fn say(context: Context<'_>, draft: &mut Draft) {
    let mut shrunk = Vec::new();
    for slot in &context.view.slots {
        for (claim, size, growth) in claims_of(context, slot.ordinal) {
            let refused = refusal(context, claim).filter(|_| growth == Growth::Short);
            if let Some(message) = refused {
                let told = format!("claim {} cannot grow to {}: {message}", claim.name, text(size));
                draft.claims_blocked.push(("GrowthRefused", told));
            } else if let Some(error) = claim.growth_error.as_deref().filter(|_| growth == Growth::UnderWay) {
                draft.claims_blocked.push(("GrowthFailed", format!("claim {}: {error}", claim.name)));
            }
            if claim.requested_bytes > quantity_bytes(size) {
                shrunk.push((claim.name.clone(), text(size)));
            }
        }
    }
    if let Some((name, size)) = shrunk.first() {
        let count = shrunk.len();
        let told =
            format!("{size} is asked for, and {count} claims ask for more, such as {name}: a claim never shrinks");
        let outdated = context.view.slots.iter().filter_map(Slot::member);
        if outdated.into_iter().any(|member| !member.is_on(&context.revisions.update)) {
            draft.warn("ClaimNotShrunk", "Update", told.clone());
        }
        draft.claims_blocked.push(("ShrinkNotPossible", told));
    }
}

/// Slots that are on the update revision, and whose claims are not what it asks for.
pub fn unfinished(context: Context<'_>) -> usize {
    let slots = context.view.slots.iter().filter(|slot| !slot.held);
    slots
        .filter(|slot| slot.member().is_some_and(|member| member.is_on(&context.revisions.update)))
        .filter(|slot| claims_of(context, slot.ordinal).any(|(_, _, growth)| growth != Growth::Done))
        .count()
}

/// Claims whose volume has grown and whose file system has not.
pub fn left_to_the_node(context: Context<'_>) -> Vec<Box<str>> {
    let slots = context.view.slots.iter();
    let claims = slots.flat_map(|slot| claims_of(context, slot.ordinal));
    claims.filter(|(claim, _, _)| claim.file_system_pending).map(|(claim, _, _)| claim.name.clone()).collect()
}
