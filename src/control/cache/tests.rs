//! Events go in, sets to look at come out, and a view shows what belongs to a set.

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::claim::{ClaimObject, quantity_bytes};
use super::pod::PodObject;
use super::revision::RevisionObject;
use super::set::SetObject;
use super::{Scope, SetKey, SetView, Store, Watched};
use crate::model::pod::is_newer;
use crate::model::{Gate, PodPhase, Snapshot};

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn set(name: &str, uid: &str) -> SetObject {
    read(json!({
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "resourceVersion": "5", "generation": 2,
                     "managedFields": [{"manager": "x"}]},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}}},
    }))
}

fn owner(uid: &str) -> Value {
    json!([{"apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet", "name": "web", "uid": uid,
            "controller": true}])
}

fn pod(name: &str, uid: &str, version: &str, owners: Value) -> PodObject {
    read(json!({
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "resourceVersion": version,
                     "ownerReferences": owners, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }))
}

fn native() -> Value {
    json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "native", "controller": true}])
}

fn keys(names: &[&str]) -> Vec<SetKey> {
    names.iter().map(|name| SetKey::new("shop", name)).collect()
}

fn event<W: Watched>(store: &mut Store, event: Event<W>) -> Vec<SetKey> {
    store.event(&Scope::All, event).into_iter().collect()
}

fn store_with_set() -> Store {
    let mut store = Store::default();
    assert_eq!(event(&mut store, Event::Apply(set("web", "u"))), keys(&["web"]));
    store
}

fn view(store: &Store, name: &str) -> Snapshot {
    match store.view(&SetKey::new("shop", name), Timestamp::UNIX_EPOCH) {
        Some(SetView::Sound(snapshot)) => *snapshot,
        other => panic!("no sound set: {other:?}"),
    }
}

/// Else somebody's label would make helpers of a set's own Pods, and helpers are removed.
#[test]
fn a_label_alone_makes_no_helper() {
    let mut pod = json!({
        "metadata": {
            "namespace": "shop", "name": "web-0", "uid": "h", "resourceVersion": "10", "labels": {"apps.asts.dev/pre-pull": "u"},
            "ownerReferences": [{
                "apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet", "name": "web", "uid": "u",
                "controller": true,
            }],
        },
        "spec": {"nodeName": "n", "containers": [{"name": "image-0", "image": "i"}]},
    });
    let is_helper =
        |pod: &Value| read::<PodObject>(pod.clone()).into_facts().is_some_and(|facts| facts.helper.is_some());
    assert!(!is_helper(&pod), "its controller is the set");
    pod["metadata"]["ownerReferences"][0]["controller"] = false.into();
    assert!(!is_helper(&pod), "its name is that of a Pod");
    pod["metadata"]["name"] = "web-x-pull".into();
    assert!(is_helper(&pod));
    pod["metadata"]["labels"]["apps.asts.dev/pre-pull"] = "x".into();
    assert!(!is_helper(&pod), "the label names another set");
}

#[test]
fn a_helper_is_none_of_the_sets_pods_and_tells_what_its_node_does() {
    let mut store = store_with_set();
    let helper = |version: &str, status: Value| -> PodObject {
        read(json!({
            "metadata": {
                "namespace": "shop", "name": "web-x-pull", "uid": "h", "resourceVersion": version,
                "labels": {"apps.asts.dev/pre-pull": "u"},
                "ownerReferences": [
                    {"apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet", "name": "web", "uid": "u"}],
            },
            "spec": {"nodeName": "n", "containers": [{"name": "image-0", "image": "i"}]},
            "status": status,
        }))
    };
    let state = |state: Value, image_id: &str| {
        json!({"containerStatuses": [{"name": "image-0", "image": "i", "imageID": image_id, "ready": false,
            "restartCount": 0, "state": state}]})
    };
    let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "why"}});
    for (version, status, pulled, error) in [
        ("10", state(waiting("ContainerCreating"), ""), false, None),
        ("11", state(waiting("ErrImagePull"), ""), false, Some("ErrImagePull: why")),
        ("12", state(json!({"terminated": {"reason": "ContainerStatusUnknown"}}), ""), false, None),
        ("13", state(json!({"terminated": {"reason": "StartError"}}), "sha256:1"), true, None),
        // As a node that only plays containers says it.
        ("14", state(json!({"running": {}}), ""), true, None),
    ] {
        assert_eq!(event(&mut store, Event::Apply(helper(version, status))), keys(&["web"]));
        let view = view(&store, "web");
        assert!(view.pods.is_empty() && view.orphans.is_empty() && view.foreign.is_empty());
        let facts = view.helpers["web-x-pull"].helper.clone().unwrap();
        assert_eq!((facts.images[0].pulled, facts.images[0].error.as_deref()), (pulled, error));
    }
    let rejected = json!({"phase": "Failed", "reason": "OutOfpods", "message": "no room"});
    event(&mut store, Event::Apply(helper("15", rejected)));
    let facts = view(&store, "web").helpers["web-x-pull"].helper.clone().unwrap();
    assert_eq!(facts.rejected.as_deref(), Some("OutOfpods: no room"));
}

