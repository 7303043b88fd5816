//! Random valid edits, back and forth, in the manner of Acto (SOSP 2023): after any sequence of them a set is as a
//! fresh one of the same spec.

use std::collections::BTreeMap;

use std::time::Duration;

use asts::inplace::image::Reference;
use asts::inplace::with_defaults;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::claims::volume_for;
use crate::harness::dice::Dice;
use crate::harness::manifest::{claim_template, rolling_update, with};
use crate::harness::space::{hash_in, ordinal, pod_name};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, image, set};
use crate::lifecycle::{HOLD, answered};
use crate::{ensure, ensure_eq, test_list};

test_list![after_random_valid_edits_a_set_is_as_a_fresh_one, after_other_random_valid_edits_a_parallel_set_is_too];

const EDITS: usize = 30;
const PATIENCE_SECONDS: u64 = 90;
const REPLICAS_MOST: i64 = 8;
const CLAIM_TEMPLATES: [&str; 2] = ["data", "more"];
/// What others write on Pods, or the manager for itself.
const OWN_ANNOTATIONS: [&str; 2] = ["apps.asts.dev/", "kwok"];
/// Where a Pod is on the way through its hooks: one from before them has no state.
const HOOK_LABELS: [&str; 2] = [HOLD, "lifecycle.apps.asts.dev/state"];

/// A container of the template, with values that a number chooses.
fn containers(dice: &mut Dice) -> Value {
    let memory = dice.pick(&["64Mi", "128Mi", "256Mi"]);
    let mut app = json!({
        "name": "app", "imagePullPolicy": "IfNotPresent", "image": image(dice.pick(&["v1", "v2", "v3"]).unwrap_or("v1")),
        "env": [{"name": "MODE", "value": dice.below(2).to_string()}],
        "resources": {"requests": {"memory": memory}, "limits": {"memory": "1Gi"}},
    });
    if dice.below(3) == 0 {
        app["readinessProbe"] = json!({"exec": {"command": ["true"]}, "periodSeconds": 5});
    }
    let mut containers = vec![app];
    if dice.below(3) == 0 {
        containers.push(json!({"name": "side", "image": image("v1"), "imagePullPolicy": "IfNotPresent"}));
    }
    json!(containers)
}

/// A merge patch of the spec that the apiserver takes whatever the spec is.
fn edit(dice: &mut Dice) -> Value {
    let template = |template: Value| json!({"template": template});
    match dice.below(23) {
        0..=4 => template(json!({"spec": {"containers": containers(dice)}})),
        5 => template(json!({"metadata": {"labels": {"tier": dice.pick(&[Some("gold"), Some("iron"), None])}}})),
        6 => template(json!({"metadata": {"annotations": {"note": dice.pick(&[Some("one"), Some("two"), None])}}})),
        7 => {
            let tolerations = json!([{"key": "zone", "operator": "Exists", "effect": "NoSchedule"}]);
            template(json!({"spec": {"tolerations": dice.pick(&[true, false]).filter(|it| *it).map(|_| tolerations)}}))
        }
        8 => template(json!({"spec": {"terminationGracePeriodSeconds": dice.below(2) + 1}})),
        9..=10 => json!({"replicas": dice.below(4) + 1}),
        11 => json!({"reserveOrdinals": dice.pick(&[None, Some("1"), Some("0-1")]).flatten().map(|range| [range])}),
        12 => json!({"ordinals": dice.pick(&[None, Some(2)]).flatten().map(|start| json!({"start": start}))}),
        13 => rolling_update(json!({
            "maxUnavailable": dice.pick(&["50%", "100%"]),
            "podUpdatePolicy": dice.pick(&["InPlaceIfPossible", "ReCreate"]),
            "inPlaceUpdateStrategy": {"gracePeriodSeconds": dice.below(2), "prePull": dice.below(2) == 0},
        })),
        14 => rolling_update(json!({"partition": dice.below(3), "paused": dice.below(3) == 0})),
        15 => json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}),
        16 => json!({"volumeClaimTemplates": claim_templates(dice)}),
        17 => retention(dice),
        18..=20 => json!({"lifecycle": hooks(dice)}),
        21 => json!({"scaleStrategy": {"maxUnavailable": dice.pick(&[None, Some("50%"), Some("100%")]).flatten()}}),
        _ => {
            json!({"minReadySeconds": dice.below(2), "revisionHistoryLimit": dice.below(3), "progressDeadlineSeconds": 300})
        }
    }
}

