//! Which Pods change revision now: not more than the budget allows, in order, broken ones first.

use jiff::{SignedDuration, Timestamp};

use super::action::{Action, DeleteWhy, GateWhy, PatchWhy, Question};
use super::build;
use super::draft::{Context, Draft, target, turn_gate};
use super::grow;
use super::lifecycle;
use super::prepull;
use super::revisions::Revision;
use super::step::{Changes, Step, is_free, known_reason, note_before_resize, patch_action, step};
use super::view::{Holder, Member, Slot, View, short_name};
use crate::api::names;
use crate::inplace::patch::{PatchParts, label_patch, pod_patch};
use crate::inplace::state::InPlaceState;
use crate::inplace::{InPlacePatch, Pace};
use crate::model::snapshot::HeldUpdate;
use crate::model::{ContainerFacts, ContainerKind, Gate, PodFacts, PodPhase, Priority, Snapshot, ValidSpec, canonical};

/// Marks the slots that the partition holds back.
pub fn hold(snapshot: &Snapshot, spec: &ValidSpec, update: &Revision, view: &mut View) {
    let partition = spec.rolling.partition.min(view.slots.len());
    let order = update_order(snapshot, spec, update, view);
    for index in &order[order.len() - partition..] {
        view.slots[*index].held = true;
    }
}

/// Slots in the order of their update, as indices: the highest first; with priorities, those that are updated or were
/// deleted to be, then the others by priority, a missing Pod by the labels that it will have.
fn update_order(snapshot: &Snapshot, spec: &ValidSpec, update: &Revision, view: &View) -> Vec<usize> {
    let mut order: Vec<usize> = (0..view.slots.len()).rev().collect();
    let Some(priority) = &spec.rolling.priority else { return order };
    let being_replaced = |slot: &Slot| {
        snapshot
            .set
            .status
            .disrupted
            .iter()
            .any(|entry| entry.ordinal == slot.ordinal && *entry.revision == *update.hash)
    };
    order.sort_by_cached_key(|index| {
        let slot = &view.slots[*index];
        let gone = slot.pod().is_none_or(|pod| pod.is_terminating());
        let updated = slot.member().is_some_and(|member| member.is_made_from(update))
            || (gone && (slot.was_updated || being_replaced(slot)));
        if updated {
            return (0, PriorityKey::default());
        }
        // Else it would change places once it is made, and another would have been begun with for nothing.
        let (pod_name, index) = (short_name(&slot.name, true), slot.ordinal.to_string());
        let label = |key: &str| match (slot.pod(), key) {
            (Some(pod), _) => pod.labels.get(key).map(|value| &**value),
            (None, names::POD_NAME_LABEL) => Some(pod_name.as_str()),
            (None, names::POD_INDEX_LABEL) => Some(index.as_str()),
            (None, _) => update.template.get("metadata")?.get("labels")?.get(key)?.as_str(),
        };
        (1, priority_key(priority, label))
    });
    order
}

/// Sorts ascending: what comes first is updated first.
type PriorityKey = (i64, i64);

fn priority_key<'a>(priority: &Priority, label: impl Fn(&str) -> Option<&'a str>) -> PriorityKey {
    match priority {
        Priority::Weight(terms) => {
            let weight: i64 =
                terms.iter().filter(|(_, selector)| selector.matches(&label)).map(|(weight, _)| weight).sum();
            (-weight, 0)
        }
        Priority::Order(keys) => {
            let found = keys.iter().enumerate().find_map(|(level, key)| Some((level, label(key)?)));
            match found {
                Some((level, value)) => (i64::try_from(level).unwrap_or(i64::MAX), -trailing_number(value)),
                None => (i64::MAX, 0),
            }
        }
    }
}

/// The number at the end of a label's value; 0 where there is none.
fn trailing_number(value: &str) -> i64 {
    let digits = value.bytes().rev().take_while(u8::is_ascii_digit).count();
    value[value.len() - digits..].parse().unwrap_or(0)
}

