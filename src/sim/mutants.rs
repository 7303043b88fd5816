//! Faults put in on purpose: a check that does not notice is worth nothing. Some change what the
//! planner sees or says, some what is sent; both managers, the model and the real one, have them.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::agent::draw_with_hooks;
use super::script::{Script, draw};
use super::stories;
use super::world::World;
use crate::api::names;
use crate::api::spec::{ClaimRetention, ClaimRetentionPolicy, PriorityStrategy, UnorderedUpdate, WeightPriorityTerm};
use crate::model::claim::ClaimOwner;
use crate::model::{PodFacts, Snapshot};
use crate::plan::Plan;
use crate::plan::action::{Action, DeleteWhy, GateWhy, PatchWhy, StatusWrite};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    NoUidPrecondition,
    NoVersionPrecondition,
    DisruptBeforeStatus,
    NoLedger,
    StatusWithoutVersion,
    LabelInSecondPatch,
    LabelForgotten,
    GateNeverClosed,
    GateOpenedEarly,
    ForgetLedgerAtOnce,
    AnswersFromTheView,
    NoFence,
    BudgetTooLarge,
    IgnorePartition,
    IgnorePause,
    IgnoreOrder,
    IgnoreMinReady,
    TerminatingPodsUnseen,
    DeletionOfTheSetUnseen,
    AdoptsWhatOthersOwn,
    HistoryWithoutALook,
    ClaimsTakenAsHandedOver,
    DeletesClaims,
    DeletesByForce,
    CompleteTooEarly,
    GenerationAhead,
    StatusWithoutEnd,
    RetriesWithoutALook,
    NoReadYourWrites,
    HooksUnseen,
    NoNoteBeforeResize,
    NothingHeard,
    HandsOverUnderRetain,
    StaleClaimsUnseen,
    AdoptsWithoutALook,
    LowestFirst,
    BrokenOnesWait,
}

/// All but those that harm nothing, and those that only a story of their own shows.
pub const CAUGHT_BY_SEEDS: [Mutant; 32] = [
    Mutant::NoUidPrecondition,
    Mutant::NoVersionPrecondition,
    Mutant::DisruptBeforeStatus,
    Mutant::NoLedger,
    Mutant::StatusWithoutVersion,
    Mutant::LabelInSecondPatch,
    Mutant::LabelForgotten,
    Mutant::GateNeverClosed,
    Mutant::GateOpenedEarly,
    Mutant::ForgetLedgerAtOnce,
    Mutant::BudgetTooLarge,
    Mutant::IgnorePartition,
    Mutant::IgnorePause,
    Mutant::IgnoreOrder,
    Mutant::IgnoreMinReady,
    Mutant::TerminatingPodsUnseen,
    Mutant::DeletionOfTheSetUnseen,
    Mutant::AdoptsWhatOthersOwn,
    Mutant::HistoryWithoutALook,
    Mutant::ClaimsTakenAsHandedOver,
    Mutant::DeletesClaims,
    Mutant::DeletesByForce,
    Mutant::CompleteTooEarly,
    Mutant::GenerationAhead,
    Mutant::StatusWithoutEnd,
    Mutant::RetriesWithoutALook,
    Mutant::HooksUnseen,
    Mutant::HandsOverUnderRetain,
    Mutant::StaleClaimsUnseen,
    Mutant::AdoptsWithoutALook,
    Mutant::LowestFirst,
    Mutant::BrokenOnesWait,
];

impl Mutant {
    /// The scripts that can show it.
    pub fn draw(self) -> fn(u64) -> Script {
        match self {
            Mutant::HooksUnseen => draw_with_hooks,
            Mutant::AnswersFromTheView => stories::an_entry_and_an_old_view,
            Mutant::NoFence => stories::a_disruption_that_is_not_wanted_any_more,
            Mutant::NoNoteBeforeResize => stories::a_resize_half_done,
            Mutant::NothingHeard => stories::a_node_lost_between_two_tags,
            _ => draw,
        }
    }
}

