//! In-place updates as a real kubelet carries them out.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::harness::manifest::{claim_template, rolling_update, with};
use crate::harness::space::{container_id, image_of, is_ready, label, pod_condition, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, image, set};
use crate::live::Live;
use crate::live::traffic::{Traffic, version};
use crate::{ensure, ensure_eq, test_list};

test_list![
    an_image_changes_and_the_pod_stays,
    the_same_image_under_another_tag_restarts_the_container,
    the_pod_is_out_of_service_before_its_container_goes,
    a_container_that_takes_its_time_to_end_is_never_in_service_meanwhile,
    no_request_fails_while_five_pods_are_updated,
    a_label_changes_without_a_restart,
    a_re_created_pod_finds_its_data,
    an_image_that_cannot_be_pulled_stops_at_one_pod_and_is_mended,
    a_program_that_ends_is_mended_by_the_next_template,
];

/// Real containers take their time.
const PATIENCE_SECONDS: u64 = 120;

fn probed(spec: Value) -> Value {
    let container = json!({
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    });
    set("web", with(json!({"replicas": 2, "template": {"spec": {"containers": [container]}}}), spec))
}

async fn created(space: &Space, manifest: Value) -> Result<Vec<Pod>> {
    space.create(manifest).await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    space.pods_of("web").await
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).sum()
}

fn address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref()
}

/// The version that the program in the container tells.
fn runs_version(space: &Space, pod: &str) -> Result<String> {
    Ok(space.kubectl(&["exec", pod, "--", "cat", "/version"], None)?.trim().to_owned())
}

async fn updated_in_place(space: &Space, before: &[Pod], tag: &str, version: &str) -> Result {
    space.set_image("web", tag).await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        let name = pod_name(&new);
        ensure_eq!((uid(&new), address(&new)), (uid(old), address(old)), "UID and address of {name}");
        ensure!(container_id(&new) != container_id(old), "{name} still has the old container");
        ensure_eq!(restarts(&new), 1, "restarts of {name}");
        ensure_eq!(runs_version(space, name)?, version, "version in {name}");
    }
    Ok(())
}

async fn an_image_changes_and_the_pod_stays(space: Space) -> Result {
    let before = created(&space, probed(json!({}))).await?;
    updated_in_place(&space, &before, "v2", "v2").await
}

/// openkruise/kruise#217, #635, #1242, #1493, #2297, with a kubelet and a registry.
async fn the_same_image_under_another_tag_restarts_the_container(space: Space) -> Result {
    let before = created(&space, probed(json!({}))).await?;
    updated_in_place(&space, &before, "v1-same", "v1").await
}

async fn the_pod_is_out_of_service_before_its_container_goes(space: Space) -> Result {
    let grace = rolling_update(json!({"inPlaceUpdateStrategy": {"gracePeriodSeconds": 3}}));
    let before = created(&space, probed(with(grace, json!({"replicas": 1})))).await?;
    let recorder = space.record().await?;
    updated_in_place(&space, &before, "v2", "v2").await?;
    let unready = recorder.first_time("web-0", "not ready", |pod| !is_ready(pod))?;
    let patched = recorder.first_time("web-0", "patched", |pod| image_of(pod) == image("v2"))?;
    ensure!(patched.duration_since(unready) >= Duration::from_secs(2), "no time to drain before the patch");
    for seen in recorder.pods() {
        let pod = seen.object();
        let new_runs = container_id(pod) != container_id(&before[0]);
        let patched = image_of(pod) == image("v2");
        ensure!(!patched || new_runs || !is_ready(pod), "the Pod was in service while its old container was to go");
        let gate = pod_condition(pod, "InPlaceUpdateReady").context("the gate")?;
        ensure!(gate.0 == "True" || gate.1 == "ContainerRebuilding", "the gate says {gate:?}");
    }
    Ok(())
}

/// The old container serves on after it was told to end, and its probe says that it is ready.
async fn a_container_that_takes_its_time_to_end_is_never_in_service_meanwhile(space: Space) -> Result {
    let container = json!({
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "DRAIN_SECONDS", "value": "8"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    });
    let spec = json!({"replicas": 1, "template": {"spec": {
        "terminationGracePeriodSeconds": 60, "containers": [container],
    }}});
    let before = created(&space, set("web", spec)).await?;
    let ip = address(&before[0]).context("an address")?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.pod_is("web-0", "patched", |pod| image_of(pod) == image("v2")).await?;
    let mut served = 0;
    eventually(seconds(PATIENCE_SECONDS), "the new container answers", async || {
        let answer = version(ip).await?;
        served += usize::from(answer == "v1");
        ensure_eq!(answer, "v2", "version");
        Ok(())
    })
    .await?;
    ensure!(served > 0, "nobody saw the old container serve after it was told to end");
    space.settled_within("web", PATIENCE_SECONDS).await?;
    let mut dying = 0;
    for seen in recorder.pods() {
        let pod = seen.object();
        if image_of(pod) == image("v2") && container_id(pod) == container_id(&before[0]) {
            ensure!(!is_ready(pod), "the Pod was in service while its old container was to go");
            dying += 1;
        }
    }
    ensure!(dying > 0, "nobody saw the Pod between the patch and the new container");
    ensure_eq!(restarts(&space.pod("web-0").await?), 1, "restarts");
    Ok(())
}

