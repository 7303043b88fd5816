//! Seeds, replays and what keeps the simulation honest. The environment says how many seeds: see
//! the Makefile.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::agent::draw_with_hooks;
use super::mutants::{CAUGHT_BY_SEEDS, Mutant};
use super::run::{Outcome, run_script};
use super::script::{Script, draw};
use super::shrink::shrink;
use super::sweep::{Layer, model, sweep, wire};
use super::wire::run_on_the_wire;
use super::workloads;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What a seed makes, and what carries plans out.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    draw: fn(u64) -> Script,
    layer: Layer,
}

const MODEL: Kind = Kind { name: "model", draw, layer: model };
const HOOKS: Kind = Kind { name: "model", draw: draw_with_hooks, layer: model };
const WIRE: Kind = Kind { name: "wire", draw, layer: wire };
const WIRE_HOOKS: Kind = Kind { name: "wire", draw: draw_with_hooks, layer: wire };

/// What many runs came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    writes: u64,
    seen: BTreeMap<&'static str, u64>,
    broken: Vec<(u64, &'static str, String, Script, Layer)>,
}

/// A panic is a broken property as well.
fn guarded(layer: Layer, script: Script) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| layer(script)))
        .unwrap_or_else(|_| Outcome { violation: Some("it panicked".to_owned()), ..Outcome::default() })
}

