//! Forecasts, from nothing and from what an earlier forecast ends with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{End, Forecast, Forecasted, What, within};
use crate::control::cache::set::SetObject;
use crate::control::cache::{SetKey, SetView, Store};
use crate::model::{Abilities, Snapshot, TemplateAnswer};
use crate::plan::Question;

const NOW: i64 = 1_800_000_000;

pub fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    target.as_object_mut().unwrap().remove(&key);
                } else {
                    merge(&mut target[key], value);
                }
            }
        }
        other => *target = other,
    }
}

pub fn spec(more: Value) -> Value {
    let mut spec = json!({
        "replicas": 5,
        "selector": {"matchLabels": {"app": "web"}},
        "podManagementPolicy": "Parallel",
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
        },
    });
    merge(&mut spec, more);
    spec
}

/// A set of which nothing exists yet.
fn new_set(spec: &Value) -> Snapshot {
    let object: SetObject = serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "set", "resourceVersion": "7", "generation": 1},
        "spec": spec,
    }))
    .unwrap();
    let mut store = Store::default();
    store.refresh(object);
    let view = store.view(&SetKey::new("shop", "web"), jiff::Timestamp::from_second(NOW).unwrap());
    let Some(SetView::Sound(mut snapshot)) = view else { panic!("{spec} is no set") };
    snapshot.abilities = Abilities::stock();
    *snapshot
}

/// The forecast, with every template as it is written.
pub fn run(snapshot: Snapshot) -> Forecast {
    run_within(snapshot, super::LOOKS_MAX)
}

pub fn run_within(snapshot: Snapshot, looks_max: usize) -> Forecast {
    run_denied(snapshot, &[], looks_max)
}

/// The same where these Pods take no update while they run.
fn run_denied(mut snapshot: Snapshot, pods: &[&str], looks_max: usize) -> Forecast {
    let denied: BTreeSet<Box<str>> = pods.iter().map(|name| snapshot.pods[*name].uid.clone()).collect();
    for _ in 0..10 {
        match within(&snapshot, denied.clone(), looks_max) {
            Forecasted::Known(forecast) => return *forecast,
            Forecasted::Ask(questions) => {
                for question in questions {
                    let Question::DefaultedTemplate { hash, .. } = question else { panic!("{question:?}") };
                    snapshot.answers.templates.insert(hash, TemplateAnswer::Unavailable);
                }
            }
        }
    }
    panic!("it asks for ever");
}

/// A set that has come up as this spec says.
pub fn settled(spec: &Value) -> Snapshot {
    run(new_set(spec)).last
}

/// The same after a merge patch of its spec.
pub fn changed(mut snapshot: Snapshot, spec: &Value) -> Snapshot {
    snapshot.set.spec = Arc::new(serde_json::from_value(spec.clone()).unwrap());
    snapshot.set.generation += 1;
    snapshot
}

fn change(before: &Value, patch: Value) -> Forecast {
    let mut after = before.clone();
    merge(&mut after, patch);
    run(changed(settled(before), &after))
}

pub fn image(tag: &str) -> Value {
    json!({"template": {"spec": {"containers": [{"name": "app", "image": format!("app:{tag}")}]}}})
}

fn rolling(fields: Value) -> Value {
    json!({"updateStrategy": {"rollingUpdate": fields}})
}

/// The waves as words: `4 3 | 2 1 | 0`.
fn waves(forecast: &Forecast) -> String {
    let wave = |wave: &super::Wave| wave.moves.iter().map(|one| one.ordinal.to_string()).collect::<Vec<_>>().join(" ");
    forecast.waves.iter().map(wave).collect::<Vec<_>>().join(" | ")
}

fn kinds(forecast: &Forecast) -> BTreeSet<What> {
    forecast.waves.iter().flat_map(|wave| &wave.moves).map(|one| one.what).collect()
}

fn reason(forecast: &Forecast, condition: &str) -> String {
    let found = forecast.conditions.iter().find(|one| one.type_ == condition);
    found.and_then(|one| one.reason.clone()).unwrap_or_default()
}