async fn no_request_fails_while_five_pods_are_updated(space: Space) -> Result {
    let strategy = rolling_update(json!({"maxUnavailable": 2, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 5}}));
    let spec = with(json!({"replicas": 5, "podManagementPolicy": "Parallel"}), strategy);
    let before = created(&space, probed(spec)).await?;
    let (live, _) = Live::start(space.client.clone(), &space.namespace);
    let live = Arc::new(live);
    live.until("five Pods are Ready", seconds(30), |pods| pods.values().filter(|pod| pod.ready).count() == 5).await?;
    let traffic = Traffic::start(&live);
    updated_in_place(&space, &before, "v2", "v2").await?;
    let tally = traffic.stop().await;
    ensure_eq!(tally.told, Vec::<String>::new(), "requests that failed");
    ensure_eq!((tally.failures, tally.nowhere), (0, 0), "failures, and moments with no Pod in service");
    for tag in ["v1", "v2"] {
        ensure!(tally.answers.contains_key(tag), "no answer by {tag}: {:?}", tally.answers);
    }
    Ok(())
}

async fn a_label_changes_without_a_restart(space: Space) -> Result {
    let before = created(&space, probed(json!({}))).await?;
    space.edit_template("web", json!({"metadata": {"labels": {"tier": "gold"}}})).await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
        ensure_eq!(label(&new, "tier"), Some("gold"), "label of {}", pod_name(&new));
    }
    Ok(())
}

async fn a_re_created_pod_finds_its_data(space: Space) -> Result {
    let folder = space.suite.cluster.info.volumes.join(&space.namespace);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("kept"), "mine")?;
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": format!("{}-data", space.namespace)},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "claimRef": {"namespace": space.namespace, "name": "data-web-0"}, "hostPath": {"path": folder},
        },
    }))?;
    Api::all(space.client.clone()).create(&PostParams::default(), &volume).await?;
    let container = json!({
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    let spec = json!({
        "replicas": 1, "volumeClaimTemplates": [claim_template("data", "1Mi")],
        "template": {"spec": {"containers": [container]}},
    });
    let before = created(&space, set("web", spec)).await?;
    let read = || space.kubectl(&["exec", "web-0", "--", "cat", "/data/kept"], None);
    ensure_eq!(read()?, "mine", "the data");
    space.delete_and_wait("web-0").await?;
    ensure_eq!(read()?, "mine", "the data after re-creation");
    space.set_image("web", "v2").await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    ensure_eq!(read()?, "mine", "the data after an update in place");
    ensure!(uid(&space.pod("web-0").await?) != uid(&before[0]), "the Pod was not re-created");
    Ok(())
}

async fn mended(space: &Space, bad_image: &str) -> Result {
    let before = created(space, probed(json!({}))).await?;
    let patch = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": bad_image}]);
    space.json_patch("web", patch).await?;
    space.pod_is("web-1", "down", |pod| image_of(pod) == bad_image && !is_ready(pod)).await?;
    crate::harness::holds(seconds(4), "the other Pod is in service", async || {
        let pod = space.pod("web-0").await?;
        ensure!(is_ready(&pod) && image_of(&pod) == image("v1"), "{}", crate::harness::space::describe(&pod));
        Ok(())
    })
    .await?;
    space.set_image("web", "v2").await?;
    space.settled_within("web", PATIENCE_SECONDS).await?;
    eventually(seconds(10), "both run the new version", async || {
        for old in &before {
            ensure_eq!(runs_version(space, pod_name(old))?, "v2", "version in {}", pod_name(old));
            ensure_eq!(uid(&space.pod(pod_name(old)).await?), uid(old), "UID of {}", pod_name(old));
        }
        Ok(())
    })
    .await
}

async fn an_image_that_cannot_be_pulled_stops_at_one_pod_and_is_mended(space: Space) -> Result {
    mended(&space, "127.0.0.1:1/none:v9").await
}

async fn a_program_that_ends_is_mended_by_the_next_template(space: Space) -> Result {
    mended(&space, &image("broken")).await
}
