//! What the simulation once found, each as the smallest story that shows it.

use serde_json::{Value, json};

use super::chaos::Fault::{Cut, Lose, Refuse};
use super::chaos::Point::{Read, Write};
use super::mutants::Mutant;
use super::run::{Outcome, run_script};
use super::script::Step::CreateSet;
use super::script::{Behind, Script, Step, Swarm, template};
use super::store::Kind;
use super::stories::{
    LOSSES, RESIZES, SECOND, a_disruption_that_is_not_wanted_any_more, a_node_lost_between_two_tags,
    a_resize_half_done, an_entry_and_an_old_view, script, set,
};
use super::sweep::{Layer, beside_twin, model, wire};
use super::wire::run_on_the_wire;
use super::workloads::{all as workloads, calm, use_template};

/// Runs the story with many different timings, and then into peace. What the first broken one says.
fn try_out(
    seeds: u64,
    swarm: &Swarm,
    set: &Value,
    story: &[(i64, Step)],
    mutant: Option<Mutant>,
) -> Result<(), String> {
    try_all(seeds, |seed| script(seed, swarm, set, story), mutant)
}

fn try_all(timings: u64, of_timing: impl Fn(u64) -> Script, mutant: Option<Mutant>) -> Result<(), String> {
    for timing in 1..=timings {
        let outcome = run_script(of_timing(timing), mutant, true);
        if let Some(violation) = outcome.violation {
            let end = outcome.lines.len().saturating_sub(40);
            return Err(format!("timing {timing}: {violation}\n{}", outcome.lines[end..].join("\n")));
        }
    }
    Ok(())
}

fn tell(seeds: u64, swarm: &Swarm, set: &Value, story: &[(i64, Step)]) {
    tell_all(seeds, |seed| script(seed, swarm, set, story));
}

fn tell_all(timings: u64, of_timing: impl Fn(u64) -> Script) {
    if let Err(violation) = try_all(timings, of_timing, None) {
        panic!("{violation}");
    }
}

/// A run as `shrink` prints it.
pub fn holds(layer: Layer, script: Script) {
    assert_eq!(layer(script).violation, None);
}

/// The same beside the run without faults.
fn is_like_its_twin(layer: Layer, depends_on_time: bool, script: Script) -> Outcome {
    let outcome = beside_twin(layer, depends_on_time, script);
    assert_eq!(outcome.violation, None);
    outcome
}

/// The same story with the model and with the real manager.
fn tell_both(seeds: u64, swarm: &Swarm, set: &Value, story: &[(i64, Step)]) {
    tell(seeds, swarm, set, story);
    tell_all_on_the_wire(seeds, |seed| script(seed, swarm, set, story));
}

fn tell_all_on_the_wire(timings: u64, of_timing: impl Fn(u64) -> Script) {
    for timing in 1..=timings {
        let outcome = run_on_the_wire(of_timing(timing), None, true);
        if let Some(violation) = outcome.violation {
            let end = outcome.lines.len().saturating_sub(40);
            panic!("the real manager, timing {timing}: {violation}\n{}", outcome.lines[end..].join("\n"));
        }
    }
}

#[test]
fn condemned_pods_that_cannot_run_do_not_hold_each_other_up() {
    let story = [(60 * SECOND, use_template("broken")), (90 * SECOND, Step::Spec(json!({"replicas": 3})))];
    tell(5, &calm(1, 10), &set(5, json!({"maxUnavailable": 2})), &story);
}

/// The controller's clock is behind its kubelets': that two Pods were never Ready since their patch could not be told by it,
/// and the higher one waited for the lower one for ever.
#[test]
fn condemned_pods_that_were_never_ready_again_are_known_whatever_the_clock() {
    let story = [(60 * SECOND, use_template("unready")), (90 * SECOND, Step::Spec(json!({"replicas": 0})))];
    let swarm = Swarm { clocks_ms: [-40_000; 2], ..calm(1, 10) };
    tell_both(5, &swarm, &set(4, json!({"maxUnavailable": 2})), &story);
}

