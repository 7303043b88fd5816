//! A paused rollout changes no Pod's revision; all else goes on.

use serde_json::{Value, json};

use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{container_id, image_of, pod_condition, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Failure, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    no_pod_changes_revision_and_resuming_goes_on,
    repair_and_scaling_go_on,
    pods_keep_the_revision_of_their_ordinal,
    a_pod_in_its_grace_period_goes_back_to_service_unpatched,
    a_set_made_paused_gets_its_pods,
];

fn paused(value: bool) -> Value {
    rolling_update(json!({"paused": value}))
}

async fn images(space: &Space) -> Result<Vec<String>> {
    Ok(space.pods_of("web").await?.iter().map(|pod| image_of(pod).to_owned()).collect())
}

async fn no_pod_changes_revision_and_resuming_goes_on(space: Space) -> Result {
    space.create_settled(set("web", paused(true))).await?;
    space.set_image("web", "v2").await?;
    space.condition_is("web", "Paused", "True", None).await?;
    space.condition_is("web", "Progressing", "True", Some("Paused")).await?;
    holds(seconds(2), "no Pod changes", async || {
        ensure_eq!(images(&space).await?, vec![image("v1"); 3], "images");
        Ok(())
    })
    .await?;
    space.edit("web", paused(false)).await?;
    space.settled("web").await?;
    ensure_eq!(images(&space).await?, vec![image("v2"); 3], "images after resuming");
    let condition = space.condition("web", "Paused").await;
    ensure!(condition.is_err() || condition.is_ok_and(|condition| condition.status == "False"), "it still says Paused");
    Ok(())
}

async fn repair_and_scaling_go_on(space: Space) -> Result {
    space.create_settled(set("web", paused(true))).await?;
    space.set_image("web", "v2").await?;
    let again = space.delete_and_wait("web-1").await?;
    ensure_eq!(image_of(&again), image("v1"), "image of the Pod that came back");
    space.scale("web", 5).await?;
    space.ordinals_are("web", &[0, 1, 2, 3, 4]).await?;
    ensure_eq!(images(&space).await?, vec![image("v1"); 5], "images");
    space.scale("web", 1).await?;
    space.ordinals_are("web", &[0]).await
}

async fn pods_keep_the_revision_of_their_ordinal(space: Space) -> Result {
    let spec = rolling_update(json!({"partition": 2}));
    space.create_settled(set("web", spec)).await?;
    space.set_image("web", "v2").await?;
    space.status_is("web", "one is updated", |status| status.updated_available_replicas == 1).await?;
    space.edit("web", rolling_update(json!({"partition": 0, "paused": true}))).await?;
    space.condition_is("web", "Paused", "True", None).await?;
    for (name, tag) in [("web-2", "v2"), ("web-0", "v1")] {
        let again = space.delete_and_wait(name).await?;
        ensure_eq!(image_of(&again), image(tag), "image of {name} that came back");
    }
    space.edit("web", paused(false)).await?;
    space.settled("web").await
}

async fn a_pod_in_its_grace_period_goes_back_to_service_unpatched(space: Space) -> Result {
    let grace = json!({"inPlaceUpdateStrategy": {"gracePeriodSeconds": 6}});
    space.create_settled(set("web", rolling_update(grace))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    let gate =
        |pod: &k8s_openapi::api::core::v1::Pod| pod_condition(pod, "InPlaceUpdateReady").map(|it| it.0.to_owned());
    space.pod_is("web-2", "out of service", |pod| gate(pod).as_deref() == Some("False")).await?;
    space.edit("web", paused(true)).await?;
    space.pod_is("web-2", "back in service", |pod| gate(pod).as_deref() == Some("True")).await?;
    holds(seconds(7), "nothing is patched", async || {
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure_eq!(image_of(&new), image("v1"), "image of {}", pod_name(&new));
            ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
        }
        Ok(())
    })
    .await?;
    space.status_is("web", "nothing is under way", |status| status.disrupted.is_empty()).await?;
    space
        .edit("web", with(paused(false), rolling_update(json!({"inPlaceUpdateStrategy": {"gracePeriodSeconds": 0}}))))
        .await?;
    space.settled("web").await
}

async fn a_set_made_paused_gets_its_pods(space: Space) -> Result {
    space.create(set("web", paused(true))).await?;
    eventually(seconds(60), "three Pods", async || {
        let status = space.fresh_status("web").await?;
        if status.available_replicas == 3 { Ok(()) } else { Err(Failure(format!("{status:?}"))) }
    })
    .await
}
