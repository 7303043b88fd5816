//! One story for each misfortune of [`super::misfortune`], so that it is known to strike: with the model and with the
//! real manager, in several timings.

use serde_json::{Value, json};

use super::run::Outcome;
use super::script::{Step, Swarm};
use super::stories::{SECOND, script};
use super::sweep::{model, wire};
use super::workloads::{calm, set, use_template};

const TIMINGS: u64 = 4;

/// All runs of a story, none of which may break a property: those with the model, those with the real manager.
fn told(swarm: &Swarm, set: &Value, story: &[(i64, Step)]) -> [Vec<Outcome>; 2] {
    let story: Vec<(i64, Step)> = story.iter().map(|(at, step)| (at * SECOND, step.clone())).collect();
    [model, wire].map(|layer| {
        let runs = (1..=TIMINGS).map(|seed| {
            let outcome = layer(script(seed, swarm, set, &story));
            assert_eq!(outcome.violation, None, "timing {seed}");
            outcome
        });
        runs.collect()
    })
}

/// Both layers have met it in one of the runs.
fn was_seen(what: &str, layers: &[Vec<Outcome>; 2]) {
    for (layer, runs) in ["model", "wire"].iter().zip(layers) {
        assert!(runs.iter().any(|run| run.seen.contains_key(what)), "{layer}: {what}");
    }
}

fn with_claims(changes: &Value) -> Value {
    let mut set = set(changes);
    set["volumeClaimTemplates"] =
        json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]);
    set
}

fn re_creating() -> Value {
    json!({"updateStrategy": {"rollingUpdate": {"podUpdatePolicy": "ReCreate"}}})
}

/// By the leader's clock a Pod is available as soon as it is Ready: its entry leaves the ledger early by what the clock is
/// ahead, and by no more.
#[test]
fn a_clock_that_is_ahead_lets_a_rollout_go_on_early_by_that_much() {
    let set = set(&json!({"minReadySeconds": 30}));
    let swarm = Swarm { clocks_ms: [20_000, 0], ..calm(1, 10) };
    let runs = told(&swarm, &set, &[(150, use_template("B"))]);
    was_seen("an entry left early, by a clock that is ahead", &runs);
}

#[test]
fn clocks_that_differ_and_jump_break_nothing() {
    let set = set(&json!({"minReadySeconds": 15, "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}));
    let swarm = Swarm { clocks_ms: [-40_000, 40_000], ..calm(2, 30) };
    let jump = |controller, ahead_ms| Step::SetClock { controller, ahead_ms };
    let story = [
        (100, use_template("B")),
        (104, jump(0, 600_000)),
        (110, jump(1, -600_000)),
        (116, jump(0, -40_000)),
        (130, use_template("C")),
        (131, jump(1, 600_000)),
    ];
    told(&swarm, &set, &story);
}

#[test]
fn events_that_come_twice_change_nothing() {
    let swarm = Swarm { broken_watch_per_mille: 200, ..calm(2, 30) };
    let story = [(40, use_template("B")), (80, Step::Spec(json!({"replicas": 1}))), (90, Step::DeletePod(0))];
    let [_, wire] = told(&swarm, &set(&json!({})), &story);
    assert!(wire.iter().any(|run| run.seen.contains_key("a watch brought events twice")));
}

#[test]
fn a_pod_that_a_finalizer_holds_is_waited_for() {
    let story = [(60, Step::HoldPod(1)), (61, Step::DeletePod(1)), (70, use_template("B")), (700, Step::LetPodsGo)];
    told(&calm(1, 10), &set(&re_creating()), &story);
    told(&calm(2, 30), &set(&json!({"podManagementPolicy": "Parallel"})), &story);
}

#[test]
fn what_is_held_goes_when_all_faults_end() {
    let story = [(60, Step::HoldPod(2)), (61, Step::Spec(json!({"replicas": 1}))), (90, Step::Evict(0))];
    told(&calm(1, 10), &set(&json!({})), &story);
}

#[test]
fn a_claim_that_another_controller_has_is_left_alone() {
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let mut set = with_claims(&json!({"volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"}}));
    set["persistentVolumeClaimRetentionPolicy"] = policy;
    let larger = json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}]);
    let story = [
        (60, Step::TakeClaim(1)),
        (61, Step::TakeClaim(2)),
        (70, Step::Spec(json!({"volumeClaimTemplates": larger}))),
        (90, Step::Spec(json!({"replicas": 2}))),
        (120, Step::Spec(json!({"replicas": 3}))),
    ];
    told(&calm(1, 10), &set, &story);
}

#[test]
fn a_claim_that_is_lost_is_waited_for() {
    let story = [(60, Step::LoseClaim(1)), (61, Step::DeletePod(1)), (300, Step::GiveBackClaims)];
    told(&calm(1, 10), &with_claims(&json!({})), &story);
}

#[test]
fn a_webhook_that_denies_pods_is_told_of() {
    let story = [(30, Step::DenyPods(true)), (31, Step::DeletePod(0)), (32, Step::DeletePod(0))];
    let runs = told(&calm(1, 10), &set(&json!({"podManagementPolicy": "Parallel"})), &story);
    was_seen("AdmissionDenied was told", &runs);
}

#[test]
fn an_injected_container_is_no_difference() {
    let story =
        [(0, Step::Inject(true)), (60, use_template("B")), (120, use_template("sidecar")), (180, use_template("C"))];
    told(&calm(1, 10), &set(&json!({})), &story);
}

#[test]
fn a_namespace_that_takes_nothing_for_a_time_makes_no_hot_loop() {
    let story = [
        (30, Step::TakeNothing(true)),
        (31, Step::DeletePod(0)),
        (60, use_template("B")),
        (400, Step::TakeNothing(false)),
    ];
    let runs = told(&calm(1, 10), &set(&json!({"podManagementPolicy": "Parallel"})), &story);
    was_seen("Forbidden was told", &runs);
}

#[test]
fn nothing_is_left_of_a_namespace_that_ends() {
    let story = [(60, use_template("B")), (61, Step::EndNamespace)];
    told(&calm(2, 30), &with_claims(&json!({"podManagementPolicy": "Parallel"})), &story);
}

#[test]
fn what_goes_between_plan_and_write_is_answered_by_404() {
    let gone = (0..6).map(|second| (60 + second, Step::ForceDeletePod(1)));
    let story: Vec<(i64, Step)> = [(58, use_template("B"))].into_iter().chain(gone).collect();
    let swarm = Swarm { watch_lag_ms: 3000, ..calm(2, 300) };
    was_seen("a write met 404", &told(&swarm, &set(&re_creating()), &story));
}
