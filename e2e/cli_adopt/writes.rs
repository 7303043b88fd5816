//! Calls that are killed between any two of their writes, and called again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{created, stays};
use crate::cli_plugin::{asts, asts_killed_when};
use crate::cli_state::{State, is_native, is_ours, state};
use crate::harness::proxy::{Harm, Proxy};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, eventually, image, install};
use crate::{ensure, ensure_eq};

/// More writes than a call makes.
const WRITES_MAX: usize = 30;

/// Somebody who may do everything in the namespace, and reaches the apiserver by a token.
pub async fn mover(space: &Space) -> Result<PathBuf> {
    space.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mover"}}))?;
    let account = format!("--serviceaccount={}:mover", space.namespace);
    space.kubectl(&["create", "rolebinding", "mover", "--clusterrole=cluster-admin", &account], None)?;
    install::identity(&space.suite.cluster.info, &space.client, &space.namespace, "mover").await
}

/// Kills a call when its write of this number is carried out, before it hears of it. `false`: it ended before.
pub async fn killed_after(space: &Space, mover: &std::path::Path, write: usize, arguments: &[&str]) -> Result<bool> {
    let harm = Harm { held_write: Some(write), ..Harm::default() };
    let proxy = Proxy::start(&space.suite, 1, harm).await?;
    let kubeconfig = proxy.kubeconfig_of(&space.suite, mover)?;
    let ran = asts_killed_when(space, &kubeconfig, arguments, || proxy.is_held()).await?;
    match ran.code {
        None => Ok(true),
        Some(_) => ran.fine().map(|_| false),
    }
}

/// The images of the revisions, all of which the set of this kind owns.
async fn history(space: &Space, kind: &str) -> Result<BTreeSet<String>> {
    eventually(seconds(30), "the set owns its revisions", async || {
        let mut images = BTreeSet::new();
        for revision in space.api::<ControllerRevision>().list(&ListParams::default()).await?.items {
            let owners = revision.metadata.owner_references.unwrap_or_default();
            let kinds: Vec<&str> = owners.iter().map(|owner| owner.kind.as_str()).collect();
            ensure_eq!(kinds, [kind], "owners of {:?}", revision.metadata.name);
            let data = revision.data.map(|data| data.0).unwrap_or_default();
            let image = data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
            images.insert(image.context("an image")?.to_owned());
        }
        Ok(images)
    })
    .await
}

/// A native set on its second revision, whose claims go with it.
async fn second_revision(space: &Space) -> Result<State> {
    let spec = json!({
        "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
    });
    created(space, "web", 2, spec).await?;
    space.kubectl(&["set", "image", "statefulset/web", &format!("app={}", image("v2"))], None)?;
    space.kubectl(&["rollout", "status", "statefulset/web", "--timeout=90s"], None)?;
    state(space).await
}

async fn adopted(space: &Space, before: &State, when: &str) -> Result {
    asts(space, &["adopt", "statefulset/web"]).await?.fine().context(when)?;
    is_ours(space, "web").await.context(when)?;
    ensure_eq!(&state(space).await?, before, "adopted {when}");
    let policy = space.sets().get("web").await?.data["spec"]["persistentVolumeClaimRetentionPolicy"].clone();
    ensure_eq!(policy, json!({"whenDeleted": "Delete", "whenScaled": "Retain"}), "adopted {when}");
    ensure_eq!(history(space, "AdvancedStatefulSet").await?, both(), "revisions, adopted {when}");
    Ok(())
}

async fn released(space: &Space, before: &State, when: &str) -> Result {
    asts(space, &["release", "web"]).await?.fine().context(when)?;
    is_native(space, "web").await.context(when)?;
    ensure_eq!(&state(space).await?, before, "released {when}");
    let policy = ["get", "statefulset/web", "-o", "jsonpath={.spec.persistentVolumeClaimRetentionPolicy.whenDeleted}"];
    ensure_eq!(space.kubectl(&policy, None)?, "Delete", "released {when}");
    ensure_eq!(history(space, "StatefulSet").await?, both(), "revisions, released {when}");
    Ok(())
}

fn both() -> BTreeSet<String> {
    BTreeSet::from([image("v1"), image("v2")])
}

pub async fn killed_after_any_write_an_adoption_ends_right(space: Space) -> Result {
    let before = second_revision(&space).await?;
    let mover = mover(&space).await?;
    let mut kills = 0;
    for write in 1..WRITES_MAX {
        let killed = killed_after(&space, &mover, write, &["adopt", "statefulset/web"]).await?;
        adopted(&space, &before, &format!("after write {write}")).await?;
        if !killed {
            break;
        }
        kills = write;
        released(&space, &before, &format!("after write {write}")).await?;
    }
    // The set, the claims' policy, the deletion, the pause.
    ensure_eq!(kills, 4, "writes of an adoption");
    stays(&space, &before).await
}

pub async fn killed_after_any_write_a_release_ends_right(space: Space) -> Result {
    let before = second_revision(&space).await?;
    let mover = mover(&space).await?;
    let mut kills = 0;
    for write in 1..WRITES_MAX {
        adopted(&space, &before, &format!("before write {write}")).await?;
        let killed = killed_after(&space, &mover, write, &["release", "web"]).await?;
        released(&space, &before, &format!("after write {write}")).await?;
        if !killed {
            break;
        }
        kills = write;
    }
    // The set, the claims' policy, the deletion, two Pods, the strategy.
    ensure!(kills >= 6, "{kills} writes of a release");
    stays(&space, &before).await
}
