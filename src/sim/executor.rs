//! Carries a plan out, in the order that its documentation gives.

use std::collections::VecDeque;
use std::sync::Arc;

use kube::core::Status;
use serde_json::Value;

use super::chaos::Fault;
use super::controller::{Answered, Expect, Intent, Outcome, Read, Request, Stage, Verb, Written};
use super::facts;
use super::mutants::Mutant;
use super::store::{Guard, Kind};
use super::summary::{action_name, summary};
use super::world::{Event, SET, World, note};
use crate::control::error::Failure;
use crate::model::revision::revision_name;
use crate::model::snapshot::Refusal;
use crate::model::{LivePod, RevisionFacts, Snapshot, TemplateAnswer};
use crate::plan::action::{Action, Question};
use crate::plan::{Plan, plan};

/// How often a plan may ask before it is given up.
const ROUNDS_MAX: usize = 8;
/// How long a client waits for an answer.
const TIMEOUT_MS: i64 = 10_000;

impl World {
    pub fn request(&self, controller: usize, verb: Verb, kind: Kind, name: &str, intent: Intent) -> Request {
        let one = &self.controllers[controller];
        Request {
            controller,
            epoch: one.epoch,
            chain: 0,
            verb,
            kind,
            name: name.into(),
            body: Value::Null,
            guard: Guard::default(),
            intent,
            read: one.run.as_ref().map_or_else(Read::default, |run| run.read.clone()),
            abandoned: false,
            fault: None,
            is_for_another: false,
            grace_seconds: None,
        }
    }

    /// Sends the first request of each chain. Nothing to send: goes on.
    pub fn issue(&mut self, controller: usize, mut chains: Vec<VecDeque<Request>>) {
        chains.retain(|chain| !chain.is_empty());
        let count = chains.len();
        for (index, chain) in chains.iter_mut().enumerate() {
            for request in chain.iter_mut() {
                request.chain = index;
            }
        }
        let Some(run) = &mut self.controllers[controller].run else { return };
        run.chains = chains;
        run.waiting = count;
        for chain in 0..count {
            self.send_next(controller, chain);
        }
        if count == 0 {
            self.next_stage(controller);
        }
    }

    /// False: the chain is at its end.
    fn send_next(&mut self, controller: usize, chain: usize) -> bool {
        let Some(run) = &mut self.controllers[controller].run else { return false };
        let Some(request) = run.chains.get_mut(chain).and_then(VecDeque::pop_front) else { return false };
        let mut request = request;
        request.fault = self.chaos.of_request(&self.swarm, request.sort(), self.faults);
        let delay = match request.fault {
            Some(Fault::Slow(delay)) => delay,
            _ => self.random.range(1, self.swarm.request_ms),
        };
        if delay > TIMEOUT_MS {
            let given_up = Answered { request: request.clone(), outcome: Outcome::Unknown, version: 0 };
            self.after(TIMEOUT_MS, Event::Answer(Box::new(given_up)));
            request.abandoned = true;
        }
        self.after(delay, Event::Arrive(Box::new(request)));
        true
    }

