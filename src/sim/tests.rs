//! Seeds, replays and what keeps the simulation honest. The environment says how many seeds: see
//! the Makefile.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::agent::draw_with_hooks;
use super::chaos::{Fault, Point};
use super::mutants::{CAUGHT_BY_SEEDS, Mutant};
use super::run::{Outcome, run_script};
use super::script::{Script, Step, Swarm, draw};
use super::shrink::{Play, guarded, shrink};
use super::stories::CAUGHT_BY_STORIES;
use super::sweep::{Layer, beside_twin, model, sweep, wire};
use super::wire::run_on_the_wire;
use super::workloads::{self, Workload};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What a seed makes, and what carries plans out.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// What `make sim` is told beside the seed.
    options: &'static str,
    draw: fn(u64) -> Script,
    layer: Layer,
}

const MODEL: Kind = Kind { name: "model", options: "", draw, layer: model };
const HOOKS: Kind = Kind { options: " HOOKS=1", draw: draw_with_hooks, ..MODEL };
const WIRE: Kind = Kind { name: "wire", options: " LAYER=wire", draw, layer: wire };
const WIRE_HOOKS: Kind = Kind { options: " LAYER=wire HOOKS=1", draw: draw_with_hooks, ..WIRE };

impl Kind {
    fn replay(self, seed: u64) -> String {
        format!("make sim SEED={seed}{} TRACE=1", self.options)
    }
}

/// What many runs came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    writes: u64,
    seen: BTreeMap<&'static str, u64>,
    broken: Vec<(u64, Kind, String, Script)>,
}

