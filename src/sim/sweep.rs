//! Every fault at every place: for each workload, each write × each fault, each view behind by each
//! number of events, pairs for the small ones, two controllers with different views. Each run is
//! compared with its twin without faults.

use super::chaos::{Fault, NOT_IN_PLACE, Point};
use super::run::{Outcome, run_script};
use super::script::{Behind, Script, Step, Swarm};
use super::shrink::guarded;
use super::store::{KINDS, Kind};
use super::wire::run_on_the_wire;
use super::workloads::Workload;

/// What each write meets.
const FAULTS: [Fault; 6] =
    [Fault::Refuse(409), Fault::Refuse(500), Fault::Refuse(429), Fault::Lose, Fault::CrashBefore, Fault::CrashAfter];
/// The same with the real manager, for which a broken connection stands for a 500 and an answer that is lost too.
const FAULTS_ON_THE_WIRE: [Fault; 6] =
    [Fault::Refuse(409), Fault::Refuse(429), Fault::Drop, Fault::Cut, Fault::CrashBefore, Fault::CrashAfter];
/// What each two writes meet, in all pairs.
const PAIRED: [Fault; 4] = [Fault::Refuse(409), Fault::Lose, Fault::CrashBefore, Fault::CrashAfter];
const EVENTS_BEHIND: [usize; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Fewer with the real manager, whose runs take longer.
const EVENTS_BEHIND_ON_THE_WIRE: [usize; 3] = [1, 3, 8];

pub type Layer = fn(Script) -> Outcome;

pub fn model(script: Script) -> Outcome {
    run_script(script, None, false)
}

pub fn wire(script: Script) -> Outcome {
    run_on_the_wire(script, None, false)
}

/// All runs of a workload whose run without faults is `twin`: what is put in, and the script.
fn variants(workload: &Workload, twin: &Outcome, on_the_wire: bool) -> Vec<(String, Script)> {
    let mut all = Vec::new();
    let mut add = |what: String, controllers: usize, faults: Vec<(Point, Fault)>, behind: Vec<Behind>| {
        all.push((what, Script { faults: Some(faults), behind, ..workload.script(controllers) }));
    };
    for write in 0..twin.sent {
        let denied = twin.in_place.contains(&write).then_some(NOT_IN_PLACE);
        let faults = if on_the_wire { FAULTS_ON_THE_WIRE } else { FAULTS };
        for fault in faults.into_iter().chain(denied) {
            add(format!("{fault:?} at write {write}"), 1, vec![(Point::Write(write), fault)], vec![]);
        }
    }
    let events_behind: &[usize] = if on_the_wire { &EVENTS_BEHIND_ON_THE_WIRE } else { &EVENTS_BEHIND };
    for kind in KINDS {
        for events in events_behind.iter().copied() {
            let behind = Behind { controller: 0, kind, events };
            add(format!("{kind:?} behind by {events}"), 1, vec![], vec![behind]);
            add(format!("two controllers, {kind:?} behind by {events}"), 2, vec![], vec![behind]);
        }
    }
    let meets_pairs = workload.meets_pairs && !on_the_wire;
    for [(first, one), (second, two)] in if meets_pairs { pairs_of(twin.sent) } else { Vec::new() } {
        let faults = vec![(Point::Write(first), one), (Point::Write(second), two)];
        add(format!("{one:?} at write {first}, {two:?} at write {second}"), 1, faults, vec![]);
    }
    all
}

/// All pairs of these faults at all pairs of writes.
fn pairs_of(writes: u64) -> Vec<[(u64, Fault); 2]> {
    let mut all = Vec::new();
    for (first, second) in (0..writes).flat_map(|first| (first + 1..writes).map(move |second| (first, second))) {
        let two = |one: Fault| PAIRED.map(|two| [(first, one), (second, two)]);
        all.extend(PAIRED.into_iter().flat_map(two));
    }
    all
}

/// Runs one workload with everything, or with each `step`th of it. Gives back how many runs that were, and what was
/// broken.
pub fn sweep(workload: &Workload, layer: Layer, on_the_wire: bool, step: usize) -> (usize, Vec<(String, Script)>) {
    let twin = layer(workload.script(1));
    if let Some(violation) = twin.violation {
        return (1, vec![(format!("{}: without faults: {violation}", workload.name), workload.script(1))]);
    }
    let mut broken = Vec::new();
    let all = variants(workload, &twin, on_the_wire);
    let mut count = 1;
    for (what, script) in all.into_iter().step_by(step) {
        count += 1;
        let outcome = guarded(&layer, script.clone());
        if let Some(failure) = failure(workload.depends_on_time, &script, &twin, &outcome) {
            broken.push((format!("{}: {what}: {failure}", workload.name), script));
        }
    }
    (count, broken)
}

/// A run, and the same one without faults beside it: where the twin went otherwise, that is what was broken.
pub fn beside_twin(layer: Layer, depends_on_time: bool, script: Script) -> Outcome {
    let swarm = Swarm { controllers: 1, ..script.swarm.clone() };
    let twin = layer(Script { swarm, faults: Some(Vec::new()), behind: Vec::new(), ..script.clone() });
    if let Some(violation) = twin.violation {
        return Outcome { violation: Some(format!("without faults: {violation}")), ..twin };
    }
    let outcome = layer(script.clone());
    Outcome { violation: failure(depends_on_time, &script, &twin, &outcome), ..outcome }
}

fn failure(depends_on_time: bool, script: &Script, twin: &Outcome, outcome: &Outcome) -> Option<String> {
    outcome.violation.clone().or_else(|| differs(depends_on_time, script, twin, outcome))
}

/// How a run ended otherwise than its twin.
fn differs(depends_on_time: bool, script: &Script, twin: &Outcome, outcome: &Outcome) -> Option<String> {
    let is_behind = |kind: Kind| script.behind.iter().any(|one| one.kind == kind);
    // Of two controllers, one that sees an old set takes claims back: no promise is broken by it (docs/reliability.md).
    // Where the revision of a deleted namesake is not seen, a new one gets another name.
    let collects_claims =
        script.set.pointer("/persistentVolumeClaimRetentionPolicy/whenScaled") == Some(&"Delete".into());
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
    if picks_another {
        return None;
    }
    // A template that the controller never saw leaves no revision, and a deletion that it did not see one more.
    let all_seen = !is_behind(Kind::Set);
    if all_seen && !depends_on_time && outcome.settled != twin.settled {
        return Some(format!(
            "twin: it settles in another state: {}",
            first_difference(&twin.settled, &outcome.settled)
        ));
    }
    more_often(depends_on_time, all_seen, script, twin, outcome)
}

/// What was written more often than by the twin.
fn more_often(
    depends_on_time: bool,
    all_seen: bool,
    script: &Script,
    twin: &Outcome,
    outcome: &Outcome,
) -> Option<String> {
    // A Pod that may not be changed in place is deleted and made once instead.
    let denied = script.faults.iter().flatten().filter(|(_, fault)| *fault == NOT_IN_PLACE).count();
    let denied = u64::try_from(denied).unwrap_or(0);
    let mut counted = outcome.counts.iter().filter(|((verb, object), _)| {
        (all_seen || !object.starts_with("Revision ")) && (!depends_on_time || *verb != "patch")
    });
    let moved = counted.find(|(key, count)| {
        let of_twin = twin.counts.get(*key).copied().unwrap_or(0);
        let spare = match key.0 {
            "patch" => 3 + of_twin,
            _ if key.1.starts_with("Pod ") => denied,
            _ => 0,
        };
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