    pub fn make_plan(&mut self, controller: usize) {
        let Some(run) = &mut self.controllers[controller].run else { return };
        run.rounds += 1;
        let mut made = plan(&run.snapshot);
        let snapshot = run.snapshot.clone();
        let honest = self.mutant.map(|_| run.honest.clone());
        let rounds = run.rounds;
        self.mutate_plan(&mut made);
        if made.questions.is_empty() {
            if self.forget_refusals(controller, &made) {
                return self.make_plan(controller);
            }
            self.oracle.planned(controller, self.controllers[controller].epoch);
            let violation = super::plan_oracle::check(honest.as_ref().unwrap_or(&snapshot), &made).err();
            if let Some(violation) = violation {
                self.oracle.fail(format!("c{controller} {violation}"));
            }
            note!(self, "c{controller} plans at set version {}: {}", snapshot.set.resource_version, summary(&made));
            if let Some(run) = &mut self.controllers[controller].run {
                run.plan = made;
                run.stage = Stage::Revisions(0);
            }
            self.do_stage(controller);
            return;
        }
        if rounds > ROUNDS_MAX {
            self.oracle.fail(format!("c{controller} the plan asks for ever: {:?}", made.questions));
            return;
        }
        let chains = made
            .questions
            .iter()
            .map(|question| {
                let (verb, kind, name) = match question {
                    Question::LivePod { name, .. } | Question::WholePod { name, .. } => (Verb::Get, Kind::Pod, &**name),
                    Question::DefaultedTemplate { .. } => (Verb::DryRun, Kind::Pod, "template"),
                    Question::Ability { target, .. } | Question::Update { target, .. } => {
                        (Verb::DryRun, Kind::Pod, &*target.name)
                    }
                    Question::BoundClaim { name } => (Verb::Get, Kind::Claim, &**name),
                };
                let look = self.look_for_revision(controller, question);
                let ask = self.request(controller, verb, kind, name, Intent::Ask(question.clone()));
                look.into_iter().chain([ask]).collect()
            })
            .collect();
        self.issue(controller, chains);
    }

    /// A Pod with a label that names no revision that is known: the revision is looked for before the Pod is judged by
    /// itself.
    fn look_for_revision(&self, controller: usize, question: &Question) -> Option<Request> {
        let Question::WholePod { name, .. } = question else { return None };
        let snapshot = &self.controllers[controller].run.as_ref()?.snapshot;
        let label = snapshot.pods.get(name)?.revision_label();
        if label.is_empty() || snapshot.revisions.iter().any(|facts| *facts.hash == *label || *facts.name == *label) {
            return None;
        }
        let name = revision_name(SET, label);
        Some(self.request(controller, Verb::Get, Kind::Revision, &name, Intent::FindRevision))
    }

    /// What was refused and is not wanted any more is not spoken of any more. True: there was some.
    fn forget_refusals(&mut self, controller: usize, made: &Plan) -> bool {
        let one = &mut self.controllers[controller];
        let Some(run) = &mut one.run else { return false };
        let wanted = |object: &str| {
            let actions = made.actions.iter().flatten().chain(&made.disruptions);
            actions.into_iter().any(|action| match action {
                Action::CreatePod { claims, .. } => {
                    object == format!("{:?} {}", Kind::Pod, action_name(action))
                        || claims.iter().any(|claim| {
                            object == format!("{:?} {}", Kind::Claim, facts::text(claim, "/metadata/name"))
                        })
                }
                _ => object.ends_with(&format!(" {}", action_name(action))),
            })
        };
        let before = one.refusals.len();
        one.refusals.retain(|object, _| wanted(object));
        run.snapshot.answers.refusals = one.refusals.values().cloned().collect();
        one.refusals.len() < before
    }

    /// All chains of a stage have ended.
    fn next_stage(&mut self, controller: usize) {
        let Some(run) = &mut self.controllers[controller].run else { return };
        let groups = run.plan.actions.len();
        match run.stage {
            Stage::Refresh | Stage::Done => return self.finished(controller),
            Stage::Questions if run.failed => return self.finished(controller),
            Stage::Questions => return self.make_plan(controller),
            Stage::Revisions(_) | Stage::Status if run.failed => return self.finished(controller),
            Stage::Revisions(index) if index + 1 < run.plan.revisions.len() => run.stage = Stage::Revisions(index + 1),
            Stage::Revisions(_) => run.stage = Stage::Status,
            Stage::Status => run.stage = Stage::Actions(0),
            Stage::Actions(_) if run.failed => run.stage = Stage::Disruptions,
            Stage::Actions(index) if index + 1 < groups => run.stage = Stage::Actions(index + 1),
            Stage::Actions(_) => run.stage = Stage::Disruptions,
            Stage::Disruptions => run.stage = Stage::Done,
        }
        self.do_stage(controller);
    }

