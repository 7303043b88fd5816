//! New images are on the nodes of the next Pods before any Pod is touched.

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{annotation, container_id, image_of, label, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    images_are_pulled_first_and_the_helpers_go,
    an_image_that_cannot_be_pulled_touches_no_pod_and_the_next_template_heals,
    a_slow_image_is_waited_for_with_all_pods_in_service,
    a_quota_that_forbids_the_helper_is_told_and_waited_for,
    helpers_fit_the_strictest_pod_security,
    pause_and_partition_pull_nothing_that_is_held_back,
];

const HELPER_LABEL: &str = "apps.asts.dev/pre-pull";

fn pre_pull(spec: Value) -> Value {
    let strategy = rolling_update(json!({"inPlaceUpdateStrategy": {"prePull": true}}));
    set("web", with(strategy, spec))
}

async fn helpers(space: &Space) -> Result<Vec<Pod>> {
    Ok(space.pods().list(&ListParams::default().labels(HELPER_LABEL)).await?.items)
}

async fn no_helper_is_left(space: &Space) -> Result {
    eventually(seconds(30), "the helpers are gone", async || {
        ensure_eq!(helpers(space).await?.iter().map(pod_name).collect::<Vec<_>>(), [""; 0], "helpers");
        Ok(())
    })
    .await
}

async fn identities(space: &Space) -> Result<Vec<(String, Option<String>, String)>> {
    let pods = space.pods_of("web").await?;
    Ok(pods.iter().map(|pod| (uid(pod), container_id(pod).map(str::to_owned), image_of(pod).to_owned())).collect())
}

async fn images_are_pulled_first_and_the_helpers_go(space: Space) -> Result {
    space.create_settled(pre_pull(json!({}))).await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    no_helper_is_left(&space).await?;
    space.recorders_catch_up().await?;
    let entries = recorder.entries();
    let ended = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed");
    for ordinal in 0..3 {
        let name = format!("web-{ordinal}");
        let node = space.pod(&name).await?.spec.and_then(|spec| spec.node_name).context("a node")?;
        let on_node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node.as_str());
        let helper = entries.iter().find(|entry| {
            let pod = entry.seen.object();
            label(pod, HELPER_LABEL).is_some() && on_node(pod) && ended(pod)
        });
        let helper = helper.context(format!("a helper that ended on {node}"))?;
        let patched = recorder.first_time(&name, "patched", |pod| image_of(pod) == image("v2"))?;
        ensure!(helper.at <= patched, "{name} was patched before {node} had the image");
        let pod = helper.seen.object();
        ensure!(label(pod, "app").is_none() && label(pod, "controller-revision-hash").is_none(), "labels of a Pod");
        ensure_eq!(annotation(pod, "linkerd.io/inject"), Some("disabled"), "annotation");
        let owner = pod.metadata.owner_references.clone().unwrap_or_default();
        ensure_eq!(Some(&owner[0].uid), space.set("web").await?.metadata.uid.as_ref(), "owner");
        let state = pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default();
        let ended = state[0].state.as_ref().and_then(|state| state.terminated.as_ref()).context("terminated")?;
        ensure_eq!(ended.reason.as_deref(), Some("StartError"), "how the helper ended");
    }
    for at_once in counts(&recorder) {
        ensure!(at_once <= 4, "{at_once} helpers at once");
    }
    ensure_eq!(space.status("web").await?.replicas, 3, "replicas");
    recorder.keeps_identity()
}

/// How many helpers there were after each event.
fn counts(recorder: &crate::harness::recorder::Recorder) -> Vec<usize> {
    let mut now = std::collections::BTreeSet::new();
    let mut counts = Vec::new();
    for seen in recorder.pods() {
        let pod = seen.object();
        if label(pod, HELPER_LABEL).is_some() {
            match seen {
                crate::harness::recorder::Seen::Gone(_) => now.remove(&uid(pod)),
                _ => now.insert(uid(pod)),
            };
            counts.push(now.len());
        }
    }
    counts
}

