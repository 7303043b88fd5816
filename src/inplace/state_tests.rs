use proptest::prelude::*;

use super::*;
use crate::inplace::Rebuild;
use crate::inplace::samples;
use crate::model::pod::Running;

const PATCHED: &str = "2026-01-01T00:01:00Z";

/// A Pod with one container, which had `record` and now shows the rest.
fn pod(record: Option<(Option<&str>, &str)>, spec_image: &str, id: Option<&str>, status_image: &str) -> PodFacts {
    let state = record.map(|(id, image)| {
        let record = ContainerRecord {
            container_id: id.map(Into::into),
            image: image.into(),
            started: None,
            wanted: None,
            texts: BTreeMap::new(),
            stuck: false,
        };
        InPlaceState {
            revision: "old".into(),
            patched_at: samples::time(PATCHED),
            unready_since: None,
            generation: 3,
            termination_grace_seconds: 5,
            containers: [("app".into(), record)].into(),
            resized: BTreeMap::new(),
            needs: Vec::new(),
            resizing: None,
        }
        .to_json()
        .into()
    });
    PodFacts {
        generation: 3,
        observed_generation: Some(3),
        in_place_state: state,
        containers: vec![ContainerFacts {
            name: "app".into(),
            image: spec_image.into(),
            container_id: id.map(Into::into),
            status_image: Some(status_image.into()),
            running: id.map(|_| Running { since: None }),
            ..ContainerFacts::default()
        }],
        ..PodFacts::default()
    }
}

/// An update of the image of `app`, and of nothing else.
fn to_image(image: &str) -> InPlacePatch {
    to(Some(image), "F", "F")
}

fn to(image: Option<&str>, old_fields: &str, new_fields: &str) -> InPlacePatch {
    let rebuild = Rebuild {
        container: "app".into(),
        image: image.map(Into::into),
        old_fields: old_fields.into(),
        new_fields: new_fields.into(),
    };
    InPlacePatch { rebuild: vec![rebuild], ..InPlacePatch::default() }
}

fn next(pod: &PodFacts, image: &str) -> Option<(Option<String>, String)> {
    let now = samples::time("2026-01-01T00:01:03.5Z");
    let state = next_state(pod, &to_image(image), "new", now);
    assert_eq!((&*state.revision, state.patched_at), ("new", samples::time("2026-01-01T00:01:03Z")));
    let record = state.containers.get("app")?;
    Some((record.container_id.as_deref().map(str::to_owned), record.image.to_string()))
}

fn record(id: &str, image: &str) -> Option<(Option<String>, String)> {
    Some((Some(id.to_owned()), image.to_owned()))
}

#[test]
fn the_first_patch() {
    assert_eq!(next(&pod(None, "app:A", Some("X"), "app:A"), "app:B"), record("X", "app:A"));
    assert_eq!(next(&pod(None, "app:A", None, ""), "app:B"), Some((None, "app:A".to_owned())));
}

#[test]
fn after_an_update_that_was_done() {
    let done = pod(Some((Some("X"), "app:A")), "app:B", Some("Y"), "app:B");
    assert_eq!(next(&done, "app:C"), record("Y", "app:B"));
}

/// Half done: what the container was started with is kept, not what the spec asked for.
#[test]
fn the_old_container_still_shows() {
    let half = pod(Some((Some("X"), "app:A")), "app:B", Some("X"), "app:A");
    assert_eq!(next(&half, "app:A"), record("X", "app:A"));
    assert_eq!(next(&half, "app:C"), record("X", "app:A"));
}

/// The container crashed and came back on the old image before the kubelet saw the patch.
#[test]
fn a_crash_on_the_old_image() {
    let crashed = pod(Some((Some("X"), "app:A")), "app:B", Some("Y"), "docker.io/library/app:A");
    assert_eq!(next(&crashed, "app:A"), record("Y", "app:A"));
}

/// The new image crashes: the update is not done, and still the container was started with it.
#[test]
fn a_crash_on_the_new_image() {
    let mut crashed = pod(Some((Some("X"), "app:A")), "app:B", Some("Y"), "app:B");
    crashed.containers[0].running = None;
    assert_eq!(next(&crashed, "app:A"), record("Y", "app:B"));
}

/// An alias of the old image counts as the new one once the update is done.
#[test]
fn an_alias_of_the_old_image_is_the_new_one_when_done() {
    let mut alias = pod(Some((Some("X"), "app:A")), "app:B", Some("Y"), "app:A");
    let text = alias.in_place_state.take().unwrap().replace("00:01:00Z", "00:00:30Z");
    alias.in_place_state = Some(text.into());
    assert_eq!(next(&alias, "app:A"), record("Y", "app:B"));
}

