//! A kubelet or a containerd that is killed in the middle of an update in place, and started again.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::harness::containers::restart_counts;
use crate::harness::manifest::with;
use crate::harness::rest::at_rest;
use crate::harness::space::{container_id, image_of, is_ready, pod_condition, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Result, Space, eventually, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![a_node_whose_programs_are_killed_in_the_middle_of_an_update_finishes_it];

const PATIENCE_SECONDS: u64 = 150;
/// How long the node is without one of its programs.
const GAP: Duration = Duration::from_secs(3);

/// The moment of an update at which something is killed.
type Moment = (&'static str, fn(&Pod, &str, &str) -> bool);

const CLOSED: Moment = ("is out of service", |pod, _, _| {
    pod_condition(pod, "InPlaceUpdateReady").is_some_and(|(status, _)| status == "False")
});
const PATCHED: Moment = ("is patched", |pod, wanted, _| image_of(pod) == wanted);
const STARTED: Moment = ("has its new container", |pod, wanted, old_id| {
    image_of(pod) == wanted && container_id(pod).is_some_and(|id| id != old_id)
});

async fn killed_at(space: &Space, role: &str, moment: Moment, tag: &str) -> Result {
    let (what, reached) = moment;
    let before = space.pods_of("web").await?;
    let old_id = container_id(&before[1]).unwrap_or_default().to_owned();
    space.set_image("web", tag).await?;
    eventually(seconds(PATIENCE_SECONDS), what, async || {
        let pod = space.pod("web-1").await?;
        ensure!(reached(&pod, &image(tag), &old_id), "{}", crate::harness::space::describe(&pod));
        Ok(())
    })
    .await?;
    space.suite.cluster.command(&format!("kill {role}"))?;
    tokio::time::sleep(GAP).await;
    space.suite.cluster.command(&format!("start {role}"))?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    let case = format!("{role} killed when web-1 {what}");
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        let address = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        ensure_eq!((uid(&new), address(&new)), (uid(old), address(old)), "{case}: UID and address of {name}");
        ensure!(container_id(&new) != container_id(old) && is_ready(&new), "{case}: {name} was not updated");
        // A kubelet that dies between making a container and writing that down makes it once more.
        let restarts = |pod: &Pod| restart_counts(pod).into_values().sum::<i32>();
        let gained = restarts(&new) - restarts(old);
        ensure!((1..=2).contains(&gained), "{case}: {gained} restarts of {name}");
        let version = space.kubectl(&["exec", name, "--", "cat", "/version"], None)?;
        ensure_eq!(version.trim(), tag, "{case}: version in {name}");
    }
    Ok(())
}

async fn a_node_whose_programs_are_killed_in_the_middle_of_an_update_finishes_it(space: Space) -> Result {
    let container = json!({
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    });
    let grace = json!({"updateStrategy": {"rollingUpdate": {"inPlaceUpdateStrategy": {"gracePeriodSeconds": 1}}}});
    let spec = json!({"replicas": 2, "template": {"spec": {"containers": [container]}}});
    space.create(set("web", with(spec, grace))).await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    let recorder = space.record().await?;
    let cases = [
        ("kubelet", CLOSED, "v2"),
        ("kubelet", PATCHED, "v1"),
        ("containerd", PATCHED, "v2"),
        ("kubelet", STARTED, "v1"),
        ("containerd", STARTED, "v2"),
    ];
    for (role, moment, tag) in cases {
        killed_at(&space, role, moment, tag).await?;
    }
    let worst = recorder.worst_taken_down("web", 0..2, &BTreeSet::new());
    ensure_eq!(worst, 1, "Pods taken down at once");
    recorder.keeps_identity()?;
    at_rest(&space, "web").await
}
