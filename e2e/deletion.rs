//! Deleting a set, and Pods that users mark or delete.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::audit::requests_of;
use crate::harness::install::MANAGER_USER;
use crate::harness::manifest::{rolling_update, with};
use crate::harness::space::{image_of, label, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    the_pods_and_revisions_go_with_the_set,
    orphaned_pods_stay_as_they_are,
    a_set_that_is_being_deleted_makes_no_pod,
    a_marked_pod_is_deleted_within_the_budget_and_comes_back,
    a_marked_pod_goes_before_others_and_comes_back_on_its_revision,
    marked_pods_go_no_faster_than_the_budget,
    a_terminating_pod_is_not_forced,
    a_namespace_that_goes_gets_no_pod_back_and_stops_no_other,
    a_marked_pod_of_a_paused_set_comes_back_as_it_was,
    a_marked_pod_under_on_delete_comes_back_updated,
    a_marked_pod_that_is_not_ready_goes_with_the_budget_used_up_and_no_other,
    a_collection_of_sets_is_listed_patched_and_deleted,
];

async fn the_pods_and_revisions_go_with_the_set(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.sets().delete("web", &DeleteParams::background()).await?;
    eventually(seconds(60), "all is gone", async || {
        ensure!(space.pods().list(&ListParams::default()).await?.items.is_empty(), "Pods are left");
        let revisions = space.api::<k8s_openapi::api::apps::v1::ControllerRevision>();
        ensure!(revisions.list(&ListParams::default()).await?.items.is_empty(), "revisions are left");
        Ok(())
    })
    .await
}

async fn orphaned_pods_stay_as_they_are(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before: Vec<String> = space.pods_of("web").await?.iter().map(uid).collect();
    space.sets().delete("web", &DeleteParams::orphan()).await?;
    eventually(seconds(60), "the set is gone", async || {
        ensure!(space.sets().get_opt("web").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    holds(seconds(2), "the Pods stay", async || {
        let pods = space.pods().list(&ListParams::default()).await?.items;
        ensure_eq!(pods.iter().map(uid).collect::<Vec<_>>(), before, "UIDs");
        Ok(())
    })
    .await
}

async fn a_set_that_is_being_deleted_makes_no_pod(space: Space) -> Result {
    let mut manifest = set("web", json!({}));
    manifest["metadata"]["finalizers"] = json!(["test.example/hold"]);
    space.create_settled(manifest).await?;
    space.sets().delete("web", &DeleteParams::background()).await?;
    space.pods().delete("web-1", &DeleteParams::default()).await?;
    eventually(seconds(60), "web-1 is gone", async || {
        ensure!(space.find_pod("web-1").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    let outcome = holds(seconds(2), "it stays away", async || {
        ensure!(space.find_pod("web-1").await?.is_none(), "it is back");
        Ok(())
    })
    .await;
    space.patch("web", json!({"metadata": {"finalizers": null}})).await?;
    outcome
}

const MARK: &str = "apps.asts.dev/specified-delete";

async fn a_marked_pod_is_deleted_within_the_budget_and_comes_back(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.label("web-1", MARK, Some("true")).await?;
    space.replaced("web-1", &uid(&before[1])).await?;
    space.settled("web").await?;
    let after = space.pods_of("web").await?;
    ensure_eq!((uid(&after[0]), uid(&after[2])), (uid(&before[0]), uid(&before[2])), "the other Pods");
    Ok(())
}

async fn a_marked_pod_goes_before_others_and_comes_back_on_its_revision(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"partition": 1, "paused": true})))).await?;
    let before = uid(&space.pod("web-0").await?);
    space.set_image("web", "v2").await?;
    let recorder = space.record().await?;
    space.label("web-0", MARK, Some("true")).await?;
    space.edit("web", rolling_update(json!({"paused": false}))).await?;
    let pod = space.replaced("web-0", &before).await?;
    ensure_eq!(image_of(&pod), image("v1"), "image of web-0, below the partition");
    space.status_is("web", "two are updated", |status| status.updated_available_replicas == 2).await?;
    let gone = recorder.first_time("web-0", "leaving", |pod| pod.metadata.deletion_timestamp.is_some())?;
    let updated = recorder.first_time("web-2", "updated", |pod| image_of(pod) == image("v2"))?;
    ensure!(gone < updated, "web-2 was updated first");
    ensure!(recorder.worst_unready("web", 0..3) <= 1, "more than one was down");
    Ok(())
}

async fn marked_pods_go_no_faster_than_the_budget(space: Space) -> Result {
    let spec =
        with(json!({"podManagementPolicy": "Parallel", "replicas": 4}), rolling_update(json!({"maxUnavailable": 2})));
    space.create_settled(set("web", spec)).await?;
    let before = space.pods_of("web").await?;
    let recorder = space.record().await?;
    for pod in &before {
        space.label(pod_name(pod), MARK, Some("true")).await?;
    }
    eventually(seconds(60), "all were replaced", async || {
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure!(uid(old) != uid(&new), "{} is still the old one", pod_name(&new));
        }
        Ok(())
    })
    .await?;
    space.settled("web").await?;
    ensure!(recorder.worst_unready("web", 0..4) <= 2, "{} Pods were down at once", recorder.worst_unready("web", 0..4));
    recorder.keeps_identity()
}

