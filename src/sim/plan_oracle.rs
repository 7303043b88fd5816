//! What a plan must hold to, going by what its snapshot shows. Written from the contract, not from
//! the planner.

use std::collections::BTreeSet;

use super::{facts, rollout_oracle};
use crate::inplace::differences;
use crate::model::{Gate, HookState, Ordinal, PodFacts, Snapshot, ValidSpec};
use crate::plan::Plan;
use crate::plan::action::{Action, DeleteWhy, GateWhy, PatchWhy, RevisionAction, StatusWrite};

pub fn check(snapshot: &Snapshot, plan: &Plan) -> Result<(), String> {
    let Ok(spec) = ValidSpec::parse(&snapshot.set.spec) else { return Ok(()) };
    fresh_budget(snapshot, &spec, plan)?;
    told_within_the_budget(snapshot, &spec, plan)?;
    ordered_creation(snapshot, &spec, plan)?;
    one_action_a_pod(plan)?;
    claims_go_first(snapshot, &spec, plan)?;
    claims_are_there_to_stay(snapshot, plan)?;
    revisions_are_new(snapshot, &spec, plan)?;
    looks_in_time(snapshot, &spec, plan)?;
    rollout_oracle::check(snapshot, &spec, plan)?;
    completion(snapshot, &spec, plan)
}

pub fn pod_of(snapshot: &Snapshot, ordinal: Ordinal) -> Option<&PodFacts> {
    let name = format!("{}-{ordinal}", snapshot.set.name);
    snapshot.pods.get(name.as_str()).map(|pod| &**pod)
}

pub fn is_available(snapshot: &Snapshot, spec: &ValidSpec, ordinal: Ordinal) -> bool {
    pod_of(snapshot, ordinal).is_some_and(|pod| {
        spec.selector.matches_map(&pod.labels)
            && pod.is_available(spec.min_ready_seconds, snapshot.now)
            && spec.hooks.let_count(pod)
    })
}

/// Whether a Pod's label names this revision.
pub fn is_hash_of(revision: &str, label: &str) -> bool {
    !label.is_empty() && (revision == label || revision.ends_with(&format!("-{label}")))
}

/// S5: nothing that is Ready goes down while as many as the budget are not available.
fn fresh_budget(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    let mut down: BTreeSet<Ordinal> =
        spec.slots.ordinals().iter().copied().filter(|ordinal| !is_available(snapshot, spec, *ordinal)).collect();
    for action in plan.actions.iter().flatten() {
        if let Some((ordinal, name)) = takes_down(action)
            && pod_of(snapshot, ordinal).is_some_and(PodFacts::is_ready)
            && !(spec.slots.index_of(ordinal).is_none() && matches!(action, Action::PatchPodStatus { .. }))
        {
            return Err(format!("S5: {name} is Ready and taken down without the ledger"));
        }
    }
    let mut fresh = 0;
    for action in &plan.disruptions {
        let Some((ordinal, name)) = takes_down(action) else {
            return Err(format!("{} is no disruption", action.object()));
        };
        let Some(pod) = pod_of(snapshot, ordinal) else { return Err(format!("{name} is not there")) };
        let entry = plan.status.disrupted.iter().find(|entry| entry.ordinal == ordinal && *entry.uid == *pod.uid);
        let Some(entry) = entry else { return Err(format!("ledger: no entry for {name}")) };
        let stored = snapshot.set.status.disrupted.iter().any(|old| old == entry);
        if !stored && plan.status_write != StatusWrite::Now {
            return Err(format!("ledger: the entry for {name} is not stored first"));
        }
        let under_way = stored && matches!(pod.gate, Gate::Closed { .. });
        down.insert(ordinal);
        // One that a hook keeps from being available is down already.
        fresh += usize::from(!under_way && spec.hooks.let_count(pod));
    }
    if fresh > 0 && down.len() > spec.rolling.max_unavailable {
        return Err(format!("S5: {down:?} would be down with a budget of {}", spec.rolling.max_unavailable));
    }
    Ok(())
}

