//! A database's Pods change their owner on a real kubelet: its processes do not notice.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::cli_plugin::{asts, asts_killed_at};
use crate::cli_state::{State, is_native, is_ours, native, state};
use crate::harness::{Context, Result, Space};
use crate::{ensure, ensure_eq, test_list};

test_list![five_pods_with_claims_are_adopted_and_released_and_their_containers_run_on];

const REPLICAS: i64 = 5;

async fn volumes(space: &Space) -> Result {
    let api: Api<PersistentVolume> = Api::all(space.client.clone());
    for ordinal in 0..REPLICAS {
        let claim = format!("data-web-{ordinal}");
        let folder = space.suite.cluster.info.volumes.join(&space.namespace).join(&claim);
        std::fs::create_dir_all(&folder)?;
        let volume = serde_json::from_value(json!({
            "metadata": {"name": format!("{}-{claim}", space.namespace)},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": space.namespace, "name": claim}, "hostPath": {"path": folder},
            },
        }))?;
        api.create(&PostParams::default(), &volume).await?;
    }
    Ok(())
}

/// When each program began, as it says itself.
fn beginnings(space: &Space) -> Result<BTreeMap<i64, String>> {
    let began = |ordinal| {
        let pod = format!("web-{ordinal}");
        let told = space.kubectl(&["exec", &pod, "--", "cat", "/proc/1/stat"], None).context(&pod)?;
        let fields: Vec<&str> = told.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        Ok((ordinal, fields.get(19).context("the start time of the program")?.to_string()))
    };
    (0..REPLICAS).map(began).collect()
}

async fn five_pods_with_claims_are_adopted_and_released_and_their_containers_run_on(space: Space) -> Result {
    volumes(&space).await?;
    let spec = json!({
        "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
    });
    space.apply(&native("web", REPLICAS, spec))?;
    space.kubectl(&["rollout", "status", "statefulset/web", "--timeout=120s"], None)?;
    let before = (state(&space).await?, beginnings(&space)?);
    ensure_eq!(before.0.len(), 10, "Pods and claims");
    ensure!(before.0.iter().all(|(name, told)| name.starts_with("data") || told.contains(" 0 Some(")), "{before:?}");
    let same = async |when: &str| -> Result {
        let now: (State, BTreeMap<i64, String>) = (state(&space).await?, beginnings(&space)?);
        ensure_eq!(now, before, "Pods, claims and programs {when}");
        Ok(())
    };
    asts(&space, &["adopt", "statefulset/web"]).await?.fine()?;
    is_ours(&space, "web").await?;
    same("after the adoption").await?;
    asts(&space, &["release", "web"]).await?.fine()?;
    is_native(&space, "web").await?;
    same("after the release").await?;
    for step in 1..=7 {
        let mark = format!("{step}/6");
        if step <= 6 {
            asts_killed_at(&space, &["adopt", "statefulset/web"], &mark).await?;
        }
        asts(&space, &["adopt", "statefulset/web"]).await?.fine().context(&mark)?;
        is_ours(&space, "web").await.context(&mark)?;
        same(&mark).await?;
        let mark = format!("{step}/7");
        asts_killed_at(&space, &["release", "web"], &mark).await?;
        asts(&space, &["release", "web"]).await?.fine().context(&mark)?;
        is_native(&space, "web").await.context(&mark)?;
        same(&mark).await?;
    }
    // It is a set that works: the same Pods can be updated in place from now on.
    asts(&space, &["adopt", "statefulset/web", "--pod-update-policy", "InPlaceIfPossible"]).await?.fine()?;
    let uids = space.pods_of("web").await?.iter().map(crate::harness::space::uid).collect::<Vec<_>>();
    space.set_image("web", "v2").await?;
    space.settled_within("web", 120).await?;
    let now = space.pods_of("web").await?.iter().map(crate::harness::space::uid).collect::<Vec<_>>();
    ensure_eq!(now, uids, "UIDs after an update in place");
    Ok(())
}
