//! Which revisions there are, and what does not make one.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use serde_json::{Value, json};

use crate::harness::audit::requests_of;
use crate::harness::install::MANAGER_USER;
use crate::harness::space::{container_id, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    revisions_are_owned_named_and_numbered,
    old_revisions_go_beyond_the_limit,
    a_revision_that_pods_are_on_is_kept,
    a_limit_of_zero_keeps_those_in_use,
    a_negative_limit_keeps_them_all,
    a_name_that_another_revision_holds_is_counted_and_gone_round,
    an_orphaned_revision_of_the_same_data_is_taken_and_used,
    writing_defaults_out_changes_nothing,
    other_changes_of_the_set_make_no_revision,
    a_restart_of_the_manager_changes_nothing,
    a_revision_deleted_by_hand_comes_back_and_nothing_moves,
];

async fn revisions_are_owned_named_and_numbered(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let revisions = space.revisions_of("web").await?;
    ensure_eq!(revisions.iter().map(|it| it.revision).collect::<Vec<_>>(), [1, 2], "numbers");
    let name = revisions[1].metadata.name.clone().context("name")?;
    ensure_eq!(space.status("web").await?.update_revision, Some(name.clone()), "updateRevision");
    let labels = revisions[1].metadata.labels.clone().unwrap_or_default();
    ensure_eq!(
        labels.get("controller.kubernetes.io/hash").map(String::as_str),
        name.strip_prefix("web-"),
        "hash label"
    );
    ensure_eq!(labels.get("app").map(String::as_str), Some("web"), "the template's label");
    Ok(())
}

async fn roll(space: &Space, tags: &[&str]) -> Result {
    for tag in tags {
        space.set_image("web", tag).await?;
        space.settled("web").await?;
    }
    Ok(())
}

async fn old_revisions_go_beyond_the_limit(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1, "revisionHistoryLimit": 2}))).await?;
    roll(&space, &["v2", "v3", "v4", "v5"]).await?;
    eventually(seconds(30), "two old ones and the present one", async || {
        let numbers: Vec<i64> = space.revisions_of("web").await?.iter().map(|it| it.revision).collect();
        ensure_eq!(numbers, [3, 4, 5], "numbers");
        Ok(())
    })
    .await
}

async fn a_revision_that_pods_are_on_is_kept(space: Space) -> Result {
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    let spec = crate::harness::manifest::with(json!({"replicas": 2, "revisionHistoryLimit": 0}), on_delete);
    space.create_settled(set("web", spec)).await?;
    let first = space.status("web").await?.update_revision;
    for tag in ["v2", "v3", "v4"] {
        space.set_image("web", tag).await?;
        space.status_is("web", "the new spec is seen", |_| true).await?;
    }
    holds(seconds(2), "the Pods' revision", async || {
        let revisions = space.revisions_of("web").await?;
        ensure!(revisions.iter().any(|it| it.metadata.name == first), "{first:?} is gone");
        Ok(())
    })
    .await?;
    // And a Pod of it can be made again.
    ensure_eq!(space.revisions_of("web").await?.len(), 2, "revisions: that of the Pods and the present one");
    Ok(())
}

async fn a_limit_of_zero_keeps_those_in_use(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1, "revisionHistoryLimit": 0}))).await?;
    roll(&space, &["v2"]).await?;
    eventually(seconds(30), "one revision", async || {
        ensure_eq!(space.revisions_of("web").await?.len(), 1, "revisions");
        Ok(())
    })
    .await
}

async fn a_negative_limit_keeps_them_all(space: Space) -> Result {
    const MORE_THAN_THE_DEFAULT: usize = 12;
    space.create_settled(set("web", json!({"replicas": 0, "revisionHistoryLimit": -1}))).await?;
    for number in 1..MORE_THAN_THE_DEFAULT {
        roll(&space, &[&format!("v{}", number + 1)]).await?;
    }
    holds(seconds(1), "none goes", async || {
        ensure_eq!(space.revisions_of("web").await?.len(), MORE_THAN_THE_DEFAULT, "revisions");
        Ok(())
    })
    .await
}

/// A revision as the manager makes it of this manifest: name, data, labels.
async fn revision_made_of(space: &Space, manifest: Value) -> Result<ControllerRevision> {
    space.create_settled(manifest).await?;
    let revision = space.revisions_of("web").await?.pop().context("a revision")?;
    space.sets().delete("web", &DeleteParams::foreground()).await?;
    eventually(seconds(60), "set and revision are gone", async || {
        let left = space.api::<ControllerRevision>().list(&ListParams::default()).await?.items.len();
        ensure!(left == 0 && space.sets().get_opt("web").await?.is_none(), "{left} revisions are left");
        Ok(())
    })
    .await?;
    let ObjectMeta { name, labels, .. } = revision.metadata;
    Ok(ControllerRevision { metadata: ObjectMeta { name, labels, ..Default::default() }, ..revision })
}