/// A mirror's name in the Pod is no other image, and a container that admission added pulls nothing for us.
#[test]
fn a_helper_tells_of_the_images_that_it_was_made_for() {
    let status = json!({"terminated": {"reason": "StartError"}});
    let pod: PodObject = read(json!({
        "metadata": {
            "namespace": "shop", "name": "web-x-pull", "uid": "h", "resourceVersion": "10",
            "labels": {"apps.asts.dev/pre-pull": "u"},
            "annotations": {"apps.asts.dev/pre-pull-images": "[\"app:v2\",\"side:v3\"]"},
            "ownerReferences": [
                {"apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet", "name": "web", "uid": "u"}],
        },
        "spec": {"nodeName": "n", "containers": [
            {"name": "injected", "image": "proxy"}, {"name": "image-0", "image": "mirror/app:v2"},
            {"name": "image-1", "image": "mirror/side:v3"}]},
        "status": {"containerStatuses": [
            {"name": "image-1", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {}},
            {"name": "image-0", "image": "", "imageID": "sha256:1", "ready": false, "restartCount": 0, "state": status}]},
    }));
    let facts = pod.into_facts().unwrap();
    let images: Vec<_> =
        facts.helper.iter().flat_map(|helper| &helper.images).map(|it| (&*it.image, it.pulled)).collect();
    assert_eq!(images, [("app:v2", true), ("side:v3", false)]);
}

#[test]
fn a_view_parts_ours_from_nobodys_and_others() {
    let mut store = store_with_set();
    for (object, looked_at) in [
        (pod("web-0", "a", "10", owner("u")), true),
        (pod("web-1", "b", "11", json!([])), true),
        (pod("web-2", "c", "12", native()), true),
        (pod("web-3", "d", "13", owner("an older set of the name")), true),
        (pod("web-x", "e", "14", json!([])), false),
        (pod("other-0", "f", "15", json!([])), false),
        (pod("oddly-named", "g", "16", owner("u")), true),
    ] {
        let name = object.metadata.name.clone();
        let concerned = event(&mut store, Event::Apply(object));
        assert_eq!(concerned, if looked_at { keys(&["web"]) } else { vec![] }, "{name:?}");
    }
    let view = view(&store, "web");
    assert_eq!(view.pods.keys().map(|name| &**name).collect::<Vec<_>>(), ["oddly-named", "web-0"]);
    assert_eq!(view.orphans.keys().map(|name| &**name).collect::<Vec<_>>(), ["web-1"]);
    assert_eq!(view.foreign.keys().map(|name| &**name).collect::<Vec<_>>(), ["web-2", "web-3"]);
    assert!(view.foreign["web-2"].containers.is_empty(), "of others' Pods little is kept");
    assert_eq!(view.pods["web-0"].containers.len(), 1);
}