async fn an_image_that_cannot_be_pulled_touches_no_pod_and_the_next_template_heals(space: Space) -> Result {
    space.create_settled(pre_pull(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}))).await?;
    let before = identities(&space).await?;
    let bad = "127.0.0.1:1/none:v9";
    let patch = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": bad}]);
    space.json_patch("web", patch).await?;
    let told = eventually(seconds(30), "Progressing says what is wrong", async || {
        let condition = space.condition("web", "Progressing").await?;
        let message = condition.message.unwrap_or_default();
        ensure_eq!(condition.reason.as_deref(), Some("WaitingForImage"), "reason");
        ensure!(message.contains("cannot be pulled"), "{message}");
        Ok(message)
    })
    .await?;
    ensure!(told.contains(bad) && told.contains("node") && told.contains("ImagePull"), "{told}");
    let untouched = async || {
        ensure_eq!(identities(&space).await?, before, "Pods, containers and images");
        ensure_eq!(space.status("web").await?.ready_replicas, 3, "readyReplicas");
        Ok(())
    };
    holds(seconds(3), "no Pod is touched", untouched).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(identities(&space).await?) {
        ensure_eq!((&old.0, image("v2")), (&new.0, new.2), "UID and image");
    }
    no_helper_is_left(&space).await
}

async fn a_slow_image_is_waited_for_with_all_pods_in_service(space: Space) -> Result {
    space.create_settled(pre_pull(json!({}))).await?;
    let before = identities(&space).await?;
    space.set_image("web", "v2-slow").await?;
    let condition = space.condition_is("web", "Progressing", "True", Some("WaitingForImage")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("pulls") && message.contains("v2-slow"), "{message}");
    ensure_eq!(identities(&space).await?, before, "Pods, containers and images");
    // Changed again in the meantime: what nobody waits for any more goes.
    space.set_image("web", "v1").await?;
    no_helper_is_left(&space).await?;
    space.settled("web").await?;
    ensure_eq!(identities(&space).await?, before, "Pods, containers and images");
    Ok(())
}

async fn a_quota_that_forbids_the_helper_is_told_and_waited_for(space: Space) -> Result {
    space.create_settled(pre_pull(json!({}))).await?;
    let before = identities(&space).await?;
    let quota: ResourceQuota =
        serde_json::from_value(json!({"metadata": {"name": "few"}, "spec": {"hard": {"pods": "3"}}}))?;
    space.api().create(&PostParams::default(), &quota).await?;
    eventually(seconds(30), "the quota counts", async || {
        let quota: ResourceQuota = space.api().get("few").await?;
        let used = quota.status.and_then(|status| status.used).unwrap_or_default();
        ensure_eq!(used.get("pods").map(|used| used.0.as_str()), Some("3"), "used");
        Ok(())
    })
    .await?;
    space.set_image("web", "v2").await?;
    eventually(seconds(30), "Progressing says why", async || {
        let condition = space.condition("web", "Progressing").await?;
        let message = condition.message.unwrap_or_default();
        ensure_eq!(condition.reason.as_deref(), Some("WaitingForImage"), "reason");
        ensure!(message.contains("cannot pre-pull") && message.contains("exceeded quota"), "{message}");
        Ok(())
    })
    .await?;
    space.event("FailedPrePull", "exceeded quota").await?;
    ensure_eq!(identities(&space).await?, before, "Pods, containers and images");
    space.api::<ResourceQuota>().delete("few", &DeleteParams::default()).await?;
    space.settled("web").await?;
    no_helper_is_left(&space).await
}

async fn helpers_fit_the_strictest_pod_security(space: Space) -> Result {
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(space.client.clone());
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    namespaces.patch(&space.namespace, &PatchParams::default(), &Patch::Merge(labels)).await?;
    let container = json!({
        "name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    });
    space.create_settled(pre_pull(json!({"template": {"spec": {"containers": [container]}}}))).await?;
    space.set_image("web", "v2").await?;
    space.event("PulledImage", "v2").await?;
    space.settled("web").await?;
    no_helper_is_left(&space).await
}

async fn pause_and_partition_pull_nothing_that_is_held_back(space: Space) -> Result {
    let paused = json!({"updateStrategy": {"rollingUpdate": {"paused": true}}});
    space.create_settled(pre_pull(paused)).await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.condition_is("web", "Progressing", "True", Some("Paused")).await?;
    holds(seconds(1), "nothing is pulled", async || {
        ensure!(helpers(&space).await?.is_empty(), "a helper");
        Ok(())
    })
    .await?;
    space.edit("web", rolling_update(json!({"paused": false, "partition": 2}))).await?;
    space.condition_is("web", "Progressing", "True", Some("Partitioned")).await?;
    no_helper_is_left(&space).await?;
    space.recorders_catch_up().await?;
    let mut made: Vec<String> = recorder
        .pods()
        .iter()
        .map(|seen| seen.object())
        .filter(|pod| label(pod, HELPER_LABEL).is_some())
        .map(uid)
        .collect();
    made.dedup();
    ensure_eq!(made.len(), 1, "helpers");
    Ok(())
}
