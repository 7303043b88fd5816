//! Updates in place that a policy refuses which no dry run shows (422): nobody could foresee it, and no Pod may be lost or
//! kept out of service by it.

use serde_json::json;

use super::chaos::{NOT_IN_PLACE, Point};
use super::run::Outcome;
use super::script::{Script, Swarm, template};
use super::stories::{SECOND, script, set};
use super::sweep::{Layer, beside_twin, model, wire};
use super::workloads::{calm, use_template};

const LAYERS: [Layer; 2] = [model, wire];

/// From one template to another, in a world that refuses so many of a thousand updates in place.
fn update(policy: &str, [from, to]: [&str; 2], denied_in_place_per_mille: u32) -> Script {
    let mut set = set(3, json!({"podUpdatePolicy": policy}));
    set["template"] = template(from);
    let swarm = Swarm { denied_in_place_per_mille, ..calm(1, 5) };
    Script { peace_ms: 360 * SECOND, ..script(1, &swarm, &set, &[(60 * SECOND, use_template(to))]) }
}

/// How much more often a Pod was made or deleted than without the faults.
fn more(outcome: &Outcome, twin: &Outcome, verb: &'static str, ordinal: i64) -> u64 {
    let times = |outcome: &Outcome| outcome.counts.get(&(verb, format!("Pod web-{ordinal}"))).copied().unwrap_or(0);
    times(outcome) - times(twin)
}

#[test]
fn pods_that_may_not_be_updated_in_place_are_made_anew_once() {
    for layer in LAYERS {
        let outcome = layer(update("InPlaceIfPossible", ["A", "B"], 1000));
        assert_eq!(outcome.violation, None);
        let twin = layer(update("InPlaceIfPossible", ["A", "B"], 0));
        for ordinal in 0..3 {
            let more = ["create", "delete"].map(|verb| more(&outcome, &twin, verb, ordinal));
            assert_eq!(more, [1, 1], "web-{ordinal}");
        }
        assert!(outcome.in_place.len() <= 3, "they are tried at writes {:?}", outcome.in_place);
    }
}

#[test]
fn pods_that_may_only_be_updated_in_place_and_may_not_stay_as_they_are_and_serve() {
    for layer in LAYERS {
        let outcome = layer(update("InPlaceOnly", ["A", "B"], 1000));
        assert_eq!(outcome.violation, None);
        assert!(outcome.in_place.len() <= 3, "they are tried at writes {:?}", outcome.in_place);
        let settled = outcome.settled.join("\n");
        assert!(settled.contains("InPlaceUpdateBlocked True NotPossibleInPlace"), "{settled}");
        let old = outcome.settled.iter().filter(|line| {
            line.starts_with("Pod ") && line.contains("app:v1") && line.contains("ready Some(\"True\")")
        });
        assert_eq!(old.count(), 3, "{settled}");
    }
}

/// One refusal, and then no more: what may only be updated in place is, after a time, and the rest was made anew.
#[test]
fn a_policy_that_ends_is_forgotten() {
    for (layer, templates) in
        LAYERS.into_iter().flat_map(|layer| [(layer, ["A", "B"]), (layer, ["sized", "sized more"])])
    {
        for policy in ["InPlaceOnly", "InPlaceIfPossible"] {
            let calm = Script { peace_ms: 1500 * SECOND, faults: Some(Vec::new()), ..update(policy, templates, 0) };
            let twin = layer(calm.clone());
            assert!(!twin.in_place.is_empty());
            for place in &twin.in_place {
                let faults = Some(vec![(Point::Write(*place), NOT_IN_PLACE)]);
                let outcome = beside_twin(layer, false, Script { faults, ..calm.clone() });
                assert_eq!(outcome.violation, None, "{policy}, {templates:?}, write {place}");
                let deleted: u64 = (0..3).map(|ordinal| more(&outcome, &twin, "delete", ordinal)).sum();
                assert_eq!(deleted, u64::from(policy != "InPlaceOnly"), "{policy}, {templates:?}, write {place}");
            }
        }
    }
}