/// One that stays, and one that comes and goes.
fn claim_templates(dice: &mut Dice) -> Value {
    CLAIM_TEMPLATES[..if dice.below(2) == 0 { 1 } else { 2 }].iter().map(|name| claim_template(name, "1Mi")).collect()
}

fn retention(dice: &mut Dice) -> Value {
    let mut policy = || dice.pick(&["Retain", "Delete"]);
    json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy(), "whenScaled": policy()}})
}

/// Every Pod has their label.
fn hooks(dice: &mut Dice) -> Value {
    let mut hook = || {
        let hook = json!({"labelsHandler": {HOLD: "true"}, "markPodNotReady": dice.below(2) == 0});
        (dice.below(2) == 0).then_some(hook)
    };
    json!({"preDelete": hook(), "inPlaceUpdate": hook(), "preNormal": hook()})
}

/// Whatever was edited, this can be done to the end.
fn can_end() -> Value {
    rolling_update(json!({"partition": 0, "paused": false, "podUpdatePolicy": "InPlaceIfPossible"}))
}

/// What matters of a Pod.
fn shown(pod: &Pod) -> Result<Value> {
    let pod = serde_json::to_value(pod)?;
    let template = with_defaults(&json!({"metadata": pod["metadata"], "spec": pod["spec"]}));
    let mut shown = json!({});
    for field in ["terminationGracePeriodSeconds", "tolerations", "hostname", "subdomain", "restartPolicy"] {
        shown[field] = template["spec"][field].clone();
    }
    let map = |pointer: &str| -> BTreeMap<String, Value> {
        serde_json::from_value(pod.pointer(pointer).cloned().unwrap_or_default()).unwrap_or_default()
    };
    let mut labels = map("/metadata/labels");
    labels.retain(|key, _| !key.starts_with("topology.kubernetes.io/") && !HOOK_LABELS.contains(&key.as_str()));
    let mut annotations = map("/metadata/annotations");
    annotations.retain(|key, _| !OWN_ANNOTATIONS.iter().any(|own| key.contains(own)));
    (shown["labels"], shown["annotations"]) = (json!(labels), json!(annotations));
    for container in template["spec"]["containers"].as_array().context("containers")? {
        let name = container["name"].as_str().context("a container's name")?;
        let image = Reference::parse(container["image"].as_str().unwrap_or_default());
        let what = json!({
            "image": format!("{image:?}"), "env": container["env"], "resources": container["resources"],
            "readinessProbe": container["readinessProbe"],
        });
        shown["containers"][name] = what;
    }
    Ok(shown)
}

/// What matters of a set's end state.
async fn state(space: &Space) -> Result<Value> {
    let mut pods = json!({});
    for pod in space.pods_of("web").await? {
        pods[ordinal(pod_name(&pod)).to_string()] = shown(&pod)?;
    }
    let status = space.status("web").await?;
    let conditions: BTreeMap<String, Value> =
        status.conditions.iter().map(|one| (one.type_.clone(), json!([one.status, one.reason]))).collect();
    Ok(json!({
        "pods": pods,
        "conditions": conditions,
        "revision": hash_in(status.update_revision.as_deref()),
        "counts": [status.replicas, status.current_replicas, status.updated_replicas, status.available_replicas],
        "updatedOrdinals": status.updated_ordinals,
        "claims": status.volume_claims,
    }))
}

async fn make_volumes(space: &Space) -> Result {
    for template in CLAIM_TEMPLATES {
        for ordinal in 0..REPLICAS_MOST {
            volume_for(space, &format!("{template}-web-{ordinal}")).await?;
        }
    }
    Ok(())
}

