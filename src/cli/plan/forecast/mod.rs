//! What would happen to a set, played through in memory: the manager's own plans are carried out on a model of the Pods
//! in which each that is changed becomes available at once, until nothing is left to be done. No client, no clock.
//!
//! Who is taken down together is a wave: the next one begins when nothing of the one before is under way. The manager
//! begins with a next Pod as soon as one of a wave is available again; the order is the same, but that a Pod which is
//! removed may go later: it waits until the others are available.

mod kubelet;
mod patched;
#[cfg(test)]
pub mod tests;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{AdvancedStatefulSetStatus, Condition, names};
use crate::model::pod::parent_and_ordinal;
use crate::model::{HookState, Ordinal, Snapshot};
use crate::plan::action::{DeleteWhy, GateWhy, PatchWhy};
use crate::plan::{Action, Plan, Question};
use world::World;

/// Rounds of questions that the model answers within one step.
const ROUNDS_MAX: usize = 8;
/// Steps that an empty set may take.
const STEPS_FIRST: usize = 50;
/// Steps that each Pod may add: closed, let go by hooks, patched, opened, counted, and once more for good measure.
const STEPS_PER_POD: usize = 20;
/// Most Pods looked at over all steps: what is beyond this is left out of the waves.
const LOOKS_MAX: usize = 1_000_000;

/// The outcome of a forecast.
#[derive(Debug)]
pub enum Forecasted {
    /// Facts are missing that only the cluster has.
    Ask(Vec<Question>),
    Known(Box<Forecast>),
}

/// All that would be done.
#[derive(Clone, Debug)]
pub struct Forecast {
    pub waves: Vec<Wave>,
    pub claims: Vec<ClaimMove>,
    pub end: End,
    /// The set's conditions in the end.
    pub conditions: Vec<Condition>,
    /// What there is in the end.
    pub last: Snapshot,
    /// Pods are held by lifecycle hooks, and are taken to be let go at once.
    pub hooks_answered: bool,
    /// Nodes are to pull images first, and are taken to have done so.
    pub images_pulled: bool,
}

/// Moves that are under way together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wave {
    pub moves: Vec<Move>,
}

/// What happens to one Pod, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub pod: Box<str>,
    pub ordinal: Ordinal,
    pub what: What,
    /// The planner's words.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Labels, annotations and tolerations: no budget, the Pod stays in service.
    Metadata,
    /// The containers go on with something else.
    Live,
    /// Containers are re-created in the Pod.
    Containers,
    Recreate,
    Create,
    Remove,
    Adopt,
    Release,
    /// Its claims grow, and nothing else.
    Claims,
    /// Begun, and nothing came of it within the steps of the forecast.
    Begun,
}

/// What happens to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMove {
    pub claim: Box<str>,
    pub made: bool,
    pub from_bytes: Option<u128>,
    pub to_bytes: Option<u128>,
}

/// How a forecast ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The planner finds nothing more to do.
    Rests,
    /// There is more, and too much to play it all through.
    CutShort,
}

/// Plays through what would happen from here. Some Pods, by UID, are known to take no update while they run.
pub fn forecast(start: &Snapshot, denied: BTreeSet<Box<str>>) -> Forecasted {
    within(start, denied, LOOKS_MAX)
}

fn within(start: &Snapshot, denied: BTreeSet<Box<str>>, looks_max: usize) -> Forecasted {
    let looks = start.pods.len() + usize::try_from(start.set.spec.replicas.unwrap_or(1)).unwrap_or(0);
    let steps_max = (STEPS_FIRST + STEPS_PER_POD * looks).min(STEPS_FIRST + looks_max / (looks + 1));
    let mut run = Run { denied, ..Run::new(start) };
    for _ in 0..steps_max {
        match run.step() {
            Step::GoesOn => {}
            Step::Ask(questions) => return Forecasted::Ask(questions),
            Step::Rests => return Forecasted::Known(Box::new(run.finish(End::Rests))),
        }
    }
    Forecasted::Known(Box::new(run.finish(End::CutShort)))
}

enum Step {
    GoesOn,
    Rests,
    Ask(Vec<Question>),
}

