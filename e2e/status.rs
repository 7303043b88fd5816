//! What the status says, and what users read of it.

use serde_json::json;

use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{is_ready, pod_condition, uid};
use crate::harness::wait::seconds;
use crate::harness::{Failure, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    counts_are_those_of_the_pods,
    ready_is_not_yet_available_within_min_ready_seconds,
    available_turns_false_when_too_many_are_down,
    available_counts_a_budget_in_percent,
    a_set_of_no_pods_is_available,
    conditions_of_others_are_kept,
    more_replicas_than_can_be_planned_are_refused_and_nothing_else_changes,
    kubectl_waits_on_conditions,
    kubectl_shows_the_columns,
    the_ledger_is_empty_when_all_is_done,
    an_idle_set_costs_no_writes,
    events_tell_what_was_done,
    a_misspelt_field_of_the_template_is_told,
];

async fn counts_are_those_of_the_pods(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"partition": 1})))).await?;
    space.set_image("web", "v2").await?;
    space.status_is("web", "two are updated", |status| status.updated_available_replicas == 2).await?;
    space.make_ready("web-2", false).await?;
    let status = space.status_is("web", "one is not ready", |status| status.ready_replicas == 2).await?;
    let counts = [
        status.replicas,
        status.ready_replicas,
        status.available_replicas,
        status.current_replicas,
        status.updated_replicas,
        status.updated_ready_replicas,
        status.updated_available_replicas,
    ];
    ensure_eq!(counts, [3, 2, 2, 1, 2, 1, 1], "counts");
    ensure_eq!(status.updated_ordinals.as_deref(), Some("1-2"), "updatedOrdinals");
    ensure_eq!(status.label_selector.as_deref(), Some("app=web"), "labelSelector");
    Ok(())
}

async fn ready_is_not_yet_available_within_min_ready_seconds(space: Space) -> Result {
    space.create(set("web", json!({"replicas": 1, "minReadySeconds": 4}))).await?;
    space.pod_is("web-0", "ready", is_ready).await?;
    let status = space.status_is("web", "one is ready", |status| status.ready_replicas == 1).await?;
    ensure_eq!(status.available_replicas, 0, "available");
    space.settled("web").await
}

async fn available_turns_false_when_too_many_are_down(space: Space) -> Result {
    space.create_settled(set("web", json!({"podManagementPolicy": "Parallel"}))).await?;
    space.condition_is("web", "Available", "True", None).await?;
    space.make_ready("web-0", false).await?;
    holds(seconds(1), "one may be down", async || {
        ensure_eq!(space.condition("web", "Available").await?.status, "True", "Available");
        Ok(())
    })
    .await?;
    space.make_ready("web-1", false).await?;
    space.condition_is("web", "Available", "False", None).await?;
    space.make_ready("web-0", true).await?;
    space.condition_is("web", "Available", "True", None).await?;
    Ok(())
}

async fn available_counts_a_budget_in_percent(space: Space) -> Result {
    let spec = json!({"replicas": 4, "podManagementPolicy": "Parallel"});
    space.create_settled(set("web", with(spec, rolling_update(json!({"maxUnavailable": "50%"}))))).await?;
    for pod in ["web-0", "web-1"] {
        space.make_ready(pod, false).await?;
    }
    space.status_is("web", "two are left", |status| status.available_replicas == 2).await?;
    ensure_eq!(space.condition("web", "Available").await?.status, "True", "Available with half of them");
    space.make_ready("web-2", false).await?;
    space.condition_is("web", "Available", "False", None).await?;
    Ok(())
}

async fn a_set_of_no_pods_is_available(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 0}))).await?;
    space.condition_is("web", "Available", "True", None).await?;
    space.condition_is("web", "Progressing", "True", Some("Complete")).await?;
    Ok(())
}

async fn conditions_of_others_are_kept(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.write_condition("web", "BackedUp").await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let kept = space.condition("web", "BackedUp").await?;
    ensure_eq!(kept.status, "True", "the other's condition");
    Ok(())
}

/// The Pods that are there go on, and so do conditions that others wrote.
async fn more_replicas_than_can_be_planned_are_refused_and_nothing_else_changes(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 2}))).await?;
    let before: Vec<String> = space.pods_of("web").await?.iter().map(uid).collect();
    space.write_condition("web", "BackedUp").await?;
    space.scale("web", 100_001).await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", Some("InvalidSpec")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("spec.replicas") && message.contains("100000"), "it says {message:?}");
    space.event("InvalidSpec", "spec.replicas").await?;
    holds(seconds(1), "the Pods go on", async || {
        let pods = space.pods_of("web").await?;
        ensure_eq!(pods.iter().map(uid).collect::<Vec<_>>(), before, "UIDs");
        Ok(())
    })
    .await?;
    let kept = space.condition("web", "BackedUp").await?;
    ensure_eq!(kept.status, "True", "the other's condition");
    space.scale("web", 3).await?;
    space.settled("web").await?;
    ensure_eq!(space.condition("web", "ReplicaFailure").await?.status, "False", "ReplicaFailure");
    ensure_eq!(space.condition("web", "BackedUp").await?.status, "True", "the other's condition");
    Ok(())
}

