//! Orphans that are taken, Pods that are let go, and what stands in the way.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::audit::{Request, requests_of};
use crate::harness::install::MANAGER_USER;
use crate::harness::space::{container_id, hash_in, image_of, is_ready, pod_name, revision_label, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    an_orphan_that_matches_is_adopted_and_not_re_created,
    an_orphan_that_differs_is_adopted_and_updated,
    an_orphan_whose_name_or_labels_differ_is_left_alone,
    a_pod_that_loses_its_labels_is_let_go_and_replaced_when_gone,
    a_pod_that_loses_its_owner_is_adopted_again,
    the_pods_of_a_native_set_are_taken_over_without_a_restart,
    a_native_set_that_is_still_there_is_waited_for_and_its_pods_taken_when_it_goes,
    adopted_claims_go_as_the_retention_policy_says,
    a_claim_template_added_after_an_adoption_re_creates_the_pods,
    a_pod_of_another_controller_is_waited_for,
    a_pod_without_the_gate_is_updated_all_the_same,
    a_set_deleted_with_its_pods_left_and_made_again_takes_them,
];

fn owned(pod: &Pod) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.controller == Some(true) && owner.kind == "AdvancedStatefulSet")
}

/// A Pod as the template of `set("web", {})` makes it, but for our labels and gate.
fn orphan(name: &str, label: &str, tag: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": label}},
        "spec": {
            "terminationGracePeriodSeconds": 1, "hostname": name, "subdomain": "peers",
            "containers": [{"name": "app", "image": image(tag), "imagePullPolicy": "IfNotPresent"}],
        },
    })
}

async fn make(space: &Space, manifest: Value) -> Result<Pod> {
    let name = manifest["metadata"]["name"].as_str().context("name")?.to_owned();
    space.pods().create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
    space.pod_is(&name, "ready", is_ready).await
}

async fn an_orphan_that_matches_is_adopted_and_not_re_created(space: Space) -> Result {
    let before = make(&space, orphan("web-0", "web", "v1")).await?;
    space.create_settled(set("web", json!({"replicas": 2}))).await?;
    let after = space.pod("web-0").await?;
    ensure!(owned(&after), "web-0 is still an orphan");
    ensure_eq!((uid(&after), container_id(&after)), (uid(&before), container_id(&before)), "web-0");
    let status = space.status("web").await?;
    ensure_eq!(revision_label(&after), hash_in(status.update_revision.as_deref()), "revision label");
    Ok(())
}

async fn an_orphan_that_differs_is_adopted_and_updated(space: Space) -> Result {
    let before = make(&space, orphan("web-0", "web", "v2")).await?;
    space.create_settled(set("web", json!({"replicas": 2}))).await?;
    let after = space.pod("web-0").await?;
    ensure!(owned(&after), "web-0 is still an orphan");
    ensure_eq!((image_of(&after), uid(&after)), (image("v1").as_str(), uid(&before)), "web-0");
    Ok(())
}

async fn an_orphan_whose_name_or_labels_differ_is_left_alone(space: Space) -> Result {
    for (name, label) in [("other-0", "web"), ("web-x", "web"), ("web-00", "web"), ("web-7", "other")] {
        make(&space, orphan(name, label, "v1")).await?;
    }
    space.create_settled(set("web", json!({"replicas": 2}))).await?;
    for name in ["other-0", "web-x", "web-00", "web-7"] {
        ensure!(!owned(&space.pod(name).await?), "{name} was adopted");
    }
    Ok(())
}

async fn a_pod_that_loses_its_labels_is_let_go_and_replaced_when_gone(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 2}))).await?;
    let before = uid(&space.pod("web-0").await?);
    space.label("web-0", "app", Some("mine")).await?;
    let pod = space.pod_is("web-0", "let go", |pod| !owned(pod)).await?;
    ensure_eq!(uid(&pod), before, "UID of the Pod that was let go");
    holds(seconds(2), "the stranger stays", async || {
        ensure_eq!(uid(&space.pod("web-0").await?), before, "UID");
        Ok(())
    })
    .await?;
    space.pods().delete("web-0", &DeleteParams::default()).await?;
    space.replaced("web-0", &before).await?;
    space.settled("web").await
}

async fn a_pod_that_loses_its_owner_is_adopted_again(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 2}))).await?;
    let before = uid(&space.pod("web-1").await?);
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    space.pods().patch("web-1", &PatchParams::default(), &patch).await?;
    let after = space.pod_is("web-1", "owned again", owned).await?;
    ensure_eq!(uid(&after), before, "UID of web-1");
    space.settled("web").await
}