/// Whether a Pod is there that only the budget keeps from being taken down.
pub fn wants_budget(context: Context<'_>) -> bool {
    context.view.slots.iter().any(|slot| {
        slot.member().is_some_and(|member| {
            member.pod.is_ready()
                && (is_marked(&member.pod) || (may_update(context, slot) && is_outdated(context, member)))
        })
    })
}

pub fn rollout(context: Context<'_>, draft: &mut Draft) {
    delete_specified(context, draft);
    relabel(context, draft);
    restore_identity(context, draft);
    if context.spec.on_delete || context.spec.rolling.paused {
        return;
    }
    let mut changes = Changes::default();
    let order = update_order(context.snapshot, context.spec, &context.revisions.update, context.view);
    let outdated: Vec<&Slot> = order
        .iter()
        .map(|index| &context.view.slots[*index])
        .filter(|slot| may_update(context, slot))
        .filter(|slot| slot.member().is_some_and(|member| is_outdated(context, member)))
        .collect();
    prepull::prepare(context, draft, &outdated);
    update_in_hand(context, draft, &mut changes, &outdated);
    update_broken(context, draft, &mut changes, &outdated);
    update_healthy(context, draft, &mut changes, &outdated);
}

pub fn may_update(context: Context<'_>, slot: &Slot) -> bool {
    !slot.held && !context.spec.on_delete && !context.spec.rolling.paused
}

pub fn is_outdated(context: Context<'_>, member: &Member) -> bool {
    !member.is_on(&context.revisions.update) && !member.pod.is_terminating() && !member.pod.is_terminal()
}

pub fn is_marked(pod: &PodFacts) -> bool {
    pod.labels.contains_key(names::SPECIFIED_DELETE_LABEL) && !pod.is_terminating()
}

/// Pods that users marked, before any other.
fn delete_specified(context: Context<'_>, draft: &mut Draft) {
    for slot in context.view.slots.iter().rev() {
        let Some(pod) = slot.pod().filter(|pod| is_marked(pod) && !pod.is_terminal()) else { continue };
        let action = Action::DeletePod {
            ordinal: slot.ordinal,
            target: target(pod),
            why: DeleteWhy::SpecifiedDelete,
            reason: format!("it has the label {}", names::SPECIFIED_DELETE_LABEL),
        };
        if !draft.disrupt(context, slot, pod, action) {
            draft.wait("WaitingForPods", format!("Pod {} is to be deleted when the budget has room", pod.name));
        }
    }
}

/// Pods that are on a revision and do not carry its hash: a native name, or none.
fn relabel(context: Context<'_>, draft: &mut Draft) {
    for slot in &context.view.slots {
        let Some(member) = slot.member() else { continue };
        let Some(revision) = member.unlabelled().filter(|_| !member.pod.is_terminating()) else { continue };
        let parts = PatchParts {
            old_template: &revision.template,
            new_template: &revision.template,
            update: &InPlacePatch::default(),
            revision_hash: &revision.hash,
            state: None,
            tolerations: &[],
        };
        let mut patch = pod_patch(&member.pod, parts);
        lifecycle::leave_hook_labels(context, &revision.template, &revision.template, &mut patch);
        let action = Action::PatchPod {
            ordinal: slot.ordinal,
            target: target(&member.pod),
            why: PatchWhy::Metadata,
            revision: revision.hash.clone(),
            resize: None,
            patch: Box::new(patch),
            reason: format!("it is what revision {} makes, and its label did not say so", revision.name),
        };
        draft.act(&member.pod.name, action);
    }
}

/// Labels that say which Pod it is and that somebody took away, or that a Pod which was taken over never had.
fn restore_identity(context: Context<'_>, draft: &mut Draft) {
    for slot in &context.view.slots {
        let Some(pod) = slot.pod().filter(|pod| !pod.is_terminating() && !draft.is_touched(&pod.name)) else {
            continue;
        };
        let mut labels = build::identity_labels(&slot.name, slot.ordinal);
        labels.retain(|key, value| pod.labels.get(key.as_str()).map(|held| &**held) != value.as_str());
        if labels.is_empty() {
            continue;
        }
        let lost: Vec<&str> = labels.keys().map(String::as_str).collect();
        let reason = format!("its labels {} are not what they should be", lost.join(" and "));
        let action = Action::PatchPod {
            ordinal: slot.ordinal,
            target: target(pod),
            why: PatchWhy::Metadata,
            revision: pod.revision_label().into(),
            resize: None,
            patch: Box::new(label_patch(pod, labels)),
            reason,
        };
        draft.act(&pod.name, action);
    }
}

