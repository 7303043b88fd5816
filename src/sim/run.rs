//! A whole run: trouble, then peace, then the question whether all is as the last spec says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::chaos::{Fault, Point};
use super::facts;
use super::mutants::Mutant;
use super::policy::{Namespace, injected_is_right};
use super::random::Random;
use super::script::{GOOD_TEMPLATES, Script, Step, template};
use super::store::{KINDS, Kind};
use super::wire::WireEvent;
use super::world::{Event, SET, Violation, World};
use crate::api::names;
use crate::inplace::{differences, template_of_pod, with_defaults};
use crate::model::{Gate, ValidSpec, canonical};

/// Longest time from the end of all trouble to the wanted state.
const PATIENCE_MS: i64 = 7_200_000;
/// What was on its way when faults ended has arrived by then.
const SETTLING_MS: i64 = 120_000;
/// How long nothing may be written once that state is reached.
const QUIET_MS: i64 = 700_000;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub enum Phase {
    Trouble,
    /// Faults have ended; what was on its way arrives.
    Settling,
    /// The spec can be reached, and has to be.
    Reaching {
        since_ms: i64,
        writes_before: u64,
    },
    /// It was reached; what the last writes brought may still be on its way.
    Resting,
    /// Nothing may be sent to be written any more, also nothing that changes nothing or is refused.
    Quiet {
        sent_before: u64,
    },
    Over,
}

#[derive(Debug, Default)]
pub struct Outcome {
    pub lines: Vec<String>,
    pub violation: Option<Violation>,
    pub seen: BTreeMap<&'static str, u64>,
    pub writes: u64,
    /// The faults of requests and watches that were made.
    pub faults: Vec<(Point, Fault)>,
    /// How many writes controllers sent while there were faults.
    pub sent: u64,
    /// Which of these change Pods in place.
    pub in_place: Vec<u64>,
    /// How many requests controllers sent in the whole run, and how many of their writes the store refused.
    pub requests: u64,
    pub refused: u64,
    /// What there was when the users had ended, and in the end.
    pub settled: Vec<String>,
    pub end: Vec<String>,
    /// Verb and object of the writes that changed something.
    pub counts: BTreeMap<(&'static str, String), u64>,
}

/// One run with the model of the manager.
pub fn run_script(script: Script, mutant: Option<Mutant>, keep_trace: bool) -> Outcome {
    let mut world = World::new(script, keep_trace);
    world.set_mutant(mutant);
    let violation = world.run().err();
    world.outcome(violation)
}

impl World {
    pub fn set_mutant(&mut self, mutant: Option<Mutant>) {
        self.mutant = mutant;
        self.oracle.blind_to_preconditions = mutant.is_some();
    }

    fn run(&mut self) -> Result<(), Violation> {
        while let Some(goal) = self.next_goal()? {
            self.run_until(goal)?;
        }
        Ok(())
    }

    pub fn outcome(&mut self, violation: Option<Violation>) -> Outcome {
        Outcome {
            lines: std::mem::take(&mut self.trace.lines),
            violation,
            seen: std::mem::take(&mut self.oracle.seen),
            writes: self.oracle.writes,
            faults: std::mem::take(&mut self.chaos.made),
            sent: self.sent,
            in_place: std::mem::take(&mut self.chaos.in_place),
            requests: self.chaos.requests(),
            refused: self.refused,
            settled: std::mem::take(&mut self.settled),
            end: self.state(),
            counts: std::mem::take(&mut self.oracle.counts),
        }
    }

    /// Called when the last goal is reached: the moment to go on to. `None`: the run is over.
    pub fn next_goal(&mut self) -> Result<Option<i64>, Violation> {
        let goal = match self.phase {
            Phase::Trouble if self.now < self.script.peace_ms => self.script.peace_ms,
            Phase::Trouble => {
                self.end_faults();
                self.sent = self.chaos.writes();
                self.phase = Phase::Settling;
                self.now + SETTLING_MS + self.script.furthest_ahead_ms()
            }
            Phase::Settling => {
                self.settled = self.state();
                self.ask_for_what_can_be();
                self.phase = Phase::Reaching { since_ms: self.now, writes_before: self.oracle.writes };
                self.now + 5000
            }
            Phase::Reaching { since_ms, writes_before } => {
                self.remove_foreign_pods();
                if self.set_version().is_none() {
                    self.ask_for_what_can_be();
                }
                match self.reached() {
                    Ok(()) => {
                        self.phase = Phase::Resting;
                        self.now + 30_000
                    }
                    Err(why) if self.now >= since_ms + PATIENCE_MS => return Err(format!("L1: not reached: {why}")),
                    Err(why) if self.oracle.writes - writes_before > 3000 => {
                        return Err(format!("L1: {} writes and no end: {why}", self.oracle.writes - writes_before));
                    }
                    Err(_) => self.now + 5000,
                }
            }
            Phase::Resting => {
                self.reached().map_err(|why| format!("L1: reached and lost again: {why}"))?;
                for controller in 0..self.controllers.len() {
                    self.wake(controller, self.now);
                }
                self.phase = Phase::Quiet { sent_before: self.chaos.writes() };
                self.now + QUIET_MS
            }
            Phase::Quiet { sent_before } => {
                let after = self.chaos.writes() - sent_before;
                if after > 0 {
                    return Err(format!("L1: {after} writes are sent although nothing is to be done"));
                }
                self.reached().map_err(|why| format!("L1: lost again: {why}"))?;
                self.phase = Phase::Over;
                return Ok(None);
            }
            Phase::Over => return Ok(None),
        };
        Ok(Some(goal))
    }

