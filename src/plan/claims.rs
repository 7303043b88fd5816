//! Claims: made with their Pods, handed to the garbage collector by owner references where the
//! retention policy says so, and never deleted here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::action::{Action, Target};
use super::build;
use super::draft::{Context, Draft};
use super::revisions::Revision;
use crate::api::names;
use crate::model::claim::ClaimOwner;
use crate::model::{ClaimFacts, Ordinal, PodFacts};

/// The templates of the claims that have to be made before the Pod of this ordinal.
///
/// # Errors
/// Why the Pod has to wait: a claim that is going away, that is another set's, or that cannot be made.
pub fn missing(context: Context<'_>, revision: &Revision, ordinal: Ordinal) -> Result<Vec<Box<str>>, String> {
    let set = &context.snapshot.set;
    let mut missing = Vec::new();
    for template in build::claim_names_of(revision, context.spec) {
        let name = build::claim_name(&template, &set.name, ordinal);
        match context.snapshot.claims.get(name.as_str()) {
            Some(claim) => usable(context, claim)?,
            None if context.spec.claim_templates.iter().any(|claim| *claim.name == *template) => missing.push(template),
            None => {
                return Err(format!(
                    "claim {name} is missing, and the set has no claim template {template} any more to make it from"
                ));
            }
        }
    }
    Ok(missing)
}

/// The claims of these templates for an ordinal.
pub fn bodies(context: Context<'_>, templates: &[Box<str>], ordinal: Ordinal) -> Vec<Value> {
    let made = templates.iter().map(|template| build::claim(context.snapshot, context.spec, template, ordinal));
    made.flatten().collect()
}

fn usable(context: Context<'_>, claim: &ClaimFacts) -> Result<(), String> {
    let set = &context.snapshot.set;
    if claim.terminating {
        return Err(format!("claim {} is being deleted", claim.name));
    }
    if let Some(other) = claim.made_for.as_deref().filter(|other| *other != &*set.name) {
        return Err(format!("claim {} was made for the set {other}", claim.name));
    }
    let stale = claim.owners.iter().find(|owner| &*owner.kind == "Pod" && !lives(context, &owner.uid));
    if let Some(owner) = stale {
        return Err(format!(
            "claim {} is still owned by the Pod {} that is gone, and will be collected",
            claim.name, owner.name
        ));
    }
    if dead_namesakes(context, claim).next().is_some() {
        return Err(format!(
            "claim {} is still owned by an earlier set {} that is gone, and will be collected",
            claim.name, set.name
        ));
    }
    Ok(())
}

/// Owners that were a set of this name before this one: the garbage collector takes their claims away, however late.
fn dead_namesakes<'a>(context: Context<'a>, claim: &'a ClaimFacts) -> impl Iterator<Item = &'a ClaimOwner> {
    let set = &context.snapshot.set;
    claim.owners.iter().filter(move |owner| {
        owner.our_group && &*owner.kind == names::KIND && owner.name == set.name && owner.uid != set.uid
    })
}

fn lives(context: Context<'_>, uid: &str) -> bool {
    context.snapshot.pods.values().any(|pod| &*pod.uid == uid)
}

/// Makes claims that Pending Pods wait for, and keeps the owner references of slots' claims.
pub fn upkeep(context: Context<'_>, draft: &mut Draft) {
    for slot in &context.view.slots {
        let Some(member) = slot.member() else { continue };
        let of_set: Vec<Box<str>> = templates(context, None).into_iter().collect();
        let mounted = member.claim_names(&of_set);
        for template in templates(context, Some(mounted)) {
            let name = build::claim_name(&template, &context.snapshot.set.name, slot.ordinal);
            match context.snapshot.claims.get(name.as_str()) {
                Some(claim) => {
                    if claim.terminating && !member.pod.is_terminating() {
                        draft.warn(
                            "ClaimIsBeingDeleted",
                            "Check",
                            format!(
                                "claim {name} is being deleted, and goes with its data when Pod {} does",
                                slot.name
                            ),
                        );
                    }
                    own(context, draft, claim, &member.pod, false);
                }
                // One of another template is for Pods of a later revision.
                None if mounted.contains(&template)
                    && member.pod.node.is_none()
                    && !member.pod.is_terminal()
                    && !member.pod.is_terminating() =>
                {
                    if let Some(claim) = build::claim(context.snapshot, context.spec, &template, slot.ordinal) {
                        let reason = format!("Pod {} waits for it", member.pod.name);
                        draft.act(
                            &name,
                            Action::CreateClaim { name: name.as_str().into(), claim: Box::new(claim), reason },
                        );
                    }
                }
                None => {}
            }
        }
    }
}