#[test]
fn a_new_set_is_made_at_once_or_in_order() {
    let parallel = run(new_set(&spec(json!({}))));
    assert_eq!((waves(&parallel).as_str(), kinds(&parallel)), ("0 1 2 3 4", [What::Create].into()));
    assert_eq!((parallel.end, reason(&parallel, "Progressing").as_str()), (End::Rests, "Complete"));
    let ordered = run(new_set(&spec(json!({"podManagementPolicy": "OrderedReady", "replicas": 3}))));
    assert_eq!(waves(&ordered), "0 | 1 | 2");
}

#[test]
fn an_image_goes_in_place_in_waves_of_the_budget() {
    let one = change(&spec(json!({})), image("v2"));
    assert_eq!((waves(&one).as_str(), kinds(&one)), ("4 | 3 | 2 | 1 | 0", [What::Containers].into()));
    assert!(one.waves[0].moves[0].why.contains("spec.containers[app].image"), "{:?}", one.waves[0]);
    let two = change(&spec(rolling(json!({"maxUnavailable": 2}))), image("v2"));
    assert_eq!(waves(&two), "4 3 | 2 1 | 0");
    let slow = change(&spec(rolling(json!({"maxUnavailable": 3, "minReadySeconds": 3000}))), image("v2"));
    assert_eq!(waves(&slow), "4 3 2 | 1 0");
    let graceful = spec(rolling(json!({"maxUnavailable": 3, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 90}})));
    assert_eq!(waves(&change(&graceful, image("v2"))), "4 3 2 | 1 0");
}

#[test]
fn a_static_field_re_creates_and_a_label_goes_at_once() {
    let command = json!({"template": {"spec": {"containers": [{"name": "app", "image": "app:v1", "command": ["x"]}]}}});
    let made_anew = change(&spec(json!({})), command);
    assert_eq!((waves(&made_anew).as_str(), kinds(&made_anew)), ("4 | 3 | 2 | 1 | 0", [What::Recreate].into()));
    assert!(made_anew.waves[0].moves[0].why.contains("command"), "{:?}", made_anew.waves[0]);
    let label = change(&spec(json!({})), json!({"template": {"metadata": {"labels": {"tier": "db"}}}}));
    assert_eq!((waves(&label).as_str(), kinds(&label)), ("4 3 2 1 0", [What::Metadata].into()));
}

#[test]
fn partition_pause_and_on_delete_hold_pods_back() {
    let partition = change(&spec(rolling(json!({"partition": 3}))), image("v2"));
    assert_eq!((waves(&partition).as_str(), reason(&partition, "Progressing").as_str()), ("4 | 3", "Partitioned"));
    let paused = change(&spec(rolling(json!({"paused": true}))), image("v2"));
    assert_eq!((waves(&paused).as_str(), reason(&paused, "Progressing").as_str()), ("", "Paused"));
    let by_hand = change(&spec(json!({"updateStrategy": {"type": "OnDelete"}})), image("v2"));
    assert_eq!((waves(&by_hand).as_str(), reason(&by_hand, "Progressing").as_str()), ("", "OnDelete"));
    let only = spec(rolling(json!({"podUpdatePolicy": "InPlaceOnly"})));
    let blocked = change(&only, json!({"template": {"spec": {"hostNetwork": true}}}));
    assert_eq!(
        (waves(&blocked).as_str(), reason(&blocked, "InPlaceUpdateBlocked").as_str()),
        ("", "NotPossibleInPlace")
    );
}

#[test]
fn scaling_makes_and_removes_pods_beside_an_update() {
    let up = change(&spec(json!({})), json!({"replicas": 7}));
    assert_eq!((waves(&up).as_str(), kinds(&up)), ("5 6", [What::Create].into()));
    let down = change(&spec(json!({"podManagementPolicy": "OrderedReady"})), json!({"replicas": 3}));
    assert_eq!((waves(&down).as_str(), kinds(&down)), ("4 | 3", [What::Remove].into()));
    let mut both = image("v2");
    both["replicas"] = json!(6);
    // The new Pod is not there yet, and uses the budget.
    assert_eq!(waves(&change(&spec(json!({})), both)), "5 | 4 | 3 | 2 | 1 | 0");
    let reserved = change(&spec(json!({})), json!({"reserveOrdinals": [1]}));
    assert_eq!((waves(&reserved).as_str(), kinds(&reserved)), ("5 | 1", [What::Create, What::Remove].into()));
}