    fn end_faults(&mut self) {
        self.faults = false;
        self.policies.end_faults();
        self.let_clocks_agree();
        self.let_pods_go();
        self.give_back_claims();
        for node in self.cluster.lost_nodes.clone() {
            self.node_up(node);
        }
        self.remove_foreign_pods();
        for controller in 0..self.controllers.len() {
            for kind in KINDS {
                if let Some(view) = self.controllers[controller].views.get_mut(&kind) {
                    view.frozen_until_ms = 0;
                }
                self.after(1, Event::Deliver { controller, kind });
            }
        }
        if let Some(wire) = &mut self.wire {
            wire.frozen.clear();
            let watches: Vec<u64> = wire.watches.keys().copied().collect();
            for watch in watches {
                self.after(1, Event::Wire(Box::new(WireEvent::Deliver { watch })));
            }
        }
    }

    /// The spec becomes one that can be reached.
    fn ask_for_what_can_be(&mut self) {
        if self.policies.namespace == Namespace::Ends {
            return;
        }
        let mut random = Random::new(self.script.seed ^ 0x7065_6163_6500);
        if self.set_version().is_none() {
            self.perform(&Step::CreateSet);
        }
        let good = random.pick(&GOOD_TEMPLATES);
        let again = random.per_mille(300);
        let stay = !again && self.has_good_template();
        if !stay {
            self.perform(&Step::Spec(json!({"template": template(good)})));
        }
        self.perform(&Step::Spec(json!({"updateStrategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"partition": 0, "paused": false},
        }})));
        if self.only_in_place() {
            let policy = json!({"podUpdatePolicy": "InPlaceIfPossible"});
            self.perform(&Step::Spec(json!({"updateStrategy": {"rollingUpdate": policy}})));
        }
        // Nothing else may be about to happen.
        self.tell();
    }

    fn has_good_template(&self) -> bool {
        let Some(set) = self.set_version().and_then(|object| object.set()) else { return false };
        let text = canonical::text(&canonical::without_nulls(&set.spec.template.0));
        GOOD_TEMPLATES.iter().any(|name| canonical::text(&canonical::without_nulls(&template(name))) == text)
    }

    fn only_in_place(&self) -> bool {
        self.set_version().is_some_and(|set| {
            &*facts::text(&set.value, "/spec/updateStrategy/rollingUpdate/podUpdatePolicy") == "InPlaceOnly"
        })
    }

    /// Everything is as the spec says, in truth and in the status.
    pub fn reached(&self) -> Result<(), String> {
        if self.policies.namespace == Namespace::Ends {
            return self.nothing_is_left();
        }
        let Some(object) = self.set_version() else { return Err("there is no set".to_owned()) };
        let Some(set) = object.set() else { return Err("the set cannot be read".to_owned()) };
        let Ok(spec) = ValidSpec::parse(&set.spec) else { return Err("the spec is invalid".to_owned()) };
        let status = &set.status;
        if status.observed_generation != Some(set.generation) {
            return Err("the status is old".to_owned());
        }
        let ours = self
            .store
            .all(Kind::Pod)
            .filter(|(_, pod)| facts::controller(&pod.value).is_some_and(|owner| owner.uid == object.uid));
        if ours.count() != spec.slots.len() {
            return Err("there are Pods that should not be".to_owned());
        }
        let mut helpers = self.store.all(Kind::Pod).filter_map(|(_, pod)| pod.pod()?.helper.as_ref());
        if self.wire.is_some() && self.swarm.crowd {
            self.crowd_is_right()?;
        }
        if helpers.any(|helper| helper.owner_uid == object.uid) {
            return Err("there are helper Pods that nobody waits for".to_owned());
        }
        let replicas = i32::try_from(spec.slots.len()).unwrap_or(0);
        let counts = [
            status.replicas,
            status.ready_replicas,
            status.available_replicas,
            status.updated_replicas,
            status.updated_available_replicas,
        ];
        if counts.iter().any(|count| *count != replicas) {
            return Err(format!("the counts are {counts:?} of {replicas}"));
        }
        if status.current_revision != status.update_revision {
            return Err("currentRevision is not updateRevision".to_owned());
        }
        if !status.disrupted.is_empty() {
            return Err(format!("the ledger holds {:?}", status.disrupted));
        }
        let condition = |type_: &str| {
            let found = status.conditions.iter().find(|one| one.type_ == type_);
            found.map(|one| (one.status.clone(), one.reason.clone().unwrap_or_default()))
        };
        if condition("Progressing") != Some(("True".into(), "Complete".into())) {
            return Err(format!("Progressing is {:?}", condition("Progressing")));
        }
        if condition("ReplicaFailure").is_some_and(|(status, _)| status == "True") {
            return Err(format!("ReplicaFailure is {:?}", condition("ReplicaFailure")));
        }
        self.history_is_right(&object.uid, &spec, status)?;
        // Last, as it takes longest.
        for ordinal in spec.slots.ordinals() {
            self.pod_is_right(&format!("{SET}-{ordinal}"), &object.uid, &spec)?;
        }
        Ok(())
    }

