//! Which Pods exist: missing ones are made, condemned and ended ones are deleted.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::action::{Action, DeleteWhy};
use super::build;
use super::claims;
use super::draft::{Context, Draft, target};
use super::lifecycle;
use super::revisions::Revision;
use super::rollout::{cannot_run, is_marked};
use super::view::{Holder, Slot};
use crate::api::names;
use crate::model::{HookState, Ordinal, PodFacts};

/// How soon to look again at a claim that a Pod waits for, should its end go unseen.
const CLAIM_RECHECK_SECONDS: i64 = 15;
/// A Pod that ended is not replaced before it is this old. One that ran for longer is replaced at once.
const ENDED_POD_SECONDS: i64 = 10;

pub fn scale(context: Context<'_>, draft: &mut Draft) {
    replace_ended(context, draft);
    claims::hand_over(context, draft);
    if context.spec.ordered {
        create_in_order(context, draft);
        delete_in_order(context, draft);
    } else {
        create_at_once(context, draft);
        delete_at_once(context, draft);
    }
}

/// The revision of a Pod that is made now for this slot.
pub fn revision_for<'a>(context: Context<'a>, slot: &Slot) -> &'a Arc<Revision> {
    let revisions = context.revisions;
    let keeps_old = if context.spec.on_delete {
        false
    } else if context.spec.rolling.paused {
        !slot.was_updated
    } else {
        slot.held
    };
    if keeps_old { &revisions.current } else { &revisions.update }
}

/// A Failed or Succeeded Pod never runs again; its ordinal gets a new one. What ends at once would be made and deleted
/// without a pause.
fn replace_ended(context: Context<'_>, draft: &mut Draft) {
    let in_slots = context.view.slots.iter().filter_map(|slot| Some((slot, slot.pod()?)));
    for (slot, pod) in in_slots.filter(|(_, pod)| pod.is_terminal() && !pod.is_terminating()) {
        if let Some(due) = replaced_not_before(pod).filter(|due| context.view.now < *due && !is_marked(pod)) {
            draft.wake(due);
            draft
                .wait("WaitingForPods", format!("Pod {} ended at once, {}; it is replaced soon", pod.name, ended(pod)));
            continue;
        }
        if lifecycle::may_delete(context, draft, Some(slot), pod) {
            draft.act(&pod.name, delete(slot.ordinal, pod, DeleteWhy::Terminal, ended(pod)));
        }
    }
}

fn replaced_not_before(pod: &PodFacts) -> Option<Timestamp> {
    let made_at = pod.created_at?;
    Some(made_at.saturating_add(SignedDuration::from_secs(ENDED_POD_SECONDS)).unwrap_or(made_at))
}

/// How a Pod ended, with what the kubelet says of it.
fn ended(pod: &PodFacts) -> String {
    match &pod.failed_because {
        Some(why) => format!("its phase is {:?}: {why}", pod.phase),
        None => format!("its phase is {:?}", pod.phase),
    }
}

fn delete(ordinal: Ordinal, pod: &PodFacts, why: DeleteWhy, reason: String) -> Action {
    Action::DeletePod { ordinal, target: target(pod), why, reason }
}

fn create_at_once(context: Context<'_>, draft: &mut Draft) {
    let not_available =
        context.view.slots.iter().filter(|slot| slot.pod().is_some() && !context.view.slot_is_available(slot)).count();
    let mut room = context.spec.scale_max_unavailable.map_or(usize::MAX, |cap| cap.saturating_sub(not_available));
    for slot in &context.view.slots {
        if !matches!(slot.holder, Holder::Nobody) {
            continue;
        }
        if room == 0 {
            draft.wait(
                "WaitingForPods",
                format!("scaleStrategy.maxUnavailable Pods are not available; Pod {} waits for them", slot.name),
            );
            return;
        }
        if create(context, draft, slot) {
            room -= 1;
        }
    }
}

/// One at a time: a Pod is made when all lower ones are available. Those up to the last one that the rollout took down come
/// back whatever the hooks of lower ones that serve may say: they may be waiting for it.
fn create_in_order(context: Context<'_>, draft: &mut Draft) {
    let view = context.view;
    let mut hooks_wait = false;
    for slot in &view.slots {
        match &slot.holder {
            Holder::Nobody => {
                if !hooks_wait || draft.ledger.iter().any(|entry| entry.ordinal >= slot.ordinal) {
                    create(context, draft, slot);
                }
                return;
            }
            Holder::Member(member) if member.pod.is_available(view.min_ready_seconds, view.now) => {
                hooks_wait |= !view.slot_is_available(slot);
            }
            _ => return,
        }
    }
}

/// False: the Pod has to wait.
fn create(context: Context<'_>, draft: &mut Draft, slot: &Slot) -> bool {
    let set = &context.snapshot.set;
    let problem = name_problem(&set.namespace, &slot.name).or_else(|| claim_name_problem(context, slot.ordinal));
    if let Some(message) = problem {
        draft.failures.push(("NameTooLong", message));
        return false;
    }
    let revision = revision_for(context, slot);
    let missing = match claims::missing(context, revision, slot.ordinal) {
        Ok(claims) => claims,
        Err(why) => {
            draft.warn("WaitingForClaim", "Create", format!("Pod {} waits: {why}", slot.name));
            draft.wait("WaitingForClaim", format!("Pod {} waits: {why}", slot.name));
            draft.wake_in(context.view.now, CLAIM_RECHECK_SECONDS);
            return false;
        }
    };
    if revision.hash == context.revisions.update.hash {
        draft.updated.insert(slot.ordinal);
    }
    if draft.creates >= context.snapshot.creates_max {
        // Its turn comes with a later plan: bodies of all Pods of a large set would fill the memory.
        draft.leave(&slot.name);
        return true;
    }
    draft.creates += 1;
    let claims = claims::bodies(context, &missing, slot.ordinal);
    let pod = build::pod(context.snapshot, context.spec, revision, slot.ordinal);
    let reason = format!("the set has no Pod {}", slot.name);
    let action =
        Action::CreatePod { ordinal: slot.ordinal, name: slot.name.clone(), claims, pod: Box::new(pod), reason };
    draft.act(&slot.name, action);
    true
}

