//! What must hold of the writes that bring a Pod from one template to another, whatever the three are.

use std::collections::BTreeSet;

use asts::api::names;
use asts::control::cache::pod::PodObject;
use asts::inplace::env_annotations::move_to_annotations;
use asts::inplace::patch::{PatchParts, fence_patch, gate_patch, pod_patch, resize_note, resize_patch};
use asts::inplace::state::state_before_resize;
use asts::inplace::{Cluster, Contents, Decision, InPlacePatch, InPlaceState, Pace, Rules};
use asts::inplace::{next_state, should_do_in_place_update, with_defaults};
use asts::model::annotation_rules::RESTART_DEFAULT;
use asts::model::{Abilities, AnnotationRules, Patterns, PodFacts};
use serde_json::{Map, Value};

use super::checks::{pod, template};
use super::mutate::{Bytes, mutated, mutated_at};

const REVISION: &str = "two";
/// What of a template a running Pod may take.
const CHANGEABLE: [&str; 11] = [
    "/metadata/labels",
    "/metadata/annotations",
    "/spec/initContainers/0/image",
    "/spec/containers/0/image",
    "/spec/containers/0/env",
    "/spec/containers/0/env/0/value",
    "/spec/containers/0/resources",
    "/spec/containers/0/readinessProbe",
    "/spec/containers/0/volumeMounts",
    "/spec/volumes",
    "/spec/tolerations",
];

/// Two templates and a Pod, some of them spoilt. Where the Pod can be brought from the one to the other, what is written
/// is guarded and complete, and names nothing that is the same in both.
pub fn patches(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let choice = bytes.next();
    let rules = rules(choice);
    let mut spoilt = |is_chosen: bool, value: Value| if is_chosen { mutated(value, &mut bytes) } else { value };
    let old = spoilt(choice & 8 != 0, template("app:v1"));
    let pod = if rules.env_in_annotations { with_annotations(pod()) } else { pod() };
    let mut pod = spoilt(choice & 16 != 0, pod);
    let new = spoilt(choice & 32 != 0, old.clone());
    let mut new = mutated_at(new, &CHANGEABLE, &mut bytes);
    // An update of the image, and a Pod that has it already.
    for (is_chosen, object) in [(choice & 64 != 0, &mut new), (choice & 128 != 0, &mut pod)] {
        if let (true, Some(image)) = (is_chosen, object.pointer_mut("/spec/containers/0/image")) {
            *image = "app:v2".into();
        }
    }
    let Ok(facts) = serde_json::from_value::<PodObject>(pod.clone()).map(PodObject::whole) else { return };
    let now = "2026-02-01T00:00:00Z".parse().unwrap_or_default();
    for open in [true, false] {
        is_guarded(&gate_patch(&facts, open, now, "why"), &facts);
    }
    is_guarded(&fence_patch(&facts, now), &facts);
    let abilities = if choice & 4 == 0 { Abilities::customised() } else { Abilities::stock() };
    let cluster = Cluster { abilities: &abilities, in_place_only: false, rules: &rules, now };
    let contents = |template| Contents { template, claims: &["data"] };
    let Decision::Patch(update) = should_do_in_place_update(contents(&old), contents(&new), &facts, &cluster) else {
        return;
    };
    let state = (update.pace != Pace::Free).then(|| next_state(&facts, &update, REVISION, now));
    let tolerations = pod.pointer("/spec/tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let parts = PatchParts {
        old_template: &old,
        new_template: &new,
        update: &update,
        revision_hash: REVISION,
        state: state.as_ref(),
        tolerations: &tolerations,
    };
    let patch = pod_patch(&facts, parts);
    is_guarded(&patch, &facts);
    has_bookkeeping(&patch, &update);
    touches_only_known_metadata(&patch, &facts, &old, &new, &update);
    touches_only_what_differs(&patch, &facts, &with_defaults(&old), &with_defaults(&new));
    keeps_tolerations(&patch, &tolerations, &update);
    if let Some(resize) = resize_patch(&facts, &update) {
        is_guarded(&resize, &facts);
        resizes_only(&resize, &facts);
        if let Some(state) = state_before_resize(&facts, &update, now) {
            is_guarded(&resize_note(&facts, &state), &facts);
        }
    }
}

fn rules(choice: usize) -> Rules {
    let restart = if choice & 1 == 0 { Patterns::default() } else { Patterns::new(RESTART_DEFAULT) };
    let annotations = AnnotationRules { restart, injectors: Patterns::of_injectors([]) };
    Rules { annotations, env_in_annotations: choice & 2 != 0 }
}

/// The Pod as a set with `env: Annotations` makes it.
fn with_annotations(mut pod: Value) -> Value {
    let mut annotations = Map::new();
    if let Some(spec) = pod["spec"].as_object_mut() {
        move_to_annotations(spec, &mut annotations);
    }
    for (key, value) in annotations {
        pod["metadata"]["annotations"][key] = value;
    }
    pod
}

/// It is refused where the Pod is another one, or was changed since it was looked at.
pub fn is_guarded(patch: &Value, pod: &PodFacts) {
    let metadata = &patch["metadata"];
    assert_eq!(metadata["uid"], *pod.uid, "the UID: {patch}");
    assert_eq!(metadata["resourceVersion"], *pod.resource_version, "the resourceVersion: {patch}");
}

