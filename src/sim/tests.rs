//! Seeds, replays and what keeps the simulation honest.

use std::collections::BTreeMap;

use super::agent::draw_with_hooks;
use super::run::{run_script, run_seed};
use super::script::draw;
use super::wire::run_on_the_wire;
use super::world::Mutant;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_every_property() {
    let trace = std::env::var("SIM_TRACE").is_ok();
    let first = number("SIM_FIRST").unwrap_or(1);
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("SIM_SEEDS").unwrap_or(200),
    };
    let mut broken = Vec::new();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut writes = 0;
    for seed in seeds.clone() {
        let outcome = run_seed(seed, trace);
        for line in &outcome.lines {
            println!("{line}");
        }
        for (what, times) in outcome.seen {
            *seen.entry(what).or_default() += times;
        }
        writes += outcome.writes;
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {violation}");
            broken.push(seed);
        }
    }
    println!("{} seeds, {writes} writes, {seen:?}", seeds.count());
    assert!(
        broken.is_empty(),
        "{} seeds broke a property; replay with SIM_SEED=n SIM_TRACE=1: {broken:?}",
        broken.len()
    );
}

#[test]
fn every_seed_keeps_every_property_with_hooks() {
    let trace = std::env::var("SIM_TRACE").is_ok();
    let first = number("SIM_FIRST").unwrap_or(1);
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("SIM_SEEDS").unwrap_or(60),
    };
    let mut broken = Vec::new();
    for seed in seeds {
        let outcome = run_script(draw_with_hooks(seed), None, trace);
        for line in &outcome.lines {
            println!("{line}");
        }
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {violation}");
            broken.push(seed);
        }
    }
    assert!(broken.is_empty(), "seeds that broke a property; replay with SIM_SEED=n SIM_TRACE=1: {broken:?}");
}

#[test]
fn the_real_manager_keeps_every_property() {
    let trace = std::env::var("SIM_TRACE").is_ok();
    let first = number("SIM_FIRST").unwrap_or(1);
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("SIM_SEEDS").unwrap_or(20),
    };
    let mut broken = Vec::new();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut writes = 0;
    for seed in seeds {
        let outcome = run_on_the_wire(draw(seed), None, trace);
        for line in &outcome.lines {
            println!("{line}");
        }
        for (what, times) in outcome.seen {
            *seen.entry(what).or_default() += times;
        }
        writes += outcome.writes;
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {violation}");
            broken.push(seed);
        }
    }
    println!("{writes} writes, {seen:?}");
    assert!(broken.is_empty(), "seeds that broke a property; replay with SIM_SEED=n SIM_TRACE=1: {broken:?}");
}

#[test]
fn one_seed_is_one_run() {
    for seed in 1..4 {
        let (once, again) = (run_on_the_wire(draw(seed), None, true), run_on_the_wire(draw(seed), None, true));
        assert!(once.lines == again.lines, "seed {seed} on the wire");
    }
    for seed in 1..6 {
        assert_eq!(run_seed(seed, false).hash, run_seed(seed, true).hash, "seed {seed}");
    }
}

/// Those that random worlds meet often enough; others stand with the stories. A mutant that nothing notices would say that the checks are blind.
#[test]
fn every_mutant_is_caught() {
    const SEEDS: u64 = 300;
    let mutants = [
        Mutant::NoUidPrecondition,
        Mutant::NoVersionPrecondition,
        Mutant::DisruptBeforeStatus,
        Mutant::NoLedger,
        Mutant::StatusWithoutVersion,
        Mutant::LabelInSecondPatch,
        Mutant::GateNeverClosed,
        Mutant::ForgetLedgerAtOnce,
        Mutant::BudgetTooLarge,
        Mutant::IgnorePartition,
        Mutant::IgnorePause,
        Mutant::TerminatingPodsUnseen,
    ];
    let mut missed = Vec::new();
    for mutant in mutants {
        let caught = (1..=SEEDS).find_map(|seed| Some((seed, run_script(draw(seed), Some(mutant), false).violation?)));
        println!("{mutant:?}: {caught:?}");
        if caught.is_none() {
            missed.push(mutant);
        }
    }
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
