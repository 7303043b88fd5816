//! cpu and memory of running Pods, through `pods/resize`.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::audit::requests_of;
use crate::harness::install::MANAGER_USER;
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{container_id, image_of, is_ready, pod_condition, pod_name, uid};
use crate::harness::{Context, Result, Space, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    cpu_is_resized_in_the_running_container,
    memory_that_needs_a_restart_re_creates_the_container_out_of_service,
    resources_and_image_change_in_one_step,
    another_qos_class_re_creates_the_pod,
    a_resize_that_no_node_can_do_is_told_and_mended_by_the_next_template,
    over_the_timeout_a_resize_without_effect_is_reported_or_the_pod_re_created,
];

fn app(tag: &str, cpu: &str, memory: &str) -> Value {
    let policy = json!([
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ]);
    let resources = json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "2", "memory": "1Gi"}});
    let container = json!({
        "name": "app", "image": image(tag), "imagePullPolicy": "IfNotPresent",
        "resources": resources, "resizePolicy": policy,
    });
    json!({"template": {"spec": {"containers": [container]}}})
}

fn requested(pod: &Pod, resource: &str) -> String {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let requests = statuses.and_then(|all| all.first()?.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| requests.get(resource)).map(|amount| amount.0.clone()).unwrap_or_default()
}

async fn cpu_is_resized_in_the_running_container(space: Space) -> Result {
    space.create_settled(set("web", with(app("v1", "100m", "32Mi"), json!({"replicas": 2})))).await?;
    let before = space.pods_of("web").await?;
    let recorder = space.record().await?;
    space.edit("web", app("v1", "150m", "32Mi")).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{name}");
        ensure_eq!(requested(&new, "cpu"), "150m", "cpu of {name}");
    }
    for seen in recorder.pods() {
        ensure!(is_ready(seen.object()), "{} blinked", pod_name(seen.object()));
    }
    let requests = requests_of(&space.suite.cluster.info.audit_log, MANAGER_USER)?;
    let resizes = requests.iter().filter(|request| {
        request.object_ref.namespace == space.namespace
            && request.resource() == "pods/resize"
            && request.verb == "patch"
    });
    ensure_eq!(resizes.count(), 2, "resizes, one a Pod");
    Ok(())
}

async fn memory_that_needs_a_restart_re_creates_the_container_out_of_service(space: Space) -> Result {
    space.create_settled(set("web", with(app("v1", "100m", "32Mi"), json!({"replicas": 2})))).await?;
    let before = space.pods_of("web").await?;
    let recorder = space.record().await?;
    space.edit("web", app("v1", "100m", "48Mi")).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure_eq!(uid(&new), uid(old), "UID of {name}");
        ensure!(container_id(&new) != container_id(old), "{name} still has the old container");
        ensure_eq!(requested(&new, "memory"), "48Mi", "memory of {name}");
        let closed = |pod: &Pod| pod_condition(pod, "InPlaceUpdateReady").is_some_and(|(status, _)| status == "False");
        ensure!(
            recorder.pods().iter().any(|seen| pod_name(seen.object()) == name && closed(seen.object())),
            "{name} was not taken out of service"
        );
    }
    Ok(())
}

async fn resources_and_image_change_in_one_step(space: Space) -> Result {
    space.create_settled(set("web", with(app("v1", "100m", "32Mi"), json!({"replicas": 1})))).await?;
    let before = space.pod("web-0").await?;
    space.edit("web", app("v2", "150m", "32Mi")).await?;
    space.settled("web").await?;
    let after = space.pod("web-0").await?;
    ensure_eq!(uid(&after), uid(&before), "UID of web-0");
    ensure_eq!(image_of(&after), image("v2"), "image of web-0");
    ensure_eq!(requested(&after, "cpu"), "150m", "cpu of web-0");
    let restarts = after.status.as_ref().and_then(|status| status.container_statuses.as_ref()).context("statuses")?;
    ensure_eq!(restarts[0].restart_count, 1, "restarts of web-0");
    Ok(())
}

async fn another_qos_class_re_creates_the_pod(space: Space) -> Result {
    space.create_settled(set("web", with(app("v1", "100m", "32Mi"), json!({"replicas": 1})))).await?;
    let before = uid(&space.pod("web-0").await?);
    space.edit("web", app("v1", "2", "1Gi")).await?;
    space.settled("web").await?;
    ensure!(uid(&space.pod("web-0").await?) != before, "web-0 is still the old one");
    space.event("SuccessfulDelete", "QoS class").await?;
    Ok(())
}

/// More cores than any node has. The fake kubelet says so.
fn too_much() -> Value {
    let mut spec = app("v1", "1000", "32Mi");
    spec["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("2000");
    spec
}

/// The same limits, so that the QoS class stays.
fn enough(cpu: &str) -> Value {
    let mut spec = app("v1", cpu, "32Mi");
    spec["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("2000");
    spec
}

async fn a_resize_that_no_node_can_do_is_told_and_mended_by_the_next_template(space: Space) -> Result {
    space.create_settled(set("web", with(enough("100m"), json!({"replicas": 2})))).await?;
    let before = space.pods_of("web").await?;
    space.edit("web", too_much()).await?;
    let condition = space.condition_is("web", "Progressing", "True", Some("WaitingForResize")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(
        message.contains("web-1") && message.contains("container app") && message.contains("Infeasible"),
        "{message:?}"
    );
    // One Pod at a time: the other was not asked for as much.
    ensure_eq!(asked(&space.pod("web-0").await?), "100m", "cpu that web-0 asks for");
    space.edit("web", enough("150m")).await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
        ensure_eq!(requested(&new, "cpu"), "150m", "cpu of {}", pod_name(&new));
    }
    Ok(())
}

fn asked(pod: &Pod) -> String {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let requests = container.and_then(|container| container.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| requests.get("cpu")).map(|amount| amount.0.clone()).unwrap_or_default()
}

async fn over_the_timeout_a_resize_without_effect_is_reported_or_the_pod_re_created(space: Space) -> Result {
    let only = json!({"podUpdatePolicy": "InPlaceOnly", "inPlaceUpdateStrategy": {"timeoutSeconds": 2}});
    let first = with(enough("100m"), rolling_update(only));
    space.create_settled(set("web", with(first, json!({"replicas": 1})))).await?;
    let before = uid(&space.pod("web-0").await?);
    space.edit("web", too_much()).await?;
    let condition = space.condition_is("web", "InPlaceUpdateBlocked", "True", None).await?;
    ensure!(condition.message.clone().unwrap_or_default().contains("Infeasible"), "the message of {condition:?}");
    ensure_eq!(uid(&space.pod("web-0").await?), before, "UID of web-0");
    space.edit("web", rolling_update(json!({"podUpdatePolicy": "InPlaceIfPossible"}))).await?;
    space.pod_is("web-0", "re-created", |pod| uid(pod) != before).await?;
    Ok(())
}