/// Pods whose gate was closed for an update: they are ours to go on with, whatever came since.
fn update_in_hand(context: Context<'_>, draft: &mut Draft, changes: &mut Changes, outdated: &[&Slot]) {
    for slot in outdated {
        let Some(member) = slot.member() else { continue };
        if let Gate::Closed { since, .. } = member.pod.gate {
            advance(context, draft, changes, slot, member, since);
        }
    }
}

/// Pods that are not Ready and outdated. Those that cannot run go freely; those that ran and lost
/// their readiness may come back, and go at most `maxUnavailable` at a time. What takes no budget goes to all.
fn update_broken(context: Context<'_>, draft: &mut Draft, changes: &mut Changes, outdated: &[&Slot]) {
    let mut room = context.spec.rolling.max_unavailable.saturating_sub(changing(context, draft));
    for slot in outdated {
        let Some(member) = slot.member().filter(|member| !member.pod.is_ready()) else { continue };
        if matches!(member.pod.gate, Gate::Closed { .. }) || draft.is_touched(&member.pod.name) {
            continue;
        }
        let free = cannot_run(&member.pod, context.view.now) || is_free(context, changes, member);
        if !free && room == 0 {
            draft.wait(
                "WaitingForPods",
                format!(
                    "Pod {} lost its readiness and is updated when the Pods before it are available",
                    member.pod.name
                ),
            );
            continue;
        }
        if advance(context, draft, changes, slot, member, None) && !free {
            room -= 1;
        }
    }
}

/// Slots that this rollout has changed and that are not available yet.
fn changing(context: Context<'_>, draft: &Draft) -> usize {
    let update = &context.revisions.update;
    let is_changing = |slot: &&Slot| {
        !slot.held
            && match &slot.holder {
                // One that waits for lower Pods, or for somebody else's, is not changed by the rollout.
                Holder::Nobody => draft.is_touched(&slot.name),
                Holder::Adopting | Holder::Foreign(_) => false,
                Holder::Member(member) => {
                    draft.is_touched(&member.pod.name)
                        || member.pod.is_terminating()
                        || (member.is_on(update) && !context.view.is_available(&member.pod))
                }
            }
    };
    context.view.slots.iter().filter(is_changing).count()
}

fn update_healthy(context: Context<'_>, draft: &mut Draft, changes: &mut Changes, outdated: &[&Slot]) {
    for slot in outdated {
        let Some(member) = slot.member().filter(|member| member.pod.is_ready()) else { continue };
        if matches!(member.pod.gate, Gate::Closed { .. }) || draft.is_touched(&member.pod.name) {
            continue;
        }
        advance(context, draft, changes, slot, member, None);
    }
}

/// Takes the next step of one Pod's update. False: nothing was done now.
fn advance(
    context: Context<'_>,
    draft: &mut Draft,
    changes: &mut Changes,
    slot: &Slot,
    member: &Member,
    closed_since: Option<Timestamp>,
) -> bool {
    let pod = &member.pod;
    if !grow::before_update(context, draft, slot, member) {
        return false;
    }
    if !prepull::before_update(context, draft, member) {
        // Nobody knows when: a Pod that its hook has out of service goes back.
        if draft.images_fail {
            draft.unwanted.insert(slot.ordinal);
        }
        return false;
    }
    match step(context, draft, changes, member) {
        Step::Waiting => {
            draft.unwanted.insert(slot.ordinal);
            false
        }
        Step::Free(patch) => {
            draft.act(&pod.name, patch_action(context, slot, member, &patch));
            true
        }
        Step::Blocked(reasons) => {
            draft.block(&pod.name, reasons);
            draft.unwanted.insert(slot.ordinal);
            false
        }
        Step::Recreate(reason) => {
            let action =
                Action::DeletePod { ordinal: slot.ordinal, target: target(pod), why: DeleteWhy::Update, reason };
            let taken = draft.disrupt(context, slot, pod, action);
            if taken && context.spec.rolling.priority.is_some() {
                draft.updated.insert(slot.ordinal);
            }
            taken
        }
        Step::InPlace(patch) => in_place(context, draft, slot, member, &patch, closed_since),
    }
}