/// No more Pods in service are told to get ready than may be down.
fn told_within_the_budget(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    let state = "/metadata/labels/lifecycle.apps.asts.dev~1state";
    let mut told: BTreeSet<Ordinal> = BTreeSet::new();
    for action in plan.actions.iter().flatten() {
        let Action::PatchPod { ordinal, why: PatchWhy::HookState, patch, .. } = action else { continue };
        let prepares =
            patch.pointer(state).and_then(|value| value.as_str()).is_some_and(|it| it.starts_with("Preparing"));
        let serves = spec.slots.contains(*ordinal) && is_available(snapshot, spec, *ordinal);
        let before = pod_of(snapshot, *ordinal).and_then(PodFacts::hook_state).is_some_and(HookState::is_preparing);
        if prepares && serves && !before {
            told.insert(*ordinal);
        }
    }
    if told.is_empty() {
        return Ok(());
    }
    let deadline = jiff::SignedDuration::from_secs(spec.progress_deadline_seconds);
    let down_or_told = spec.slots.ordinals().iter().copied().filter(|ordinal| {
        let pod = pod_of(snapshot, *ordinal);
        let preparing = pod.and_then(PodFacts::hook_state).is_some_and(HookState::is_preparing)
            && pod.and_then(|pod| pod.hook_state_since).is_none_or(|since| since + deadline > snapshot.now);
        preparing || told.contains(ordinal) || !is_available(snapshot, spec, *ordinal)
    });
    let count = down_or_told.count();
    if count <= spec.rolling.max_unavailable {
        return Ok(());
    }
    Err(format!(
        "hooks: {told:?} are told and {count} would be down or told, the budget is {}",
        spec.rolling.max_unavailable
    ))
}

pub fn takes_down(action: &Action) -> Option<(Ordinal, &str)> {
    match action {
        Action::DeletePod {
            ordinal,
            target,
            why: DeleteWhy::Update | DeleteWhy::InPlaceTimeout | DeleteWhy::SpecifiedDelete,
            ..
        }
        | Action::PatchPod { ordinal, target, why: PatchWhy::InPlace | PatchWhy::Live, .. }
        | Action::PatchPodStatus { ordinal, target, why: GateWhy::Close, .. } => Some((*ordinal, &target.name)),
        _ => None,
    }
}

/// S7: one Pod at a time, when all lower ones are available; from the top down when fewer are wanted.
fn ordered_creation(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    if !spec.ordered {
        return Ok(());
    }
    let mut deleted = 0;
    for action in plan.actions.iter().flatten() {
        match action {
            Action::CreatePod { ordinal, name, .. } => {
                let lower = spec.slots.ordinals().iter().take_while(|other| *other < ordinal);
                // Up to the last one that the rollout took down they come back, whatever the hooks of those that serve say.
                let comes_back = plan.status.disrupted.iter().any(|entry| entry.ordinal >= *ordinal);
                let serves = |other| {
                    pod_of(snapshot, other).is_some_and(|pod| pod.is_available(spec.min_ready_seconds, snapshot.now))
                };
                let is_there = |other| is_available(snapshot, spec, other) || (comes_back && serves(other));
                if let Some(missing) = lower.copied().find(|other| !is_there(*other)) {
                    return Err(format!("S7: {name} is made before {missing} is available"));
                }
            }
            Action::DeletePod { ordinal, target, why: DeleteWhy::ScaleDown, .. } => {
                deleted += 1;
                let higher = |pod: &PodFacts| {
                    let other = pod.ordinal_of(&snapshot.set.name);
                    other.is_some_and(|other| other > *ordinal && !spec.slots.contains(other))
                        && spec.selector.matches_map(&pod.labels)
                };
                if let Some(other) = snapshot.pods.values().find(|pod| higher(pod)) {
                    return Err(format!("S7: {} is scaled down before {}", target.name, other.name));
                }
                if let Some(missing) = spec.slots.ordinals().iter().find(|it| !is_available(snapshot, spec, **it)) {
                    return Err(format!("S7: {} is scaled down while {missing} is not available", target.name));
                }
            }
            _ => {}
        }
    }
    if deleted > 1 { Err("S7: more than one Pod is scaled down at once".to_owned()) } else { Ok(()) }
}

/// S12: a condemned Pod's claims are handed to it before it is deleted, or they would stay for ever.
fn claims_go_first(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    if !spec.delete_claims_when_scaled {
        return Ok(());
    }
    for action in plan.actions.iter().flatten() {
        let Action::DeletePod { target, why: DeleteWhy::ScaleDown | DeleteWhy::Reserved, .. } = action else {
            continue;
        };
        for template in &spec.claim_templates {
            let name = format!("{}-{}", template.name, target.name);
            let Some(claim) = snapshot.claims.get(name.as_str()) else { continue };
            let is_others = claim.owners.iter().any(|owner| owner.controller && owner.uid != snapshot.set.uid);
            if !is_others && !claim.terminating && !claim.owners.iter().any(|owner| owner.uid == target.uid) {
                return Err(format!("S12: {} is deleted before claim {name} is handed to it", target.name));
            }
        }
    }
    Ok(())
}