#[test]
fn claims_that_are_made_and_grown_are_listed() {
    let sized =
        |size: &str| json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}]);
    let before = spec(json!({
        "replicas": 2,
        "volumeClaimTemplates": sized("1Gi"),
        "volumeClaimUpdateStrategy": {"type": "OnPodRollingUpdate"},
    }));
    let made = run(new_set(&before));
    let names: Vec<&str> = made.claims.iter().map(|claim| &*claim.claim).collect();
    assert_eq!(names, ["data-web-0", "data-web-1"]);
    let grown = change(&before, json!({"volumeClaimTemplates": sized("2Gi")}));
    let moves: Vec<_> = grown.claims.iter().map(|claim| (&*claim.claim, claim.made, claim.to_bytes)).collect();
    assert_eq!(moves, [("data-web-1", false, Some(1 << 31)), ("data-web-0", false, Some(1 << 31))]);
    assert_eq!(waves(&grown), "1 | 0");
}

#[test]
fn a_pod_that_cannot_run_is_mended_first_and_one_that_is_not_ready_holds_the_rest_up() {
    let before = spec(json!({}));
    let mut after = before.clone();
    merge(&mut after, image("v2"));
    let mut broken = settled(&before);
    let pod = Arc::make_mut(broken.pods.get_mut("web-1").unwrap());
    pod.ready = Some(crate::model::pod::ReadyFacts { status: false, since: pod.ready.unwrap().since });
    pod.containers_ready = false;
    pod.containers[0].waiting_reason = Some("CrashLoopBackOff".into());
    pod.containers[0].running = None;
    assert_eq!(waves(&run(changed(broken.clone(), &after))), "1 | 4 | 3 | 2 | 0");
    // Nothing changes for it, so nobody knows when it comes back.
    let mut scaled = before.clone();
    merge(&mut scaled, json!({"podManagementPolicy": "OrderedReady", "replicas": 6}));
    let stuck = run(changed(broken, &scaled));
    assert_eq!((waves(&stuck).as_str(), reason(&stuck, "Progressing").as_str()), ("", "WaitingForPods"));
}

#[test]
fn pods_that_only_need_time_are_waited_for() {
    let before = spec(json!({}));
    let just_up = |more: Value| {
        let mut after = before.clone();
        merge(&mut after, more);
        let mut snapshot = changed(settled(&before), &after);
        // The moment at which the last Pod has become Ready.
        snapshot.now = snapshot.pods.values().filter_map(|pod| pod.ready?.since).max().unwrap();
        snapshot
    };
    let slower = run(just_up(json!({"minReadySeconds": 10})));
    assert_eq!((waves(&slower), reason(&slower, "Progressing")), (String::new(), "Complete".into()));
    let mut both = image("v2");
    merge(&mut both, json!({"minReadySeconds": 10}));
    assert_eq!(waves(&run(just_up(both))), "4 | 3 | 2 | 1 | 0");
    let mut starting = just_up(image("v2"));
    let pod = Arc::make_mut(starting.pods.get_mut("web-2").unwrap());
    (pod.ready, pod.phase, pod.containers_ready) = (None, crate::model::PodPhase::Pending, false);
    pod.containers[0].running = None;
    assert_eq!(waves(&run(starting)), "4 | 3 | 2 | 1 | 0");
}

#[test]
fn lifecycle_hooks_are_taken_to_be_answered() {
    let held = spec(json!({
        "replicas": 3,
        "template": {"metadata": {"labels": {"app": "web", "hold": "true"}}},
        "lifecycle": {
            "inPlaceUpdate": {"labelsHandler": {"hold": "true"}, "markPodNotReady": true},
            "preDelete": {"labelsHandler": {"hold": "true"}},
        },
    }));
    let in_place = change(&held, image("v2"));
    assert_eq!((waves(&in_place).as_str(), kinds(&in_place)), ("2 | 1 | 0", [What::Containers].into()));
    assert!(in_place.hooks_answered);
    let anew = change(&held, json!({"template": {"spec": {"hostNetwork": true}}}));
    assert_eq!((waves(&anew).as_str(), kinds(&anew)), ("2 | 1 | 0", [What::Recreate].into()));
}

