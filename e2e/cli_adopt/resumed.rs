//! Calls that were ended half way, and what changed before the next.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::writes::{killed_after, mover};
use super::{created, run_told, stays};
use crate::cli_plugin::asts;
use crate::cli_state::{is_native, is_ours, state};
use crate::harness::space::image_of;
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, image, set};
use crate::{ensure, ensure_eq};

async fn is_there(space: &Space) -> Result {
    let old = space.api::<StatefulSet>().get("web").await?;
    ensure!(old.metadata.deletion_timestamp.is_none(), "the StatefulSet is being deleted");
    Ok(())
}

pub async fn an_adoption_that_goes_on_looks_at_everything_again(space: Space) -> Result {
    let before = created(&space, "web", 3, json!({"podManagementPolicy": "Parallel"})).await?;
    ensure!(killed_after(&space, &mover(&space).await?, 1, &["adopt", "statefulset/web"]).await?, "it was not killed");
    space.kubectl(&["set", "image", "statefulset/web", &format!("app={}", image("never-ready"))], None)?;
    space.pod_is("web-2", "new", |pod| image_of(pod) == image("never-ready")).await?;
    let told = asts(&space, &["adopt", "statefulset/web"]).await?.refused()?;
    for part in ["a rollout is under way", "nothing more was done", "to give up: kubectl"] {
        ensure!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    is_there(&space).await?;
    let told = asts(&space, &["adopt", "statefulset/web", "--force", "--dry-run"]).await?.fine()?;
    for line in ["1/6   done: make the AdvancedStatefulSet", "4/6   delete the StatefulSet"] {
        ensure!(told.lines().any(|told| told.starts_with(line)), "{line:?} is not in:\n{told}");
    }
    let told = asts(&space, &["adopt", "statefulset/web", "--force"]).await?.fine()?;
    ensure!(told.contains("with a rollout under way"), "{told}");
    space.set_image("web", "v1").await?;
    is_ours(&space, "web").await?;
    let after = state(&space).await?;
    for name in ["web-0", "web-1"] {
        ensure_eq!(after.get(name), before.get(name), "{name}");
    }
    Ok(())
}

pub async fn a_release_that_goes_on_loses_no_field_in_silence(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 2, "podManagementPolicy": "Parallel"}))).await?;
    let before = state(&space).await?;
    ensure!(killed_after(&space, &mover(&space).await?, 1, &["release", "web"]).await?, "it was not killed");
    space.edit("web", json!({"reserveOrdinals": [7]})).await?;
    let told = asts(&space, &["release", "web"]).await?.refused()?;
    ensure!(told.contains("spec.reserveOrdinals") && told.contains("nothing more was done"), "{told}");
    ensure!(space.sets().get_opt("web").await?.is_some_and(|set| set.metadata.deletion_timestamp.is_none()), "it goes");
    let told = asts(&space, &["release", "web", "--drop-fields", "--dry-run"]).await?.fine()?;
    ensure!(told.contains("1/7   done: make") && told.contains("4/7   delete"), "{told}");
    asts(&space, &["release", "web", "--drop-fields"]).await?.fine()?;
    is_native(&space, "web").await?;
    stays(&space, &before).await
}

/// The StatefulSet that a release has made is there for anybody to change until it has the Pods.
pub async fn a_release_stops_where_somebody_changed_the_set_that_takes_over(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 2, "podManagementPolicy": "Parallel"}))).await?;
    let before = state(&space).await?;
    ensure!(killed_after(&space, &mover(&space).await?, 1, &["release", "web"]).await?, "it was not killed");
    let change = async |patch: Value| -> Result {
        space.api::<StatefulSet>().patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await?;
        Ok(())
    };
    let strategy = |type_: &str| json!({"spec": {"updateStrategy": {"$patch": "replace", "type": type_}}});
    let template =
        |tag: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image(tag)}]}}}});
    for (change_to, why, back) in [
        (strategy("RollingUpdate"), "has the strategy RollingUpdate", strategy("OnDelete")),
        (template("v2"), "is not the one that the Pods were made from", template("v1")),
    ] {
        change(change_to).await?;
        let told = asts(&space, &["release", "web", "--timeout=60s"]).await?.refused()?;
        ensure!(told.contains(why), "{why:?} is not in:\n{told}");
        let ours = space.sets().get("web").await?;
        ensure!(ours.metadata.deletion_timestamp.is_none(), "the set is being deleted");
        change(back).await?;
    }
    asts(&space, &["release", "web", "--timeout=60s"]).await?.fine()?;
    is_native(&space, "web").await?;
    stays(&space, &before).await
}

