//! What is measured, by environment variables.

use crate::harness::{Context, Failure, Result};

/// How many sets of how many Pods each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    pub sets: usize,
    pub replicas: usize,
    pub pace: Pace,
}

/// How many Pods of a set may be out of service at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    AllAtOnce,
    OneByOne,
}

impl Shape {
    pub const fn at_once(sets: usize, replicas: usize) -> Self {
        Self { sets, replicas, pace: Pace::AllAtOnce }
    }

    pub fn max_unavailable(self) -> serde_json::Value {
        match self.pace {
            Pace::AllAtOnce => "100%".into(),
            Pace::OneByOne => 1.into(),
        }
    }

    pub fn pods(self) -> usize {
        self.sets * self.replicas
    }

    pub fn title(self) -> String {
        if self.sets == 1 {
            let pace = if self.pace == Pace::OneByOne { ", one by one" } else { "" };
            format!("1 set of {} Pods{pace}", self.replicas)
        } else {
            format!("{} sets of {} Pods", self.sets, self.replicas)
        }
    }

    /// `300` or `300x3`.
    fn parse(text: &str) -> Result<Self> {
        let (sets, replicas) = text.split_once('x').unwrap_or(("1", text));
        let number = |text: &str| text.parse().context(format!("BENCH_SHAPES: {text:?} is not PODS or SETSxPODS"));
        Ok(Self::at_once(number(sets)?, number(replicas)?))
    }
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// A bare client that makes the writes of an update in place, with no controller.
    Floor,
    /// The manager, updating in place.
    InPlace,
    /// The manager with `podUpdatePolicy: ReCreate`.
    ReCreate,
    /// `apps/v1` StatefulSet in the kube-controller-manager.
    Native,
}

impl Contender {
    pub const ALL: [Self; 4] = [Self::Floor, Self::InPlace, Self::ReCreate, Self::Native];

    pub fn title(self) -> &'static str {
        match self {
            Self::Floor => "bare client",
            Self::InPlace => "asts, in place",
            Self::ReCreate => "asts, re-creating",
            Self::Native => "native StatefulSet",
        }
    }

    /// Part of a namespace's name, and its name in BENCH_CONTENDERS.
    pub fn word(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::InPlace => "inplace",
            Self::ReCreate => "recreate",
            Self::Native => "native",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|contender| contender.word() == text);
        found.context(format!("BENCH_CONTENDERS: {text:?}, of floor, inplace, recreate, native"))
    }
}

pub const SHAPES: [Shape; 3] = [Shape::at_once(1, 300), Shape::at_once(1, 1000), Shape::at_once(300, 3)];

/// What each contender does once before it is measured.
pub const WARM_UP: Shape = Shape::at_once(1, 50);

/// What is measured on a real node, where starting a container costs something.
pub const NODE_SHAPES: [Shape; 2] = [Shape::at_once(1, 20), Shape { sets: 1, replicas: 10, pace: Pace::OneByOne }];
pub const NODE_CONTENDERS: [Contender; 3] = [Contender::InPlace, Contender::ReCreate, Contender::Native];

pub struct Settings {
    pub shapes: Vec<Shape>,
    pub contenders: Vec<Contender>,
    /// How often each is measured; the median counts.
    pub rounds: usize,
    /// Also memory with 10,000 Pods.
    pub full: bool,
    /// Also Pods on this machine's own kubelet, which needs root.
    pub node: bool,
}

impl Settings {
    pub fn from_environment() -> Result<Self> {
        let shapes = list("BENCH_SHAPES", Shape::parse)?.unwrap_or_else(|| SHAPES.to_vec());
        let contenders = list("BENCH_CONTENDERS", Contender::parse)?.unwrap_or_else(|| Contender::ALL.to_vec());
        let rounds = match std::env::var("BENCH_ROUNDS") {
            Ok(text) => text.parse().context("BENCH_ROUNDS")?,
            Err(_) => 1,
        };
        if rounds == 0 || shapes.is_empty() || contenders.is_empty() {
            return Err(Failure("BENCH_ROUNDS, BENCH_SHAPES and BENCH_CONTENDERS leave nothing to measure".to_owned()));
        }
        let is_on = |variable| std::env::var_os(variable).is_some_and(|value| value == "1");
        Ok(Self { shapes, contenders, rounds, full: is_on("BENCH_FULL"), node: is_on("BENCH_NODE") })
    }

    /// Whether nothing of the published tables is missing.
    pub fn is_whole(&self) -> bool {
        SHAPES.iter().all(|shape| self.shapes.contains(shape))
            && Contender::ALL.iter().all(|contender| self.contenders.contains(contender))
    }
}

fn list<T>(variable: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<Vec<T>>> {
    match std::env::var(variable) {
        Ok(text) => text.split(',').map(|word| parse(word.trim())).collect::<Result<Vec<T>>>().map(Some),
        Err(_) => Ok(None),
    }
}