/// Claims that no Pod uses now keep the set as their owner only while the policy says so.
pub fn let_go(context: Context<'_>, draft: &mut Draft) {
    let set = &context.snapshot.set;
    if context.spec.delete_claims_with_set {
        return;
    }
    for claim in context.snapshot.claims.values() {
        let others = claim.owners.iter().any(|owner| owner.controller && owner.uid != set.uid);
        let ours = claim.made_for.as_deref().is_none_or(|name| name == &*set.name) && !claim.terminating && !others;
        if ours && claim.owners.iter().any(|owner| owner.uid == set.uid) {
            let changes = vec![json!({"$patch": "delete", "uid": set.uid})];
            draft.act(&claim.name, patch_owners(claim, changes, "whenDeleted is not Delete any more".to_owned()));
        }
    }
}

fn patch_owners(claim: &ClaimFacts, changes: Vec<Value>, reason: String) -> Action {
    let target =
        Target { name: claim.name.clone(), uid: claim.uid.clone(), resource_version: claim.resource_version.clone() };
    let patch = json!({"metadata": {
        "uid": claim.uid, "resourceVersion": claim.resource_version, "ownerReferences": changes,
    }});
    Action::PatchClaim { target, patch: Box::new(patch), reason }
}

/// Condemned Pods that end already, by whoever's delete: when they are gone nobody is left that their claims could go with.
pub fn hand_over(context: Context<'_>, draft: &mut Draft) {
    for (ordinal, pod) in context.view.condemned.iter().filter(|(_, pod)| pod.is_terminating()) {
        released_for(context, draft, *ordinal, pod);
    }
}

/// Whether a condemned Pod's claims are ready for its deletion; writes their owner references
/// first where they are not.
pub fn released_for(context: Context<'_>, draft: &mut Draft, ordinal: Ordinal, pod: &PodFacts) -> bool {
    let before = draft.actions.len();
    for template in templates(context, None) {
        let name = build::claim_name(&template, &context.snapshot.set.name, ordinal);
        if let Some(claim) = context.snapshot.claims.get(name.as_str()) {
            own(context, draft, claim, pod, true);
        }
    }
    draft.actions.len() == before
}

fn templates(context: Context<'_>, of_member: Option<&[Box<str>]>) -> BTreeSet<Box<str>> {
    let of_set = context.spec.claim_templates.iter().map(|claim| Box::from(claim.name.as_str()));
    of_set.chain(of_member.unwrap_or_default().iter().cloned()).collect()
}

/// Writes the owner references that the retention policy asks for, where they differ. A claim of
/// another set, or with another controller, is left alone.
fn own(context: Context<'_>, draft: &mut Draft, claim: &ClaimFacts, pod: &PodFacts, condemned: bool) {
    let set = &context.snapshot.set;
    let foreign = claim.made_for.as_deref().is_some_and(|other| other != &*set.name)
        || claim.owners.iter().any(|owner| owner.controller && owner.uid != set.uid && owner.uid != pod.uid);
    if foreign || claim.terminating {
        return;
    }
    let want_pod = condemned && context.spec.delete_claims_when_scaled;
    let want_set = context.spec.delete_claims_with_set && !want_pod;
    let mut changes = Vec::new();
    let has = |uid: &str| claim.owners.iter().any(|owner| &*owner.uid == uid);
    if want_set && !has(&set.uid) {
        changes.push(build::set_claim_owner(set));
    } else if !want_set && has(&set.uid) {
        changes.push(json!({"$patch": "delete", "uid": set.uid}));
    }
    // Else the collector takes the claim away under its Pod.
    changes.extend(dead_namesakes(context, claim).map(|owner| json!({"$patch": "delete", "uid": owner.uid})));
    if want_pod && !has(&pod.uid) {
        changes.push(json!({"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}));
    } else if !want_pod {
        let of_pod = claim.owners.iter().filter(|owner| &*owner.kind == "Pod" && owner.name == pod.name);
        changes.extend(of_pod.map(|owner| json!({"$patch": "delete", "uid": owner.uid})));
    }
    if changes.is_empty() {
        return;
    }
    let reason = if want_pod {
        format!("whenScaled is Delete and Pod {} is to go", pod.name)
    } else {
        "persistentVolumeClaimRetentionPolicy asks for these owners".to_owned()
    };
    draft.act(&claim.name, patch_owners(claim, changes, reason));
}