/// kubernetes/kubernetes#59848: a Pod that ran twice. The half of it that is a controller's: never to take a Pod away by
/// force, nor to make another before it is gone.
async fn a_terminating_pod_is_not_forced(space: Space) -> Result {
    space.create_settled(set("web", json!({"template": {"spec": {"terminationGracePeriodSeconds": 30}}}))).await?;
    let before = uid(&space.pod("web-2").await?);
    space.annotate("web-2", "kwok.asts.dev/terminating-seconds", Some("5")).await?;
    space.pods().delete("web-2", &DeleteParams::default()).await?;
    holds(seconds(3), "the Pod takes its time", async || {
        let pod = space.pod("web-2").await?;
        ensure_eq!(uid(&pod), before, "UID");
        ensure_eq!(pod.metadata.deletion_grace_period_seconds, Some(30), "grace period");
        Ok(())
    })
    .await?;
    space.replaced("web-2", &before).await?;
    space.settled("web").await
}

/// Tries of a write that is refused come further and further apart: no more than so many in [`GOING_SECONDS`].
const TRIES_MOST: usize = 40;
const GOING_SECONDS: u64 = 10;

/// Pods go first, and the set only after them: until then its Pods are missing and none can be made.
async fn a_namespace_that_goes_gets_no_pod_back_and_stops_no_other(space: Space) -> Result {
    let going = space.suite.space("going").await?;
    let parallel = || set("web", json!({"podManagementPolicy": "Parallel"}));
    going.create_settled(parallel()).await?;
    space.create_settled(parallel()).await?;
    let hold = |names: Value| Patch::Merge(json!({"metadata": {"finalizers": names}}));
    going.pods().patch("web-0", &PatchParams::default(), &hold(json!(["asts.dev/hold"]))).await?;
    let recorder = going.record().await?;
    let namespaces: Api<Namespace> = Api::all(space.client.clone());
    namespaces.delete(&going.namespace, &DeleteParams::default()).await?;
    eventually(seconds(60), "web-1 and web-2 are gone", async || {
        let left = going.pods().list(&ListParams::default()).await?.items;
        ensure_eq!(left.iter().map(pod_name).collect::<Vec<_>>(), ["web-0"], "Pods");
        Ok(())
    })
    .await?;
    let told =
        going.condition_is("web", "ReplicaFailure", "True", Some("Forbidden")).await?.message.unwrap_or_default();
    ensure!(told.contains("is being terminated"), "it says {told:?}");
    let asked = || -> Result<usize> {
        let requests = requests_of(&space.suite.cluster.info.audit_log, MANAGER_USER)?;
        Ok(requests.iter().filter(|request| request.object_ref.namespace == going.namespace).count())
    };
    let before = asked()?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    tokio::time::sleep(seconds(GOING_SECONDS)).await;
    let tries = asked()? - before;
    ensure!(tries <= TRIES_MOST, "{tries} requests for a namespace that goes");
    ensure_eq!(recorder.made().len(), 3, "Pods that were ever made");
    going.pods().patch("web-0", &PatchParams::default(), &hold(json!(null))).await?;
    eventually(seconds(60), "the namespace is gone", async || {
        ensure!(namespaces.get_opt(&going.namespace).await?.is_none(), "it is still there");
        Ok(())
    })
    .await
}