impl World {
    /// What a mutant sees.
    pub fn mutate_snapshot(&self, snapshot: &mut Snapshot) {
        let Some(mutant) = self.mutant else { return };
        match mutant {
            Mutant::ForgetLedgerAtOnce | Mutant::NoLedger => {
                let mut status = (*snapshot.set.status).clone();
                status.disrupted.clear();
                snapshot.set.status = Arc::new(status);
            }
            Mutant::IgnorePartition
            | Mutant::IgnorePause
            | Mutant::BudgetTooLarge
            | Mutant::IgnoreOrder
            | Mutant::IgnoreMinReady
            | Mutant::HandsOverUnderRetain
            | Mutant::LowestFirst
            | Mutant::HooksUnseen => mutate_spec(mutant, snapshot),
            Mutant::DeletionOfTheSetUnseen => snapshot.set.terminating = false,
            Mutant::AdoptsWhatOthersOwn => {
                for (name, pod) in std::mem::take(&mut snapshot.foreign) {
                    snapshot.orphans.insert(name, changed(&pod, |pod| pod.controller = None));
                }
            }
            Mutant::ClaimsTakenAsHandedOver => {
                let pods: Vec<(Box<str>, Box<str>)> =
                    snapshot.pods.values().map(|pod| (pod.name.clone(), pod.uid.clone())).collect();
                for claim in snapshot.claims.values_mut() {
                    let Some((name, uid)) = pods.iter().find(|(name, _)| claim.name.ends_with(&**name)) else {
                        continue;
                    };
                    let mut held = (**claim).clone();
                    held.owners.push(ClaimOwner {
                        kind: "Pod".into(),
                        name: name.clone(),
                        uid: uid.clone(),
                        controller: false,
                        our_group: false,
                    });
                    *claim = Arc::new(held);
                }
            }
            Mutant::StaleClaimsUnseen => {
                for claim in snapshot.claims.values_mut() {
                    let mut sound = (**claim).clone();
                    sound.terminating = false;
                    sound.owners.retain(|owner| &*owner.kind != "Pod");
                    *claim = Arc::new(sound);
                }
            }
            Mutant::TerminatingPodsUnseen => {
                for pod in snapshot.pods.values_mut().filter(|pod| pod.is_terminating()) {
                    *pod = changed(pod, |pod| pod.deletion = None);
                }
            }
            Mutant::NothingHeard => {
                for pod in snapshot.pods.values_mut() {
                    *pod = changed(pod, |pod| pod.heard_since = None);
                }
            }
            // It takes every update in place for done.
            Mutant::GateOpenedEarly => {
                for pod in snapshot.pods.values_mut() {
                    *pod = changed(pod, |pod| pod.in_place_state = None);
                }
            }
            _ => {}
        }
    }

    /// What a mutant makes of a plan.
    pub fn mutate_plan(&self, plan: &mut Plan) {
        let Some(mutant) = self.mutant.filter(|_| plan.questions.is_empty()) else { return };
        match mutant {
            Mutant::CompleteTooEarly => plan.status.current_revision.clone_from(&plan.status.update_revision),
            Mutant::GenerationAhead => {
                plan.status.observed_generation = plan.status.observed_generation.map(|generation| generation + 1);
            }
            Mutant::StatusWithoutEnd => {
                plan.status.collision_count = Some(plan.status.collision_count.unwrap_or(0) + 1);
                plan.status_write = StatusWrite::Now;
            }
            Mutant::LabelForgotten => {
                for action in plan.actions.iter_mut().flatten().chain(&mut plan.disruptions) {
                    if let Action::PatchPod { why: PatchWhy::InPlace, patch, .. } = action {
                        drop(patch["metadata"]["labels"].as_object_mut().map(|all| all.remove(names::REVISION_LABEL)));
                    }
                }
            }
            Mutant::NoLedger => plan.status.disrupted.clear(),
            Mutant::BrokenOnesWait => {
                let stays = |action: &Action| !matches!(action, Action::DeletePod { why: DeleteWhy::Update, .. });
                plan.actions.iter_mut().for_each(|group| group.retain(stays));
            }
            Mutant::GateNeverClosed => {
                let stays = |action: &Action| !matches!(action, Action::PatchPodStatus { why: GateWhy::Close, .. });
                plan.disruptions.retain(stays);
                plan.actions.iter_mut().for_each(|group| group.retain(stays));
            }
            Mutant::NoNoteBeforeResize => {
                for action in plan.actions.iter_mut().flatten().chain(&mut plan.disruptions) {
                    if let Action::PatchPod { resize: Some(resize), .. } = action {
                        resize.note = None;
                    }
                }
            }
            Mutant::NoFence => {
                let stays = |action: &Action| !matches!(action, Action::PatchPod { why: PatchWhy::Fence, .. });
                plan.actions.iter_mut().for_each(|group| group.retain(stays));
            }
            _ => {}
        }
    }