/// Makes a native StatefulSet of the same manifest, and returns its Pods when they are Ready.
async fn native(space: &Space, mut manifest: Value) -> Result<Vec<Pod>> {
    manifest["apiVersion"] = json!("apps/v1");
    manifest["kind"] = json!("StatefulSet");
    space.apply(&manifest)?;
    space.kubectl(&["rollout", "status", "statefulset/web", "--timeout=60s"], None)?;
    Ok(space.pods().list(&Default::default()).await?.items)
}

async fn the_pods_of_a_native_set_are_taken_over_without_a_restart(space: Space) -> Result {
    let before = native(&space, set("web", json!({}))).await?;
    ensure_eq!(before.len(), 3, "Pods of the native set");
    space.kubectl(&["delete", "statefulset/web", "--cascade=orphan"], None)?;
    space.create_settled(set("web", json!({}))).await?;
    for old in &before {
        let new = space.pod(pod_name(old)).await?;
        ensure!(owned(&new), "{} is not ours", pod_name(old));
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(old));
        ensure!(!revision_label(&new).contains("web"), "revision label {}", revision_label(&new));
    }
    Ok(())
}

/// What the manager wrote in the namespace so far, events apart.
fn writes(space: &Space) -> Result<usize> {
    let requests = requests_of(&space.suite.cluster.info.audit_log, MANAGER_USER)?;
    let ours = |request: &&Request| request.object_ref.namespace == space.namespace && request.is_write();
    Ok(requests.iter().filter(ours).filter(|request| request.resource() != "events").count())
}

/// Both of them want the Pods: ours stands back, without a loop, until the other goes.
async fn a_native_set_that_is_still_there_is_waited_for_and_its_pods_taken_when_it_goes(space: Space) -> Result {
    let before = native(&space, set("web", json!({}))).await?;
    space.create(set("web", json!({}))).await?;
    let condition = space.condition_is("web", "Progressing", "True", Some("WaitingForForeignPod")).await?;
    let message = condition.message.unwrap_or_default();
    ensure!(message.contains("web-0") && message.contains("StatefulSet"), "it says {message:?}");
    space.event("ForeignPod", "web-0").await?;
    let at_first = writes(&space)?;
    holds(seconds(5), "the Pods are the other's", async || {
        let pods = space.pods().list(&Default::default()).await?.items;
        ensure_eq!(pods.iter().map(uid).collect::<Vec<_>>(), before.iter().map(uid).collect::<Vec<_>>(), "UIDs");
        ensure!(!pods.iter().any(owned), "a Pod was taken from its owner");
        Ok(())
    })
    .await?;
    let more = writes(&space)? - at_first;
    ensure!(more <= 2, "{more} writes in 5 s with nothing to do");
    space.kubectl(&["delete", "statefulset/web", "--cascade=orphan"], None)?;
    space.settled_within("web", 30).await?;
    for old in &before {
        let new = space.pod(pod_name(old)).await?;
        ensure!(owned(&new), "{} is not ours", pod_name(old));
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(old));
    }
    Ok(())
}

async fn adopted_claims_go_as_the_retention_policy_says(space: Space) -> Result {
    for ordinal in 0..3 {
        crate::claims::volume_for(&space, &format!("data-web-{ordinal}")).await?;
    }
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let claim = crate::harness::manifest::claim_template("data", "1Mi");
    let manifest = set("web", json!({"volumeClaimTemplates": [claim], "persistentVolumeClaimRetentionPolicy": policy}));
    native(&space, manifest.clone()).await?;
    let claim_uid = async |name: &str| -> Result<Option<String>> { Ok(space.claim(name).await?.metadata.uid) };
    let names = ["data-web-0", "data-web-1", "data-web-2"];
    let mut before = Vec::new();
    for name in names {
        before.push(claim_uid(name).await?);
    }
    space.kubectl(&["delete", "statefulset/web", "--cascade=orphan"], None)?;
    space.create_settled(manifest).await?;
    let set_uid = space.set("web").await?.metadata.uid;
    eventually(seconds(30), "the claims are the new set's", async || {
        for (name, uid) in names.iter().zip(&before) {
            let claim = space.claim(name).await?;
            ensure_eq!(&claim.metadata.uid, uid, "UID of {name}");
            let owners: Vec<_> = claim.metadata.owner_references.into_iter().flatten().map(|it| it.uid).collect();
            ensure_eq!(Some(owners), set_uid.clone().map(|uid| vec![uid]), "owners of {name}");
        }
        Ok(())
    })
    .await?;
    space.scale("web", 1).await?;
    crate::claims::claims_are(&space, &["data-web-0"]).await?;
    ensure_eq!(claim_uid("data-web-0").await?, before[0], "UID of data-web-0");
    space.sets().delete("web", &DeleteParams::background()).await?;
    crate::claims::claims_are(&space, &[]).await
}

