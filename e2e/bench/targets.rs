//! What the project set out to reach, and whether it is reached. Nothing fails of it.

use crate::harness::Result;
use crate::measure::{Measure, Phase, Table};
use crate::once::Once;
use crate::settings::{Contender, SHAPES, Shape};

const WRITES_PER_POD_MAX: f64 = 3.0;
const CONFLICTS_PERCENT: f64 = 1.0;
const NATIVE_TIME_SHARE: f64 = 1.0 / 3.0;
const FLOOR_RATIO: f64 = 1.2;
const MEMORY_THOUSAND_MIB: f64 = 25.0;
const MEMORY_TEN_THOUSAND_MIB: f64 = 60.0;
const BINARY_MIB: f64 = 15.0;
const FIRST_WRITE_SECONDS: f64 = 1.0;

/// A target, what was measured, and whether that reaches it; `None`: not measured.
pub struct Target {
    pub what: String,
    pub measured: String,
    pub reached: Option<bool>,
}

pub fn all(table: &Table, once: &Once) -> Vec<Target> {
    let [three_hundred, thousand, _] = SHAPES;
    let update = table.median(three_hundred, Phase::Update, Contender::InPlace);
    let native = table.median(three_hundred, Phase::Update, Contender::Native);
    let mut targets = vec![
        target(
            "update of 300 Pods in place: at most 3 writes to Pods for each",
            update.map(|measure| pod_writes(measure) / count(three_hundred.pods())),
            "a Pod",
            |writes| writes <= WRITES_PER_POD_MAX,
        ),
        target(
            "the same: conflicts below 1 % of its writes",
            update.map(|measure| 100.0 * count(measure.writes.conflicts) / count(measure.writes.count.max(1))),
            "%",
            |percent| percent < CONFLICTS_PERCENT,
        ),
        against_native(update, table.median(three_hundred, Phase::Update, Contender::Floor), native),
    ];
    targets.extend(SHAPES.map(|shape| against_floor(table, shape)));
    targets.push(target("memory with 1,000 Pods: below 25 MiB at any moment", peak(table, thousand), "MiB", |mib| {
        mib < MEMORY_THOUSAND_MIB
    }));
    let many = once.many.as_ref().and_then(|many| many.as_ref().ok());
    targets.push(target(
        "memory with 10,000 Pods: below 60 MiB at any moment",
        many.map(|memory| memory.peak_mib.max(memory.restarted_peak_mib)),
        "MiB",
        |mib| mib < MEMORY_TEN_THOUSAND_MIB,
    ));
    targets.push(target("program: below 15 MiB", ok(&once.binary_mib), "MiB", |mib| mib < BINARY_MIB));
    targets.push(target("first write within 1 s of the start", ok(&once.first_write_seconds), "s", |seconds| {
        seconds < FIRST_WRITE_SECONDS
    }));
    targets
}

/// What the bare client needs is told too: below it nobody can go.
fn against_native(ours: Option<&Measure>, floor: Option<&Measure>, native: Option<&Measure>) -> Target {
    let what = "the same: at most a third of native's time";
    let mut target = target(what, ratio(ours, native), "of native's time", |share| share <= NATIVE_TIME_SHARE);
    if let Some(share) = ratio(floor, native) {
        target.measured.push_str(&format!(" (the bare client: {share:.2})"));
    }
    target
}

fn against_floor(table: &Table, shape: Shape) -> Target {
    let ours = table.median(shape, Phase::Create, Contender::InPlace);
    let floor = table.median(shape, Phase::Create, Contender::Floor);
    let what = format!("create {}: at most 1.2 times the bare client's time", shape.title());
    target(&what, ratio(ours, floor), "times", |times| times <= FLOOR_RATIO)
}

/// Writes to Pods, as against those to the set's own status and revisions.
pub fn pod_writes(measure: &Measure) -> f64 {
    let kinds = measure.writes.by_kind.iter();
    kinds.filter(|(kind, _)| kind.contains(" pods")).map(|(_, writes)| count(*writes)).sum()
}

/// The most that the manager had resident with a shape's Pods.
fn peak(table: &Table, shape: Shape) -> Option<f64> {
    let of = |phase| table.median(shape, phase, Contender::InPlace)?.process.map(|used| used.peak_mib);
    Phase::ALL.into_iter().filter_map(of).reduce(f64::max)
}

pub fn ratio(ours: Option<&Measure>, other: Option<&Measure>) -> Option<f64> {
    Some(ours?.seconds / other?.seconds)
}

/// Counts here are far below the point where this would lose anything.
pub fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

fn ok(value: &Result<f64>) -> Option<f64> {
    value.as_ref().ok().copied()
}

fn target(what: &str, value: Option<f64>, unit: &str, reached: impl Fn(f64) -> bool) -> Target {
    Target {
        what: what.to_owned(),
        measured: value.map_or("not measured".to_owned(), |value| format!("{value:.2} {unit}")),
        reached: value.map(reached),
    }
}
