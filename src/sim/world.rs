//! The loop: events by virtual time, ties by their order of birth, and everything that the world
//! is made of.

use std::collections::BTreeMap;
use std::fmt::Arguments;

use super::chaos::Chaos;
use super::cluster::Cluster;
use super::controller::{Answered, Controller, Request};
use super::mutants::Mutant;
use super::oracle::Oracle;
use super::policy::Policies;
use super::random::Random;
use super::run::Phase;
use super::script::{Script, Swarm};
use super::store::{Change, Kind, Object, Store};
use super::wire::{Wire, WireEvent};

pub const SET: &str = "web";

/// Something that is going to happen.
#[derive(Debug)]
pub enum Event {
    /// An entry of the script.
    Script(usize),
    /// A watch of a controller brings news.
    Deliver {
        controller: usize,
        kind: Kind,
    },
    Reconcile {
        controller: usize,
    },
    /// A request reaches the apiserver.
    Arrive(Box<Request>),
    /// An answer reaches the controller that asked.
    Answer(Box<Answered>),
    Restart {
        controller: usize,
    },
    /// The kubelet looks at a Pod.
    Sync {
        name: Box<str>,
        uid: Box<str>,
    },
    /// The kubelet writes a Pod's status.
    Report {
        name: Box<str>,
        uid: Box<str>,
    },
    /// Someone looks whether a hook asks for something.
    AnswerHooks {
        name: Box<str>,
        uid: Box<str>,
    },
    Schedule {
        name: Box<str>,
    },
    Bind {
        name: Box<str>,
    },
    /// The garbage collector and what protects claims look at everything.
    Collect,
    /// A node's Pods are marked as not Ready.
    MarkLost {
        node: usize,
    },
    /// With the real manager: what happens between it and the apiserver.
    Wire(Box<WireEvent>),
}

/// What was broken, in words. The first one ends a run.
pub type Violation = String;

pub struct World {
    pub now: i64,
    queue: BTreeMap<(i64, u64), Event>,
    sequence: u64,
    pub random: Random,
    pub swarm: Swarm,
    pub script: Script,
    pub store: Store,
    pub cluster: Cluster,
    pub controllers: Vec<Controller>,
    pub oracle: Oracle,
    pub faults: bool,
    pub chaos: Chaos,
    /// Controllers whose apiserver is behind.
    pub old_caches: BTreeMap<usize, OldCaches>,
    pub policies: Policies,
    pub mutant: Option<Mutant>,
    pub trace: Trace,
    pub phase: Phase,
    /// What there was when the users had ended.
    pub settled: Vec<String>,
    /// Writes that controllers had sent by then.
    pub sent: u64,
    /// Writes that the store refused.
    pub refused: u64,
    /// Where the real manager runs, and not its model.
    pub wire: Option<Wire>,
}

/// An apiserver shows what there was at an older version, until it catches up.
#[derive(Clone, Copy, Debug)]
pub struct OldCaches {
    pub version: u64,
    pub until_ms: i64,
}

/// What happened, as lines.
pub struct Trace {
    pub keep: bool,
    pub lines: Vec<String>,
}

impl Trace {
    pub fn new(keep: bool) -> Trace {
        Trace { keep, lines: Vec::new() }
    }

    pub fn line(&mut self, now: i64, what: Arguments<'_>) {
        if self.keep {
            self.lines.push(format!("{:>9}.{:03} {what}", now / 1000, now % 1000));
        }
    }
}

macro_rules! note {
    ($world:expr, $($what:tt)*) => {
        // Words are made only where someone reads them.
        if $world.trace.keep {
            $world.trace.line($world.now, format_args!($($what)*));
        }
    };
}
pub(crate) use note;

impl World {
    /// What the apiserver of a controller shows, where it is not the newest.
    pub fn old_caches_of(&self, controller: usize) -> Option<OldCaches> {
        self.old_caches.get(&controller).copied().filter(|old| self.faults && old.until_ms > self.now)
    }

    pub fn new(script: Script, keep_trace: bool) -> World {
        let swarm = script.swarm.clone();
        let mut world = World {
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            random: Random::new(script.seed.wrapping_mul(31).wrapping_add(7)),
            store: Store::new(script.customised),
            cluster: Cluster::default(),
            controllers: (0..swarm.controllers).map(Controller::new).collect(),
            oracle: Oracle::of_clocks(swarm.clocks_ms),
            faults: true,
            old_caches: BTreeMap::new(),
            chaos: Chaos::new(script.seed, script.faults.as_deref()),
            policies: Policies::default(),
            mutant: None,
            trace: Trace::new(keep_trace),
            phase: Phase::Trouble,
            settled: Vec::new(),
            sent: 0,
            refused: 0,
            wire: None,
            swarm,
            script,
        };
        for index in 0..world.script.steps.len() {
            world.at(world.script.steps[index].0, Event::Script(index));
        }
        world
    }