async fn a_name_that_another_revision_holds_is_counted_and_gone_round(space: Space) -> Result {
    let made = revision_made_of(&space, set("web", json!({"replicas": 1}))).await?;
    let owner: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "owner"}}))?;
    let owner = space.api().create(&PostParams::default(), &owner).await?;
    let mut foreign = made.clone();
    foreign.metadata.owner_references = Some(serde_json::from_value(json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid, "controller": true,
    }]))?);
    foreign.data = serde_json::from_value(json!({"other": "data"}))?;
    let foreign = space.api().create(&PostParams::default(), &foreign).await?;
    let tries = || -> Result<usize> {
        let requests = requests_of(&space.suite.cluster.info.audit_log, MANAGER_USER)?;
        let here = requests.iter().filter(|request| request.object_ref.namespace == space.namespace);
        Ok(here.filter(|it| it.verb == "create" && it.resource() == "controllerrevisions").count())
    };
    let before = tries()?;
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let status = space.status("web").await?;
    ensure_eq!(status.collision_count, Some(1), "collisionCount");
    ensure!(status.update_revision != made.metadata.name, "the set uses another's revision");
    let revisions = space.revisions_of("web").await?;
    ensure_eq!(revisions.len(), 1, "revisions of the set");
    ensure_eq!(revisions[0].data, made.data, "data of the set's revision");
    ensure_eq!(tries()? - before, 2, "creates of revisions: the one that collided and the next");
    let now: ControllerRevision = space.api().get(&made.metadata.name.unwrap_or_default()).await?;
    ensure_eq!(now.metadata.resource_version, foreign.metadata.resource_version, "the other's revision");
    // The count stays, so that the same template has the same name again.
    roll(&space, &["v2", "v1"]).await?;
    let after = space.status("web").await?;
    ensure_eq!((after.update_revision, after.collision_count), (status.update_revision, Some(1)), "after a way back");
    Ok(())
}

async fn an_orphaned_revision_of_the_same_data_is_taken_and_used(space: Space) -> Result {
    let made = revision_made_of(&space, set("web", json!({"replicas": 1}))).await?;
    let orphan = space.api().create(&PostParams::default(), &made).await?;
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let status = space.status("web").await?;
    ensure_eq!((status.update_revision, status.collision_count), (made.metadata.name, Some(0)), "update revision");
    let uids: Vec<_> = space.revisions_of("web").await?.into_iter().map(|it| it.metadata.uid).collect();
    ensure_eq!(uids, [orphan.metadata.uid], "the set's revisions");
    Ok(())
}

/// Names of revisions; UIDs and container ids of Pods.
type Footprint = (Vec<Option<String>>, Vec<(String, Option<String>)>);

/// The revisions and containers of the set, to be compared.
async fn footprint(space: &Space) -> Result<Footprint> {
    let revisions = space.revisions_of("web").await?.into_iter().map(|it| it.metadata.name).collect();
    let pods = space.pods_of("web").await?;
    Ok((revisions, pods.iter().map(|pod| (uid(pod), container_id(pod).map(str::to_owned))).collect()))
}

async fn stays(space: &Space, before: &Footprint) -> Result {
    holds(seconds(2), "nothing moves", async || {
        let now = footprint(space).await?;
        ensure_eq!(now, *before, "revisions and containers");
        Ok(())
    })
    .await
}

/// kubernetes/kubernetes#134773, kubernetes-sigs/lws#797: defaults that a newer version wrote out restarted everything.
async fn writing_defaults_out_changes_nothing(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = footprint(&space).await?;
    let container = json!({
        "terminationMessagePolicy": "File", "terminationMessagePath": "/dev/termination-log", "resources": {},
        "imagePullPolicy": "IfNotPresent", "image": image("v1"), "name": "app",
    });
    let spec = json!({
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {},
        "containers": [container],
    });
    space.edit_template("web", json!({"spec": spec})).await?;
    space.status_is("web", "the new spec is seen", |_| true).await?;
    stays(&space, &before).await?;
    space.settled("web").await
}

async fn other_changes_of_the_set_make_no_revision(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = footprint(&space).await?;
    space.patch("web", json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}})).await?;
    space.edit("web", json!({"minReadySeconds": 1, "revisionHistoryLimit": 3})).await?;
    space.edit("web", crate::harness::manifest::rolling_update(json!({"maxUnavailable": 2}))).await?;
    space.settled("web").await?;
    stays(&space, &before).await
}

async fn a_restart_of_the_manager_changes_nothing(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = footprint(&space).await?;
    // A second manager over the same namespace is as good as a restart, and disturbs nobody.
    let mut second = space.suite.start_manager(&["--leader-elect=false", "--namespace", &space.namespace])?;
    stays(&space, &before).await?;
    second.kill()
}

async fn a_revision_deleted_by_hand_comes_back_and_nothing_moves(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = footprint(&space).await?;
    let revisions = space.api::<ControllerRevision>();
    let name = before.0[0].clone().context("a revision")?;
    revisions.delete(&name, &Default::default()).await?;
    eventually(seconds(60), "the revision is back", async || {
        ensure_eq!(footprint(&space).await?.0, before.0, "revisions");
        Ok(())
    })
    .await?;
    stays(&space, &before).await?;
    space.settled("web").await
}