fn in_place(
    context: Context<'_>,
    draft: &mut Draft,
    slot: &Slot,
    member: &Member,
    patch: &InPlacePatch,
    closed_since: Option<Timestamp>,
) -> bool {
    let pod = &member.pod;
    if patch.pace == Pace::Gate && is_held(context, draft, slot, member, patch) {
        return false;
    }
    if !lifecycle::may_patch(context, draft, slot, pod) {
        return false;
    }
    if patch.pace == Pace::Slot {
        return draft.disrupt(context, slot, pod, patch_action(context, slot, member, patch));
    }
    let now = context.view.now;
    let runs = pod.containers.iter().any(|container| container.running.is_some());
    match &pod.gate {
        Gate::Open if runs || is_starting(pod) => {
            let names: Vec<&str> = patch.rebuild.iter().map(|rebuild| &*rebuild.container).collect();
            let reason = format!("{} is re-created for revision {}", names.join(", "), context.revisions.update.name);
            let mut action = turn_gate(pod, slot.ordinal, GateWhy::Close, now, reason);
            if let (Some(note), Action::PatchPodStatus { patch, .. }) =
                (note_before_resize(context, pod, patch), &mut action)
            {
                patch["metadata"]["annotations"] = note["metadata"]["annotations"].clone();
            }
            return draft.disrupt(context, slot, pod, action);
        }
        Gate::Closed { .. } => {
            let due = patch_due(context, pod, closed_since.unwrap_or(now));
            if now < due {
                draft.wake(due);
                draft.leave(&pod.name);
                draft.wait(
                    "WaitingForGracePeriod",
                    format!("Pod {} is taken out of service before it is patched", pod.name),
                );
                return false;
            }
        }
        // Nothing runs that traffic would have to be kept from.
        Gate::Open | Gate::Absent | Gate::Unset => {}
    }
    let taken = draft.disrupt(context, slot, pod, patch_action(context, slot, member, patch));
    if taken && runs && pod.gate == Gate::Absent {
        draft.warn(
            "NoReadinessGate",
            "Update",
            format!(
                "Pod {} has no readiness gate {}: it is updated without being taken out of service first",
                pod.name,
                names::READINESS_GATE
            ),
        );
    }
    taken
}

/// Whether the update was refused lately, so that no Pod is to be out of service for it now. One that is goes back.
fn is_held(context: Context<'_>, draft: &mut Draft, slot: &Slot, member: &Member, patch: &InPlacePatch) -> bool {
    /// How soon to look again whether it is taken now.
    const RECHECK_SECONDS: i64 = 15;
    let pod = &member.pod;
    let answers = &context.snapshot.answers;
    let runs = pod.containers.iter().any(|container| container.running.is_some());
    match (answers.held_updates.get(&context.revisions.update.hash), &pod.gate) {
        (Some(HeldUpdate::Denied { reason, message }), Gate::Open | Gate::Closed { .. }) if runs => {
            if draft.failures.is_empty() {
                draft.failures.push((known_reason(reason), message.to_string()));
            }
            draft.wake_in(context.view.now, RECHECK_SECONDS);
            draft.unwanted.insert(slot.ordinal);
            true
        }
        (Some(HeldUpdate::Ask), Gate::Open) if runs => {
            match answers.tried_updates.get(&pod.uid) {
                Some(taken) => return !taken,
                // It is not its turn yet.
                None if pod.is_ready()
                    && draft.unavailable_besides(slot.ordinal) >= context.spec.rolling.max_unavailable => {}
                // One a look: each costs a round of questions.
                None if !answers.tried_updates.is_empty() => draft.wake_in(context.view.now, 1),
                None => ask_to_update(context, draft, slot, member, patch),
            }
            true
        }
        _ => false,
    }
}