#[test]
fn a_list_is_seen_whole_or_not_at_all() {
    let mut store = store_with_set();
    event(&mut store, Event::Apply(pod("web-0", "a", "10", owner("u"))));
    event(&mut store, Event::Apply(pod("web-1", "b", "11", owner("u"))));
    assert!(!store.pods.is_synced(&Scope::All));
    event::<PodObject>(&mut store, Event::Init);
    assert_eq!(event(&mut store, Event::InitApply(pod("web-1", "b", "11", owner("u")))), []);
    event::<PodObject>(&mut store, Event::Init);
    event(&mut store, Event::InitApply(pod("web-0", "a", "10", owner("u"))));
    assert_eq!(view(&store, "web").pods.len(), 2, "half a list is not seen");
    assert_eq!(event::<PodObject>(&mut store, Event::InitDone), keys(&["web"]), "web-1 is gone");
    assert_eq!(view(&store, "web").pods.len(), 1);
    assert!(store.pods.is_dead("b") && store.pods.is_synced(&Scope::All));
    event::<PodObject>(&mut store, Event::Init);
    event(&mut store, Event::InitApply(pod("web-0", "a", "10", owner("u"))));
    assert_eq!(event::<PodObject>(&mut store, Event::InitDone), [], "nothing changed");
}

#[test]
fn a_list_of_one_namespace_leaves_the_others() {
    let mut store = store_with_set();
    event(&mut store, Event::Apply(pod("web-0", "a", "10", owner("u"))));
    let elsewhere = Scope::Namespace("elsewhere".into());
    store.event::<PodObject>(&elsewhere, Event::Init);
    store.event::<PodObject>(&elsewhere, Event::InitDone);
    assert_eq!(view(&store, "web").pods.len(), 1);
}

#[test]
fn a_pod_made_anew_unseen_is_noticed() {
    let mut store = store_with_set();
    event(&mut store, Event::Apply(pod("web-0", "a", "10", owner("u"))));
    assert_eq!(event(&mut store, Event::Apply(pod("web-0", "b", "20", json!([])))), keys(&["web"]));
    let seen = view(&store, "web");
    assert!(seen.pods.is_empty(), "the index follows the owner");
    assert_eq!(&*seen.orphans["web-0"].uid, "b");
    assert_eq!(event(&mut store, Event::Delete(pod("web-0", "a", "15", owner("u")))), [], "that was the other one");
    assert_eq!(view(&store, "web").orphans.len(), 1);
}

#[test]
fn what_is_older_or_dead_does_not_come_back() {
    let mut store = store_with_set();
    store.refresh(pod("web-0", "a", "100", owner("u")));
    assert_eq!(event(&mut store, Event::Apply(pod("web-0", "a", "99", owner("u")))), [], "the live read was newer");
    assert_eq!(event(&mut store, Event::Delete(pod("web-0", "a", "101", owner("u")))), keys(&["web"]));
    store.refresh(pod("web-0", "a", "100", owner("u")));
    assert!(view(&store, "web").pods.is_empty(), "a late answer does not bring back what is gone");
    store.refresh(pod("web-0", "b", "102", owner("u")));
    store.vanished::<PodObject>("shop", "web-0", "b");
    assert!(view(&store, "web").pods.is_empty());
}

#[test]
fn one_bad_set_does_not_hide_the_others() {
    let mut store = Store::default();
    event::<SetObject>(&mut store, Event::Init);
    event(&mut store, Event::InitApply(set("web", "u")));
    let bad = json!({"metadata": {"namespace": "shop", "name": "bad", "uid": "v", "resourceVersion": "6"},
                     "spec": {"replicas": "three"}});
    event(&mut store, Event::InitApply(read::<SetObject>(bad)));
    assert_eq!(event::<SetObject>(&mut store, Event::InitDone), keys(&["bad", "web"]));
    assert_eq!(view(&store, "web").set.generation, 2);
    match store.view(&SetKey::new("shop", "bad"), Timestamp::UNIX_EPOCH) {
        Some(SetView::Poisoned(poisoned)) => assert!(poisoned.message.contains("spec"), "{}", poisoned.message),
        other => panic!("it should be known as bad: {other:?}"),
    }
    assert_eq!(event(&mut store, Event::Apply(pod("bad-0", "p", "7", owner("v")))), keys(&["bad"]));
}

#[test]
fn a_claim_is_found_by_every_set_that_may_mean_it() {
    let mut store = Store::default();
    for name in ["web", "my-web", "b"] {
        event(&mut store, Event::Apply(set(name, name)));
    }
    let claim: ClaimObject = read(json!({
        "metadata": {"namespace": "shop", "name": "data-my-web-0", "uid": "c", "resourceVersion": "9",
                     "annotations": {"apps.asts.dev/set": "my-web", "x": "y"}},
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        "status": {"capacity": {"storage": "1.5Gi"}},
    }));
    assert_eq!(event(&mut store, Event::Apply(claim)), keys(&["my-web", "web"]));
    let held = &view(&store, "my-web").claims["data-my-web-0"];
    assert_eq!((held.requested_bytes, held.capacity_bytes), (Some(1 << 30), Some(3 << 29)));
    assert_eq!(held.made_for.as_deref(), Some("my-web"));
    assert!(view(&store, "b").claims.is_empty());
}