    /// What a mutant sends instead.
    pub fn mutate_body(&self, method: &http::Method, body: &mut Value) {
        let Some(mutant) = self.mutant else { return };
        let without = |object: &mut Value, key: &str| drop(object.as_object_mut().map(|fields| fields.remove(key)));
        match (mutant, method.as_str()) {
            (Mutant::NoUidPrecondition, "DELETE") => without(body, "preconditions"),
            (Mutant::NoVersionPrecondition, "DELETE") => without(&mut body["preconditions"], "resourceVersion"),
            (Mutant::NoVersionPrecondition, "PATCH") | (Mutant::StatusWithoutVersion, "PUT") => {
                without(&mut body["metadata"], "resourceVersion");
            }
            (Mutant::DeletesByForce, "DELETE") => body["gracePeriodSeconds"] = json!(0),
            _ => {}
        }
    }
}

fn changed(pod: &PodFacts, change: impl FnOnce(&mut PodFacts)) -> Arc<PodFacts> {
    let mut pod = pod.clone();
    change(&mut pod);
    Arc::new(pod)
}

fn mutate_spec(mutant: Mutant, snapshot: &mut Snapshot) {
    let mut spec = (*snapshot.set.spec).clone();
    match mutant {
        Mutant::IgnoreOrder => spec.pod_management_policy = Some(crate::api::spec::PodManagementPolicy::Parallel),
        Mutant::IgnoreMinReady => spec.min_ready_seconds = None,
        Mutant::HooksUnseen => spec.lifecycle = None,
        Mutant::HandsOverUnderRetain => {
            let delete = Some(ClaimRetention::Delete);
            spec.persistent_volume_claim_retention_policy =
                Some(ClaimRetentionPolicy { when_deleted: delete, when_scaled: delete });
        }
        _ => {}
    }
    if let Some(rolling) = spec.update_strategy.as_mut().and_then(|one| one.rolling_update.as_mut()) {
        match mutant {
            Mutant::IgnoreMinReady => rolling.min_ready_seconds = None,
            Mutant::IgnorePartition => rolling.partition = None,
            Mutant::IgnorePause => rolling.paused = None,
            Mutant::LowestFirst => rolling.unordered_update = Some(lowest_first()),
            Mutant::BudgetTooLarge => rolling.max_unavailable = Some(IntOrString::Int(9)),
            _ => {}
        }
    }
    snapshot.set.spec = Arc::new(spec);
}

/// The lowest ordinals have the greatest weights.
fn lowest_first() -> UnorderedUpdate {
    let terms = (0..20).map(|ordinal: i32| WeightPriorityTerm {
        weight: 100 - ordinal,
        match_selector: LabelSelector {
            match_labels: Some([(names::POD_INDEX_LABEL.to_owned(), ordinal.to_string())].into()),
            ..LabelSelector::default()
        },
    });
    let weights = PriorityStrategy { weight_priority: Some(terms.collect()), order_priority: None };
    UnorderedUpdate { priority_strategy: Some(weights) }
}