async fn kubectl_waits_on_conditions(space: Space) -> Result {
    space.create(set("web", json!({}))).await?;
    for condition in ["Available", "Progressing"] {
        space.kubectl(&["wait", &format!("--for=condition={condition}"), "asts/web", "--timeout=60s"], None)?;
    }
    Ok(())
}

async fn kubectl_shows_the_columns(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let short = space.kubectl(&["get", "asts"], None)?;
    let header = short.lines().next().unwrap_or_default().to_uppercase();
    for column in ["NAME", "DESIRED", "UPDATED", "READY", "AVAILABLE", "PAUSED", "AGE"] {
        ensure!(header.contains(column), "no column {column} in {header}");
    }
    space
        .patch(
            "web",
            json!({"spec": {"template": {"spec": {"containers": [
                {"name": "app", "image": image("v1")}, {"name": "side", "image": image("v2")},
            ]}}}}),
        )
        .await?;
    space.settled("web").await?;
    let wide = space.kubectl(&["get", "asts", "web", "-o", "wide"], None)?;
    ensure!(wide.contains(&format!("{},{}", image("v1"), image("v2"))), "not both images in {wide}");
    let revision = space.status("web").await?.update_revision.unwrap_or_default();
    ensure!(wide.contains(&revision), "no revision {revision} in {wide}");
    let all = space.kubectl(&["get", "all"], None)?;
    ensure!(all.contains("advancedstatefulset.apps.asts.dev/web"), "not among all: {all}");
    Ok(())
}

async fn the_ledger_is_empty_when_all_is_done(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"maxUnavailable": 2})))).await?;
    space.set_image("web", "broken").await?;
    let status = space.status_is("web", "the disruptions are told", |status| status.disrupted.len() == 2).await?;
    let mut ordinals: Vec<i64> = status.disrupted.iter().map(|entry| entry.ordinal).collect();
    ordinals.sort_unstable();
    ensure_eq!(ordinals, [1, 2], "disrupted ordinals");
    for entry in &status.disrupted {
        ensure!(!entry.uid.is_empty() && !entry.resource_version.is_empty() && !entry.revision.is_empty(), "{entry:?}");
    }
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    ensure!(space.status("web").await?.disrupted.is_empty(), "the ledger is not empty");
    Ok(())
}

async fn an_idle_set_costs_no_writes(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let version = async || -> Result<Option<String>> { Ok(space.set("web").await?.metadata.resource_version) };
    // Counts and messages may come a little later than what they count.
    tokio::time::sleep(seconds(2)).await;
    let before = version().await?;
    holds(seconds(4), "the set is left alone", async || {
        ensure_eq!(version().await?, before, "resourceVersion");
        Ok(())
    })
    .await
}

/// The definition keeps fields that it does not know, for apiservers that do.
async fn a_misspelt_field_of_the_template_is_told(space: Space) -> Result {
    let container = json!({"name": "app", "image": image("v1"), "readinesProbe": {"tcpSocket": {"port": 1}}});
    let misspelt = set("web", json!({"replicas": 1, "template": {"spec": {"containers": [container]}}}));
    let unknown = r#"unknown field "spec.template.spec.containers[0].readinesProbe""#;
    let planned =
        crate::cli_plan::plugin::plan(&space, &["-f", "-", "-o", "json"], Some(&misspelt.to_string()))?.json(2)?;
    let is_told = planned["notes"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|note| note.as_str().unwrap_or_default().contains(unknown));
    ensure!(is_told, "{planned}");
    space.create_settled(misspelt).await?;
    space.event("UnknownTemplateFields", unknown).await?;
    Ok(())
}

async fn events_tell_what_was_done(space: Space) -> Result {
    let spec = with(json!({"replicas": 1}), rolling_update(json!({"podUpdatePolicy": "ReCreate"})));
    space.create_settled(set("web", spec)).await?;
    space.event("SuccessfulCreate", "web-0").await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    space.event("SuccessfulDelete", "web-0").await?;
    eventually(seconds(10), "describe shows them", async || {
        let told = space.kubectl(&["describe", "asts/web"], None)?;
        if told.contains("SuccessfulCreate") { Ok(()) } else { Err(Failure(told)) }
    })
    .await?;
    let pod = space.pod("web-0").await?;
    ensure_eq!(pod_condition(&pod, "Ready").map(|(status, _)| status), Some("True"), "web-0's Ready");
    Ok(())
}
