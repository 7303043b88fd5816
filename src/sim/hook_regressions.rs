//! What the simulation once found of sets with hooks, each made as small as it would get.

use serde_json::{Value, json};

use super::chaos::Fault::{Cut, Drop, Late, Lose, Refuse, Slow};
use super::chaos::Point::{News, Read, Write};
use super::regressions::holds;
use super::script::Step::CreateSet;
use super::script::{Script, Step, Swarm, template};
use super::stories::set;
use super::sweep::model;
use super::workloads::{calm, use_template};

/// A hook that holds Pods by a label.
fn hook(mark_pod_not_ready: bool) -> Value {
    json!({"labelsHandler": {"hold": "true"}, "markPodNotReady": mark_pod_not_ready})
}

/// Two were down under a larger budget, which was then lowered. The one that served, and that its hook had not called
/// normal, was taken down once more while the other was away; and that one waited for it, as Pods are made in order.
#[test]
fn what_a_hook_keeps_down_and_serves_is_not_taken_down_beside_what_is_away() {
    let mut set = set(4, json!({"podUpdatePolicy": "ReCreate", "maxUnavailable": 2}));
    set["template"] = template("B");
    set["minReadySeconds"] = 15.into();
    set["revisionHistoryLimit"] = 1.into();
    set["lifecycle"] = json!({"inPlaceUpdate": null, "preDelete": null, "preNormal": null});
    let all = json!({"inPlaceUpdate": hook(false), "preDelete": hook(false), "preNormal": hook(false)});
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}]);
    let rolling = |fields: Value| Step::Spec(json!({"updateStrategy": {"rollingUpdate": fields}}));
    let steps = vec![
        (0, CreateSet),
        (
            11_775,
            Step::Spec(json!({"lifecycle": {"inPlaceUpdate": null, "preDelete": null, "preNormal": hook(false)}})),
        ),
        (30_928, use_template("sized")),
        (48_008, use_template("B")),
        (48_148, Step::Spec(json!({"lifecycle": all}))),
        (58_616, rolling(json!({"inPlaceUpdateStrategy": {"gracePeriodSeconds": 0}}))),
        (89_408, use_template("labels")),
        (96_757, use_template("sized more")),
        (132_813, Step::Spec(json!({"volumeClaimTemplates": claims}))),
        (144_574, rolling(json!({"maxUnavailable": 1}))),
    ];
    holds(
        model,
        Script {
            seed: 202_612_012_000_737,
            swarm: Swarm {
                watch_lag_ms: 500,
                kubelet_lag_ms: 20,
                status_lag_ms: 300,
                collector_lag_ms: 1000,
                ..calm(2, 300)
            },
            set,
            steps,
            peace_ms: 144_584,
            faults: Some(vec![
                (Write(9), Lose),
                (Read(0), Lose),
                (Read(1), Refuse(503)),
                (Write(12), Refuse(429)),
                (Write(69), Lose),
                (Write(73), Lose),
                (Write(78), Cut),
                (Read(30), Refuse(500)),
                (Read(32), Lose),
                (Read(33), Lose),
                (Write(84), Refuse(409)),
                (Write(99), Lose),
            ]),
            behind: Vec::new(),
            customised: false,
        },
    );
}

