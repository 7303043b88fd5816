//! What the simulation once found, each as the smallest story that shows it.

use serde_json::{Value, json};

use super::run::run_script;
use super::script::{Script, Step, Swarm, template};
use super::store::Kind;
use super::world::Mutant;

const SECOND: i64 = 1000;

/// A world in which nothing goes wrong by itself.
fn calm(controllers: usize, request_ms: i64) -> Swarm {
    Swarm {
        controllers,
        watch_lag_ms: 20,
        slow_watch_per_mille: 0,
        broken_watch_per_mille: 0,
        kubelet_lag_ms: 50,
        status_lag_ms: 50,
        request_ms,
        slow_request_per_mille: 0,
        error_per_mille: 0,
        lost_answer_per_mille: 0,
        collector_lag_ms: 50,
        restart_ms: 50,
        clock_behind_ms: 0,
        lease: false,
    }
}

fn set(replicas: i64, rolling: Value) -> Value {
    json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template("A"),
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 0,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
    })
}

fn use_template(name: &str) -> Step {
    Step::Spec(json!({"template": template(name)}))
}

/// Runs the story with many different timings, and then into peace. What the first broken one says.
fn try_out(
    seeds: u64,
    swarm: &Swarm,
    set: &Value,
    story: &[(i64, Step)],
    mutant: Option<Mutant>,
) -> Result<(), String> {
    let mut steps = vec![(0, Step::CreateSet)];
    steps.extend_from_slice(story);
    let peace_ms = steps.last().map_or(0, |(at, _)| *at) + 60 * SECOND;
    for seed in 1..=seeds {
        let script = Script {
            seed,
            swarm: swarm.clone(),
            set: set.clone(),
            steps: steps.clone(),
            peace_ms,
            faults: None,
            behind: Vec::new(),
        };
        let outcome = run_script(script, mutant, true);
        if let Some(violation) = outcome.violation {
            let end = outcome.lines.len().saturating_sub(40);
            return Err(format!("timing {seed}: {violation}\n{}", outcome.lines[end..].join("\n")));
        }
    }
    Ok(())
}

fn tell(seeds: u64, swarm: &Swarm, set: &Value, story: &[(i64, Step)]) {
    if let Err(violation) = try_out(seeds, swarm, set, story, None) {
        panic!("{violation}");
    }
}

#[test]
fn condemned_pods_that_cannot_run_do_not_hold_each_other_up() {
    let story = [(60 * SECOND, use_template("broken")), (90 * SECOND, Step::Spec(json!({"replicas": 3})))];
    tell(5, &calm(1, 10), &set(5, json!({"maxUnavailable": 2})), &story);
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
}

/// The entry of another controller's disruption, and a view of the Pod from before it: only a live
/// read may say that it is over.
#[test]
fn an_entry_never_leaves_the_ledger_by_an_old_view() {
    let story = [
        (60 * SECOND, Step::Freeze { controller: 0, kind: Kind::Pod, milliseconds: 60_000 }),
        (61 * SECOND, Step::Flap { pod: 0, milliseconds: 200 }),
        (65 * SECOND, use_template("B")),
    ];
    let (swarm, set) = (calm(2, 30), set(1, json!({"podUpdatePolicy": "ReCreate"})));
    tell(5, &swarm, &set, &story);
    let broken = try_out(5, &swarm, &set, &story, Some(Mutant::AnswersFromTheView));
    assert!(broken.is_err_and(|violation| violation.contains("ledger: the entry of 0 leaves")));
}

/// A crash between the ledger and its disruption, and then nobody wants the disruption any more:
/// the entry leaves only when no late request can do it.
#[test]
fn a_disruption_that_is_not_wanted_any_more_is_fenced() {
    let story =
        [(60 * SECOND, use_template("B")), (60 * SECOND + 700, Step::Crash(0)), (60 * SECOND + 701, use_template("A"))];
    let (swarm, set) = (calm(1, 300), set(1, json!({"podUpdatePolicy": "ReCreate"})));
    tell(20, &swarm, &set, &story);
    let broken = try_out(20, &swarm, &set, &story, Some(Mutant::NoFence));
    assert!(broken.is_err_and(|violation| violation.contains("the ledger holds")));
}