#[test]
fn images_that_are_pulled_first_do_not_change_the_waves() {
    let before = spec(rolling(json!({"inPlaceUpdateStrategy": {"prePull": true}})));
    let mut start = settled(&before);
    for pod in start.pods.values_mut() {
        Arc::make_mut(pod).node = Some("node-1".into());
    }
    let mut after = before.clone();
    merge(&mut after, image("v2"));
    let pulled = run(changed(start, &after));
    assert_eq!((waves(&pulled).as_str(), pulled.images_pulled), ("4 | 3 | 2 | 1 | 0", true));
}

#[test]
fn pods_that_a_policy_denies_stay_as_they_are_and_others_go_on() {
    let before = spec(json!({"replicas": 3}));
    let mut after = before.clone();
    merge(&mut after, json!({"replicas": 5, "template": {"metadata": {"labels": {"tier": "db"}}}}));
    let start = changed(settled(&before), &after);
    let denied = run_denied(start.clone(), &["web-0", "web-1", "web-2"], super::LOOKS_MAX);
    assert_eq!((waves(&denied).as_str(), kinds(&denied)), ("3 4", [What::Create].into()));
    assert_eq!(denied.end, End::Rests);
    let one = run_denied(start, &["web-1"], super::LOOKS_MAX);
    assert_eq!(kinds(&one), [What::Create, What::Metadata].into());
    assert!(one.waves.iter().flat_map(|wave| &wave.moves).all(|one| &*one.pod != "web-1"), "{:?}", one.waves);
    // A Pod whose gate is not even closed, in a set that is held as the manager holds it.
    let mut after = before.clone();
    merge(&mut after, image("v2"));
    let mut start = changed(settled(&before), &after);
    let hash = run(start.clone()).last.pods["web-2"].revision_label().into();
    let held = crate::model::snapshot::HeldUpdate::Denied { reason: "AdmissionDenied".into(), message: "no".into() };
    start.answers.held_updates.insert(hash, held);
    let held = run_denied(start, &["web-0", "web-1", "web-2"], super::LOOKS_MAX);
    assert_eq!((waves(&held).as_str(), reason(&held, "ReplicaFailure").as_str()), ("", "AdmissionDenied"));
}

#[test]
fn what_is_too_much_to_play_through_is_cut_short() {
    let before = spec(json!({"replicas": 60}));
    let mut after = before.clone();
    merge(&mut after, image("v2"));
    let start = changed(settled(&before), &after);
    let cut = run_within(start.clone(), 9000);
    assert_eq!(cut.end, End::CutShort);
    assert!((1..60).contains(&cut.waves.len()), "{} waves", cut.waves.len());
    assert_eq!(run(start).waves.len(), 60);
}

fn a_patch() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (1..4u8).prop_map(|tag| image(&format!("v{tag}"))),
        1 => (0..3u8).prop_map(|value| json!({"template": {"metadata": {"labels": {"tier": value.to_string()}}}})),
        1 => (0..3u8).prop_map(|value| json!({"template": {"metadata": {"annotations": {"checksum/x": value.to_string()}}}})),
        1 => (0..2u8).prop_map(|value| json!({"template": {"spec": {"priorityClassName": format!("p{value}")}}})),
        1 => (0..8i64).prop_map(|replicas| json!({"replicas": replicas})),
        1 => (1..4i64).prop_map(|budget| rolling(json!({"maxUnavailable": budget}))),
        1 => (0..5i64).prop_map(|partition| rolling(json!({"partition": partition}))),
        1 => any::<bool>().prop_map(|paused| rolling(json!({"paused": paused}))),
        1 => (0..4i64).prop_map(|ordinal| json!({"reserveOrdinals": [ordinal]})),
        1 => prop_oneof![Just("InPlaceIfPossible"), Just("ReCreate"), Just("InPlaceOnly")]
            .prop_map(|policy| rolling(json!({"podUpdatePolicy": policy}))),
        1 => Just(rolling(json!({"unorderedUpdate": {"priorityStrategy": {"weightPriority": [
            {"weight": 5, "matchSelector": {"matchLabels": {"apps.kubernetes.io/pod-index": "1"}}},
        ]}}}))),
    ]
}