/// The kubelet keeps a Pod's logs in a folder that is named by namespace, Pod and UID.
fn name_problem(namespace: &str, pod_name: &str) -> Option<String> {
    const UID_BYTES: usize = 36;
    const SEPARATOR_BYTES: usize = 2;
    let folder = namespace.len() + pod_name.len() + UID_BYTES + SEPARATOR_BYTES;
    if pod_name.len() > names::OBJECT_NAME_BYTES_MAX {
        return Some(format!(
            "the Pod name {pod_name} has {} bytes, an object's name has at most {}",
            pod_name.len(),
            names::OBJECT_NAME_BYTES_MAX
        ));
    }
    (folder > names::KUBELET_LOG_FOLDER_BYTES_MAX).then(|| {
        format!(
            "namespace, name and UID of Pod {pod_name} have {folder} bytes together, the kubelet's log folder takes {}: use a shorter name",
            names::KUBELET_LOG_FOLDER_BYTES_MAX
        )
    })
}

/// The longest of the names that the Pod's claims have.
fn claim_name_problem(context: Context<'_>, ordinal: Ordinal) -> Option<String> {
    let set_name = &context.snapshot.set.name;
    let names =
        context.spec.claim_templates.iter().map(|template| build::claim_name(&template.name, set_name, ordinal));
    let longest = names.max_by_key(String::len)?;
    (longest.len() > names::OBJECT_NAME_BYTES_MAX).then(|| {
        format!(
            "the claim name {longest} has {} bytes, an object's name has at most {}",
            longest.len(),
            names::OBJECT_NAME_BYTES_MAX
        )
    })
}

/// From the highest down, one at a time, while all slots are available. One that is not available
/// itself goes when no lower Pod is in that state too, or when waiting would not make it available.
fn delete_in_order(context: Context<'_>, draft: &mut Draft) {
    let view = context.view;
    let Some((ordinal, pod)) = view.condemned.last() else { return };
    if pod.is_terminating() {
        draft.wait("WaitingForPods", format!("Pod {} is being deleted", pod.name));
        return;
    }
    let broken_slot = view.slots.iter().find(|slot| !view.slot_is_available(slot));
    if let Some(slot) = broken_slot {
        draft.wait("WaitingForPods", format!("Pod {} is not available; Pod {} stays until it is", slot.name, pod.name));
        return;
    }
    let lowest_broken = view.condemned.iter().find(|(_, pod)| !view.is_available(pod)).map(|(ordinal, _)| *ordinal);
    let waits_for_lower = !view.is_available(pod) && lowest_broken != Some(*ordinal);
    // What its hook has let go, or keeps down, does not come back by waiting.
    let in_a_hook = pod.hook_state() == Some(HookState::PreparingDelete) || !view.hooks.let_count(pod);
    if waits_for_lower && !in_a_hook && !cannot_run(pod, view.now) {
        draft.wait("WaitingForPods", format!("Pod {} and a lower one are not available", pod.name));
        return;
    }
    remove(context, draft, *ordinal, pod);
}

fn delete_at_once(context: Context<'_>, draft: &mut Draft) {
    for (ordinal, pod) in context.view.condemned.iter().rev() {
        if !pod.is_terminating() {
            remove(context, draft, *ordinal, pod);
        }
    }
}

/// Removes a condemned Pod. One whose ordinal was reserved goes within the budget: another
/// ordinal takes its place, and that one has to be there first.
fn remove(context: Context<'_>, draft: &mut Draft, ordinal: Ordinal, pod: &PodFacts) {
    let reserved = context.spec.slots.is_reserved(ordinal);
    if reserved && pod.is_ready() && !reserved_may_go(context, draft, ordinal) {
        draft.wait(
            "WaitingForPods",
            format!("Pod {} of a reserved ordinal stays until its replacement is available", pod.name),
        );
        return;
    }
    if !lifecycle::may_delete(context, draft, None, pod) || !claims::released_for(context, draft, ordinal, pod) {
        return;
    }
    let (why, reason) = if reserved {
        (DeleteWhy::Reserved, format!("ordinal {ordinal} is reserved"))
    } else {
        (
            DeleteWhy::ScaleDown,
            format!("the set has {} replicas, and ordinal {ordinal} is none of them", context.spec.slots.len()),
        )
    };
    draft.act(&pod.name, delete(ordinal, pod, why, reason));
}

fn reserved_may_go(context: Context<'_>, draft: &Draft, wanted: Ordinal) -> bool {
    let is_other = |ordinal: Ordinal| ordinal != wanted && context.spec.slots.is_reserved(ordinal);
    let goes =
        |pod: &PodFacts| pod.is_terminating() || draft.is_touched(&pod.name) || lifecycle::is_prepared(context, pod);
    let going = context.view.condemned.iter().filter(|(ordinal, pod)| is_other(*ordinal) && goes(pod)).count();
    draft.unavailable_count() + going < context.spec.rolling.max_unavailable
}