    fn do_stage(&mut self, controller: usize) {
        let Some(run) = &self.controllers[controller].run else { return };
        let chains: Vec<VecDeque<Request>> = match run.stage {
            Stage::Refresh | Stage::Questions | Stage::Done => Vec::new(),
            Stage::Revisions(index) => {
                run.plan.revisions.get(index).map(|action| self.revision(controller, action)).into_iter().collect()
            }
            Stage::Status if self.mutant == Some(Mutant::DisruptBeforeStatus) => {
                let early = run.plan.disruptions.iter().flat_map(|action| self.action(controller, action));
                self.status_request(controller).into_iter().chain(early).collect()
            }
            Stage::Status => self.status_request(controller).into_iter().collect(),
            Stage::Actions(index) => run
                .plan
                .actions
                .get(index)
                .into_iter()
                .flatten()
                .flat_map(|action| self.action(controller, action))
                .collect(),
            Stage::Disruptions => {
                run.plan.disruptions.iter().flat_map(|action| self.action(controller, action)).collect()
            }
        };
        self.issue(controller, chains);
    }

    pub fn answered(&mut self, answered: Answered) {
        let Answered { mut request, outcome, version } = answered;
        let controller = request.controller;
        let one = &self.controllers[controller];
        if request.epoch != one.epoch || one.run.is_none() {
            return;
        }
        if self.mutant == Some(Mutant::RetriesWithoutALook)
            && matches!((&outcome, request.verb), (Outcome::Refused(409, _), Verb::Delete | Verb::Patch))
        {
            request.guard = Guard::default();
            drop(request.body["metadata"].as_object_mut().map(|fields| fields.remove("resourceVersion")));
            return self.after(1, Event::Arrive(Box::new(request)));
        }
        let chain_goes_on = self.learn(&request, outcome, version);
        if chain_goes_on && self.send_next(controller, request.chain) {
            return;
        }
        let Some(run) = &mut self.controllers[controller].run else { return };
        run.waiting -= 1;
        if run.waiting == 0 {
            self.next_stage(controller);
        }
    }