/// Each waited for the lower one to come back.
#[test]
fn condemned_pods_that_have_ended_do_not_hold_each_other_up() {
    let story = [
        (60 * SECOND, Step::Spec(json!({"ordinals": {"start": 2}}))),
        (60 * SECOND + 500, Step::Evict(0)),
        (60 * SECOND + 501, Step::Evict(1)),
    ];
    tell_both(5, &calm(1, 10), &set(2, json!({})), &story);
    tell_both(5, &calm(1, 300), &set(2, json!({})), &story);
}

#[test]
fn a_healthy_condemned_pod_does_not_wait_for_a_lower_one() {
    let story = [
        (60 * SECOND, Step::Flap { pod: 3, milliseconds: 40_000_000 }),
        (90 * SECOND, Step::Spec(json!({"replicas": 3}))),
    ];
    tell(5, &calm(1, 10), &set(5, json!({})), &story);
}

#[test]
fn gates_that_were_closed_for_an_update_are_opened_on_condemned_pods() {
    let rolling = json!({"maxUnavailable": 2, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 20}});
    let story = [(60 * SECOND, use_template("B")), (62 * SECOND, Step::Spec(json!({"replicas": 3})))];
    tell(5, &calm(1, 10), &set(5, rolling), &story);
}

/// A controller that has not seen a new template sees the new revision, which nothing names yet.
#[test]
fn a_controller_that_is_behind_leaves_the_newest_revision_alone() {
    let story = [
        (60 * SECOND, Step::Freeze { controller: 0, kind: Kind::Set, milliseconds: 30_000 }),
        (60 * SECOND + 1, use_template("B")),
    ];
    tell(30, &calm(2, 300), &set(1, json!({})), &story);
    let broken = try_out(30, &calm(2, 300), &set(1, json!({})), &story, Some(Mutant::HistoryWithoutALook));
    assert!(broken.is_err_and(|violation| violation.contains("S14") || violation.contains("L1")));
}

/// The entry of another controller's disruption, and a view of the Pod from before it: only a live
/// read may say that it is over.
#[test]
fn an_entry_never_leaves_the_ledger_by_an_old_view() {
    tell_all(5, an_entry_and_an_old_view);
    let broken = try_all(5, an_entry_and_an_old_view, Some(Mutant::AnswersFromTheView));
    assert!(broken.is_err_and(|violation| violation.contains("ledger: the entry of 0 leaves")));
}

/// A crash between the ledger and its disruption, and then nobody wants the disruption any more:
/// the entry leaves only when no late request can do it.
#[test]
fn a_disruption_that_is_not_wanted_any_more_is_fenced() {
    tell_all(20, a_disruption_that_is_not_wanted_any_more);
    let broken = try_all(20, a_disruption_that_is_not_wanted_any_more, Some(Mutant::NoFence));
    assert!(broken.is_err_and(|violation| violation.contains("the ledger holds")));
}

/// A watch of revisions that hangs from the beginning: the revision of the Pods is not known, and was once not looked
/// for. What only the old template has stayed on the Pods for ever.
#[test]
fn a_pod_is_not_judged_by_itself_because_a_view_lacks_its_revision() {
    let story = [
        (1, Step::Freeze { controller: 1, kind: Kind::Revision, milliseconds: 600 * SECOND }),
        (60 * SECOND, Step::Crash(0)),
        (60 * SECOND + 1, use_template("labels")),
        (180 * SECOND, Step::Spec(json!({"replicas": 2}))),
    ];
    let mut set = set(2, json!({}));
    set["template"] = template("C");
    tell_both(5, &Swarm { restart_ms: 200_000, ..calm(2, 30) }, &set, &story);
}