/// Gives web-0 to another set, as if that had made it anew.
async fn give_away(space: &Space, owner: Value, revision: Option<String>) -> Result {
    let metadata = json!({"ownerReferences": [owner], "labels": {"controller-revision-hash": revision}});
    let patch = Patch::Merge(json!({"metadata": metadata}));
    space.pods().patch("web-0", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// While both sets are there either may make a Pod anew that is lost.
pub async fn a_pod_made_anew_for_the_other_set_is_where_it_is_to_be(space: Space) -> Result {
    let before = created(&space, "web", 2, json!({"podManagementPolicy": "Parallel"})).await?;
    let mover = mover(&space).await?;
    let owner = |api_version: &str, kind: &str, uid: Option<String>| json!({"apiVersion": api_version, "kind": kind, "name": "web", "uid": uid, "controller": true});
    ensure!(killed_after(&space, &mover, 1, &["adopt", "statefulset/web"]).await?, "the adoption was not killed");
    let ours = space.set("web").await?.metadata.uid;
    let label = space.pod("web-0").await?.metadata.labels.unwrap_or_default().remove("controller-revision-hash");
    give_away(&space, owner("apps.asts.dev/v1beta1", "AdvancedStatefulSet", ours), label).await?;
    asts(&space, &["adopt", "statefulset/web", "--timeout=60s"]).await?.fine()?;
    is_ours(&space, "web").await?;
    ensure!(killed_after(&space, &mover, 1, &["release", "web"]).await?, "the release was not killed");
    let native = eventually(seconds(30), "the StatefulSet has a revision", async || {
        let native = space.api::<StatefulSet>().get("web").await?;
        let revision = native.status.and_then(|status| status.update_revision).context("a revision")?;
        Ok((native.metadata.uid, revision))
    })
    .await?;
    give_away(&space, owner("apps/v1", "StatefulSet", native.0), Some(native.1)).await?;
    asts(&space, &["release", "web", "--timeout=60s"]).await?.fine()?;
    is_native(&space, "web").await?;
    stays(&space, &before).await
}

pub async fn a_given_up_adoption_leaves_the_retention_policy_known(space: Space) -> Result {
    let retention = json!({"whenDeleted": "Delete", "whenScaled": "Retain"});
    let before = created(&space, "web", 1, json!({"persistentVolumeClaimRetentionPolicy": retention})).await?;
    let mover = mover(&space).await?;
    let native = async || -> Result<(Option<String>, bool)> {
        let set = space.api::<StatefulSet>().get("web").await?;
        let policy = set.spec.and_then(|spec| spec.persistent_volume_claim_retention_policy);
        let noted = set.metadata.annotations.unwrap_or_default().contains_key("apps.asts.dev/when-deleted");
        Ok((policy.and_then(|policy| policy.when_deleted), noted))
    };
    ensure!(killed_after(&space, &mover, 2, &["adopt", "statefulset/web"]).await?, "it was not killed");
    ensure_eq!(native().await?, (Some("Retain".to_owned()), true), "whenDeleted, and whether it is noted");
    // Given up as it is told.
    let told = asts(&space, &["adopt", "statefulset/web", "--lease-name=none"]).await?.refused()?;
    let commands: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("to give up: kubectl ")).collect();
    ensure_eq!(commands.len(), 2, "{told}");
    for command in commands {
        run_told(&space, command)?;
    }
    ensure_eq!(native().await?, (Some("Delete".to_owned()), false), "whenDeleted when it is given up");
    // Given up half: the next adoption knows.
    ensure!(killed_after(&space, &mover, 2, &["adopt", "statefulset/web"]).await?, "it was not killed again");
    space.kubectl(&["delete", "asts", "web", "--cascade=orphan"], None)?;
    let told = asts(&space, &["adopt", "statefulset/web"]).await?.fine()?;
    ensure!(told.contains("whenDeleted was Delete before an earlier call"), "{told}");
    is_ours(&space, "web").await?;
    let ours = space.sets().get("web").await?;
    ensure_eq!(ours.data["spec"]["persistentVolumeClaimRetentionPolicy"], retention, "policy of the new set");
    let noted = ours.metadata.annotations.unwrap_or_default().contains_key("apps.asts.dev/when-deleted");
    ensure!(!noted, "the note went along");
    stays(&space, &before).await
}