/// Runs on all cores until there is no seed any more, or so many have broken a property.
fn run_all(most_broken: usize, seeds: impl Fn(u64) -> Option<(u64, Kind)> + Sync) -> Sum {
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let work = || {
        while let Some((seed, kind)) = seeds(next.fetch_add(1, Ordering::Relaxed)) {
            let script = (kind.draw)(seed);
            let outcome = guarded(kind.layer, script.clone());
            let mut sum = sum.lock().unwrap();
            sum.runs += 1;
            sum.writes += outcome.writes;
            for (what, times) in outcome.seen {
                *sum.seen.entry(what).or_default() += times;
            }
            if let Some(violation) = outcome.violation {
                println!("seed {seed} ({}): {violation}", kind.name);
                sum.broken.push((seed, kind.name, violation, script, kind.layer));
            }
            if sum.broken.len() >= most_broken {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap()
}

impl Sum {
    /// Fails with the first failure, made small.
    fn must_hold(self) {
        println!("{} runs, {} writes, {:?}", self.runs, self.writes, self.seen);
        let mut broken = self.broken;
        broken.sort_by_key(|(seed, ..)| *seed);
        if let Some((seed, name, violation, script, layer)) = broken.into_iter().next() {
            report(&format!("seed {seed} ({name}): {violation}"), &script, layer, name);
        }
    }
}

fn report(what: &str, script: &Script, layer: Layer, name: &str) -> ! {
    let small = catch_unwind(AssertUnwindSafe(|| shrink(script, layer))).ok().flatten();
    let small = small.map(|small| small.as_test(name)).unwrap_or_default();
    panic!("{what}\nreplay: make sim SEED=n TRACE=1 (LAYER=wire for the real manager)\n\n{small}");
}

fn replay(kind: Kind, seed: u64) {
    let script = (kind.draw)(seed);
    let trace = std::env::var("SIM_TRACE").is_ok_and(|value| !value.is_empty());
    let outcome = match kind.name {
        "wire" => run_on_the_wire(script.clone(), None, trace),
        _ => run_script(script.clone(), None, trace),
    };
    for line in &outcome.lines {
        println!("{line}");
    }
    if let Some(violation) = outcome.violation {
        report(&format!("seed {seed}: {violation}"), &script, kind.layer, kind.name);
    }
}

/// `SIM_SEED` alone, or as many as `SIM_SEEDS` says.
fn check(kind: Kind, count: u64) {
    if let Some(seed) = number("SIM_SEED") {
        return replay(kind, seed);
    }
    let first = number("SIM_FIRST").unwrap_or(1);
    run_all(5, |index| (index < count).then_some((first + index, kind))).must_hold();
}

fn share_of_seeds(part: u64, unasked: u64) -> u64 {
    number("SIM_SEEDS").map_or(unasked, |seeds| (seeds / part).max(1))
}

#[test]
fn every_seed_keeps_every_property() {
    check(MODEL, share_of_seeds(1, 60));
}

#[test]
fn every_seed_keeps_every_property_with_hooks() {
    check(HOOKS, share_of_seeds(5, 20));
}

#[test]
fn the_real_manager_keeps_every_property() {
    check(WIRE, share_of_seeds(10, 8));
}

#[test]
fn the_real_manager_keeps_every_property_with_hooks() {
    check(WIRE_HOOKS, share_of_seeds(25, 4));
}

/// For as long as `SIM_SECONDS` says, seeds that nobody ran before.
#[test]
fn a_night() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let first = number("SIM_FIRST").unwrap_or(now.as_secs() * 100_000);
    let (began, whole) = (Instant::now(), Duration::from_secs(number("SIM_SECONDS").unwrap_or(1)));
    let kind = |index: u64| match index % 80 {
        0 => WIRE,
        40 => WIRE_HOOKS,
        index if index % 8 == 1 => HOOKS,
        _ => MODEL,
    };
    let sum = run_all(1_000, |index| (began.elapsed() < whole).then(|| (first + index, kind(index))));
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let per_minute = sum.runs as f64 / minutes;
    println!(
        "{} seeds from {first} on in {minutes:.1} minutes: {per_minute:.0} a minute, {} broken",
        sum.runs,
        sum.broken.len()
    );
    sum.must_hold();
}

#[test]
fn one_seed_is_one_run() {
    for seed in 1..4 {
        let twice = [(); 2].map(|()| run_script(draw(seed), None, true).lines);
        assert!(twice[0] == twice[1], "seed {seed}");
        let twice = [(); 2].map(|()| run_on_the_wire(draw_with_hooks(seed), None, true).lines);
        assert!(twice[0].len() > 20 && twice[0] == twice[1], "seed {seed} on the wire");
    }
}

/// Faults that were drawn, given one by one, make the same run.
#[test]
fn a_run_can_be_made_again_from_its_faults() {
    for seed in 1..20 {
        let drawn = run_script(draw(seed), None, true);
        let script = Script { faults: Some(drawn.faults), ..draw(seed) };
        assert!(run_script(script, None, true).lines == drawn.lines, "seed {seed}");
    }
}

#[test]
fn a_failing_run_is_made_smaller() {
    let broken: Layer = |script| run_script(script, Some(Mutant::IgnorePause), false);
    let script = (1..).map(draw).find(|script| script.steps.len() > 6 && broken(script.clone()).violation.is_some());
    let small = shrink(&script.unwrap(), broken).unwrap();
    let set_up_and_two_edits = 3;
    assert!(small.script.steps.len() <= set_up_and_two_edits, "{:?}", small.script.steps);
    assert!(small.as_test("model").contains("holds(model, Script {"));
}

/// `SIM_SWEEP=1`: all workloads with everything; `SIM_WORKLOAD` names one. Else a part of some.
#[test]
fn every_fault_at_every_place() {
    let whole = number("SIM_SWEEP") == Some(1);
    let only = std::env::var("SIM_WORKLOAD").ok();
    let mut all = workloads::all();
    all.retain(|workload| only.as_deref().is_none_or(|name| name == workload.name));
    let whole = whole || only.is_some();
    if !whole {
        all.truncate(4);
    }
    let (next, sum) = (AtomicU64::new(0), Mutex::new((0, Vec::new())));
    let layers: [(&str, Layer); 2] = [("model", model), ("wire", wire)];
    let work = || {
        loop {
            let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
            let Some(workload) = all.get(index / 2) else { return };
            let (name, layer) = layers[index % 2];
            let (runs, broken) = sweep(workload, layer, name == "model", if whole { 1 } else { 16 });
            println!("{} ({name}): {runs} runs, {} broken", workload.name, broken.len());
            let mut sum = sum.lock().unwrap();
            sum.0 += runs;
            sum.1.extend(broken.into_iter().map(|(what, script)| (what, script, layer, name)));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (runs, broken) = sum.into_inner().unwrap();
    println!("{runs} runs of {} workloads", all.len());
    for (what, _, _, name) in &broken {
        println!("({name}) {what}");
    }
    if let Some((what, script, layer, name)) = broken.into_iter().next() {
        report(&what, &script, layer, name);
    }
}

/// A mutant that nothing notices would say that the checks are blind. `SIM_MUTANT_SEEDS=n`: a table of
/// how many of n seeds notice it, with the model and (a tenth of them) with the real manager.
#[test]
fn every_mutant_is_caught() {
    const SEEDS: u64 = 400;
    let whole = number("SIM_MUTANT_SEEDS");
    let (next, missed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
            let Some(mutant) = CAUGHT_BY_SEEDS.get(index).copied() else { return };
            let caught = |seed: u64| run_script(mutant.draw()(seed), Some(mutant), false).violation;
            let first = (1..=SEEDS).find_map(|seed| Some((seed, caught(seed)?)));
            match (first, whole) {
                (None, _) => missed.lock().unwrap().push(mutant),
                (Some((seed, how)), None) => println!("{mutant:?}: seed {seed}: {how}"),
                (Some((seed, how)), Some(seeds)) => {
                    let count = (1..=seeds).filter(|seed| caught(*seed).is_some()).count();
                    let on_wire = (1..=seeds / 10)
                        .filter(|seed| run_on_the_wire(mutant.draw()(*seed), Some(mutant), false).violation.is_some())
                        .count();
                    println!("| `{mutant:?}` | {count} of {seeds} | {on_wire} of {} | {seed}: {how} |", seeds / 10);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}

/// Preconditions and the ledger carry the safety; read-your-writes only saves requests.
#[test]
fn without_read_your_writes_more_is_asked_and_nothing_breaks() {
    for seed in 1..=20 {
        let outcome = run_script(draw(seed), Some(Mutant::NoReadYourWrites), false);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}