/// The same, as it was found: the first watch of revisions was never answered.
#[test]
fn a_watch_that_is_never_answered_leaves_nothing_of_the_old_template() {
    holds(
        wire,
        Script {
            seed: 15,
            swarm: Swarm { lease: true, ..calm(2, 5) },
            set: set(4, json!({})),
            steps: vec![(0, CreateSet), (33_837, use_template("labels"))],
            peace_ms: 33_847,
            faults: Some(vec![
                (Read(12), Lose),
                (Read(13), Refuse(503)),
                (Write(2), Cut),
                (Read(64), Lose),
                (Write(12), Refuse(409)),
                (Write(14), Refuse(409)),
                (Read(71), Refuse(429)),
                (Read(73), Refuse(429)),
                (Read(76), Lose),
            ]),
            behind: Vec::new(),
            customised: false,
        },
    );
}

/// Patched while its containers were being started: the one of the old image that came up was taken for the new one after
/// three seconds, and put back into service while it was being ended.
#[test]
fn a_container_that_was_about_to_start_is_not_taken_for_the_new_one() {
    let mut set = set(2, json!({}));
    set["podManagementPolicy"] = "Parallel".into();
    let story = [
        (12_642, Step::Spec(json!({"replicas": 4}))),
        (12_831, use_template("broken")),
        (12_895, use_template("broken")),
    ];
    let swarm = Swarm { kubelet_lag_ms: 1500, status_lag_ms: 20, ..calm(1, 300) };
    tell(60, &swarm, &set, &story);
}

/// Patched while its containers were being started, from one tag of an image to another: the node shows either as the
/// other, so the one that came up was taken for the new one, and was then ended.
#[test]
fn another_tag_of_the_same_image_is_not_taken_for_the_new_one() {
    let mut set = set(2, json!({}));
    set["podManagementPolicy"] = "Parallel".into();
    set["template"] = template("same digest");
    let swarm = Swarm { status_lag_ms: 20, ..calm(1, 5) };
    for at in [600, 1500, 2400] {
        tell(40, &swarm, &set, &[(at, use_template("A"))]);
        tell(40, &swarm, &set, &[(at, use_template("C")), (at + 900, use_template("labels"))]);
    }
    // Half way, and round again: what came up in between shows the tag that is wanted in the end.
    set["template"] = template("C");
    for pause in [700, 1600, 2500] {
        let there_and_back =
            [(30_000, use_template("A")), (30_000 + pause, use_template("same digest")), (34_000, use_template("A"))];
        tell(40, &swarm, &set, &there_and_back);
    }
}

/// The same, where the node is lost before its kubelet has told of the container in between: when it is back its kubelet has
/// heard of the last patch, the container started long ago, and it is about to be ended.
#[test]
fn a_container_of_another_tag_is_waited_for_from_when_its_kubelet_was_seen_to_have_heard() {
    let timings = 4 * LOSSES;
    tell_all(timings, a_node_lost_between_two_tags);
    let broken = try_all(timings, a_node_lost_between_two_tags, Some(Mutant::NothingHeard));
    assert!(broken.is_err(), "without what was heard it goes wrong");
}

/// There and back while the old container is being ended: a kubelet that does so observes no newer spec meanwhile, which
/// is how the Pod is known to be still out of service. The simulated one once said that it had.
#[test]
fn a_container_that_is_being_ended_is_not_the_one_that_was_turned_round_to() {
    let swarm = Swarm { status_lag_ms: 20, ..calm(2, 30) };
    for pause in [250, 400, 700, 1500] {
        let story = [(30_000, use_template("B")), (30_000 + pause, use_template("A"))];
        tell(25, &swarm, &set(1, json!({})), &story);
    }
}

/// There and back by an environment alone, on a cluster that takes it in place: the container in between came up with the
/// same image, was taken for the one that is wanted, and was then ended.
#[test]
fn a_container_with_fields_that_nobody_wants_any_more_is_not_the_one_that_was_turned_round_to() {
    let swarm = Swarm { status_lag_ms: 20, ..calm(1, 30) };
    let set = set(1, json!({}));
    for pause in [400, 1500, 2500] {
        let story = [(30_000, use_template("static")), (30_000 + pause, use_template("A"))];
        tell_all(40, |timing| Script { customised: true, ..script(timing, &swarm, &set, &story) });
    }
}