/// Every Pod whose UID is the same was not re-created, and the other way round.
fn tells_the_truth(before: &Snapshot, forecast: &Forecast) {
    let mut told: BTreeMap<&str, BTreeSet<What>> = BTreeMap::new();
    for one in forecast.waves.iter().flat_map(|wave| &wave.moves) {
        told.entry(&one.pod).or_default().insert(one.what);
    }
    let is_told = |name: &str, what: What| told.get(name).is_some_and(|all| all.contains(&what));
    for (name, pod) in &before.pods {
        match forecast.last.pods.get(name) {
            Some(now) if now.uid == pod.uid => {
                assert!(!is_told(name, What::Recreate) && !is_told(name, What::Remove), "{name}: {told:?}");
                let moved = now.revision_label() != pod.revision_label();
                assert_eq!(moved, told.contains_key(&**name), "{name}: {told:?}");
            }
            Some(_) => assert!(is_told(name, What::Recreate), "{name} is another Pod: {told:?}"),
            None => assert!(is_told(name, What::Remove), "{name} is gone: {told:?}"),
        }
    }
    for name in forecast.last.pods.keys().filter(|name| !before.pods.contains_key(*name)) {
        assert!(is_told(name, What::Create), "{name} is new: {told:?}");
    }
}

/// What there is after so many steps.
fn in_the_middle(snapshot: Snapshot, steps: usize) -> Snapshot {
    let answers = run(snapshot.clone()).last.answers;
    let mut run = super::Run::new(&Snapshot { answers, ..snapshot });
    for _ in 0..steps {
        run.step();
    }
    run.finish(End::CutShort).last
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_changes_the_forecast_ends_tells_the_truth_and_keeps_the_budget(
        ordered in any::<bool>(),
        patches in proptest::collection::vec(a_patch(), 1..6),
    ) {
        let policy = if ordered { "OrderedReady" } else { "Parallel" };
        let mut wanted = spec(json!({"podManagementPolicy": policy}));
        let mut now = settled(&wanted);
        for patch in patches {
            merge(&mut wanted, patch);
            let before = changed(now, &wanted);
            let forecast = run(before.clone());
            prop_assert_eq!(forecast.end, End::Rests);
            tells_the_truth(&before, &forecast);
            let budget = wanted.pointer("/updateStrategy/rollingUpdate/maxUnavailable").and_then(Value::as_u64);
            for wave in &forecast.waves {
                let down = wave.moves.iter().filter(|one| matches!(one.what, What::Containers | What::Recreate)).count();
                prop_assert!(down as u64 <= budget.unwrap_or(1), "{:?}", wave);
                prop_assert!(wave.moves.iter().all(|one| one.what != What::Begun), "{:?}", wave);
            }
            let again = run(forecast.last.clone());
            prop_assert!(again.waves.is_empty(), "not all was told: {:?}", again.waves);
            now = forecast.last;
        }
    }

    #[test]
    fn a_change_in_the_middle_of_another_is_told_as_well(
        ordered in any::<bool>(),
        first in a_patch(),
        steps in 0..12usize,
        second in proptest::collection::vec(a_patch(), 0..3),
    ) {
        let policy = if ordered { "OrderedReady" } else { "Parallel" };
        let mut wanted = spec(json!({"podManagementPolicy": policy}));
        let start = settled(&wanted);
        merge(&mut wanted, first);
        let middle = in_the_middle(changed(start, &wanted), steps);
        for patch in second {
            merge(&mut wanted, patch);
        }
        let before = changed(middle, &wanted);
        let forecast = run(before.clone());
        prop_assert_eq!(forecast.end, End::Rests);
        tells_the_truth(&before, &forecast);
        prop_assert!(run(forecast.last.clone()).waves.is_empty());
    }
}