    pub fn at(&mut self, when: i64, event: Event) {
        self.sequence += 1;
        self.queue.insert((when.max(self.now), self.sequence), event);
    }

    pub fn after(&mut self, milliseconds: i64, event: Event) {
        self.at(self.now + milliseconds, event);
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<i64> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Time has passed with nothing that happened.
    pub fn passed_to(&mut self, now: i64) {
        self.now = self.now.max(now);
        self.store.now_ms = self.now;
    }

    /// The next event.
    pub fn step(&mut self) -> Result<(), Violation> {
        let Some(((when, _), event)) = self.queue.pop_first() else { return Ok(()) };
        self.passed_to(when);
        self.handle(event);
        self.tell();
        self.broken()
    }

    /// What was broken since this was asked last.
    pub fn broken(&mut self) -> Result<(), Violation> {
        match self.oracle.violation.take() {
            Some(violation) => {
                note!(self, "VIOLATION {violation}");
                Err(violation)
            }
            None => Ok(()),
        }
    }

    /// Up to this time, or until a property is broken.
    pub fn run_until(&mut self, end: i64) -> Result<(), Violation> {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step()?;
        }
        self.passed_to(end);
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Script(index) => {
                let step = self.script.steps[index].1.clone();
                self.perform(&step);
            }
            Event::Deliver { controller, kind } => self.deliver(controller, kind),
            Event::Reconcile { controller } => self.reconcile(controller),
            Event::Arrive(request) => self.arrive(*request),
            Event::Answer(answered) => self.answered(*answered),
            Event::Restart { controller } => self.restart(controller),
            Event::Sync { name, uid } => self.sync(&name, &uid),
            Event::Report { name, uid } => self.report(&name, &uid),
            Event::AnswerHooks { name, uid } => self.answer_hooks(&name, &uid),
            Event::Schedule { name } => self.schedule(&name),
            Event::Bind { name } => self.bind(&name),
            Event::Collect => self.collect(),
            Event::MarkLost { node } => self.mark_lost(node),
            Event::Wire(event) => self.on_the_wire(*event),
        }
    }

    /// Tells everyone what has changed in the store.
    pub fn tell(&mut self) {
        while !self.store.fresh.is_empty() {
            for (kind, change) in std::mem::take(&mut self.store.fresh) {
                self.oracle.changed(self.now, kind, &change, &self.cluster);
                for controller in 0..self.controllers.len() {
                    self.news(controller, kind);
                }
                self.wire_news(kind);
                self.cluster_sees(kind, &change);
            }
        }
    }

    fn cluster_sees(&mut self, kind: Kind, change: &Change) {
        let name = change.name.clone();
        let owners = |object: &Object| object.value.pointer("/metadata/ownerReferences").cloned();
        if change.before.as_deref().map(owners) != change.object.as_deref().map(owners) {
            // A late write may give it an owner that is gone.
            self.collect_soon();
        }
        match (kind, &change.object) {
            (Kind::Pod, Some(object)) => {
                let uid = object.uid.clone();
                self.agent_soon(&name, &uid);
                if object.pod().is_some_and(|pod| pod.node.is_none()) {
                    let delay = self.random.range(5, 400);
                    self.after(delay, Event::Schedule { name });
                } else {
                    let delay = self.random.range(5, self.swarm.kubelet_lag_ms);
                    self.after(delay, Event::Sync { name, uid });
                }
            }
            (Kind::Claim, Some(object)) => {
                if object.is_terminating() {
                    self.collect_soon();
                }
                let grows = object.claim().is_some_and(|claim| claim.capacity_bytes != claim.requested_bytes);
                if grows && !object.is_terminating() {
                    let delay = self.random.range(20, 1500);
                    self.after(delay, Event::Bind { name });
                }
            }
            (Kind::Pod, None) => {
                if let Some(before) = &change.before {
                    self.cluster.pods.remove(&before.uid);
                }
                self.collect_soon();
            }
            (_, None) => self.collect_soon(),
            (Kind::Set | Kind::Revision | Kind::Lease, Some(_)) => {}
        }
    }
}
