//! Containers of running Pods that a real kubelet starts again: for new values of their environment,
//! and because an annotation asks for it.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::containers::{container_status, image_in_spec, restart_counts, restarted};
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{is_ready, pod_name, uid};
use crate::harness::{Result, Space, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_changed_variable_is_seen_by_the_process,
    variables_that_refer_to_others_see_their_new_values,
    a_variable_changed_twice_in_a_row_ends_with_the_last,
    a_restart_annotation_restarts_both_containers_in_place,
    a_restart_with_an_init_container_that_runs_once_makes_a_new_pod,
];

/// Real containers take their time.
const PATIENCE_SECONDS: u64 = 120;

fn containers(tag: &str, mode: &str) -> Value {
    let app = json!({
        "name": "app", "image": image(tag), "imagePullPolicy": "IfNotPresent",
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "env": [{"name": "MODE", "value": mode}, {"name": "KEPT", "value": "as it was"}, {"name": "BOTH", "value": "$(MODE), $(KEPT)"}],
    });
    let side = json!({
        "name": "side", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "PORT", "value": "8081"}],
    });
    json!({"replicas": 2, "template": {"spec": {"containers": [app, side]}}})
}

fn annotations() -> Value {
    rolling_update(json!({"inPlaceUpdateStrategy": {"env": "Annotations"}}))
}

async fn created(space: &Space, spec: Value) -> Result<Vec<Pod>> {
    space.create(set("web", with(containers("v1", "slow"), spec))).await?;
    settled(space).await
}

async fn settled(space: &Space) -> Result<Vec<Pod>> {
    space.settled_within("web", PATIENCE_SECONDS).await?;
    space.pods_of("web").await
}

/// A variable as the first process of the container has it.
fn seen(space: &Space, pod: &Pod, container: &str, name: &str) -> Result<Option<String>> {
    let environ = space.kubectl(&["exec", pod_name(pod), "-c", container, "--", "cat", "/proc/1/environ"], None)?;
    let prefix = format!("{name}=");
    Ok(environ.split('\0').find_map(|entry| entry.strip_prefix(&prefix)).map(str::to_owned))
}

async fn a_changed_variable_is_seen_by_the_process(space: Space) -> Result {
    let before = created(&space, annotations()).await?;
    ensure_eq!(seen(&space, &before[0], "app", "MODE")?.as_deref(), Some("slow"), "MODE at first");
    ensure_eq!(seen(&space, &before[0], "app", "BOTH")?.as_deref(), Some("slow, as it was"), "BOTH at first");
    let recorder = space.record().await?;
    space.edit("web", containers("v1", "fast")).await?;
    for (old, new) in before.iter().zip(settled(&space).await?) {
        let name = pod_name(&new);
        ensure_eq!(restarted(old, &new)?, ["app"], "restarted containers of {name}");
        ensure_eq!(restart_counts(&new).get("app"), Some(&1), "restarts of app in {name}");
        ensure_eq!(seen(&space, &new, "app", "MODE")?.as_deref(), Some("fast"), "MODE in {name}");
        ensure_eq!(seen(&space, &new, "side", "PORT")?.as_deref(), Some("8081"), "PORT in {name}");
        let id = |pod: &Pod| -> Result<String> { Ok(container_status(pod, "app")?.image_id.clone()) };
        ensure_eq!(id(&new)?, id(old)?, "image ID of {name}");
        ensure!(image_in_spec(&new, "app") != image("v1"), "the image of {name} is written as before");
    }
    for seen in recorder.pods() {
        let pod = seen.object();
        let old = &before[if pod_name(pod) == "web-0" { 0 } else { 1 }];
        let waits = image_in_spec(pod, "app") != image("v1") && restarted(old, pod)?.is_empty();
        ensure!(!waits || !is_ready(pod), "{} was in service while its container was to go", pod_name(pod));
    }
    ensure_eq!(recorder.worst_unready("web", 0..2), 1, "Pods that were down at once");
    Ok(())
}

async fn variables_that_refer_to_others_see_their_new_values(space: Space) -> Result {
    created(&space, annotations()).await?;
    space.edit("web", containers("v2", "fast")).await?;
    for pod in settled(&space).await? {
        ensure_eq!(
            seen(&space, &pod, "app", "BOTH")?.as_deref(),
            Some("fast, as it was"),
            "BOTH of {}",
            pod_name(&pod)
        );
        ensure_eq!(restart_counts(&pod).get("app"), Some(&1), "restarts of app in {}", pod_name(&pod));
    }
    Ok(())
}

async fn a_variable_changed_twice_in_a_row_ends_with_the_last(space: Space) -> Result {
    let before = created(&space, annotations()).await?;
    space.edit("web", containers("v1", "fast")).await?;
    space.pod_is("web-1", "patched", |pod| image_in_spec(pod, "app") != image("v1")).await?;
    space.edit("web", containers("v1", "faster")).await?;
    for (old, new) in before.iter().zip(settled(&space).await?) {
        ensure_eq!(restarted(old, &new)?, ["app"], "restarted containers of {}", pod_name(&new));
        ensure_eq!(seen(&space, &new, "app", "MODE")?.as_deref(), Some("faster"), "MODE in {}", pod_name(&new));
    }
    Ok(())
}

fn restarted_at(time: &str) -> Value {
    json!({"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": time}}}})
}

async fn a_restart_annotation_restarts_both_containers_in_place(space: Space) -> Result {
    let mut before = created(&space, json!({})).await?;
    for (count, time) in [(1, "2026-01-01T00:00:00Z"), (2, "2026-01-02T00:00:00Z")] {
        space.edit("web", restarted_at(time)).await?;
        let after = settled(&space).await?;
        for (old, new) in before.iter().zip(&after) {
            ensure_eq!(restarted(old, new)?, ["app", "side"], "restarted containers of {}", pod_name(new));
            ensure!(restart_counts(new).values().all(|restarts| *restarts == count), "{:?}", restart_counts(new));
        }
        before = after;
    }
    Ok(())
}

async fn a_restart_with_an_init_container_that_runs_once_makes_a_new_pod(space: Space) -> Result {
    let setup = json!({"name": "setup", "image": image("v1"), "imagePullPolicy": "IfNotPresent", "command": ["/testserver", "true"]});
    let before = created(&space, json!({"template": {"spec": {"initContainers": [setup]}}})).await?;
    space.edit("web", restarted_at("2026-01-01T00:00:00Z")).await?;
    for (old, new) in before.iter().zip(settled(&space).await?) {
        ensure!(uid(old) != uid(&new), "{} is still the old one", pod_name(&new));
        ensure_eq!(container_status(&new, "setup")?.restart_count, 0, "restarts of setup in {}", pod_name(&new));
    }
    Ok(())
}