/// The revision's label, and what tells when the update is done.
fn has_bookkeeping(patch: &Value, update: &InPlacePatch) {
    assert_eq!(patch["metadata"]["labels"][names::REVISION_LABEL], REVISION, "the label: {patch}");
    let text = patch["metadata"]["annotations"].get(names::IN_PLACE_STATE_ANNOTATION);
    assert_eq!(text.is_some(), update.pace != Pace::Free, "bookkeeping: {patch}");
    let Some(text) = text.and_then(Value::as_str) else { return };
    let state = InPlaceState::parse(text);
    assert!(state.is_some(), "bookkeeping that cannot be read: {text}");
    let Some(state) = state else { return };
    assert_eq!(&*state.revision, REVISION, "the revision in {text}");
    for rebuild in &update.rebuild {
        assert!(state.containers.contains_key(&rebuild.container), "{} is not in {text}", rebuild.container);
    }
}

fn touches_only_known_metadata(patch: &Value, pod: &PodFacts, old: &Value, new: &Value, update: &InPlacePatch) {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    for (place, known) in
        [("", &["metadata", "spec"][..]), ("/metadata", &["uid", "resourceVersion", "labels", "annotations"])]
    {
        let found = fields(patch.pointer(place).unwrap_or(&Value::Null));
        assert!(found.keys().all(|field| known.contains(&field.as_str())), "fields beside {known:?}: {patch}");
    }
    let of = |template: &Value, map: &str, key: &str| -> Value {
        template.pointer("/metadata").and_then(|metadata| metadata.get(map)?.get(key)).cloned().unwrap_or_default()
    };
    for (key, value) in fields(&patch["metadata"]["labels"]).iter().filter(|(key, _)| *key != names::REVISION_LABEL) {
        let lost = pod.labels.get(key.as_str()).map(|held| &**held) != value.as_str();
        assert_eq!(*value, of(new, "labels", key), "label {key}");
        assert!(lost || *value != of(old, "labels", key), "label {key} is the same");
        assert!(
            ![names::POD_NAME_LABEL, names::POD_INDEX_LABEL].contains(&key.as_str()),
            "label {key} is the Pod's own"
        );
    }
    for (key, value) in fields(&patch["metadata"]["annotations"]) {
        if let Some(held) = update.env_annotations.get(&key) {
            assert_eq!(value, **held, "annotation {key}");
        } else if key != names::IN_PLACE_STATE_ANNOTATION {
            assert_eq!(value, of(new, "annotations", &key), "annotation {key}");
            assert!(value != of(old, "annotations", &key), "annotation {key} is the same");
            assert!(!names::is_own_pod_annotation(&key), "annotation {key} is the manager's own");
        }
    }
}

/// Entries of lists are there by their name, once each, with fields that the templates have otherwise.
fn touches_only_what_differs(patch: &Value, pod: &PodFacts, old: &Value, new: &Value) {
    let Some(spec) = patch.get("spec") else { return };
    for (field, value) in spec.as_object().into_iter().flatten().filter(|(field, _)| *field != "tolerations") {
        assert!(["containers", "initContainers", "volumes"].contains(&field.as_str()), "field {field}: {patch}");
        let is_container = field != "volumes";
        for (name, fields) in entries(value) {
            assert!(!is_container || has_container(pod, name), "the Pod has no container {name}: {patch}");
            assert!(fields.len() > 1, "nothing is said of {name}: {patch}");
            for (key, value) in fields.iter().filter(|(key, _)| *key != "name" && !key.starts_with('$')) {
                let place = |template: &Value| named(template, field, name).and_then(|entry| entry.get(key).cloned());
                if is_container && key == "image" {
                    let found = pod.containers.iter().find(|container| *container.name == *name);
                    assert!(found.is_some_and(|found| *value != *found.image), "{name} has the image: {patch}");
                } else if is_container {
                    assert!(place(old) != place(new), "{key} of {name} is the same in both: {patch}");
                }
            }
        }
    }
}

fn entries(list: &Value) -> Vec<(&str, &Map<String, Value>)> {
    let mut known = BTreeSet::new();
    let entries = list.as_array().into_iter().flatten().filter_map(|entry| {
        let fields = entry.as_object();
        assert!(fields.is_some(), "no object: {list}");
        let name = entry.get("name").and_then(Value::as_str);
        assert!(name.is_some_and(|name| known.insert(name)), "an entry without a name of its own: {list}");
        name.zip(fields)
    });
    entries.collect()
}

fn has_container(pod: &PodFacts, name: &str) -> bool {
    pod.containers.iter().any(|container| *container.name == *name)
}

fn named<'a>(template: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    template.get("spec")?.get(list)?.as_array()?.iter().find(|entry| entry.get("name").is_some_and(|it| it == name))
}

/// A list without keys is written as a whole: what the Pod has goes on in it.
fn keeps_tolerations(patch: &Value, tolerations: &[Value], update: &InPlacePatch) {
    let written = patch.pointer("/spec/tolerations").and_then(Value::as_array);
    assert_eq!(written.is_some(), !update.added_tolerations.is_empty(), "tolerations: {patch}");
    let Some(written) = written else { return };
    assert!(written.starts_with(tolerations), "the Pod's own tolerations: {patch}");
    assert!(update.added_tolerations.iter().all(|added| written.contains(added)), "added tolerations: {patch}");
}

/// `pods/resize` is asked for resources alone.
fn resizes_only(resize: &Value, pod: &PodFacts) {
    for (_, list) in resize["spec"].as_object().into_iter().flatten() {
        for (name, fields) in entries(list) {
            assert!(has_container(pod, name), "the Pod has no container {name}: {resize}");
            assert!(fields.keys().all(|key| key == "name" || key == "resources"), "beside resources: {resize}");
        }
    }
}