/// A disruption was planned and not carried out, and then its ordinal was reserved: the Pod stayed until the one in its place
/// was available, which waited for the slot in the ledger.
#[test]
fn a_planned_disruption_of_a_condemned_pod_is_fenced() {
    let mut set = set(4, json!({}));
    set["template"] = template("sidecar");
    set["podManagementPolicy"] = "Parallel".into();
    set["lifecycle"] = json!({"inPlaceUpdate": hook(true), "preDelete": hook(false), "preNormal": hook(false)});
    set["volumeClaimTemplates"] =
        json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]);
    let steps = vec![
        (0, CreateSet),
        (16_311, use_template("crashing")),
        (27_472, use_template("sized")),
        (39_595, Step::Spec(json!({"reserveOrdinals": [2]}))),
        (41_665, use_template("A again")),
        (120_192, use_template("probe")),
        (190_134, Step::Spec(json!({"reserveOrdinals": [1, "3-4"]}))),
        (195_804, use_template("C")),
    ];
    holds(
        model,
        Script {
            seed: 202_612_072_005_689,
            swarm: Swarm {
                watch_lag_ms: 3000,
                kubelet_lag_ms: 1500,
                status_lag_ms: 2000,
                clocks_ms: [-40_000; 2],
                ..calm(2, 3)
            },
            set,
            steps,
            peace_ms: 250_447,
            faults: Some(vec![
                (News(0), Late),
                (Write(0), Lose),
                (Write(1), Cut),
                (Read(1), Slow(12_382)),
                (Write(4), Cut),
                (Write(6), Refuse(409)),
                (News(12), Late),
                (Read(7), Lose),
                (Read(9), Cut),
                (Read(15), Slow(16_656)),
                (News(18), Late),
                (Read(16), Slow(18_356)),
                (Read(18), Refuse(503)),
                (Write(11), Refuse(409)),
                (Write(17), Slow(18_284)),
                (Read(24), Lose),
                (Write(24), Lose),
                (Write(27), Slow(16_692)),
                (Write(30), Refuse(503)),
                (Write(36), Refuse(503)),
                (Write(40), Lose),
                (Write(41), Slow(10_088)),
                (Write(43), Refuse(429)),
                (Write(44), Slow(6556)),
                (Write(46), Slow(18_966)),
                (Read(36), Lose),
                (Read(39), Slow(11_350)),
                (News(54), Late),
                (Write(52), Refuse(500)),
                (Write(53), Slow(16_031)),
                (Read(43), Slow(11_773)),
                (Write(58), Cut),
                (News(67), Late),
                (Read(46), Slow(17_366)),
                (Read(47), Refuse(500)),
                (Write(59), Lose),
                (Read(49), Slow(5164)),
                (News(70), Late),
                (Write(63), Refuse(500)),
                (Write(64), Lose),
                (Write(68), Slow(5916)),
                (Read(54), Slow(2434)),
                (Read(55), Slow(15_052)),
            ]),
            behind: Vec::new(),
            customised: false,
        },
    );
}

/// A controller whose view of the Pod was older than the entry wrote its own, older entry in its place: the other one's
/// patch could still come, and stood in no ledger any more.
#[test]
fn an_entry_of_what_a_hook_keeps_down_is_not_set_back_by_an_old_view() {
    let mut set = set(2, json!({}));
    set["template"] = template("sized");
    set["minReadySeconds"] = 15.into();
    set["lifecycle"] = json!({"inPlaceUpdate": hook(false), "preDelete": hook(false), "preNormal": hook(true)});
    let lifecycle = set["lifecycle"].clone();
    let steps = vec![
        (0, CreateSet),
        (12_288, Step::Spec(json!({"lifecycle": null}))),
        (18_737, use_template("probe")),
        (
            19_562,
            Step::Spec(json!({
                "updateStrategy": {"rollingUpdate": {"inPlaceUpdateStrategy": {"gracePeriodSeconds": 0}}},
            })),
        ),
        (20_856, Step::Spec(json!({"lifecycle": lifecycle}))),
        (21_388, use_template("sized more")),
    ];
    holds(
        model,
        Script {
            seed: 179_613_512_383_721,
            swarm: Swarm {
                watch_lag_ms: 3000,
                broken_watch_per_mille: 10,
                kubelet_lag_ms: 20,
                status_lag_ms: 2000,
                slow_request_per_mille: 80,
                lost_answer_per_mille: 100,
                clocks_ms: [0, 40_000],
                ..calm(2, 300)
            },
            set,
            steps,
            peace_ms: 24_435,
            faults: Some(vec![
                (Write(5), Cut),
                (Write(11), Cut),
                (Write(12), Cut),
                (Read(10), Lose),
                (Write(21), Drop),
            ]),
            behind: Vec::new(),
            customised: false,
        },
    );
}
