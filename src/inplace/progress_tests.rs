use proptest::prelude::*;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::inplace::{Heard, samples};
use crate::model::Gate;
use crate::model::pod::Running;

const PATCHED: &str = "2026-01-01T00:01:00Z";
const SOON: &str = "2026-01-01T00:01:05Z";
/// After the grace period of 5 s and the kubelet's latency of 15 s.
const LATER: &str = "2026-01-01T00:01:20Z";

/// One container `app` that ran `X`, started with `app:A`, when it was patched; the spec now says
/// `app:B`, the kubelet has seen it, and the new container `Y` runs.
fn updated() -> PodFacts {
    PodFacts {
        generation: 3,
        observed_generation: Some(3),
        in_place_state: Some(state("X", "app:A")),
        containers: vec![ContainerFacts {
            name: "app".into(),
            image: "app:B".into(),
            container_id: Some("Y".into()),
            status_image: Some("docker.io/library/app:B".into()),
            running: Some(Running { since: Some(samples::time(SOON)) }),
            ..ContainerFacts::default()
        }],
        ..PodFacts::default()
    }
}

fn state(id: &str, image: &str) -> Box<str> {
    format!(
        r#"{{"revision":"r","patchedAt":"{PATCHED}","generation":3,"terminationGraceSeconds":5,"containers":{{"app":{{"containerID":"{id}","image":"{image}"}}}}}}"#
    )
    .into()
}

fn changed(change: impl FnOnce(&mut PodFacts, fn(&mut PodFacts) -> &mut ContainerFacts)) -> PodFacts {
    let mut pod = updated();
    change(&mut pod, |pod| &mut pod.containers[0]);
    pod
}

fn at(pod: &PodFacts, now: &str) -> Progress {
    progress(pod, samples::time(now))
}

fn waiting(pod: &PodFacts, now: &str) -> Waiting {
    match at(pod, now) {
        Progress::Waiting(waiting) => {
            assert!(waiting.why.contains("container app"), "{}", waiting.why);
            waiting
        }
        Progress::Done => panic!("not done"),
    }
}

#[test]
fn done() {
    assert_eq!(at(&updated(), SOON), Progress::Done);
    assert_eq!(at(&changed(|pod, _| pod.in_place_state = None), SOON), Progress::Done);
    // Servers before 1.34.
    assert_eq!(at(&changed(|pod, _| pod.observed_generation = None), SOON), Progress::Done);
}

#[test]
fn the_kubelet_has_not_seen_it() {
    let waits = waiting(&changed(|pod, _| pod.observed_generation = Some(2)), LATER);
    assert!(!waits.effect_seen);
    assert_eq!(waits.patched_at, Some(samples::time(PATCHED)));
}

#[test]
fn the_old_container_still_runs() {
    let waits = waiting(&changed(|pod, app| app(pod).container_id = Some("X".into())), LATER);
    assert!(!waits.effect_seen);
}

/// Also where the node shows the new image already: only another container is the update.
#[test]
fn the_image_alone_says_nothing() {
    let pod = changed(|pod, app| {
        app(pod).container_id = Some("X".into());
        app(pod).image_id = Some("docker.io/library/app@sha256:b".into());
    });
    assert!(!waiting(&pod, LATER).effect_seen);
}

/// It crashed and came back by itself on the old image before the kubelet saw the patch.
#[test]
fn a_crash_on_the_old_image_is_no_update() {
    let pod = changed(|pod, app| {
        app(pod).status_image = Some("app:A".into());
        app(pod).running = Some(Running { since: Some(samples::time("2026-01-01T00:00:59Z")) });
    });
    let waits = waiting(&pod, SOON);
    assert!(!waits.effect_seen);
    assert_eq!(waits.look_again_at, Some(samples::time(LATER)));
    assert_eq!(at(&pod, LATER), Progress::Done);
}

/// The node goes on showing the old name: the container started after the patch, and stays.
#[test]
fn a_new_tag_of_the_same_image_is_done_when_the_container_stays() {
    let pod = changed(|pod, app| app(pod).status_image = Some("app:A".into()));
    assert_eq!(waiting(&pod, SOON).look_again_at, Some(samples::time("2026-01-01T00:01:08Z")));
    assert_eq!(at(&pod, "2026-01-01T00:01:08Z"), Progress::Done);
}