/// Gives each volume whose claim was collected to the next claim of that name, as long as the future lives.
async fn recycle(space: &Space) {
    let volumes: Api<PersistentVolume> = Api::all(space.client.clone());
    let anybody = Patch::Merge(json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}}));
    loop {
        for volume in volumes.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let claim = volume.spec.and_then(|spec| spec.claim_ref).and_then(|claim| claim.namespace);
            let is_released = volume.status.and_then(|status| status.phase).as_deref() == Some("Released");
            if let (true, Some(name)) = (is_released && claim.as_ref() == Some(&space.namespace), volume.metadata.name)
            {
                drop(volumes.patch(&name, &PatchParams::default(), &anybody).await);
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// With hooks that are answered and volumes that are used again.
async fn served<T>(space: &Space, body: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        () = recycle(space) => Err(Failure("no volume is used again any more".to_owned())),
        outcome = answered(space, body) => outcome,
    }
}

/// All edits, to their end.
async fn edited(space: &Space, policy: &str, mut dice: Dice) -> Result {
    make_volumes(space).await?;
    let first = json!({
        "podManagementPolicy": policy,
        "volumeClaimTemplates": [claim_template("data", "1Mi")],
        "template": {"metadata": {"labels": {HOLD: "true"}}, "spec": {"containers": containers(&mut dice)}},
    });
    space.create_settled(set("web", first)).await?;
    let mut before = json!({});
    for number in 0..EDITS {
        let edit = edit(&mut dice);
        space.edit("web", edit.clone()).await.context(format!("edit {number}: {edit}"))?;
        match dice.below(4) {
            // Back and forth.
            0 => space.edit("web", before).await?,
            1 => {
                let can_end = with(edit.clone(), can_end());
                space.edit("web", can_end).await?;
                space.settled_within("web", PATIENCE_SECONDS).await.context(format!("edit {number}: {edit}"))?;
            }
            _ => tokio::time::sleep(Duration::from_millis(100 + dice.below(400))).await,
        }
        before = edit;
    }
    space.edit("web", can_end()).await?;
    space.settled_within("web", PATIENCE_SECONDS).await
}

async fn made(space: &Space, spec: Value) -> Result {
    make_volumes(space).await?;
    let mut manifest = set("web", json!({}));
    manifest["spec"] = spec;
    space.create(manifest).await?;
    space.settled_within("web", PATIENCE_SECONDS).await
}

async fn play(space: &Space, policy: &str, seed: u64) -> Result {
    served(space, edited(space, policy, Dice(seed))).await?;
    let fresh = space.suite.space("fresh").await?;
    let spec = space.sets().get("web").await?.data["spec"].clone();
    served(&fresh, made(&fresh, spec)).await?;
    eventually(seconds(30), "both sets are alike", async || {
        let (edited, fresh) = (state(space).await?, state(&fresh).await?);
        for (field, fresh) in fresh.as_object().context("a state")? {
            ensure_eq!(&edited[field], fresh, "{field} after the edits");
        }
        Ok(())
    })
    .await?;
    // The one that is current is no history.
    let limit = usize::try_from(space.set("web").await?.spec.revision_history_limit.unwrap_or(10))?;
    let revisions = space.revisions_of("web").await?.len();
    ensure!(revisions <= limit + 1, "{revisions} revisions, where {limit} old ones are to be kept");
    fresh.sets().delete("web", &Default::default()).await?;
    Ok(())
}

async fn seeded(space: &Space, policy: &str, otherwise: u64) -> Result {
    let seed = std::env::var("ASTS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    play(space, policy, seed).await.map_err(|failure| Failure(format!("ASTS_SEED={seed}: {failure}")))
}

async fn after_random_valid_edits_a_set_is_as_a_fresh_one(space: Space) -> Result {
    seeded(&space, "OrderedReady", 3).await
}

async fn after_other_random_valid_edits_a_parallel_set_is_too(space: Space) -> Result {
    seeded(&space, "Parallel", 4).await
}