    /// What an answer means. False: the rest of the chain is dropped.
    fn learn(&mut self, request: &Request, outcome: Outcome, version: u64) -> bool {
        let now = self.now;
        let one = &mut self.controllers[request.controller];
        let Some(run) = &mut one.run else { return false };
        let object_name = format!("{:?} {}", request.kind, request.name);
        match (&request.intent, outcome) {
            (Intent::Ask(Question::DefaultedTemplate { hash, .. }), outcome) => {
                let answer = match outcome {
                    Outcome::Template(answer) => answer,
                    _ => TemplateAnswer::Unavailable,
                };
                run.snapshot.answers.templates.insert(hash.clone(), answer.clone());
                if answer != TemplateAnswer::Unavailable {
                    one.templates.insert(hash.clone(), answer);
                }
                true
            }
            (Intent::Ask(question), Outcome::Done(object)) => {
                if !answer(&mut run.snapshot, question, object.as_deref()) {
                    run.failed = true;
                }
                true
            }
            (Intent::Refresh, Outcome::Done(object)) => {
                if let Some(view) = one.views.get_mut(&request.kind) {
                    view.learn(&request.name, object, version);
                }
                one.in_flight.retain(|written| written.kind != request.kind || written.name != request.name);
                true
            }
            (Intent::FindRevision, Outcome::Done(object)) => {
                let found = object.as_ref().and_then(|object| object.revision());
                let ours =
                    |facts: &RevisionFacts| facts.controller.as_ref().is_none_or(|owner| owner.uid == run.read.set_uid);
                match found.filter(|facts| ours(facts)) {
                    Some(facts) => {
                        run.snapshot.revisions.push(Arc::clone(facts));
                        run.honest.revisions.push(Arc::clone(facts));
                        false
                    }
                    None => true,
                }
            }
            (Intent::LookAtSet, Outcome::Done(object)) => {
                // These look at nothing.
                if matches!(self.mutant, Some(Mutant::HistoryWithoutALook | Mutant::DeletionOfTheSetUnseen)) {
                    return true;
                }
                let planned = &run.snapshot.set;
                let found = object.as_ref().and_then(|object| object.set());
                if found.is_some_and(|live| {
                    live.uid == planned.uid && live.generation == planned.generation && !live.terminating
                }) {
                    return true;
                }
                run.failed = true;
                if let Some(view) = one.views.get_mut(&request.kind) {
                    view.learn(&request.name, object, version);
                }
                false
            }
            (Intent::CheckSet | Intent::CheckRevision(_), Outcome::Done(_)) => true,
            (_, Outcome::Done(object)) => {
                let what = match (request.verb, &object) {
                    (Verb::Delete, Some(object)) => Expect::Gone(object.uid.clone()),
                    (_, Some(object)) => Expect::Version(object.version),
                    (_, None) => return true,
                };
                one.refusals.remove(&object_name);
                // The rest rests on the state that came of the note and of the resize.
                if let (Intent::Act(Action::PatchPod { resize: Some(_), .. }), Some(object)) =
                    (&request.intent, &object)
                    && let Some(next) = run.chains.get_mut(request.chain).and_then(VecDeque::front_mut)
                {
                    next.body["metadata"]["resourceVersion"] = object.version.to_string().into();
                }
                one.in_flight.push(Written { kind: request.kind, name: request.name.clone(), what, since_ms: now });
                true
            }
            (Intent::Claim, Outcome::Refused(409, _)) => true,
            (_, Outcome::Refused(404, _)) if request.verb == Verb::Delete => true,
            (_, Outcome::Refused(code @ (403 | 422), message)) => {
                if let (422, Intent::Act(Action::PatchPod { target, revision, .. })) = (code, &request.intent) {
                    let key = (target.uid.clone(), revision.clone());
                    one.refused_patches.insert(key, (message.as_str().into(), now));
                }
                let refusal = Refusal { object: object_name.clone(), reason: reason_of(code, &message), message };
                one.refusals.insert(object_name, refusal);
                run.failed = true;
                false
            }
            (_, Outcome::Unknown) if !matches!(request.verb, Verb::Get | Verb::DryRun) => {
                let name = request.name.clone();
                one.in_flight.push(Written { kind: request.kind, name, what: Expect::Unknown, since_ms: now });
                run.failed = true;
                false
            }
            (_, Outcome::Refused(409, _)) if request.verb != Verb::Create => {
                // The object is another one than the plan was made from: that one has to be seen.
                let known = request
                    .guard
                    .version
                    .clone()
                    .unwrap_or_else(|| facts::text(&request.body, "/metadata/resourceVersion"));
                let what = Expect::Version(known.parse().unwrap_or(0) + 1);
                let name = request.name.clone();
                one.in_flight.push(Written { kind: request.kind, name, what, since_ms: now });
                run.failed = true;
                false
            }
            (_, Outcome::Refused(..) | Outcome::Unknown | Outcome::Template(_)) => {
                run.failed = true;
                false
            }
        }
    }
}

/// The reason of a refusal, as the manager tells it.
fn reason_of(code: u16, message: &str) -> String {
    let mut status = Status::failure(message, "");
    status.code = code;
    match Failure::of_status(&status) {
        Failure::Refused(refused) => refused.reason().to_owned(),
        _ => "Refused".to_owned(),
    }
}

/// False: there is no answer any more, the plan has to be made anew.
fn answer(snapshot: &mut Snapshot, question: &Question, object: Option<&super::store::Object>) -> bool {
    match question {
        Question::LivePod { ordinal, .. } => {
            let live = match object.and_then(|object| object.pod()) {
                Some(pod) => LivePod::Found(std::sync::Arc::clone(pod)),
                None => LivePod::Gone,
            };
            snapshot.answers.live_pods.insert(*ordinal, live);
        }
        Question::WholePod { uid, .. } => {
            let Some(object) = object.filter(|object| object.uid == *uid) else { return false };
            snapshot.answers.whole_pods.insert(uid.clone(), object.value.clone().into());
        }
        // Templates of the simulation have no volumes of claims.
        Question::DefaultedTemplate { .. }
        | Question::Ability { .. }
        | Question::BoundClaim { .. }
        | Question::Update { .. } => {}
    }
    true
}