/// The kubelet was starting it when the Pod was patched: it may be of the old spec, and be on its way out.
#[test]
fn one_that_was_about_to_start_is_done_when_an_old_one_would_have_ended() {
    let never_ran = state("X", "app:A").replace(r#""X""#, "null");
    let half_way = state("X", "app:A").replace(r#""image":"app:A""#, r#""image":"app:A","texts":{"app:C":""}"#);
    for record in [never_ran, half_way] {
        let pod = changed(|pod, app| {
            pod.in_place_state = Some(record.clone().into());
            app(pod).status_image = Some("app:A".into());
        });
        let ended = "2026-01-01T00:01:13Z";
        assert_eq!(waiting(&pod, "2026-01-01T00:01:08Z").look_again_at, Some(samples::time(ended)), "{record}");
        assert_eq!(at(&pod, ended), Progress::Done, "{record}");
    }
}

/// Its node was lost until long after it had started it, and heard of the patch when it came back.
#[test]
fn one_that_was_about_to_start_takes_its_time_from_when_its_kubelet_was_seen_to_have_heard() {
    let pod = changed(|pod, _| {
        pod.in_place_state = Some(state("X", "app:A").replace(r#""X""#, "null").into());
        pod.gate = Gate::Closed { since: None, reason: "".into() };
    });
    let seen = |heard: &mut Heard, pod: &PodFacts, now: &str| {
        let mut pods = BTreeMap::from([(pod.name.clone(), Arc::new(pod.clone()))]);
        heard.look(&mut pods, samples::time(now));
        pods.into_values().next().map(Arc::unwrap_or_clone).unwrap()
    };
    let mut heard = Heard::default();
    let unheard = PodFacts { observed_generation: Some(2), ..pod.clone() };
    assert_eq!(seen(&mut heard, &unheard, "2026-01-01T00:02:00Z").heard_since, None);
    let back = seen(&mut heard, &pod, "2026-01-01T00:03:00Z");
    let ended = "2026-01-01T00:03:05Z";
    assert_eq!(waiting(&back, "2026-01-01T00:03:04Z").look_again_at, Some(samples::time(ended)));
    assert_eq!(at(&seen(&mut heard, &pod, ended), ended), Progress::Done);
    // Nor is one that nobody knows taken for what is wanted before it would have ended.
    let unknown = state("Y", "app:A").replace(r#""image":"app:A""#, r#""image":"app:A","wanted":"new""#);
    let unknown = seen(
        &mut Heard::default(),
        &PodFacts { in_place_state: Some(unknown.into()), ..pod.clone() },
        "2026-01-01T00:03:00Z",
    );
    assert_eq!(waiting(&unknown, "2026-01-01T00:03:04Z").look_again_at, Some(samples::time(ended)));
    assert_eq!(at(&unknown, ended), Progress::Done);
    // A controller that has just been started has seen nothing yet; a clock that was set back is not waited for.
    assert_eq!(seen(&mut Heard::default(), &pod, ended).heard_since, Some(samples::time(ended)));
    assert_eq!(seen(&mut heard, &pod, "2026-01-01T00:01:30Z").heard_since, Some(samples::time("2026-01-01T00:01:30Z")));
    // Nothing is remembered of Pods that are in service.
    let open = PodFacts { gate: Gate::Open, ..pod };
    assert_eq!(seen(&mut heard, &open, ended).heard_since, None);
}

/// Nor does its image say what it is: a node shows any tag of an image. Unless nothing could be started at all.
#[test]
fn one_that_was_about_to_start_is_not_told_by_its_image() {
    let never_ran = state("X", "app:A").replace(r#""X""#, "null");
    let half_way = state("X", "app:A").replace(r#""image":"app:A""#, r#""image":"app:A","texts":{"app:C":""}"#);
    for record in [never_ran, half_way] {
        let of = |record: &str| changed(|pod, _| pod.in_place_state = Some(record.into()));
        assert!(!waiting(&of(&record), "2026-01-01T00:01:08Z").effect_seen, "{record}");
        let elsewhere = record.replace("app:A", "other:A").replace("app:C", "other:C");
        assert_eq!(at(&of(&elsewhere), SOON), Progress::Done, "{record}");
        let stuck = record.replace(r#""image":"app:A""#, r#""image":"app:A","stuck":true"#);
        assert_eq!(at(&of(&stuck), SOON), Progress::Done, "{record}");
    }
}

/// A grace period of minutes is not waited out for the sake of two tags that might be one image.
#[test]
fn one_that_shows_its_image_is_not_waited_for_longer_than_ten_seconds_more() {
    let pod = changed(|pod, _| {
        let record = state("X", "app:A").replace(r#""X""#, "null");
        pod.in_place_state =
            Some(record.replace(r#""terminationGraceSeconds":5"#, r#""terminationGraceSeconds":600"#).into());
    });
    let started = pod.containers[0].running.and_then(|running| running.since).unwrap();
    let settled = started + jiff::SignedDuration::from_secs(3 + 10);
    assert_eq!(waiting(&pod, "2026-01-01T00:01:05Z").look_again_at, Some(settled));
}

/// A kubelet starts one container after another, and hears of a patch after that.
#[test]
fn one_that_was_about_to_start_may_be_ended_after_the_last_was_started() {
    let pod = changed(|pod, app| {
        pod.in_place_state = Some(state("X", "app:A").replace(r#""X""#, "null").into());
        let mut other = app(pod).clone();
        other.name = "other".into();
        other.running = Some(Running { since: Some(samples::time("2026-01-01T00:02:00Z")) });
        pod.containers.push(other);
    });
    let ended = "2026-01-01T00:02:08Z";
    assert_eq!(waiting(&pod, "2026-01-01T00:02:01Z").look_again_at, Some(samples::time(ended)));
    assert_eq!(at(&pod, ended), Progress::Done);
}

#[test]
fn a_digest_is_seen_in_the_image_id() {
    let pod = changed(|pod, app| {
        app(pod).image = "app@sha256:b".into();
        app(pod).status_image = Some("sha256:77".into());
        app(pod).image_id = Some("docker.io/library/app@sha256:b".into());
    });
    assert_eq!(at(&pod, SOON), Progress::Done);
}

#[test]
fn started_and_ended_is_seen_but_not_done() {
    let pod = changed(|pod, app| {
        app(pod).running = None;
        app(pod).waiting_reason = Some("CrashLoopBackOff".into());
    });
    let waits = waiting(&pod, SOON);
    assert!(waits.effect_seen);
    assert!(waits.why.contains("CrashLoopBackOff"));
}

#[test]
fn an_image_that_cannot_be_pulled_is_not_seen() {
    let old = changed(|pod, app| {
        app(pod).container_id = Some("X".into());
        app(pod).running = None;
        app(pod).waiting_reason = Some("ImagePullBackOff".into());
    });
    assert!(waiting(&old, LATER).why.contains("ImagePullBackOff"));
    assert!(!waiting(&old, LATER).effect_seen);
    // The old one crashed once more before the kubelet saw the patch.
    let mut crashed = old;
    crashed.containers[0].container_id = Some("Y".into());
    crashed.containers[0].status_image = Some("app:A".into());
    assert!(!waiting(&crashed, LATER).effect_seen);
}

#[test]
fn turned_round() {
    let mut pod = changed(|pod, app| {
        app(pod).image = "docker.io/library/app:A".into();
        app(pod).container_id = Some("X".into());
    });
    assert_eq!(at(&pod, SOON), Progress::Done);
    pod.observed_generation = Some(2);
    assert!(!waiting(&pod, SOON).effect_seen);
    pod.observed_generation = Some(3);
    pod.containers[0].running = None;
    assert!(waiting(&pod, SOON).effect_seen);
}

/// Servers before 1.34 do not say whether the kubelet had begun to end it.
#[test]
fn turned_round_half_way_where_nobody_says_what_the_kubelet_saw() {
    let half_way = state("X", "app:A").replace(r#""image":"app:A""#, r#""image":"app:A","texts":{"app:B":""}"#);
    let mut pod = changed(|pod, app| {
        pod.in_place_state = Some(half_way.into());
        app(pod).image = "app:A".into();
        app(pod).container_id = Some("X".into());
    });
    assert_eq!(at(&pod, SOON), Progress::Done);
    pod.observed_generation = None;
    assert_eq!(waiting(&pod, SOON).look_again_at, Some(samples::time(LATER)));
    assert_eq!(at(&pod, LATER), Progress::Done);
}

/// The fields changed there and back, and the container in between came up: its image is the same.
#[test]
fn turned_round_half_way_by_fields_alone() {
    let there_and_back = r#""image":"app:A","started":"old","wanted":"old","texts":{"app:A":""}"#;
    let half_way = state("X", "app:A").replace(r#""image":"app:A""#, there_and_back);
    let mut pod = changed(|pod, app| {
        pod.in_place_state = Some(half_way.into());
        app(pod).image = "app:A".into();
        app(pod).status_image = Some("docker.io/library/app:A".into());
    });
    let settled = "2026-01-01T00:01:13Z";
    assert_eq!(waiting(&pod, SOON).look_again_at, Some(samples::time(settled)));
    assert_eq!(at(&pod, settled), Progress::Done);
    pod.containers[0].container_id = Some("X".into());
    assert_eq!(at(&pod, SOON), Progress::Done);
    pod.observed_generation = None;
    assert_eq!(waiting(&pod, SOON).look_again_at, Some(samples::time(LATER)));
}

/// Only the fields went back, to those that the container had been started with under another image.
#[test]
fn a_new_image_that_stood_there_with_other_fields_is_no_sign() {
    for (fields, is_sign) in [("old", true), ("new", false), ("", false)] {
        let texts =
            format!(r#""image":"app:A","started":"old","wanted":"old","texts":{{"app:A":"old","other:B":"{fields}"}}"#);
        let half_way = state("X", "app:A").replace(r#""image":"app:A""#, &texts);
        let pod = changed(|pod, app| {
            pod.in_place_state = Some(half_way.into());
            app(pod).image = "other:B".into();
            app(pod).status_image = Some("docker.io/library/other:B".into());
        });
        assert_eq!(at(&pod, SOON) == Progress::Done, is_sign, "{fields}");
    }
}

#[test]
fn a_container_that_had_never_run() {
    let never: Box<str> = state("X", "app:A").replace("\"X\"", "null").into();
    let started = changed(|pod, _| pod.in_place_state = Some(never.clone()));
    assert_eq!(at(&started, "2026-01-01T00:01:13Z"), Progress::Done);
    let still = changed(|pod, app| {
        pod.in_place_state = Some(never.clone());
        app(pod).container_id = None;
        app(pod).running = None;
    });
    assert!(!waiting(&still, LATER).effect_seen);
}

#[test]
fn the_container_that_has_not_started_is_named() {
    let pod = changed(|pod, app| {
        let mut other = app(pod).clone();
        other.name = "other".into();
        other.container_id = Some("X".into());
        app(pod).running = None;
        pod.containers.push(other);
        let app_record = r#""app":{"containerID":"X","image":"app:A"}"#;
        let both = format!("{app_record},{}", app_record.replace("\"app\"", "\"other\""));
        pod.in_place_state = Some(state("X", "app:A").replace(app_record, &both).into());
    });
    let Progress::Waiting(waits) = at(&pod, SOON) else { panic!("not done") };
    assert!(waits.why.starts_with("container other ") && !waits.effect_seen, "{waits:?}");
}

#[test]
fn malformed_bookkeeping() {
    let garbled = |change: fn(&mut PodFacts)| {
        changed(|pod, _| {
            pod.in_place_state = Some("{".into());
            change(pod);
        })
    };
    assert_eq!(at(&garbled(|_| ()), SOON), Progress::Done);
    assert_eq!(waiting(&garbled(|pod| pod.observed_generation = Some(2)), SOON).patched_at, None);
    assert!(waiting(&garbled(|pod| pod.containers[0].running = None), SOON).why.contains("does not run"));
}

proptest! {
    #![proptest_config(samples::cases(512))]

    #[test]
    fn never_done_while_the_recorded_container_shows(
        image in prop_oneof![Just("app:B"), Just("app"), Just("r.io/app:A")],
        status_image in proptest::option::of(prop_oneof![Just("app:A"), Just("app:B"), Just("sha256:1")]),
        runs in any::<bool>(),
        observed in proptest::option::of(1..5_i64),
        seconds in -100..100_000_i64,
    ) {
        let pod = changed(|pod, app| {
            app(pod).image = image.into();
            app(pod).status_image = status_image.map(Into::into);
            app(pod).container_id = Some("X".into());
            app(pod).running = runs.then_some(Running { since: None });
            pod.observed_generation = observed;
        });
        let now = samples::time(PATCHED).saturating_add(SignedDuration::from_secs(seconds)).unwrap();
        prop_assert!(matches!(progress(&pod, now), Progress::Waiting(waiting) if !waiting.effect_seen));
    }
}

/// `kubectl debug`, a resize, a toleration: long after the update somebody else changes the spec.
#[test]
fn a_later_change_by_others_does_not_undo_an_update() {
    let pod = changed(|pod, _| pod.generation = 4);
    assert_eq!(at(&pod, SOON), Progress::Done);
}
