//! What is too large, too many, or makes no sense.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::chaos::{another_manager, apart, with_manager};
use crate::harness::manager::Manager;
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{image_of, ordinal, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    two_poisoned_sets_among_a_thousand_hold_up_no_other,
    an_object_of_nearly_the_largest_size_is_rolled_out,
    five_thousand_pods_are_made_once_each,
];

const PATIENCE_SECONDS: u64 = 120;
const REQUESTS_AT_ONCE: usize = 20;

async fn create_all(space: &Space, manifests: Vec<Value>) -> Result {
    stream::iter(manifests)
        .map(|manifest| space.create(manifest))
        .buffer_unordered(REQUESTS_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// Takes the rules out of the definition, as after one of another version was installed.
async fn open_the_definition(space: &Space) -> Result {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
        "value": {"type": "object", "properties": {"spec": open, "status": open}}}]);
    let name = "crd/advancedstatefulsets.apps.asts.dev";
    space.kubectl(&["patch", name, "--type=json", "-p", &patch.to_string()], None)?;
    eventually(seconds(20), "the definition is open", async || {
        space.create(set("not-understood", json!({"podManagementPolicy": "Sideways"}))).await
    })
    .await
}

const SETS: usize = 1000;
/// Each of so many sets has a Pod, the others have none.
const WITH_POD_EVERY: usize = 20;

/// One cannot be read at all, one has a template that the apiserver refuses.
async fn two_poisoned_sets_among_a_thousand_hold_up_no_other(here: Space) -> Result {
    apart(&here, "thousand", async |suite, space| {
        open_the_definition(space).await?;
        let ports = json!([{"name": "UPPER CASE", "containerPort": 80}]);
        let container = json!([{"name": "app", "image": image("v1"), "ports": ports}]);
        space.create(set("refused", json!({"template": {"spec": {"containers": container}}}))).await?;
        let sized = |number: usize| json!({"replicas": usize::from(number.is_multiple_of(WITH_POD_EVERY))});
        let sets = (0..SETS).map(|number| set(&format!("set-{number}"), sized(number))).collect();
        create_all(space, sets).await?;
        all_done(space, SETS).await?;
        // A manager that starts meets all of them at once.
        with_manager(suite, Manager::kill)?;
        another_manager(suite, &["--leader-elect=false"])?;
        space.set_image("set-0", "v2").await?;
        space.set_image(&format!("set-{}", SETS - WITH_POD_EVERY), "v2").await?;
        all_done(space, SETS).await?;
        ensure_eq!(image_of(&space.pod("set-0-0").await?), image("v2"), "image");
        ensure!(with_manager(suite, |manager| Ok(manager.is_alive()))?, "the manager ended");
        let pods = space.pods().list(&ListParams::default()).await?.items;
        ensure_eq!(pods.len(), SETS / WITH_POD_EVERY, "Pods");
        Ok(())
    })
    .await
}

async fn all_done(space: &Space, count: usize) -> Result {
    eventually(seconds(PATIENCE_SECONDS), "all sets but the poisoned are done", async || {
        let sets = space.sets().list(&ListParams::default()).await?.items;
        let done = |data: &Value, generation: Option<i64>| {
            let status = &data["status"];
            let wanted = data["spec"]["replicas"].as_i64();
            status["observedGeneration"].as_i64() == generation
                && status["updatedReadyReplicas"].as_i64().unwrap_or_default() == wanted.unwrap_or(1)
                && status["currentRevision"] == status["updateRevision"]
        };
        let waiting: Vec<&str> = sets
            .iter()
            .filter(|set| !done(&set.data, set.metadata.generation))
            .filter_map(|set| set.metadata.name.as_deref())
            .collect();
        ensure!(sets.len() == count + 2 && waiting.len() == 2, "{} sets are waited for", waiting.len());
        ensure!(waiting.contains(&"refused") && waiting.contains(&"not-understood"), "{waiting:?} are waited for");
        Ok(())
    })
    .await
}

/// An apiserver takes objects of up to 1.5 MiB.
const LARGE_BYTES: usize = 1_400_000;
const ARGUMENT_BYTES: usize = 100_000;

async fn an_object_of_nearly_the_largest_size_is_rolled_out(space: Space) -> Result {
    let arguments: Vec<String> =
        (0..LARGE_BYTES / ARGUMENT_BYTES).map(|number| format!("{number}{}", "x".repeat(ARGUMENT_BYTES))).collect();
    let container =
        json!([{"name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent", "args": arguments}]);
    space.create_settled(set("web", json!({"replicas": 2, "template": {"spec": {"containers": container}}}))).await?;
    let before = space.pods_of("web").await?;
    let size = serde_json::to_string(&space.set("web").await?)?.len();
    ensure!(size > LARGE_BYTES, "the set has {size} bytes");
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!((uid(&new), image_of(&new)), (uid(old), image("v2").as_str()), "UID and image");
    }
    Ok(())
}

const MANY: usize = 5000;

/// No scheduler looks at them: what is tried is the controller.
async fn five_thousand_pods_are_made_once_each(here: Space) -> Result {
    apart(&here, "many", async |suite, space| {
        let spec = json!({
            "replicas": MANY,
            "podManagementPolicy": "Parallel",
            "template": {"spec": {"schedulerName": "nobody"}},
        });
        let strategy = rolling_update(json!({"maxUnavailable": "100%"}));
        space.create(set("web", with(spec, strategy))).await?;
        eventually(seconds(PATIENCE_SECONDS), "all Pods are made", async || {
            let status = space.fresh_status("web").await?;
            ensure_eq!(status.replicas, i32::try_from(MANY)?, "replicas");
            Ok(())
        })
        .await?;
        let pods: Api<Pod> = space.pods();
        let made = pods.list_metadata(&ListParams::default()).await?.items;
        let ordinals: BTreeSet<i64> = made.iter().filter_map(|pod| pod.metadata.name.as_deref()).map(ordinal).collect();
        ensure_eq!(ordinals, (0..i64::try_from(MANY)?).collect(), "ordinals");
        let creates = suite.requests()?.iter().filter(|it| it.verb == "create" && it.resource() == "pods").count();
        ensure_eq!(creates, MANY, "creates of Pods");
        space.scale("web", 0).await?;
        eventually(seconds(PATIENCE_SECONDS), "all Pods are gone", async || {
            let status = space.fresh_status("web").await?;
            ensure_eq!(status.replicas, 0, "replicas");
            Ok(())
        })
        .await?;
        with_manager(suite, |manager| Ok(manager.is_alive()))?.then_some(()).context("the manager ended")
    })
    .await
}
