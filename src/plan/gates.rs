//! The readiness gate of Pods that nothing else is done to: opened for new Pods, for those whose
//! update is done, and for those that turned round. And what happens when an update's effect
//! never comes.

use jiff::SignedDuration;

use super::action::{Action, DeleteWhy, GateWhy};
use super::draft::{Context, Draft, target, turn_gate};
use super::lifecycle;
use super::view::Slot;
use crate::api::spec::PodUpdatePolicy;
use crate::inplace::progress::What;
use crate::inplace::{Progress, Waiting, progress, state::InPlaceState};
use crate::model::{Gate, Ordinal, PodFacts};

/// How often to look at an update that shows no event, such as a container that restarted by itself just
/// before the patch.
const RECHECK_SECONDS: i64 = 15;

pub fn upkeep(context: Context<'_>, draft: &mut Draft) {
    for slot in &context.view.slots {
        let Some(member) = slot.member() else { continue };
        let pod = &member.pod;
        if pod.is_terminating() || pod.is_terminal() || draft.is_touched(&pod.name) {
            continue;
        }
        match progress(pod, context.view.now) {
            Progress::Waiting(waiting) => wait_for_effect(context, draft, slot, pod, &waiting),
            Progress::Done => settle(context, draft, Some(slot), slot.ordinal, pod),
        }
    }
    // A condemned Pod may have to wait long for its turn, and others for it to be available.
    for (ordinal, pod) in &context.view.condemned {
        let stays = !pod.is_terminating() && !pod.is_terminal() && !draft.is_touched(&pod.name);
        if stays && progress(pod, context.view.now) == Progress::Done {
            settle(context, draft, None, *ordinal, pod);
        }
    }
}

/// Opens the gate, and writes down where the Pod stands with the hooks: one write.
fn settle(context: Context<'_>, draft: &mut Draft, slot: Option<&Slot>, ordinal: Ordinal, pod: &PodFacts) {
    let moves = lifecycle::next_state(context, draft, slot, pod);
    let opens = match &pod.gate {
        Gate::Unset if pod.containers_ready => Some("its containers are ready"),
        // With hooks the Pod's state moves in the same write. The kubelet has just written, and writes next when
        // containers run: a gate that is open by then costs the Pod no second look of the kubelet before it is Ready.
        Gate::Unset if context.view.hooks.is_empty() && pod.started_at.is_some() => {
            Some("it is new, and none of its containers is to be replaced")
        }
        Gate::Closed { .. } => Some("its containers are the ones that its revision asks for"),
        _ => None,
    };
    if let Some(reason) = opens.filter(|_| !lifecycle::keeps_gate_closed(context, draft, slot, pod, moves)) {
        let mut action = turn_gate(pod, ordinal, GateWhy::Open, context.view.now, reason.to_owned());
        if let (Some(moves), Action::PatchPodStatus { patch, .. }) = (moves, &mut action) {
            moves.write_into(patch, context.view.now);
        }
        draft.act(&pod.name, action);
    } else if let Some(moves) = moves {
        draft.act(&pod.name, moves.action(context, pod, ordinal));
    }
}

/// A patched Pod whose containers are not the new ones yet.
fn wait_for_effect(context: Context<'_>, draft: &mut Draft, slot: &Slot, pod: &PodFacts, waiting: &Waiting) {
    let rolling = &context.spec.rolling;
    let reason = match waiting.what {
        What::Container => "WaitingForContainer",
        What::Kubelet => "WaitingForKubelet",
        What::Resize => "WaitingForResize",
    };
    draft.wait(reason, format!("Pod {}: {}", pod.name, waiting.why));
    match waiting.look_again_at {
        Some(at) => draft.wake(at),
        None => draft.wake_in(context.view.now, RECHECK_SECONDS),
    }
    let Some(state) = pod.in_place_state.as_deref().and_then(InPlaceState::parse) else { return };
    // A resize that was begun is still to be ended by the rollout.
    if waiting.effect_seen || state.resizing.is_some() || (waiting.what == What::Container && was_done(pod, &state)) {
        return;
    }
    let limit = SignedDuration::from_secs(rolling.timeout_seconds);
    let due = state.patched_at.saturating_add(limit).unwrap_or(state.patched_at);
    if context.view.now < due {
        draft.wake(due);
        return;
    }
    let why = format!("its update in place showed no effect within {} s ({})", rolling.timeout_seconds, waiting.why);
    let stands = context.spec.on_delete || rolling.paused;
    match rolling.policy {
        // Made anew, it might come back on another revision than it has; or nothing is to be done by order.
        _ if slot.held || stands => draft.warn("InPlaceUpdateTimeout", "Update", format!("Pod {}: {why}", pod.name)),
        PodUpdatePolicy::InPlaceOnly => {
            draft.warn("InPlaceUpdateTimeout", "Update", format!("Pod {}: {why}", pod.name));
            draft.block(&pod.name, why);
        }
        PodUpdatePolicy::InPlaceIfPossible | PodUpdatePolicy::ReCreate => {
            let action = Action::DeletePod {
                ordinal: slot.ordinal,
                target: target(pod),
                why: DeleteWhy::InPlaceTimeout,
                reason: why,
            };
            draft.disrupt(context, slot, pod, action);
        }
    }
}

/// Whether the update was done once, and what is seen now came later: the gate was opened again, and the Pod is or was
/// Ready since.
fn was_done(pod: &PodFacts, state: &InPlaceState) -> bool {
    // The kubelet writes times in whole seconds.
    let soon = SignedDuration::from_secs(2);
    let after_patch = state.patched_at.saturating_add(soon).unwrap_or(state.patched_at);
    let turned_later = pod.ready.and_then(|ready| ready.since).is_some_and(|since| since > after_patch);
    pod.gate == Gate::Open && (pod.is_ready() || turned_later)
}