/// Runs on all cores until there is no seed any more, or so many have broken a property.
fn run_all(most_broken: usize, seeds: impl Fn(u64) -> Option<(u64, Kind)> + Sync) -> Sum {
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let work = || {
        while let Some((seed, kind)) = seeds(next.fetch_add(1, Ordering::Relaxed)) {
            let script = (kind.draw)(seed);
            let outcome = guarded(&kind.layer, script.clone());
            let mut sum = sum.lock().unwrap();
            sum.runs += 1;
            sum.writes += outcome.writes;
            for (what, times) in outcome.seen {
                *sum.seen.entry(what).or_default() += times;
            }
            if let Some(violation) = outcome.violation {
                println!("{}: {violation}", kind.replay(seed));
                sum.broken.push((seed, kind, violation, script));
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
        if let Some((seed, kind, violation, script)) = broken.into_iter().next() {
            report_seed(kind, seed, &violation, &script);
        }
    }
}

fn report_seed(kind: Kind, seed: u64, violation: &str, script: &Script) -> ! {
    report(violation, &kind.replay(seed), script, &kind.layer, &format!("holds({}", kind.name));
}

/// Fails with what was broken, how to play it again, and made small as a test that checks it by `call`.
fn report(what: &str, replay: &str, script: &Script, play: &Play<'_>, call: &str) -> ! {
    let small = shrink(script, play).map(|small| small.as_test(call)).unwrap_or_default();
    panic!("{what}\nreplay: {replay}\n\n{small}");
}

fn replay(kind: Kind, seed: u64) {
    let script = (kind.draw)(seed);
    let trace = std::env::var("SIM_TRACE").is_ok_and(|value| !value.is_empty());
    let play = |script: Script| match kind.name {
        "wire" => run_on_the_wire(script, None, trace),
        _ => run_script(script, None, trace),
    };
    let outcome = guarded(&play, script.clone());
    for line in &outcome.lines {
        println!("{line}");
    }
    if let Some(violation) = outcome.violation {
        report_seed(kind, seed, &violation, &script);
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
    let small = shrink(&script.unwrap(), &broken).unwrap();
    let set_up_and_two_edits = 3;
    assert!(small.script.steps.len() <= set_up_and_two_edits, "{:?}", small.script.steps);
    assert!(small.as_test("holds(model").contains("holds(model, Script {"));
}

/// What a run does otherwise than its twin is made smaller, and so is a panic.
#[test]
fn whatever_fails_is_made_smaller() {
    let workload = workloads::all().into_iter().find(|workload| workload.name == "scale").unwrap();
    let faults = (0..6).map(|write| (Point::Write(write), Fault::Cut)).collect();
    let script = Script { faults: Some(faults), ..workload.script(1) };
    // Stands for a run that goes another way wherever the second write is cut.
    let differs = |script: Script| {
        let cut = script.faults.iter().flatten().any(|(point, _)| *point == Point::Write(1));
        let violation = cut.then(|| "twin: it ends in another state".to_owned());
        Outcome { violation, faults: script.faults.unwrap_or_default(), ..Outcome::default() }
    };
    let small = shrink(&script, &differs).unwrap();
    assert_eq!(small.script.faults, Some(vec![(Point::Write(1), Fault::Cut)]));
    let panics = |script: Script| {
        assert!(!script.has_step(|step| matches!(step, Step::Spec(_))), "a Spec is met");
        Outcome::default()
    };
    let small = shrink(&script, &panics).unwrap();
    assert_eq!((small.script.steps.len(), small.violation.as_str()), (2, "it panicked: a Spec is met"));
}

/// `SIM_SWEEP=1`: all workloads with everything; `SIM_WORKLOAD` names one. Else a part of some.
#[test]
fn every_fault_at_every_place() {
    let whole = number("SIM_SWEEP") == Some(1);
    let only = std::env::var("SIM_WORKLOAD").ok();
    let mut all = workloads::all();
    all.retain(|workload| only.as_deref().is_none_or(|name| name == workload.name));
    let whole = whole || only.is_some();
    if whole {
        // Those with pairs take longest.
        all.reverse();
    } else {
        all.truncate(4);
    }
    let (next, sum) = (AtomicU64::new(0), Mutex::new((0, Vec::new())));
    let layers: [(&str, Layer); 2] = [("model", model), ("wire", wire)];
    let work = || {
        loop {
            let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
            let Some(workload) = all.get(index / 2) else { return };
            let (name, layer) = layers[index % 2];
            let on_the_wire = name == "wire";
            if on_the_wire && only.is_none() && !workload.is_on_the_wire() {
                continue;
            }
            let (runs, broken) = sweep(workload, layer, on_the_wire, if whole { 1 } else { 16 });
            println!("{} ({name}): {runs} runs, {} broken", workload.name, broken.len());
            let mut sum = sum.lock().unwrap();
            sum.0 += runs;
            sum.1.extend(broken.into_iter().map(|(what, script)| (what, script, index)));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (runs, broken) = sum.into_inner().unwrap();
    println!("{runs} runs of {} workloads", all.len());
    for (what, _, index) in &broken {
        println!("({}) {what}", layers[index % 2].0);
    }
    if let Some((what, script, index)) = broken.into_iter().next() {
        let ((name, layer), Workload { name: story, depends_on_time, .. }) = (layers[index % 2], &all[index / 2]);
        let depends_on_time = *depends_on_time;
        let replay = format!("SIM_WORKLOAD=\"{story}\" cargo test --profile sim --lib every_fault ({name})");
        let play = |script: Script| beside_twin(layer, depends_on_time, script);
        report(&what, &replay, &script, &play, &format!("is_like_its_twin({name}, {depends_on_time}"));
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
            let mut mutants = CAUGHT_BY_SEEDS.into_iter().chain(CAUGHT_BY_STORIES);
            let Some(mutant) = mutants.nth(index) else { return };
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
    let with = |mutant: Option<Mutant>| {
        let slow = |workload: &Workload| {
            let script = workload.script(1);
            let swarm = Swarm { watch_lag_ms: 3000, ..script.swarm.clone() };
            run_script(Script { swarm, ..script }, mutant, false)
        };
        let outcomes: Vec<Outcome> = workloads::all().iter().map(slow).collect();
        assert!(outcomes.iter().all(|outcome| outcome.violation.is_none()));
        let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
        (sum(|outcome| outcome.requests), sum(|outcome| outcome.refused))
    };
    let ((requests, refused), (more_requests, more_refused)) = (with(None), with(Some(Mutant::NoReadYourWrites)));
    println!("{requests} requests, {refused} refused; without reading them {more_requests}, {more_refused} refused");
    assert!(more_requests > requests + requests / 10 && more_refused > 2 * refused);
}
