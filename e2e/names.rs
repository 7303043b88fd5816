//! Names at and over the lengths of labels, hostnames and the kubelet's folders.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::space::{hash_in, label, own_labels, pod_name, revision_label};
use crate::harness::{Context, Result, Space, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    a_name_of_sixty_characters_runs,
    a_name_of_a_hundred_and_eighty_characters_gets_running_pods,
    a_name_with_dots_gives_hostnames_without,
    a_name_too_long_for_the_kubelet_is_reported,
];

const LABEL_BYTES_MAX: usize = 63;

fn long_set(name: &str) -> serde_json::Value {
    set(
        name,
        json!({"replicas": 2, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}),
    )
}

/// Every label value and hostname is valid (the apiserver sees to that), unique and stable.
async fn check_names(space: &Space, name: &str) -> Result {
    space.create_settled(long_set(name)).await?;
    let pods = space.pods_of(name).await?;
    let hostnames = |pods: &[k8s_openapi::api::core::v1::Pod]| -> Vec<String> {
        pods.iter().filter_map(|pod| pod.spec.as_ref()?.hostname.clone()).collect()
    };
    let before = hostnames(&pods);
    ensure_eq!(before.iter().collect::<BTreeSet<_>>().len(), 2, "different hostnames {before:?}");
    for pod in &pods {
        ensure!(pod_name(pod).starts_with(name), "the Pod is called {}", pod_name(pod));
        let value = label(pod, "statefulset.kubernetes.io/pod-name").context("pod-name label")?;
        ensure!(value.len() <= LABEL_BYTES_MAX, "{value} is too long");
        let status = space.status(name).await?;
        ensure_eq!(revision_label(pod), hash_in(status.update_revision.as_deref()), "revision label");
    }
    let again = space.delete_and_wait(pod_name(&pods[1])).await?;
    ensure_eq!(own_labels(&again), own_labels(&pods[1]), "labels after re-creation");
    ensure_eq!(hostnames(&[again]), before[1..], "hostname after re-creation");
    space.set_image(name, "v2").await?;
    space.settled(name).await
}

async fn a_name_of_sixty_characters_runs(space: Space) -> Result {
    check_names(&space, &"n".repeat(60)).await
}

async fn a_name_of_a_hundred_and_eighty_characters_gets_running_pods(space: Space) -> Result {
    // The kubelet's limit counts the namespace too, and this test's own is too long for that.
    let short = space.suite.space("short").await?;
    let outcome = check_names(&short, &"n".repeat(180)).await;
    space.kubectl(&["delete", "namespace", &short.namespace, "--wait=false"], None)?;
    outcome
}

async fn a_name_with_dots_gives_hostnames_without(space: Space) -> Result {
    space.create_settled(long_set("web.example")).await?;
    for pod in space.pods_of("web.example").await? {
        let hostname = pod.spec.as_ref().and_then(|spec| spec.hostname.clone()).context("hostname")?;
        ensure!(!hostname.contains('.'), "hostname {hostname}");
    }
    Ok(())
}

async fn a_name_too_long_for_the_kubelet_is_reported(space: Space) -> Result {
    let name = "n".repeat(200);
    if let Err(refusal) = space.create(long_set(&name)).await {
        ensure!(refusal.0.contains("name"), "the refusal does not name the name: {refusal}");
        return Ok(());
    }
    let condition = space.condition_is(&name, "ReplicaFailure", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("long") || message.contains("255"), "the message is {message:?}");
    ensure!(space.pods_of(&name).await?.is_empty(), "Pods that no kubelet can run");
    Ok(())
}