#[test]
fn revisions_are_ours_or_orphans_that_match() {
    let mut store = store_with_set();
    event(&mut store, Event::Apply(set("db", "w")));
    let revision = |name: &str, owners: Value, app: &str| -> RevisionObject {
        read(json!({"metadata": {"namespace": "shop", "name": name, "uid": name, "resourceVersion": "9",
                                 "labels": {"app": app}, "ownerReferences": owners}, "revision": 3, "data": {"a": 1}}))
    };
    assert_eq!(event(&mut store, Event::Apply(revision("web-abc", owner("u"), "web"))), keys(&["web"]));
    event(&mut store, Event::Apply(revision("web-def", json!([]), "web")));
    event(&mut store, Event::Apply(revision("web-ghi", native(), "web")));
    let names = |name: &str| view(&store, name).revisions.iter().map(|held| held.hash.to_string()).collect::<Vec<_>>();
    assert_eq!(names("web"), ["abc", "def"]);
    assert!(names("db").is_empty());
    assert_eq!(store.revisions.len(), 2, "those of other kinds are not kept");
}

#[test]
fn what_the_kubelet_says_is_read() {
    let object: PodObject = read(json!({
        "metadata": {"namespace": "shop", "name": "web-0", "uid": "a", "resourceVersion": "1", "generation": 4,
                     "labels": null, "annotations": {"apps.asts.dev/inplace-update-state": "{}"},
                     "deletionTimestamp": "2026-01-02T03:04:05Z", "ownerReferences": owner("u")},
        "spec": {"nodeName": "n", "readinessGates": [{"conditionType": "InPlaceUpdateReady"}],
                 "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always"}, {"name": "o", "image": "y"}],
                 "containers": [{"name": "c", "image": "z"}]},
        "status": {"phase": "Running", "observedGeneration": 3,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"},
                           {"type": "InPlaceUpdateReady", "status": "False", "reason": "ContainerRebuilding"}],
            "containerStatuses": [{"name": "c", "image": "z", "imageID": "sha", "containerID": "containerd://1",
                "ready": true, "restartCount": 2, "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}],
            "initContainerStatuses": [{"name": "o", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "PodInitializing"}}}]},
    }));
    let facts = object.whole();
    assert_eq!((facts.generation, facts.observed_generation, facts.phase), (4, Some(3), PodPhase::Running));
    assert!(facts.is_ready_condition() && facts.is_terminating());
    assert!(matches!(&facts.gate, Gate::Closed { reason, .. } if &**reason == "ContainerRebuilding"));
    assert_eq!(facts.in_place_state.as_deref(), Some("{}"));
    let names: Vec<_> = facts.containers.iter().map(|container| (&*container.name, container.kind)).collect();
    use crate::model::ContainerKind::{Init, Main, RestartableInit};
    assert_eq!(names, [("i", RestartableInit), ("o", Init), ("c", Main)]);
    assert_eq!(facts.containers[1].waiting_reason.as_deref(), Some("PodInitializing"));
    assert_eq!(facts.containers[1].status_image, None);
    assert_eq!(facts.containers[2].container_id.as_deref(), Some("containerd://1"));
    assert!(facts.containers[2].running.is_some());
}

#[test]
fn versions_are_numbers() {
    assert!(is_newer("10", "9") && is_newer("100", "99") && !is_newer("9", "10") && !is_newer("9", "9"));
}

#[test]
fn quantities_are_bytes() {
    for (text, bytes) in [
        ("1Gi", Some(1 << 30)),
        ("1.5Gi", Some(3 << 29)),
        ("500M", Some(500_000_000)),
        ("1e3", Some(1000)),
        ("0.5", Some(1)),
        ("100m", Some(1)),
        ("12", Some(12)),
        ("1X", None),
        ("", None),
        ("-1", None),
    ] {
        assert_eq!(quantity_bytes(text), bytes, "{text}");
    }
}