fn ask_to_update(context: Context<'_>, draft: &mut Draft, slot: &Slot, member: &Member, patch: &InPlacePatch) {
    let asked = draft.questions.iter().any(|question| matches!(question, Question::Update { .. }));
    if let (false, Action::PatchPod { target, revision, resize, patch, .. }) =
        (asked, patch_action(context, slot, member, patch))
    {
        let resize = resize.map(|resize| canonical::text(&resize.patch).into());
        draft.questions.insert(Question::Update { target, revision, resize, patch: canonical::text(&patch).into() });
    }
}

/// When a Pod whose gate was closed may be patched: after the grace period, and when the kubelet has said that it is
/// not Ready. That is the sign that traffic stays away, and the patch does not run into the kubelet's own write.
fn patch_due(context: Context<'_>, pod: &PodFacts, closed_since: Timestamp) -> Timestamp {
    // A kubelet that says nothing for this long is taken for dead.
    const KUBELET_SECONDS: i64 = 10;
    let grace_seconds = match context.spec.rolling.grace_period_seconds {
        0 => 0,
        // The condition's time was cut to whole seconds when it was written.
        seconds => seconds.saturating_add(1),
    };
    let later = |time: Timestamp, seconds: i64| time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(time);
    if pod.is_ready() {
        return later(closed_since, grace_seconds.max(KUBELET_SECONDS));
    }
    // By the kubelet's clock, which may be another.
    let unready_since = pod.ready.and_then(|ready| ready.since).unwrap_or(closed_since);
    later(unready_since.clamp(closed_since, later(closed_since, KUBELET_SECONDS)), grace_seconds)
}

/// Its containers may start at any moment, and have by now, where the kubelet is about to say so.
fn is_starting(pod: &PodFacts) -> bool {
    let about_to = |container: &ContainerFacts| {
        let reason = container.waiting_reason.as_deref().unwrap_or_default();
        container.container_id.is_none() && matches!(reason, "" | "ContainerCreating" | "PodInitializing")
    };
    pod.started_at.is_some() && pod.containers.iter().any(about_to)
}

/// A Pod that waiting will not make Ready: it has ended, is not scheduled or not started, a container is
/// refused or crashes, or it was never Ready since it was made or last patched.
pub fn cannot_run(pod: &PodFacts, now: Timestamp) -> bool {
    // The kubelet writes times in whole seconds.
    const CLOCK_SECONDS: i64 = 2;
    if pod.is_terminal() || pod.phase == PodPhase::Pending || pod.unschedulable || pod.started_at.is_none() {
        return true;
    }
    let stuck = pod.containers.iter().any(|container| {
        let reason = container.waiting_reason.as_deref().unwrap_or_default();
        let refused = !matches!(reason, "" | "ContainerCreating" | "PodInitializing");
        let ended = container.kind != ContainerKind::Init && container.running.is_none();
        refused || (ended && container.restart_count > 0)
    });
    if stuck {
        return true;
    }
    let state = pod.in_place_state.as_deref().and_then(InPlaceState::parse);
    let lost_at = pod.ready.and_then(|ready| ready.since);
    if state.as_ref().is_some_and(|state| state.unready_since.is_some() && state.unready_since == lost_at) {
        return !pod.is_ready_condition();
    }
    let patched_at = state.as_ref().map(|state| state.patched_at);
    // Without the gate it was Ready until its old containers ended.
    let rebuilt_at = state.filter(|_| pod.gate == Gate::Absent).and_then(|state| state.rebuilt_at(pod));
    let begun = pod.started_at.max(patched_at).max(rebuilt_at).unwrap_or(now);
    lost_at.is_none_or(|lost| lost <= begun.saturating_add(SignedDuration::from_secs(CLOCK_SECONDS)).unwrap_or(begun))
}