/// S13: no Pod is made on a claim that is going away, or that will be collected with a Pod that is gone.
fn claims_are_there_to_stay(snapshot: &Snapshot, plan: &Plan) -> Result<(), String> {
    for action in plan.actions.iter().flatten() {
        let Action::CreatePod { name, pod, .. } = action else { continue };
        let volumes = facts::list(pod, "/spec/volumes");
        let claims = volumes.iter().filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
        for claim in claims.filter_map(|claim| snapshot.claims.get(claim)) {
            let lives = |uid: &str| snapshot.pods.values().any(|pod| &*pod.uid == uid);
            let stale = claim.owners.iter().any(|owner| &*owner.kind == "Pod" && !lives(&owner.uid));
            if claim.terminating || stale {
                return Err(format!("S13: {name} is made on claim {}, which is about to go", claim.name));
            }
        }
    }
    Ok(())
}

/// S14 and S15: a revision is made for a template that none of the set's has, by its meaning, and its number is the highest.
fn revisions_are_new(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    for action in &plan.revisions {
        let RevisionAction::Create { name, number, data, .. } = action else { continue };
        let made = data.pointer("/spec/template").cloned().unwrap_or_default();
        let claims = spec.claim_templates.iter().map(|claim| &*claim.name).collect::<BTreeSet<_>>();
        for old in snapshot.revisions.iter().filter(|old| !old.terminating) {
            if old.number >= *number {
                return Err(format!("S14: revision {name} gets number {number}, and {} has {}", old.name, old.number));
            }
            let same_claims = old.claim_names().is_some_and(|names| {
                names.iter().map(|name| &**name).collect::<BTreeSet<_>>() == claims && !spec.grow_claims
            });
            if same_claims && differences(&old.template(), &made).iter().all(|it| it.path.contains("$patch")) {
                return Err(format!("S15: revision {name} is made, and {} says the same", old.name));
            }
        }
    }
    Ok(())
}

/// L6: a Pod becomes available by time alone: somebody has to look then.
fn looks_in_time(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    if snapshot.set.terminating {
        return Ok(());
    }
    for ordinal in spec.slots.ordinals() {
        let Some(pod) = pod_of(snapshot, *ordinal)
            .filter(|pod| pod.is_ready() && !pod.is_terminating() && spec.selector.matches_map(&pod.labels))
        else {
            continue;
        };
        if pod.is_available(spec.min_ready_seconds, snapshot.now) {
            continue;
        }
        let since = pod.ready.as_ref().and_then(|ready| ready.since).unwrap_or(snapshot.now);
        let due = since + jiff::SignedDuration::from_secs(spec.min_ready_seconds + 1);
        if plan.wake_at.is_none_or(|wake| wake > due.max(snapshot.now)) {
            return Err(format!("L6: {} becomes available at {due}, the next look is {:?}", pod.name, plan.wake_at));
        }
    }
    Ok(())
}

fn one_action_a_pod(plan: &Plan) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for action in plan.actions.iter().flatten().chain(&plan.disruptions) {
        if !seen.insert(action.object()) {
            return Err(format!("two actions for {}", action.object()));
        }
    }
    Ok(())
}

/// S17: `currentRevision` moves to the update revision only when all is done.
fn completion(snapshot: &Snapshot, spec: &ValidSpec, plan: &Plan) -> Result<(), String> {
    let old = &snapshot.set.status;
    let moves = old.current_revision.is_some() && plan.status.current_revision != old.current_revision;
    if !moves || snapshot.set.terminating {
        return Ok(());
    }
    let known = snapshot.revisions.iter().any(|one| Some(&*one.name) == old.current_revision.as_deref());
    let all = |holds: &dyn Fn(Ordinal) -> bool| spec.slots.ordinals().iter().all(|ordinal| holds(*ordinal));
    let update = plan.status.update_revision.as_deref().unwrap_or_default();
    let is_updated = |ordinal| {
        let label = pod_of(snapshot, ordinal).map(PodFacts::revision_label).unwrap_or_default();
        is_hash_of(update, label)
    };
    if !known || all(&|ordinal| is_available(snapshot, spec, ordinal) && is_updated(ordinal)) {
        return Ok(());
    }
    Err("S17: currentRevision moves before all Pods are updated and available".to_owned())
}
