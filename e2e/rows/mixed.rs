//! A customised apiserver, one node whose kubelet is customised and one whose kubelet is stock.

use serde_json::{Value, json};

use super::{FIRST_NODE, STOCK_NODE, begin, in_place_only, settled, template_on};
use crate::containers::{Seen, env_in};
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, holds, set};
use crate::{ensure, ensure_eq, test_list};

test_list![each_pod_is_updated_as_its_node_can, in_place_only_names_the_node_that_cannot,];

/// Only for the end: it changes what a node says of itself.
pub mod last {
    use super::*;

    test_list![a_kubelet_that_does_not_follow_is_noticed_and_named];

    async fn a_kubelet_that_does_not_follow_is_noticed_and_named(space: Space) -> Result {
        let label = "apps.asts.dev/customised-kubelet";
        let before = begin(&space, with(on(STOCK_NODE, "one"), timeout(8))).await?;
        space.kubectl(&["label", "node", STOCK_NODE, &format!("{label}=true")], None)?;
        let noticed = notice(&space, &before).await;
        space.kubectl(&["label", "node", STOCK_NODE, &format!("{label}-")], None)?;
        noticed
    }

    async fn notice(space: &Space, before: &Seen) -> Result {
        // The manager hears of the label in a moment.
        tokio::time::sleep(seconds(1)).await;
        space.edit("web", on(STOCK_NODE, "two")).await?;
        let event = space.event("SuccessfulDelete", "seems to be a stock one").await?;
        let message = event.message.unwrap_or_default();
        ensure!(message.contains(STOCK_NODE) && message.contains("app") && message.contains("env"), "{message}");
        settled(space).await?;
        ensure!(uid(&space.pod("web-0").await?) != before.uid, "the Pod is still the old one");
        ensure_eq!(env_in(space, "web-0", "app", "MODE")?, "two", "MODE");
        Ok(())
    }
}

fn on(node: &str, mode: &str) -> Value {
    template_on(node, json!({"env": [{"name": "PORT", "value": "8080"}, {"name": "MODE", "value": mode}]}), json!({}))
}

fn timeout(seconds: u64) -> Value {
    rolling_update(json!({"inPlaceUpdateStrategy": {"timeoutSeconds": seconds}}))
}

/// Two Pods, one on each node.
fn spread(mode: &str) -> Value {
    let constraint = json!({
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    });
    let spec = json!({"template": {"spec": {"nodeSelector": null, "topologySpreadConstraints": [constraint]}}});
    with(with(on(FIRST_NODE, mode), spec), json!({"replicas": 2}))
}

/// What was there, by whether the node is the customised one.
async fn pods_by_node(space: &Space) -> Result<(Seen, Seen, String, String)> {
    let pods = settled(space).await?;
    let find = |node: &str| {
        let found = pods.iter().find(|pod| Seen::of(pod).node == node);
        found.map(|pod| (Seen::of(pod), pod_name(pod).to_owned())).context(format!("a Pod on {node}"))
    };
    let ((customised, its_name), (stock, other_name)) = (find(FIRST_NODE)?, find(STOCK_NODE)?);
    Ok((customised, stock, its_name, other_name))
}

async fn each_pod_is_updated_as_its_node_can(space: Space) -> Result {
    space.create(set("web", spread("one"))).await?;
    let (customised, stock, its_name, other_name) = pods_by_node(&space).await?;
    space.edit("web", spread("two")).await?;
    settled(&space).await?;
    customised.rebuilt(&space.pod(&its_name).await?, &["app"])?;
    ensure!(uid(&space.pod(&other_name).await?) != stock.uid, "{other_name} is still the old one");
    let event = space.event("SuccessfulDelete", "has no label apps.asts.dev/customised-kubelet=true").await?;
    let message = event.message.unwrap_or_default();
    ensure!(message.contains(&other_name) && message.contains(STOCK_NODE), "{message}");
    for pod in [&its_name, &other_name] {
        ensure_eq!(env_in(&space, pod, "app", "MODE")?, "two", "MODE in {pod}");
    }
    Ok(())
}

async fn in_place_only_names_the_node_that_cannot(space: Space) -> Result {
    space.create(set("web", in_place_only(spread("one")))).await?;
    let (customised, stock, its_name, other_name) = pods_by_node(&space).await?;
    space.edit("web", spread("two")).await?;
    let condition = space.condition_is("web", "InPlaceUpdateBlocked", "True", None).await?;
    let message = condition.message.unwrap_or_default();
    for part in [other_name.as_str(), STOCK_NODE, "spec.containers[app].env[MODE].value", "customised-kubelet"] {
        ensure!(message.contains(part), "{part} is not in {message:?}");
    }
    ensure!(!message.contains(&its_name), "{its_name} can be updated, but {message:?}");
    space.status_is("web", "one Pod is updated", |status| status.updated_ready_replicas == 1).await?;
    holds(seconds(3), "the Pod of the stock node goes on", async || {
        stock.rebuilt(&space.pod(&other_name).await?, &[])?;
        customised.rebuilt(&space.pod(&its_name).await?, &["app"])
    })
    .await
}
