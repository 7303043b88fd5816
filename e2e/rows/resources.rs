//! cpu and memory of running containers, on a real node.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{begin, settled, template};
use crate::containers::{Seen, container, make, statuses};
use crate::harness::space::is_ready;
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, holds, image};
use crate::{ensure, ensure_eq, test_list};

test_list![
    cpu_changes_without_a_restart,
    memory_with_restart_container_rebuilds_its_container_alone,
    image_and_resources_change_in_one_step,
    a_resize_beyond_the_node_is_told_and_goes_back,
    a_resize_that_must_wait_is_told_and_done_when_there_is_room,
];

/// A Burstable Pod before and after, so that its QoS class stays.
fn with_resources(cpu: &str, memory: &str, tag: &str) -> Value {
    let policy = json!([
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ]);
    let resources = json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": "256Mi"}});
    template(json!({"image": image(tag), "resizePolicy": policy, "resources": resources}), json!({}))
}

/// The requests that the status of `app` shows.
fn requests(pod: &Pod) -> Result<(String, String)> {
    let app = statuses(pod).find(|status| status.name == "app").context("app")?;
    let requests = app.resources.as_ref().and_then(|resources| resources.requests.as_ref()).context("its resources")?;
    let of = |name: &str| requests.get(name).map(|quantity| quantity.0.clone()).unwrap_or_default();
    Ok((of("cpu"), of("memory")))
}

async fn changed(space: &Space, before: &Seen, spec: Value, rebuilt: &[&str], now: (&str, &str)) -> Result {
    space.edit("web", spec).await?;
    settled(space).await?;
    let pod = space.pod("web-0").await?;
    before.rebuilt(&pod, rebuilt)?;
    ensure_eq!(requests(&pod)?, (now.0.to_owned(), now.1.to_owned()), "requests in the status");
    Ok(())
}

async fn cpu_changes_without_a_restart(space: Space) -> Result {
    let before = begin(&space, with_resources("50m", "32Mi", "v1")).await?;
    let recorder = space.record().await?;
    changed(&space, &before, with_resources("80m", "32Mi", "v1"), &[], ("80m", "32Mi")).await?;
    ensure!(recorder.pods().iter().all(|seen| is_ready(seen.object())), "the Pod was out of service");
    Ok(())
}

async fn memory_with_restart_container_rebuilds_its_container_alone(space: Space) -> Result {
    let before = begin(&space, with_resources("50m", "32Mi", "v1")).await?;
    changed(&space, &before, with_resources("50m", "64Mi", "v1"), &["app"], ("50m", "64Mi")).await
}

async fn image_and_resources_change_in_one_step(space: Space) -> Result {
    let before = begin(&space, with_resources("50m", "32Mi", "v1")).await?;
    space.edit("web", with_resources("80m", "32Mi", "v2")).await?;
    settled(&space).await?;
    let pod = space.pod("web-0").await?;
    before.rebuilt(&pod, &["app"])?;
    ensure_eq!(requests(&pod)?, ("80m".to_owned(), "32Mi".to_owned()), "requests in the status");
    ensure_eq!(super::read(&space, "web-0", "/version")?, "v2\n", "the version");
    Ok(())
}

/// Waits until a condition of the set names the Pod and holds a text.
async fn told(space: &Space, text: &str) -> Result {
    let what = format!("a condition says {text:?}");
    let says = |message: &str| message.contains("web-0") && message.contains(text);
    let check = space.status_is("web", &what, |status| {
        status.conditions.iter().any(|condition| condition.message.as_deref().is_some_and(says))
    });
    check.await.map(|_| ())
}

async fn a_resize_beyond_the_node_is_told_and_goes_back(space: Space) -> Result {
    let first = with_resources("50m", "32Mi", "v1");
    let before = begin(&space, first.clone()).await?;
    space.edit("web", with_resources("900", "32Mi", "v1")).await?;
    told(&space, "didn't have enough allocatable resources").await?;
    holds(seconds(3), "the Pod goes on", async || before.rebuilt(&space.pod("web-0").await?, &[])).await?;
    space.edit("web", first).await?;
    settled(&space).await?;
    before.rebuilt(&space.pod("web-0").await?, &[])
}

/// Takes so much of the node that a large resize has to wait.
fn take_room(space: &Space) -> Result {
    let resources = json!({"requests": {"cpu": "1200m"}});
    let spec = json!({
        "terminationGracePeriodSeconds": 1, "nodeSelector": {"kubernetes.io/hostname": super::FIRST_NODE},
        "containers": [container("app", 8080, json!({"resources": resources}))],
    });
    make(space, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "large"}, "spec": spec}))
}

async fn a_resize_that_must_wait_is_told_and_done_when_there_is_room(space: Space) -> Result {
    let before = begin(&space, with_resources("50m", "32Mi", "v1")).await?;
    take_room(&space)?;
    space.pod_is("large", "running", is_ready).await?;
    space.edit("web", with_resources("1500m", "32Mi", "v1")).await?;
    told(&space, "Deferred").await?;
    before.rebuilt(&space.pod("web-0").await?, &[])?;
    space.kubectl(&["delete", "pod", "large"], None)?;
    settled(&space).await?;
    let pod = space.pod("web-0").await?;
    before.rebuilt(&pod, &[])?;
    ensure_eq!(requests(&pod)?.0, "1500m", "requests in the status");
    Ok(())
}
