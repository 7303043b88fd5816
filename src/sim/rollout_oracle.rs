//! In which order a plan goes on with a rollout, going by what its snapshot shows. Written from the
//! contract, not from the planner.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::plan_oracle::{is_available, is_hash_of, pod_of, takes_down};
use crate::api::Condition;
use crate::api::names::conditions;
use crate::api::spec::PodUpdatePolicy;
use crate::model::{Gate, Ordinal, PodFacts, PodPhase, Snapshot, ValidSpec};
use crate::plan::Plan;
use crate::plan::action::{Action, DeleteWhy};

/// S6: outdated Pods that cannot run are updated whatever the budget, those that lost their readiness no more at once
/// than it allows. S7: of those that are available the highest goes first.
pub fn check(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    if !goes_by_ordinals(snapshot, spec, plan) {
        return Ok(());
    }
    let acts: BTreeSet<String> = plan.actions.iter().flatten().chain(&plan.disruptions).map(Action::object).collect();
    let update = plan.status.update_revision.as_deref().unwrap_or_default();
    let left: Vec<(Ordinal, &PodFacts)> = spec
        .slots
        .ordinals()
        .iter()
        .skip(spec.rolling.partition)
        .filter_map(|ordinal| Some((*ordinal, pod_of(snapshot, *ordinal)?)))
        .filter(|(_, pod)| !pod.is_terminating() && !pod.is_terminal() && spec.selector.matches_map(&pod.labels))
        .filter(|(_, pod)| !is_hash_of(update, pod.revision_label()) && !matches!(pod.gate, Gate::Closed { .. }))
        .filter(|(_, pod)| !acts.contains(&format!("Pod {}", pod.name)))
        .collect();
    if let Some((_, pod)) = left.iter().find(|(_, pod)| never_ran(pod)) {
        return Err(format!("S6: {} is outdated and cannot run, and is left as it is", pod.name));
    }
    lost_within_the_budget(snapshot, spec, plan)?;
    let is_named = |ordinal: Ordinal| snapshot.set.status.disrupted.iter().any(|entry| entry.ordinal == ordinal);
    let highest_left = left.iter().rev().find(|(ordinal, pod)| pod.is_ready() && !is_named(*ordinal));
    for (ordinal, name) in plan.disruptions.iter().filter_map(updates) {
        // One that is not available goes before others where the budget has no more room than that.
        let begins = !is_named(ordinal) && is_available(snapshot, spec, ordinal);
        if let Some((_, higher)) = highest_left.filter(|(other, _)| begins && *other > ordinal) {
            return Err(format!("S7: {name} is updated before {}", higher.name));
        }
    }
    Ok(())
}

/// Neither priorities nor what holds single Pods back: hooks, claims that grow, images that are pulled ahead, updates
/// that were refused.
fn goes_by_ordinals(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> bool {
    let rolling = &spec.rolling;
    let refused = |condition: &Condition| condition.type_ == conditions::REPLICA_FAILURE && condition.status == "True";
    let is_held = rolling.paused
        || spec.on_delete
        || rolling.priority.is_some()
        || rolling.pre_pull
        || rolling.policy == PodUpdatePolicy::InPlaceOnly
        || spec.grow_claims
        || !spec.hooks.is_empty()
        || !snapshot.answers.held_updates.is_empty()
        || plan.status.conditions.iter().any(refused);
    !is_held && !snapshot.set.terminating
}

/// The Pod whose update this begins or goes on with.
fn updates(action: &Action) -> Option<(Ordinal, &str)> {
    let for_another_reason =
        matches!(action, Action::DeletePod { why: DeleteWhy::InPlaceTimeout | DeleteWhy::SpecifiedDelete, .. });
    takes_down(action).filter(|_| !for_another_reason)
}

fn never_ran(pod: &PodFacts) -> bool {
    !pod.is_ready() && (pod.phase == PodPhase::Pending || pod.started_at.is_none())
}

/// It was Ready since its containers were started for the only time, and is not now: it may come back by itself.
fn lost_its_readiness(pod: &PodFacts) -> bool {
    const STARTING: SignedDuration = SignedDuration::from_secs(5);
    let runs_since_the_start =
        pod.containers.iter().all(|container| container.restart_count == 0 && container.waiting_reason.is_none());
    let was_ready = match (pod.started_at, pod.ready.and_then(|ready| ready.since)) {
        (Some(started), Some(lost)) => lost > started + STARTING,
        _ => false,
    };
    let was_patched = pod.in_place_state.is_some() || matches!(pod.gate, Gate::Closed { .. });
    !pod.is_ready() && pod.phase == PodPhase::Running && runs_since_the_start && was_ready && !was_patched
}

fn lost_within_the_budget(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    let taken: Vec<&str> = plan
        .actions
        .iter()
        .flatten()
        .filter_map(updates)
        .filter(|(ordinal, _)| pod_of(snapshot, *ordinal).is_some_and(lost_its_readiness))
        .map(|(_, name)| name)
        .collect();
    if taken.len() <= spec.rolling.max_unavailable {
        return Ok(());
    }
    Err(format!(
        "S6: {taken:?} lost their readiness and are taken at once, the budget is {}",
        spec.rolling.max_unavailable
    ))
}