#[test]
fn turned_round_and_settled_in_the_same_container() {
    let back = pod(Some((Some("X"), "app:A")), "docker.io/library/app:A", Some("X"), "app:A");
    assert_eq!(next(&back, "app:B"), record("X", "docker.io/library/app:A"));
}

#[test]
fn containers_that_are_not_rebuilt_keep_their_records() {
    let half = pod(Some((Some("X"), "app:A")), "app:B", Some("X"), "app:A");
    let state = next_state(&half, &InPlacePatch::default(), "new", samples::time(PATCHED));
    assert_eq!(state.containers.len(), 1);
    let untouched = pod(None, "app:A", Some("X"), "app:A");
    assert!(next_state(&untouched, &InPlacePatch::default(), "new", samples::time(PATCHED)).containers.is_empty());
}

#[test]
fn an_image_that_cannot_be_pulled_is_noted() {
    let mut waits = pod(None, "app:A", None, "");
    let is_stuck =
        |pod: &PodFacts| next_state(pod, &to_image("app:B"), "new", samples::time(PATCHED)).containers["app"].stuck;
    assert!(!is_stuck(&waits));
    waits.containers[0].waiting_reason = Some("ErrImagePull".into());
    assert!(is_stuck(&waits));
    waits.observed_generation = Some(2);
    assert!(!is_stuck(&waits));
}

/// One tag of the image may be shown as another: nobody knows which of them it was started with.
#[test]
fn half_way_a_tag_of_the_same_repository_says_nothing() {
    let started = |old_image: &str, shown: &str| {
        let mut pod = pod(Some((Some("X"), old_image)), "app:B", Some("Y"), shown);
        let known = pod.in_place_state.take().unwrap();
        let fields = format!(r#""image":"{old_image}","started":"F","wanted":"F""#);
        pod.in_place_state = Some(known.replace(&format!(r#""image":"{old_image}""#), &fields).into());
        pod.containers[0].running = None;
        next_state(&pod, &to_image("app:C"), "new", samples::time(PATCHED)).containers["app"].started.clone()
    };
    assert_eq!(started("app:A", "app:A"), None);
    assert_eq!(started("app:A", "app:B"), None);
    assert_eq!(started("other:A", "other:A"), Some("F".into()));
    assert_eq!(started("other:A", "app:B"), Some("F".into()));
}

#[test]
fn what_is_written_can_be_read() {
    let half = pod(Some((Some("X"), "app:A")), "app:B", Some("X"), "app:A");
    let state = next_state(&half, &InPlacePatch::default(), "new", samples::time(PATCHED));
    assert_eq!(InPlaceState::parse(&state.to_json()), Some(state));
}

/// The form that the annotation was first given.
#[test]
fn the_form_is_stable() {
    let text = r#"{"revision":"7d","patchedAt":"2026-01-01T00:01:00Z","containers":{"app":{"containerID":"X","image":"a"},"b":{"containerID":null,"image":"b"}}}"#;
    let state = InPlaceState::parse(text).unwrap();
    assert_eq!(state.termination_grace_seconds, 30);
    assert_eq!(state.containers["app"].container_id.as_deref(), Some("X"));
    assert_eq!(state.containers["b"].container_id, None);
}

proptest! {
    #![proptest_config(samples::cases(256))]

    #[test]
    fn malformed_text_is_none_or_state(text in "[{}\\[\\]\":a-z0-9, -]{0,40}") {
        prop_assert!(InPlaceState::parse(&text).is_none());
    }
}

/// Half way: the resize was made, the rest was not. The kubelet may have restarted the container.
#[test]
fn a_container_that_was_resized_before_the_rest_of_its_update_may_be_either() {
    use crate::inplace::Entry;
    use crate::inplace::operations::Operation;
    use crate::model::FieldKind;
    let pod = pod(None, "app:A", Some("X"), "app:A");
    let now = samples::time(PATCHED);
    let mut update = to(None, "F", "G");
    update.resized = vec![("app".into(), Resources::default())];
    let started = |update: &InPlacePatch| next_state(&pod, update, "new", now).containers["app"].started.clone();
    assert_eq!(started(&update), None);
    let entry = Entry { list: "containers", name: "app".into() };
    update.resize = vec![Operation { needs: Some(FieldKind::Resize), entry, fields: serde_json::Map::new() }];
    assert_eq!(started(&update), Some("F".into()));
}
