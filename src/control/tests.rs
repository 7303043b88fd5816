//! A reconciler over a connection whose far end is a function.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::abilities::{AbilityCache, InPlace};
use super::backoff::Chance;
use super::cache::pod::PodObject;
use super::cache::set::SetObject;
use super::cache::{SetKey, SetView, SharedStore};
use super::client::Apiserver;
use super::clock::Clock;
use super::error::Failure;
use super::events;
use super::gate::WriteGate;
use super::memory::SetMemory;
use super::metrics::Metrics;
use super::queue::{Next, Queue, Verdict};
use super::reconcile::{Reconciler, Rules};
use crate::api::names;
use crate::model::{Can, FieldKind, Patterns, SetFacts, Snapshot};
use crate::plan::Question;
use crate::plan::action::{Action, PatchWhy, Resize, RevisionAction, Target};

/// What was sent: `GET /api/v1/...`.
type Sent = Arc<Mutex<Vec<String>>>;

fn reconciler(answer: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> (Reconciler, Sent) {
    let sent = Sent::default();
    let (noted, answer) = (Arc::clone(&sent), Arc::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let call = format!("{} {}", request.method(), request.uri().path());
        let (code, body) = answer(&call);
        noted.lock().unwrap().push(call);
        async move { Response::builder().status(code).body(Body::from(body.to_string().into_bytes())) }
    });
    let metrics = Arc::new(Metrics::default());
    let client = kube::Client::new(service, "default");
    let gate = Arc::new(WriteGate::always_open());
    let apiserver = Apiserver::new(client, gate, Arc::clone(&metrics), Clock::system(), Chance::of_seed(1));
    let apiserver = Arc::new(apiserver);
    let (events, _) = events::channel(Arc::clone(&apiserver), Arc::clone(&metrics), "test".to_owned());
    let queue = Arc::new(Queue::new(Arc::clone(&metrics), Chance::of_seed(1)));
    let rules = Rules {
        abilities: Arc::new(AbilityCache::new(InPlace::Stock)),
        injectors: Patterns::of_injectors([]),
        planner: Arc::new(crate::plan::plan),
    };
    (Reconciler::new(apiserver, Arc::new(SharedStore::default()), queue, events, metrics, rules), sent)
}

fn snapshot(reconciler: &Reconciler) -> Snapshot {
    let set: SetObject = serde_json::from_value(set_object()).unwrap();
    let mut store = reconciler.store.lock();
    store.refresh(set);
    let view = store.view(&SetKey::new("default", "web"), jiff::Timestamp::UNIX_EPOCH);
    let Some(SetView::Sound(snapshot)) = view else { panic!("it is a set") };
    *snapshot
}

fn set_object() -> Value {
    json!({
        "metadata": {"namespace": "default", "name": "web", "uid": "set", "resourceVersion": "7", "generation": 1},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
            },
        },
    })
}

fn set(reconciler: &Reconciler) -> SetFacts {
    snapshot(reconciler).set
}

fn pod(name: &str, uid: &str, resource_version: &str) -> Value {
    let owner = json!({
        "apiVersion": names::API_VERSION, "kind": names::KIND, "name": "web", "uid": "set", "controller": true,
    });
    json!({
        "metadata": {
            "namespace": "default", "name": name, "uid": uid, "resourceVersion": resource_version,
            "labels": {"app": "web", "controller-revision-hash": "unknown"}, "ownerReferences": [owner],
        },
        "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
        "status": {"phase": "Running"},
    })
}

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "details": {}, "code": code,
    });
    (code, status)
}

fn not_found(message: &str) -> (u16, Value) {
    failure(404, "NotFound", message)
}

fn forbidden() -> (u16, Value) {
    failure(403, "Forbidden", "not allowed")
}

fn resize() -> Action {
    Action::PatchPod {
        ordinal: 0,
        target: Target { name: "web-0".into(), uid: "u".into(), resource_version: "1".into() },
        why: PatchWhy::InPlace,
        revision: "hash".into(),
        resize: Some(Box::new(Resize { note: None, patch: json!({}) })),
        patch: Box::new(json!({"metadata": {}})),
        reason: String::new(),
    }
}

#[tokio::test]
async fn a_cluster_without_resizes_is_not_taken_for_a_pod_that_is_gone() {
    let (reconciler, _) = reconciler(|call| match call {
        "GET /api/v1/namespaces/default/pods/web-0" => (200, pod("web-0", "u", "1")),
        _ => not_found("the server could not find the requested resource"),
    });
    let action = resize();
    let done = reconciler.act(&set(&reconciler), &action).await;
    assert!(matches!(reconciler.abilities.abilities().of(FieldKind::Resize, None), Can::No(_)));
    assert_eq!(done.result.unwrap_err().failure, Failure::Conflict);
    assert!(done.shows.is_empty(), "nothing was done that the cache could show: {:?}", done.shows);
}

#[tokio::test]
async fn a_pod_that_is_gone_or_another_says_nothing_of_resizes() {
    for other in [None, Some("another")] {
        let (reconciler, _) = reconciler(move |call| match (call, other) {
            ("GET /api/v1/namespaces/default/pods/web-0", Some(uid)) => (200, pod("web-0", uid, "3")),
            _ => not_found("pods \"web-0\" not found"),
        });
        let action = resize();
        let done = reconciler.act(&set(&reconciler), &action).await;
        assert_eq!(reconciler.abilities.abilities().of(FieldKind::Resize, None), Can::Yes);
        assert_eq!(done.result.unwrap_err().failure, Failure::NotFound);
        assert_eq!(done.shows.len(), 1);
    }
}

