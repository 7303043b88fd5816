//! How many slots stay old.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{image_of, uid};
use crate::harness::wait::seconds;
use crate::harness::{Result, Space, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    the_lowest_slots_stay_old,
    pods_come_back_on_the_side_where_they_were,
    a_pod_that_fails_while_it_ends_comes_back_on_the_side_where_it_was,
    lowering_it_step_by_step_updates_more,
    as_many_as_there_are_slots_updates_none,
    a_percent_is_rounded_up_and_below_a_hundred_one_slot_updates,
    it_counts_slots_with_any_start_ordinal,
    it_counts_slots_with_reserved_ordinals,
    old_slots_stay_old_after_scaling_to_zero_and_back,
    new_slots_are_updated,
    raising_it_again_takes_nothing_back,
];

fn canary(partition: Value, spec: Value) -> Value {
    set("web", with(rolling_update(json!({"partition": partition})), spec))
}

/// Waits for so many updated Pods, checks the image of every one, and that it stays so.
async fn updated(space: &Space, ordinals: &[i64]) -> Result {
    let count = i32::try_from(ordinals.len())?;
    space
        .status_is("web", &format!("{count} are updated and all are available"), |status| {
            status.updated_available_replicas == count && status.available_replicas == status.replicas
        })
        .await?;
    holds(seconds(1), "these Pods are updated and no others", async || images_are(space, ordinals).await).await
}

async fn images_are(space: &Space, ordinals: &[i64]) -> Result {
    for pod in space.pods_of("web").await? {
        let name = crate::harness::space::pod_name(&pod);
        let tag = if ordinals.contains(&crate::harness::space::ordinal(name)) { "v2" } else { "v1" };
        ensure_eq!(image_of(&pod), image(tag), "image of {name}");
    }
    Ok(())
}

async fn partition_to(space: &Space, partition: Value) -> Result {
    space.edit("web", rolling_update(json!({"partition": partition}))).await
}

async fn the_lowest_slots_stay_old(space: Space) -> Result {
    space.create_settled(canary(json!(2), json!({"replicas": 4}))).await?;
    let before = space.status("web").await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[2, 3]).await?;
    space.condition_is("web", "Progressing", "True", Some("Partitioned")).await?;
    let status = space.status("web").await?;
    ensure_eq!(status.current_revision, before.current_revision, "currentRevision");
    ensure!(status.update_revision != before.update_revision, "updateRevision did not change");
    ensure_eq!((status.current_replicas, status.updated_replicas), (2, 2), "current and updated");
    ensure_eq!(status.updated_ordinals.as_deref(), Some("2-3"), "updatedOrdinals");
    Ok(())
}

/// kubernetes/kubernetes#119684.
async fn pods_come_back_on_the_side_where_they_were(space: Space) -> Result {
    space.create_settled(canary(json!(2), json!({}))).await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[2]).await?;
    for name in ["web-0", "web-2", "web-1"] {
        space.delete_and_wait(name).await?;
    }
    updated(&space, &[2]).await
}

/// Its container ends with an error when it is told to go, so that the Pod is Failed before it is gone.
async fn a_pod_that_fails_while_it_ends_comes_back_on_the_side_where_it_was(space: Space) -> Result {
    space.create_settled(canary(json!(1), json!({}))).await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[1, 2]).await?;
    let before = space.pods_of("web").await?;
    space.annotate("web-0", "kwok.asts.dev/terminating-seconds", Some("2")).await?;
    space.pods().delete("web-0", &DeleteParams::default()).await?;
    let failed = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    space.pods().patch_status("web-0", &PatchParams::default(), &failed).await?;
    space.replaced("web-0", &uid(&before[0])).await?;
    updated(&space, &[1, 2]).await?;
    let after = space.pods_of("web").await?;
    ensure_eq!((uid(&after[1]), uid(&after[2])), (uid(&before[1]), uid(&before[2])), "the other Pods");
    Ok(())
}

async fn lowering_it_step_by_step_updates_more(space: Space) -> Result {
    space.create_settled(canary(json!(3), json!({}))).await?;
    space.set_image("web", "v2").await?;
    for (partition, ordinals) in [(2, vec![2]), (1, vec![1, 2]), (0, vec![0, 1, 2])] {
        partition_to(&space, json!(partition)).await?;
        updated(&space, &ordinals).await?;
    }
    space.settled("web").await
}

async fn as_many_as_there_are_slots_updates_none(space: Space) -> Result {
    space.create_settled(canary(json!(7), json!({}))).await?;
    space.set_image("web", "v2").await?;
    space.condition_is("web", "Progressing", "True", Some("Partitioned")).await?;
    holds(seconds(2), "nothing is updated", async || images_are(&space, &[]).await).await?;
    partition_to(&space, json!("100%")).await?;
    space.status_is("web", "the new spec is seen", |_| true).await?;
    holds(seconds(1), "nothing is updated", async || images_are(&space, &[]).await).await
}

async fn a_percent_is_rounded_up_and_below_a_hundred_one_slot_updates(space: Space) -> Result {
    space.create_settled(canary(json!("99%"), json!({}))).await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[2]).await?;
    partition_to(&space, json!("34%")).await?;
    holds(seconds(1), "34 % of 3 are 2", async || images_are(&space, &[2]).await).await?;
    partition_to(&space, json!("33%")).await?;
    updated(&space, &[1, 2]).await
}

/// openkruise/kruise#1749.
async fn it_counts_slots_with_any_start_ordinal(space: Space) -> Result {
    space.create_settled(canary(json!(1), json!({"ordinals": {"start": 10}}))).await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[11, 12]).await
}

async fn it_counts_slots_with_reserved_ordinals(space: Space) -> Result {
    space.create_settled(canary(json!(1), json!({"reserveOrdinals": [0, 2]}))).await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[3, 4]).await
}

/// kubernetes/kubernetes#120731, #121534.
async fn old_slots_stay_old_after_scaling_to_zero_and_back(space: Space) -> Result {
    space.create_settled(canary(json!(2), json!({}))).await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[2]).await?;
    let current = space.status("web").await?.current_revision;
    space.scale("web", 0).await?;
    space.status_is("web", "no Pod is left", |status| status.replicas == 0).await?;
    holds(seconds(1), "currentRevision stays", async || {
        ensure_eq!(space.status("web").await?.current_revision, current, "currentRevision");
        Ok(())
    })
    .await?;
    space.scale("web", 3).await?;
    space.ordinals_are("web", &[0, 1, 2]).await?;
    updated(&space, &[2]).await
}

async fn new_slots_are_updated(space: Space) -> Result {
    space.create_settled(canary(json!(2), json!({}))).await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[2]).await?;
    space.scale("web", 5).await?;
    space.ordinals_are("web", &[0, 1, 2, 3, 4]).await?;
    updated(&space, &[2, 3, 4]).await
}

async fn raising_it_again_takes_nothing_back(space: Space) -> Result {
    space.create_settled(canary(json!(1), json!({}))).await?;
    space.set_image("web", "v2").await?;
    updated(&space, &[1, 2]).await?;
    let before = uid(&space.pod("web-1").await?);
    partition_to(&space, json!(3)).await?;
    holds(seconds(1), "updated Pods stay updated", async || images_are(&space, &[1, 2]).await).await?;
    ensure_eq!(uid(&space.pod("web-1").await?), before, "UID of web-1");
    Ok(())
}