/// What a helper has pulled was remembered by the controller alone that removed it; the other one had it pulled again,
/// for ever.
#[test]
fn two_controllers_that_pull_ahead_come_to_rest() {
    let mut set = set(3, json!({"inPlaceUpdateStrategy": {"prePull": true}}));
    set["podManagementPolicy"] = "Parallel".into();
    let story = [(30_000, use_template("B")), (60_000, use_template("C"))];
    tell_both(5, &calm(2, 30), &set, &story);
    tell(5, &Swarm { watch_lag_ms: 3000, ..calm(2, 30) }, &set, &story);
}

/// A resize is done and its controller gone before the patch with the label, and the template turns back in that moment:
/// by its label the Pod was where it should be, with resources that nobody wanted.
#[test]
fn a_resize_half_done_is_taken_back_when_nobody_wants_it_any_more() {
    let timings = 2 * RESIZES;
    tell_all(timings, a_resize_half_done);
    tell_all_on_the_wire(timings, a_resize_half_done);
    let broken = try_all(timings, a_resize_half_done, Some(Mutant::NoNoteBeforeResize));
    assert!(broken.is_err(), "without the note before the resize it goes wrong");
}

/// As a controller saw the set before it was deleted, or before its last change, it made revisions, or raised their
/// numbers, as often as another one or the garbage collector undid it.
#[test]
fn an_old_view_of_the_set_writes_no_revision_over_and_over() {
    let count = |outcome: &Outcome, verb: &str| -> u64 {
        let of_revisions =
            |(found, object): &&(&'static str, String)| *found == verb && object.starts_with("Revision ");
        outcome.counts.iter().filter(|(key, _)| of_revisions(key)).map(|(_, count)| *count).sum()
    };
    for layer in [model as Layer, wire as Layer] {
        for workload in workloads() {
            let (verb, most) = match workload.name {
                "changes by hand" => ("patch", 20),
                "adoption" => ("create", 6),
                _ => continue,
            };
            for events in 1..=8 {
                let behind = vec![Behind { controller: 0, kind: Kind::Set, events }];
                let script = Script { behind, ..workload.script(2) };
                let outcome = is_like_its_twin(layer, workload.depends_on_time, script);
                let made = count(&outcome, verb);
                assert!(made <= most, "{}: {verb} of revisions {made} times, {events} events behind", workload.name);
            }
        }
    }
}

/// Made without the readiness gate, they were Ready until their old containers ended, and never since: condemned, the
/// higher one waited for the lower one for ever.
#[test]
fn condemned_pods_without_a_gate_that_were_never_ready_since_their_patch_go() {
    let mut set = set(4, json!({"maxUnavailable": 3, "podUpdatePolicy": "ReCreate"}));
    set["template"] = template("same digest");
    let story = [
        (20_518, Step::Spec(json!({"updateStrategy": {"rollingUpdate": {"podUpdatePolicy": "InPlaceOnly"}}}))),
        (24_984, use_template("unready")),
        (27_048, Step::Spec(json!({"replicas": 2}))),
    ];
    tell_both(12, &calm(2, 300), &set, &story);
}

/// A set was deleted, its Pods and revisions were left, and a watch of revisions hung: the Pod that the next set adopted
/// was judged by itself, though its revision was there, so what only its old template has stayed on it for ever.
#[test]
fn an_adopted_pod_is_judged_by_the_revision_that_came_along() {
    let mut set = set(1, json!({}));
    set["template"] = template("labels");
    let story = [
        (22_133, Step::Freeze { controller: 0, kind: Kind::Revision, milliseconds: 51_122 }),
        (22_853, Step::DeleteSet { orphan: true }),
        (28_863, Step::CreateSet),
        (30_565, use_template("A again")),
    ];
    tell_both(4, &calm(1, 5), &set, &story);
}