async fn a_marked_pod_of_a_paused_set_comes_back_as_it_was(space: Space) -> Result {
    space.create_settled(set("web", rolling_update(json!({"paused": true})))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    space.label("web-1", MARK, Some("true")).await?;
    let pod = space.replaced("web-1", &uid(&before[1])).await?;
    ensure_eq!(image_of(&pod), image("v1"), "image of web-1");
    ensure!(label(&pod, MARK).is_none(), "the new Pod is marked");
    space.status_is("web", "all are available", |status| status.available_replicas == 3).await?;
    let after = space.pods_of("web").await?;
    ensure_eq!((uid(&after[0]), uid(&after[2])), (uid(&before[0]), uid(&before[2])), "the other Pods");
    Ok(())
}

async fn a_marked_pod_under_on_delete_comes_back_updated(space: Space) -> Result {
    space.create_settled(set("web", json!({"updateStrategy": {"type": "OnDelete"}}))).await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    space.label("web-1", MARK, Some("true")).await?;
    let pod = space.replaced("web-1", &uid(&before[1])).await?;
    ensure_eq!(image_of(&pod), image("v2"), "image of web-1");
    space.status_is("web", "one is updated", |status| status.updated_available_replicas == 1).await?;
    for at in [0, 2] {
        let pod = space.pod(pod_name(&before[at])).await?;
        ensure_eq!((uid(&pod), image_of(&pod)), (uid(&before[at]), image("v1").as_str()), "{}", pod_name(&pod));
    }
    Ok(())
}

async fn a_marked_pod_that_is_not_ready_goes_with_the_budget_used_up_and_no_other(space: Space) -> Result {
    let spec = with(json!({"podManagementPolicy": "Parallel"}), rolling_update(json!({"maxUnavailable": 2})));
    space.create_settled(set("web", spec)).await?;
    let before = space.pods_of("web").await?;
    for pod in ["web-0", "web-1"] {
        space.make_ready(pod, false).await?;
    }
    space.label("web-2", MARK, Some("true")).await?;
    let what = |status: &asts::api::AdvancedStatefulSetStatus| {
        status.conditions.iter().any(|it| it.message.as_deref().is_some_and(|text| text.contains("web-2")))
    };
    space.status_is("web", "web-2 waits for room in the budget", what).await?;
    space.label("web-1", MARK, Some("true")).await?;
    // Its replacement is Ready, so that there is room for web-2 again.
    space.replaced("web-1", &uid(&before[1])).await?;
    space.replaced("web-2", &uid(&before[2])).await?;
    ensure_eq!(uid(&space.pod("web-0").await?), uid(&before[0]), "UID of web-0");
    space.make_ready("web-0", true).await?;
    space.settled("web").await
}

async fn a_collection_of_sets_is_listed_patched_and_deleted(space: Space) -> Result {
    for (name, team) in [("one", "a"), ("two", "a"), ("three", "b")] {
        let mut manifest = set(name, json!({"replicas": 1}));
        manifest["metadata"]["labels"] = json!({"team": team});
        space.create(manifest).await?;
    }
    for name in ["one", "two", "three"] {
        space.settled(name).await?;
    }
    let of_a = ListParams::default().labels("team=a");
    let names = async || -> Result<Vec<Option<String>>> {
        Ok(space.sets().list(&of_a).await?.items.into_iter().map(|set| set.metadata.name).collect())
    };
    ensure_eq!(names().await?, [Some("one".to_owned()), Some("two".to_owned())], "sets of team a");
    space.patch("one", json!({"metadata": {"labels": {"seen": "yes"}}, "spec": {"replicas": 2}})).await?;
    space.settled("one").await?;
    ensure_eq!(space.names_of("one").await?, ["one-0", "one-1"], "Pods after the patch");
    ensure_eq!(space.sets().list(&ListParams::default().labels("seen=yes")).await?.items.len(), 1, "sets seen");
    let kept = uid(&space.pod("three-0").await?);
    space.sets().delete_collection(&DeleteParams::background(), &of_a).await?;
    eventually(seconds(60), "the sets of team a and their Pods are gone", async || {
        let pods = space.pods().list(&ListParams::default()).await?.items;
        ensure_eq!(pods.iter().map(pod_name).collect::<Vec<_>>(), ["three-0"], "Pods");
        ensure!(names().await?.is_empty(), "sets are left");
        Ok(())
    })
    .await?;
    ensure_eq!(uid(&space.pod("three-0").await?), kept, "UID of three-0");
    Ok(())
}