    fn history_is_right(
        &self,
        set_uid: &str,
        spec: &ValidSpec,
        status: &crate::api::AdvancedStatefulSetStatus,
    ) -> Result<(), String> {
        let spare = self
            .store
            .all(Kind::Revision)
            .filter(|(_, one)| facts::controller(&one.value).is_none_or(|owner| *owner.uid == *set_uid))
            .filter(|(name, _)| Some(*name) != status.update_revision.as_deref())
            .count();
        match spec.revision_history_limit {
            Some(limit) if spare > limit => Err(format!("{spare} spare revisions, the limit is {limit}")),
            _ => Ok(()),
        }
    }

    fn pod_is_right(&self, name: &str, set_uid: &str, spec: &ValidSpec) -> Result<(), String> {
        let Some(object) = self.store.get(Kind::Pod, name) else { return Err(format!("{name} is missing")) };
        let Some(pod) = object.pod() else { return Err(format!("{name} is no Pod")) };
        if pod.controller.as_ref().is_none_or(|owner| &*owner.uid != set_uid) {
            return Err(format!("{name} is not ours"));
        }
        if !pod.is_ready() {
            return Err(format!("{name} is not Ready"));
        }
        self.state_is_right(pod, !spec.hooks.is_empty())?;
        injected_is_right(&object.value)?;
        if matches!(pod.gate, Gate::Closed { .. } | Gate::Unset) {
            return Err(format!("the gate of {name} is not open"));
        }
        if !self.cluster.pods.get(&pod.uid).is_some_and(|run| run.runs_spec(&object.value)) {
            return Err(format!("{name} does not run what its spec says"));
        }
        let wanted = with_defaults(&spec.template);
        let mut shown = template_of_pod(&object.value, &wanted);
        // What a Pod was made from cannot be known where its label was changed by hand, or its revision went with a set
        // that it outlived, or was trimmed before the Pod came.
        let script = &self.script;
        let outlived = script.has_step(|step| matches!(step, Step::StripOwner(_)))
            && script.has_step(|step| matches!(step, Step::DeleteSet { .. }));
        let lied = script.has_step(|step| matches!(step, Step::LieAboutRevision(_)))
            || outlived
            || self.oracle.made_late.contains(&object.uid);
        // Labels and annotations that the template does not have: none of an older template may stay.
        for stale in ["/metadata/annotations/note", "/metadata/labels/tier"] {
            if !lied && object.value.pointer(stale).is_some() && wanted.pointer(stale).is_none() {
                return Err(format!("{name} still has {stale}"));
            }
        }
        for volume in &spec.claim_templates {
            let claim = format!("{}-{name}", volume.name);
            // One that a user deleted stays until its Pod goes.
            let Some(found) = self.store.get(Kind::Claim, &claim) else {
                return Err(format!("claim {claim} is missing"));
            };
            let grows = spec.grow_claims && !found.is_terminating();
            let asked = volume.size().and_then(crate::inplace::quantity::quantity_bytes);
            if grows && found.claim().is_some_and(|found| found.capacity_bytes < asked) {
                return Err(format!("claim {claim} has not grown"));
            }
        }
        if let Some(metadata) = shown.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove(names::REVISION_LABEL);
        }
        let differences = differences(&shown, &wanted);
        match differences.first() {
            Some(first) => Err(format!("{name} differs in {}: {:?} is not {:?}", first.path, first.old, first.new)),
            None => Ok(()),
        }
    }
}
