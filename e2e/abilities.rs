//! What the cluster's Pods can take in place is found, said, and acted on. Here the apiserver is a
//! stock one.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::audit::requests_of;
use crate::harness::install::MANAGER_USER;
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{container_id, is_ready, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    an_environment_that_the_apiserver_does_not_take_re_creates_the_pod_and_says_so,
    in_place_only_names_every_field_that_stands_against_it,
    added_tolerations_change_without_a_blink,
    tolerations_that_the_template_loses_re_create_the_pod,
];

fn everything(tag: &str, value: &str) -> Value {
    let container = json!({
        "name": "app", "image": image(tag), "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "MODE", "value": value}],
        "readinessProbe": {"exec": {"command": ["/testserver", value]}},
    });
    let volumes = json!([{"name": "conf", "configMap": {"name": value, "optional": true}}]);
    json!({"template": {"spec": {"containers": [container], "volumes": volumes}}})
}

fn env(value: &str) -> Value {
    let container = json!({
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "MODE", "value": value}],
    });
    json!({"template": {"spec": {"containers": [container]}}})
}

async fn an_environment_that_the_apiserver_does_not_take_re_creates_the_pod_and_says_so(space: Space) -> Result {
    space.create_settled(set("web", with(env("a"), json!({"replicas": 2})))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", env("b")).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(old) != uid(&new), "{} is still the old one", pod_name(&new));
    }
    let event = space.event("SuccessfulDelete", "spec.containers[app].env[MODE].value").await?;
    let message = event.message.unwrap_or_default();
    ensure!(message.contains("this apiserver does not take it"), "the event says {message:?}");
    // It was asked and not guessed. Other tests may have asked for it.
    let requests = requests_of(&space.suite.cluster.info.audit_log, MANAGER_USER)?;
    let asked = requests
        .iter()
        .any(|request| request.verb == "patch" && request.resource() == "pods" && request.response_status.code == 422);
    ensure!(asked, "nobody asked the apiserver");
    Ok(())
}

async fn in_place_only_names_every_field_that_stands_against_it(space: Space) -> Result {
    let first = with(everything("v1", "a"), rolling_update(json!({"podUpdatePolicy": "InPlaceOnly"})));
    space.create_settled(set("web", first)).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", everything("v2", "b")).await?;
    let condition = space.condition_is("web", "InPlaceUpdateBlocked", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    for field in ["[app].env[MODE]", "[app].readinessProbe", "spec.volumes[conf]", "web-2"] {
        ensure!(message.contains(field), "{field} is not in {message:?}");
    }
    holds(seconds(2), "no Pod changes", async || {
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
        }
        Ok(())
    })
    .await
}

fn tolerating(keys: &[&str]) -> Value {
    let tolerations: Vec<Value> = keys.iter().map(|key| json!({"key": key, "operator": "Exists"})).collect();
    json!({"template": {"spec": {"tolerations": tolerations}}})
}

fn tolerated(pod: &Pod) -> Vec<String> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref());
    tolerations.into_iter().flatten().filter_map(|toleration| toleration.key.clone()).collect()
}

async fn added_tolerations_change_without_a_blink(space: Space) -> Result {
    space.create_settled(set("web", tolerating(&["one"]))).await?;
    let before = space.pods_of("web").await?;
    let recorder = space.record().await?;
    space.edit("web", tolerating(&["one", "two"])).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{name}");
        let keys = tolerated(&new);
        for key in ["one", "two", "node.kubernetes.io/not-ready"] {
            ensure!(keys.iter().any(|found| found == key), "{name} tolerates {keys:?}");
        }
    }
    for seen in recorder.pods() {
        ensure!(is_ready(seen.object()), "{} blinked", pod_name(seen.object()));
    }
    Ok(())
}

async fn tolerations_that_the_template_loses_re_create_the_pod(space: Space) -> Result {
    space.create_settled(set("web", with(tolerating(&["one", "two"]), json!({"replicas": 1})))).await?;
    let before = space.find_pod("web-0").await?.context("web-0")?;
    space.edit("web", tolerating(&["one"])).await?;
    space.settled("web").await?;
    ensure!(uid(&space.pod("web-0").await?) != uid(&before), "web-0 is still the old one");
    Ok(())
}
