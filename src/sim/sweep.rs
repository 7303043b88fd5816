//! Every fault at every place: for each workload, each write × each fault, each view behind by each
//! number of events, pairs for the small ones, two controllers with different views. Each run is
//! compared with its twin without faults.

use super::chaos::{Fault, Point};
use super::run::{Outcome, run_script};
use super::script::{Behind, Script, Step};
use super::store::{KINDS, Kind};
use super::wire::run_on_the_wire;
use super::workloads::Workload;

/// What each write meets.
const FAULTS: [Fault; 7] = [
    Fault::Refuse(409),
    Fault::Refuse(500),
    Fault::Refuse(429),
    Fault::Lose,
    Fault::Cut,
    Fault::CrashBefore,
    Fault::CrashAfter,
];
/// Pairs of what changes most.
const PAIRED: [Fault; 3] = [Fault::Lose, Fault::CrashBefore, Fault::CrashAfter];
const EVENTS_BEHIND_MAX: usize = 8;
/// Workloads with no more writes than this meet all pairs.
const PAIRS_WRITES_MAX: u64 = 14;

pub type Layer = fn(Script) -> Outcome;

pub fn model(script: Script) -> Outcome {
    run_script(script, None, false)
}

pub fn wire(script: Script) -> Outcome {
    run_on_the_wire(script, None, false)
}

/// All runs of a workload: what is put in, and the script.
pub fn variants(workload: &Workload, writes: u64, pairs: bool) -> Vec<(String, Script)> {
    let mut all = Vec::new();
    let mut add = |what: String, controllers: usize, faults: Vec<(Point, Fault)>, behind: Vec<Behind>| {
        all.push((what, Script { faults: Some(faults), behind, ..workload.script(controllers) }));
    };
    for write in 0..writes {
        for fault in FAULTS {
            add(format!("{fault:?} at write {write}"), 1, vec![(Point::Write(write), fault)], vec![]);
        }
    }
    for kind in KINDS {
        for events in 1..=EVENTS_BEHIND_MAX {
            let behind = Behind { controller: 0, kind, events };
            add(format!("{kind:?} behind by {events}"), 1, vec![], vec![behind]);
            add(format!("two controllers, {kind:?} behind by {events}"), 2, vec![], vec![behind]);
        }
    }
    if pairs && writes <= PAIRS_WRITES_MAX {
        for first in 0..writes {
            for second in first + 1..writes + 2 {
                for (one, two) in PAIRED.iter().flat_map(|one| PAIRED.iter().map(move |two| (*one, *two))) {
                    let faults = vec![(Point::Write(first), one), (Point::Write(second), two)];
                    add(format!("{one:?} at write {first}, {two:?} at write {second}"), 1, faults, vec![]);
                }
            }
        }
    }
    all
}

/// Runs one workload with everything, or with each `step`th of it. Gives back how many runs that were, and what was
/// broken.
pub fn sweep(workload: &Workload, layer: Layer, pairs: bool, step: usize) -> (usize, Vec<(String, Script)>) {
    let twin = layer(workload.script(1));
    if let Some(violation) = twin.violation {
        return (1, vec![(format!("{}: without faults: {violation}", workload.name), workload.script(1))]);
    }
    let mut broken = Vec::new();
    let all = variants(workload, twin.sent, pairs);
    let mut count = 1;
    for (what, script) in all.into_iter().step_by(step) {
        count += 1;
        let outcome = layer(script.clone());
        let difference = outcome.violation.clone().or_else(|| differs(workload, &script, &twin, &outcome));
        if let Some(difference) = difference {
            broken.push((format!("{}: {what}: {difference}", workload.name), script));
        }
    }
    (count, broken)
}

/// How a run ended otherwise than its twin.
fn differs(workload: &Workload, script: &Script, twin: &Outcome, outcome: &Outcome) -> Option<String> {
    let is_behind = |kind: Kind| script.behind.iter().any(|one| one.kind == kind);
    // Of two controllers, one that sees an old set takes claims back: no promise is broken by it (docs/reliability.md).
    // Where the revision of a deleted namesake is not seen, a new one gets another name.
    let collects_claims =
        workload.set.pointer("/persistentVolumeClaimRetentionPolicy/whenScaled") == Some(&"Delete".into());
    let may_differ = is_behind(Kind::Set) && script.swarm.controllers > 1 && collects_claims
        || is_behind(Kind::Revision) && script.has_step(|step| matches!(step, Step::DeleteSet { .. }));
    if may_differ {
        return None;
    }
    if outcome.end != twin.end {
        return Some(format!("twin: it ends in another state: {}", first_difference(&twin.end, &outcome.end)));
    }
    // The Pod that a user picks is one of those that are there, and a controller that is behind has made fewer.
    let picks_another =
        !script.behind.is_empty() && script.has_step(|step| matches!(step, Step::MarkPod(_) | Step::DeletePod(_)));
    if workload.depends_on_time || picks_another {
        return None;
    }
    // A template that the controller never saw leaves no revision, and a deletion that it did not see one more.
    let all_seen = !is_behind(Kind::Set);
    if all_seen && outcome.settled != twin.settled {
        return Some(format!(
            "twin: it settles in another state: {}",
            first_difference(&twin.settled, &outcome.settled)
        ));
    }
    let mut counted = outcome.counts.iter().filter(|((_, object), _)| all_seen || !object.starts_with("Revision "));
    let moved = counted.find(|(key, count)| {
        let of_twin = twin.counts.get(*key).copied().unwrap_or(0);
        let spare = if key.0 == "patch" { 3 + of_twin } else { 0 };
        **count > of_twin + spare
    });
    moved.map(|((verb, object), count)| {
        let of_twin = twin.counts.get(&(*verb, object.clone())).copied().unwrap_or(0);
        format!("twin: {verb} {object} {count} times, and {of_twin} times without faults")
    })
}

fn first_difference(one: &[String], other: &[String]) -> String {
    let missing = one.iter().find(|line| !other.contains(line));
    let new = other.iter().find(|line| !one.contains(line));
    format!("{missing:?} is {new:?}")
}