/// A native revision does not say which claims its Pods have.
async fn a_claim_template_added_after_an_adoption_re_creates_the_pods(space: Space) -> Result {
    for template in ["data", "more"] {
        for ordinal in 0..2 {
            crate::claims::volume_for(&space, &format!("{template}-web-{ordinal}")).await?;
        }
    }
    let template = crate::harness::manifest::claim_template;
    let manifest = set("web", json!({"replicas": 2, "volumeClaimTemplates": [template("data", "1Mi")]}));
    let before = native(&space, manifest.clone()).await?;
    space.kubectl(&["delete", "statefulset/web", "--cascade=orphan"], None)?;
    space.create_settled(manifest).await?;
    let mut uids = Vec::new();
    for old in &before {
        ensure_eq!(uid(&space.pod(pod_name(old)).await?), uid(old), "{}", pod_name(old));
        uids.push(uid(old));
    }
    for templates in [json!([template("data", "1Mi"), template("more", "1Mi")]), json!([template("data", "1Mi")])] {
        let wanted = templates.as_array().map(Vec::len);
        space.edit("web", json!({"volumeClaimTemplates": templates})).await?;
        space.settled("web").await?;
        for pod in space.pods_of("web").await? {
            ensure!(!uids.contains(&uid(&pod)), "{} was not made anew", pod_name(&pod));
            uids.push(uid(&pod));
            let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
            let claims = volumes.iter().filter(|volume| volume.persistent_volume_claim.is_some()).count();
            ensure_eq!(Some(claims), wanted, "claims of {}", pod_name(&pod));
        }
    }
    ensure_eq!(space.claim_names().await?.len(), 4, "claims");
    Ok(())
}

async fn a_pod_of_another_controller_is_waited_for(space: Space) -> Result {
    let maps = space.api::<k8s_openapi::api::core::v1::ConfigMap>();
    let owner =
        maps.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "owner"}}))?).await?;
    let mut other = orphan("web-1", "web", "v1");
    other["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid, "controller": true,
    }]);
    let before = make(&space, other).await?;
    space.create(set("web", json!({"podManagementPolicy": "Parallel"}))).await?;
    space.pod_is("web-2", "ready although web-1 is another's", is_ready).await?;
    eventually(seconds(30), "somebody says why", async || {
        let told =
            space.kubectl(&["get", "events", "--field-selector=involvedObject.kind=AdvancedStatefulSet"], None)?;
        if told.contains("web-1") { Ok(()) } else { Err(Failure(told)) }
    })
    .await?;
    ensure_eq!(uid(&space.pod("web-1").await?), uid(&before), "UID of the other's Pod");
    space.pods().delete("web-1", &DeleteParams::default()).await?;
    eventually(seconds(30), "ours takes its place within 30 s", async || {
        let pod = space.pod("web-1").await?;
        if owned(&pod) && is_ready(&pod) { Ok(()) } else { Err(Failure("not yet".to_owned())) }
    })
    .await?;
    space.settled("web").await
}

async fn a_pod_without_the_gate_is_updated_all_the_same(space: Space) -> Result {
    let before = make(&space, orphan("web-0", "web", "v1")).await?;
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    let after = space.pod("web-0").await?;
    ensure_eq!((uid(&after), image_of(&after)), (uid(&before), image("v2").as_str()), "web-0");
    eventually(seconds(30), "an event says that there is no gate", async || {
        let told = space.kubectl(&["get", "events"], None)?;
        if told.to_lowercase().contains("gate") { Ok(()) } else { Err(Failure(told)) }
    })
    .await
}

async fn a_set_deleted_with_its_pods_left_and_made_again_takes_them(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let before = space.pods_of("web").await?;
    space.kubectl(&["delete", "asts/web", "--cascade=orphan"], None)?;
    space.create_settled(set("web", json!({}))).await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!((uid(&new), container_id(&new)), (uid(old), container_id(old)), "{}", pod_name(&new));
    }
    Ok(())
}
