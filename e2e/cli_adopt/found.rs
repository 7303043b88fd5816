//! What is found beside a set, and what of it does not go along.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::refused::nothing_begun;
use super::{created, stays};
use crate::cli_plugin::asts;
use crate::cli_state::{is_native, is_ours, state};
use crate::harness::{Result, Space, image, set};
use crate::{ensure, ensure_eq};

/// The revisions of the set `web-cache`: name and UID, number and owner.
async fn of_cache(space: &Space) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for revision in space.api::<ControllerRevision>().list(&ListParams::default()).await?.items {
        let metadata = revision.metadata;
        let owners = metadata.owner_references.unwrap_or_default();
        if owners.iter().any(|owner| owner.name == "web-cache") {
            let told = format!("{:?} {} {owners:?}", metadata.uid, revision.revision);
            found.insert(metadata.name.unwrap_or_default(), told);
        }
    }
    Ok(found)
}

pub async fn revisions_of_a_set_that_is_called_alike_stay_its_own(space: Space) -> Result {
    let labels = json!({"selector": {"matchLabels": {"app": "shared"}}, "template": {"metadata": {"labels": {"app": "shared"}}}});
    for name in ["web", "web-cache"] {
        let mut manifest = set(name, labels.clone());
        manifest["spec"]["replicas"] = json!(1);
        space.create_settled(manifest).await?;
    }
    space.set_image("web-cache", "v2").await?;
    space.settled("web-cache").await?;
    let before = (state(&space).await?, of_cache(&space).await?);
    ensure_eq!(before.1.len(), 2, "revisions of web-cache");
    asts(&space, &["release", "web"]).await?.fine()?;
    let same = async |when: &str| -> Result {
        ensure_eq!((state(&space).await?, of_cache(&space).await?), before, "Pods, and web-cache's revisions {when}");
        Ok(())
    };
    same("after the release").await?;
    let history = space.kubectl(&["rollout", "history", "statefulset/web"], None)?;
    let lines = history.lines().filter(|line| line.starts_with(|it: char| it.is_ascii_digit())).count();
    ensure_eq!(lines, 1, "{history}");
    // One of web-cache that nobody owns is no more waited for than taken.
    space.kubectl(&["delete", "asts/web-cache"], None)?;
    space.apply(&json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 9,
        "metadata": {"name": "web-cache-6d4f", "labels": {"app": "shared"}},
        "data": {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image("v1")}]}}}}}))?;
    space.kubectl(&["delete", "statefulset/web", "--cascade=orphan"], None)?;
    let free = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    let revisions = space.api::<ControllerRevision>();
    revisions.patch("web-cache-6d4f", &PatchParams::default(), &free).await?;
    let mut manifest = set("web", labels);
    manifest["spec"]["replicas"] = json!(1);
    space.create_settled(manifest).await?;
    let owners = revisions.get("web-cache-6d4f").await?.metadata.owner_references;
    ensure_eq!(owners, None, "owners of web-cache's revision");
    Ok(())
}

pub async fn claims_that_cannot_go_along_are_named(space: Space) -> Result {
    created(&space, "web", 2, json!({})).await?;
    let told = asts(&space, &["adopt", "statefulset/web", "--dry-run"]).await?.fine()?;
    ensure!(told.contains("ok    2 claims there and bound\n"), "{told}");
    let claims = space.api::<PersistentVolumeClaim>();
    let annotate = async |set: Option<&str>| {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"apps.asts.dev/set": set}}}));
        claims.patch("data-web-0", &PatchParams::default(), &patch).await
    };
    annotate(Some("cache")).await?;
    let told = asts(&space, &["adopt", "statefulset/web"]).await?.refused()?;
    ensure!(told.contains("no    1 claim made for another set") && told.contains("data-web-0 (cache)"), "{told}");
    nothing_begun(&space, "web", &told).await?;
    annotate(None).await?;
    space.kubectl(&["delete", "pvc/data-web-1", "--wait=false"], None)?;
    let told = asts(&space, &["adopt", "statefulset/web"]).await?.refused()?;
    ensure!(told.contains("ok    1 claim there and bound\n"), "{told}");
    ensure!(told.contains("no    1 claim being deleted") && told.contains("data-web-1\n"), "{told}");
    nothing_begun(&space, "web", &told).await
}

pub async fn marks_of_tools_stay_behind(space: Space) -> Result {
    let before = created(&space, "web", 1, json!({})).await?;
    let marks = json!({
        "labels": {"app.kubernetes.io/managed-by": "Helm", "argocd.argoproj.io/instance": "shop", "team": "db"},
        "annotations": {"meta.helm.sh/release-name": "web", "note": "kept"},
    });
    let patch = Patch::Merge(json!({"metadata": marks}));
    space.api::<StatefulSet>().patch("web", &PatchParams::default(), &patch).await?;
    let told = asts(&space, &["adopt", "statefulset/web"]).await?.fine()?;
    for mark in [
        "labels[app.kubernetes.io/managed-by]",
        "labels[argocd.argoproj.io/instance]",
        "annotations[meta.helm.sh/release-name]",
    ] {
        ensure!(told.contains(&format!("note  metadata.{mark}: left out")), "{mark} is not in:\n{told}");
    }
    is_ours(&space, "web").await?;
    let metadata = space.set("web").await?.metadata;
    let labels = metadata.labels.unwrap_or_default();
    ensure_eq!(labels.keys().collect::<Vec<_>>(), ["team"], "labels");
    let annotations = metadata.annotations.unwrap_or_default();
    ensure_eq!(annotations.keys().collect::<Vec<_>>(), ["note"], "annotations");
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/checksum": "x"}}}));
    space.sets().patch("web", &PatchParams::default(), &patch).await?;
    let told = asts(&space, &["release", "web"]).await?.fine()?;
    ensure!(told.contains("note  metadata.annotations[kustomize.toolkit.fluxcd.io/checksum]: left out"), "{told}");
    is_native(&space, "web").await?;
    stays(&space, &before).await
}