struct Run {
    world: World,
    waves: Vec<Wave>,
    claims: Vec<ClaimMove>,
    /// The Pods of the last wave, with their place in it, until all of it is done.
    under_way: BTreeMap<Box<str>, usize>,
    images_pulled: bool,
    denied: BTreeSet<Box<str>>,
    /// Time has passed since anything was done.
    waited: bool,
}

impl Run {
    fn new(start: &Snapshot) -> Run {
        Run {
            world: World::new(start),
            waves: Vec::new(),
            claims: Vec::new(),
            under_way: BTreeMap::new(),
            images_pulled: false,
            denied: BTreeSet::new(),
            waited: false,
        }
    }

    fn step(&mut self) -> Step {
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(questions) => return Step::Ask(questions),
        };
        let (denied, taken): (Vec<&Action>, Vec<&Action>) = all(&plan).partition(|action| self.is_denied(action));
        let (starts, goes_on): (Vec<&Action>, Vec<&Action>) = taken.into_iter().partition(|action| self.starts(action));
        let not_yet: Vec<&Action> = starts.iter().chain(&denied).copied().collect();
        let waits_for_wave = !goes_on.is_empty() || !plan.revisions.is_empty() || self.status_moves(&plan, &not_yet);
        let (begun, left_out) = if waits_for_wave { (Vec::new(), not_yet) } else { (starts, denied) };
        let rests = !waits_for_wave && begun.is_empty();
        let status = self.status_without(&plan, &left_out);
        self.world.write_status(status);
        if rests {
            // Pods that only need time hold others up until then.
            if self.waited || !self.world.is_awaiting_pods() {
                return Step::Rests;
            }
            self.waited = true;
            self.world.pass_time();
            return Step::GoesOn;
        }
        self.waited = false;
        self.world.revise(&plan.revisions);
        for action in goes_on {
            self.carry_out(action);
        }
        if !begun.is_empty() {
            self.under_way.clear();
            self.waves.push(Wave::default());
        }
        for action in begun {
            self.carry_out(action);
        }
        self.world.pass_time();
        Step::GoesOn
    }

    /// A plan for the model as it is; what can be read off the model is answered from it.
    fn plan(&mut self) -> Result<Plan, Vec<Question>> {
        self.world.snapshot.answers.live_pods.clear();
        let mut plan = crate::plan::plan(&self.world.snapshot);
        for _ in 0..ROUNDS_MAX {
            let asked: Vec<Question> =
                plan.questions.iter().filter(|question| !self.world.answer(question)).cloned().collect();
            if !asked.is_empty() {
                return Err(asked);
            }
            if plan.questions.is_empty() {
                break;
            }
            plan = crate::plan::plan(&self.world.snapshot);
        }
        Ok(plan)
    }

    /// Whether the apiserver takes no such patch of this Pod.
    fn is_denied(&self, action: &Action) -> bool {
        match action {
            Action::PatchPod { target, why: PatchWhy::InPlace | PatchWhy::Live | PatchWhy::Metadata, .. }
            | Action::PatchPodStatus { target, why: GateWhy::Close, .. } => self.denied.contains(&target.uid),
            _ => false,
        }
    }

    /// Whether an action begins something with a Pod that is not under way.
    fn starts(&self, action: &Action) -> bool {
        self.begins(action).is_some_and(|pod| !self.under_way.contains_key(&pod))
    }

    /// The Pod that an action begins something with, or goes on with what was begun.
    fn begins(&self, action: &Action) -> Option<Box<str>> {
        match action {
            Action::CreatePod { name, .. } => Some(name.clone()),
            Action::DeletePod { target, .. }
            | Action::AdoptPod { target, .. }
            | Action::ReleasePod { target, .. }
            | Action::PatchPod { target, why: PatchWhy::InPlace | PatchWhy::Live | PatchWhy::Metadata, .. }
            | Action::PatchPodStatus { target, why: GateWhy::Close, .. } => Some(target.name.clone()),
            Action::PatchPod { target, why: PatchWhy::HookState, patch, .. } => {
                is_preparing(patch).then(|| target.name.clone())
            }
            Action::GrowClaim { target, .. } => {
                let (_, ordinal) = parent_and_ordinal(&target.name)?;
                Some(format!("{}-{ordinal}", self.world.snapshot.set.name).into())
            }
            _ => None,
        }
    }

    /// Whether the plan writes something into the status that a next plan may decide otherwise by.
    fn status_moves(&self, plan: &Plan, left_out: &[&Action]) -> bool {
        let stored = &self.world.snapshot.set.status;
        let wanted = self.status_without(plan, left_out);
        stored.disrupted != wanted.disrupted
            || stored.current_revision != wanted.current_revision
            || stored.update_revision != wanted.update_revision
            || stored.updated_ordinals != wanted.updated_ordinals
    }

    /// The plan's status as it would be without these actions: their entries are not in the ledger.
    fn status_without(&self, plan: &Plan, left_out: &[&Action]) -> AdvancedStatefulSetStatus {
        let stored = &self.world.snapshot.set.status;
        let mut status = plan.status.clone();
        let ordinals: Vec<Ordinal> =
            left_out.iter().filter_map(|action| Some(parent_and_ordinal(&self.begins(action)?)?.1)).collect();
        status.disrupted.retain(|entry| stored.disrupted.contains(entry) || !ordinals.contains(&entry.ordinal));
        if left_out.iter().any(|action| !self.is_denied(action)) {
            status.updated_ordinals.clone_from(&stored.updated_ordinals);
        }
        status
    }

    fn carry_out(&mut self, action: &Action) {
        if let Some(pod) = self.begins(action) {
            self.note_move(&pod, action);
        }
        match action {
            Action::CreatePod { claims, .. } => {
                self.claims.extend(claims.iter().map(World::made_claim));
            }
            Action::CreateClaim { claim, .. } => self.claims.push(World::made_claim(claim)),
            Action::GrowClaim { target, patch, .. } => self.claims.extend(self.world.grown_claim(&target.name, patch)),
            Action::CreateHelper { .. } => self.images_pulled = true,
            _ => {}
        }
        self.world.carry_out(action);
    }

    /// Puts what is done to a Pod into the last wave. What was begun becomes what it turns out to be.
    fn note_move(&mut self, pod: &str, action: &Action) {
        if self.waves.is_empty() {
            self.waves.push(Wave::default());
        }
        let Some(wave) = self.waves.last_mut() else { return };
        let what = what(action);
        let place = *self.under_way.entry(pod.into()).or_insert_with(|| {
            let ordinal = parent_and_ordinal(pod).map_or(0, |(_, ordinal)| ordinal);
            wave.moves.push(Move { pod: pod.into(), ordinal, what: What::Begun, why: String::new() });
            wave.moves.len() - 1
        });
        let Some(noted) = wave.moves.get_mut(place) else { return };
        if matches!(noted.what, What::Begun | What::Claims) && what != What::Begun {
            noted.what = what;
            action.reason().clone_into(&mut noted.why);
        }
    }

    fn finish(self, end: End) -> Forecast {
        Forecast {
            waves: self.waves.into_iter().filter(|wave| !wave.moves.is_empty()).collect(),
            claims: self.claims,
            end,
            conditions: self.world.snapshot.set.status.conditions.clone(),
            hooks_answered: self.world.hooks_answered,
            images_pulled: self.images_pulled,
            last: self.world.snapshot,
        }
    }
}

fn all(plan: &Plan) -> impl Iterator<Item = &Action> {
    plan.actions.iter().flatten().chain(&plan.disruptions)
}

fn is_preparing(patch: &serde_json::Value) -> bool {
    let state = patch.pointer("/metadata/labels").and_then(|labels| labels.get(names::HOOK_STATE_LABEL)?.as_str());
    [HookState::PreparingDelete, HookState::PreparingUpdate].iter().any(|preparing| state == Some(preparing.text()))
}

fn what(action: &Action) -> What {
    match action {
        Action::CreatePod { .. } => What::Create,
        Action::DeletePod { why: DeleteWhy::ScaleDown | DeleteWhy::Reserved, .. } => What::Remove,
        Action::DeletePod { .. } => What::Recreate,
        Action::PatchPod { why: PatchWhy::InPlace, .. } => What::Containers,
        Action::PatchPod { why: PatchWhy::Live, .. } => What::Live,
        Action::PatchPod { why: PatchWhy::Metadata, .. } => What::Metadata,
        Action::AdoptPod { .. } => What::Adopt,
        Action::ReleasePod { .. } => What::Release,
        Action::GrowClaim { .. } => What::Claims,
        _ => What::Begun,
    }
}