#[tokio::test]
async fn whole_pods_are_read_again_only_when_they_have_changed() {
    let version = Arc::new(Mutex::new("1".to_owned()));
    let served = Arc::clone(&version);
    let (reconciler, sent) = reconciler(move |call| match call.strip_prefix("GET /api/v1/namespaces/default/pods/") {
        Some("web-3") => (200, pod("web-3", "uid-web-3", &served.lock().unwrap())),
        Some(name) => (200, pod(name, &format!("uid-{name}"), "1")),
        None => not_found("controllerrevisions.apps \"web-unknown\" not found"),
    });
    let mut memory = SetMemory::of("set");
    let mut reads_of_a_look = async |version: &str| {
        let mut seen = snapshot(&reconciler);
        for ordinal in 0..20 {
            let name = format!("web-{ordinal}");
            let version = if ordinal == 3 { version } else { "1" };
            let object: PodObject = serde_json::from_value(pod(&name, &format!("uid-{name}"), version)).unwrap();
            seen.pods.insert(name.into(), Arc::new(object.whole()));
        }
        memory.whole_pods.keep_only(&seen.pods);
        let ask =
            |pod: &Arc<crate::model::PodFacts>| Question::WholePod { name: pod.name.clone(), uid: pod.uid.clone() };
        let questions: Vec<Question> = seen.pods.values().map(ask).collect();
        sent.lock().unwrap().clear();
        reconciler.answer(&questions, &mut seen, &mut memory).await.unwrap();
        assert_eq!(seen.answers.whole_pods.len(), 20);
        let whole = &seen.answers.whole_pods["uid-web-3"];
        assert_eq!(whole.pointer("/metadata/resourceVersion").unwrap().as_str(), Some(version));
        let sent = sent.lock().unwrap();
        let pods = sent.iter().filter(|call| call.contains("/pods/")).count();
        (pods, sent.len() - pods)
    };
    assert_eq!(reads_of_a_look("1").await, (20, 1), "and once for the revision that all name");
    assert_eq!(reads_of_a_look("1").await, (0, 1));
    *version.lock().unwrap() = "2".to_owned();
    assert_eq!(reads_of_a_look("2").await, (1, 1));
}

/// A right that is missing for a while is no event that anything would come after.
#[tokio::test]
async fn a_question_that_is_refused_is_asked_again() {
    let (reconciler, sent) = reconciler(|_| forbidden());
    drop(set(&reconciler));
    let object: PodObject = serde_json::from_value(pod("web-0", "u", "1")).unwrap();
    reconciler.store.lock().refresh(object);
    let verdict = reconciler.reconcile(&SetKey::new("default", "web")).await;
    assert_eq!(verdict, Verdict::BACKOFF);
    let sent = sent.lock().unwrap();
    assert!(sent.iter().any(|call| call.contains("GET") && call.contains("web-unknown")), "{sent:?}");
}

fn revisions_are_refused(call: &str) -> (u16, Value) {
    match call {
        "POST /apis/apps/v1/namespaces/default/controllerrevisions" => forbidden(),
        _ if call.starts_with("PUT ") => (200, set_object()),
        _ => not_found("the server could not find the requested resource"),
    }
}

/// Whatever brings the next look, it is not tried again before its pause is over.
#[tokio::test(start_paused = true)]
async fn a_revision_that_is_refused_pauses_longer_each_time() {
    let (reconciler, sent) = reconciler(revisions_are_refused);
    drop(set(&reconciler));
    for _ in 0..1000 {
        let verdict = reconciler.reconcile(&SetKey::new("default", "web")).await;
        let looks_again = verdict.next != Next::Rest || verdict.wake_after.is_some_and(|after| after.as_secs() < 20);
        assert!(looks_again, "{verdict:?}");
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    let tries =
        sent.lock().unwrap().iter().filter(|call| call.starts_with("POST") && call.contains("revisions")).count();
    assert!((6..9).contains(&tries), "{tries} in 50 s: 0.5, 1, 2, 4, 8 and then 15 s apart");
}

/// That an old one cannot be removed holds nothing else up.
#[tokio::test]
async fn a_revision_that_may_not_be_removed_is_left() {
    let (reconciler, sent) = reconciler(|call| match call.split_once(' ') {
        Some(("DELETE", _)) => forbidden(),
        Some(("GET", path)) if path.ends_with("/advancedstatefulsets/web") => (200, set_object()),
        _ => (200, json!({"items": []})),
    });
    let set = set(&reconciler);
    let old = RevisionAction::Delete {
        name: "web-old".into(),
        uid: "r".into(),
        resource_version: "1".into(),
        hash: "old".into(),
    };
    let mut memory = SetMemory::of("set");
    for _ in 0..3 {
        let outcome = reconciler.apply_revisions(&set, std::slice::from_ref(&old), &mut memory).await;
        assert!(!outcome.must_stop(), "{outcome:?}");
    }
    let deletes = sent.lock().unwrap().iter().filter(|call| call.starts_with("DELETE")).count();
    assert_eq!(deletes, 1, "it waits");
    assert_eq!(memory.refusals.list().len(), 1, "and is told of");
}
