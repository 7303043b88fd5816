//! Which Pods update first, where the set says so.

use serde_json::{Value, json};

use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::image_of;
use crate::harness::{Result, Space, image, set};
use crate::{ensure_eq, test_list};

test_list![
    heavier_pods_update_first,
    pods_update_in_the_order_of_their_key,
    an_earlier_key_goes_before_a_later_one_and_pods_with_none_are_last,
    with_a_partition_the_last_ones_stay_old,
    a_partition_in_percent_leaves_the_last_ones_old,
];

fn unordered(strategy: Value, more: Value) -> Value {
    let rolling = with(json!({"unorderedUpdate": {"priorityStrategy": strategy}}), more);
    with(json!({"replicas": 4, "podManagementPolicy": "Parallel"}), rolling_update(rolling))
}

fn weights() -> Value {
    json!({"weightPriority": [
        {"weight": 80, "matchSelector": {"matchLabels": {"role": "follower"}}},
        {"weight": 30, "matchSelector": {"matchLabels": {"role": "learner"}}},
    ]})
}

async fn order_of_update(space: &Space, spec: Value, roles: &[(&str, &str)]) -> Result<Vec<String>> {
    space.create_settled(set("web", spec)).await?;
    for (pod, role) in roles {
        space.label(pod, "role", Some(role)).await?;
    }
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space
        .status_is("web", "it stands", |status| {
            status.available_replicas == 4
                && status.updated_available_replicas >= 2
                && status.disrupted.is_empty()
                && status.conditions.iter().any(|it| {
                    it.type_ == "Progressing" && matches!(it.reason.as_deref(), Some("Complete" | "Partitioned"))
                })
        })
        .await?;
    Ok(recorder.changed_to(|pod| image_of(pod).to_owned(), &image("v2")))
}

const ROLES: [(&str, &str); 3] = [("web-0", "follower"), ("web-1", "learner"), ("web-2", "follower")];

async fn heavier_pods_update_first(space: Space) -> Result {
    let order = order_of_update(&space, unordered(weights(), json!({})), &ROLES).await?;
    ensure_eq!(order, ["web-2", "web-0", "web-1", "web-3"], "order");
    Ok(())
}

async fn pods_update_in_the_order_of_their_key(space: Space) -> Result {
    let strategy = json!({"orderPriority": [{"orderedKey": "role"}]});
    let roles = [("web-0", "r-2"), ("web-1", "r-9"), ("web-2", "r-1"), ("web-3", "r-5")];
    let order = order_of_update(&space, unordered(strategy, json!({})), &roles).await?;
    ensure_eq!(order, ["web-1", "web-3", "web-0", "web-2"], "order");
    Ok(())
}

async fn with_a_partition_the_last_ones_stay_old(space: Space) -> Result {
    let order = order_of_update(&space, unordered(weights(), json!({"partition": 2})), &ROLES).await?;
    ensure_eq!(order, ["web-2", "web-0"], "order");
    Ok(())
}

async fn an_earlier_key_goes_before_a_later_one_and_pods_with_none_are_last(space: Space) -> Result {
    let strategy = json!({"orderPriority": [{"orderedKey": "first"}, {"orderedKey": "role"}]});
    space.create_settled(set("web", unordered(strategy, json!({"paused": true})))).await?;
    space.label("web-0", "first", Some("f-1")).await?;
    // Its second key is higher than any, and does not count beside the first.
    space.label("web-0", "role", Some("r-99")).await?;
    space.label("web-1", "role", Some("r-20")).await?;
    space.label("web-2", "first", Some("f-3")).await?;
    let recorder = space.record().await?;
    space.set_image("web", "v2").await?;
    space.edit("web", rolling_update(json!({"paused": false}))).await?;
    space.settled("web").await?;
    let order = recorder.changed_to(|pod| image_of(pod).to_owned(), &image("v2"));
    ensure_eq!(order, ["web-2", "web-0", "web-1", "web-3"], "order");
    Ok(())
}

/// Rounded up: 26 % of four are two.
async fn a_partition_in_percent_leaves_the_last_ones_old(space: Space) -> Result {
    let order = order_of_update(&space, unordered(weights(), json!({"partition": "26%"})), &ROLES).await?;
    ensure_eq!(order, ["web-2", "web-0"], "order");
    Ok(())
}
