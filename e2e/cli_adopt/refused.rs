//! What is refused before anything is done, and named.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{created, stays};
use crate::cli_plugin::{asts, asts_as};
use crate::cli_state::{is_native, is_ours, state};
use crate::ensure;
use crate::ensure_eq;
use crate::harness::manifest::{rolling_update, with};
use crate::harness::{Result, Space, image, install, set};

pub async fn nothing_begun(space: &Space, name: &str, told: &str) -> Result {
    ensure!(told.contains("nothing was done"), "{told}");
    ensure!(space.sets().get_opt(name).await?.is_none(), "a set was made");
    let old = space.api::<StatefulSet>().get(name).await?;
    ensure!(old.metadata.deletion_timestamp.is_none(), "the StatefulSet is being deleted");
    Ok(())
}

pub async fn without_rights_nothing_is_begun(space: Space) -> Result {
    created(&space, "web", 1, json!({})).await?;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "some"}, "rules": [
        {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get", "list", "delete"]},
        {"apiGroups": ["apps.asts.dev"], "resources": ["advancedstatefulsets"], "verbs": ["get", "create"]},
    ]});
    space.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "someone"}}))?;
    space.apply(&role)?;
    space.kubectl(
        &["create", "rolebinding", "some", "--role=some", &format!("--serviceaccount={}:someone", space.namespace)],
        None,
    )?;
    let info = &space.suite.cluster.info;
    let kubeconfig = install::identity(info, &space.client, &space.namespace, "someone").await?;
    let told = asts_as(&space, &kubeconfig, &["adopt", "statefulset/web"]).await?.refused()?;
    ensure!(told.contains("patch advancedstatefulsets.apps.asts.dev") && told.contains("list pods"), "{told}");
    ensure!(!told.contains("delete statefulsets"), "a right that is there is called missing: {told}");
    nothing_begun(&space, "web", &told).await
}

pub async fn without_a_manager_nothing_is_begun(space: Space) -> Result {
    created(&space, "web", 1, json!({})).await?;
    let told = asts(&space, &["adopt", "statefulset/web", "--lease-name=none"]).await?.refused()?;
    ensure!(told.contains("no manager is known"), "{told}");
    nothing_begun(&space, "web", &told).await?;
    let lease = json!({"metadata": {"name": "dead"}, "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 2}});
    space.api::<Lease>().create(&PostParams::default(), &serde_json::from_value(lease)?).await?;
    let lease = format!("--lease-namespace={}", space.namespace);
    let told = asts(&space, &["adopt", "statefulset/web", &lease, "--lease-name=dead"]).await?.refused()?;
    ensure!(told.contains("no manager is at work"), "{told}");
    nothing_begun(&space, "web", &told).await
}

pub async fn what_stands_in_the_way_is_named_and_nothing_begun(space: Space) -> Result {
    let long = "x".repeat(70);
    let missing = asts(&space, &["adopt", &format!("statefulset/{long}")]).await?.refused()?;
    ensure!(missing.contains("not found"), "{missing}");
    let other = asts(&space, &["adopt", "deployment/web"]).await?.refused()?;
    ensure!(other.contains("is no StatefulSet"), "{other}");

    created(&space, "web", 1, json!({})).await?;
    let refused = async |why: &str| {
        let told = asts(&space, &["adopt", "statefulset/web"]).await?.refused()?;
        ensure!(told.contains(why), "{why:?} is not in:\n{told}");
        nothing_begun(&space, "web", &told).await
    };
    let sets = space.api::<StatefulSet>();
    let patch = async |patch: Value| sets.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await;
    let operator = serde_json::from_value(json!({"metadata": {"name": "operator"}}))?;
    let operator = space.api::<ConfigMap>().create(&PostParams::default(), &operator).await?;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "operator", "uid": operator.metadata.uid, "controller": true}]);
    patch(json!({"metadata": {"ownerReferences": owner}})).await?;
    refused("ConfigMap operator (v1) controls this StatefulSet").await?;
    patch(json!({"metadata": {"ownerReferences": null}})).await?;

    patch(json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}})).await?;
    let labels: BTreeMap<String, String> = (0..501).map(|number| (format!("l{number}"), String::new())).collect();
    patch(json!({"spec": {"template": {"metadata": {"labels": labels}}}})).await?;
    refused("the apiserver refuses advancedstatefulset.apps.asts.dev/web").await?;
    let none: BTreeMap<String, Value> = labels.into_keys().map(|key| (key, Value::Null)).collect();
    patch(json!({"spec": {"template": {"metadata": {"labels": none}}}})).await?;

    let held = Patch::Merge(json!({"metadata": {"finalizers": ["asts.dev/hold"]}}));
    space.pods().patch("web-0", &PatchParams::default(), &held).await?;
    space.pods().delete("web-0", &DeleteParams::default()).await?;
    refused("1 Pod being deleted: web-0").await?;
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    space.pods().patch("web-0", &PatchParams::default(), &free).await?;

    space.create(set("web", json!({"replicas": 0}))).await?;
    let told = asts(&space, &["adopt", "statefulset/web"]).await?.refused()?;
    ensure!(told.contains("exists already"), "{told}");
    Ok(())
}

pub async fn a_rollout_under_way_is_refused_and_can_be_taken_over(space: Space) -> Result {
    let before = created(&space, "web", 3, json!({"podManagementPolicy": "Parallel"})).await?;
    space.kubectl(&["set", "image", "statefulset/web", &format!("app={}", image("never-ready"))], None)?;
    space.pod_is("web-2", "new", |pod| crate::harness::space::image_of(pod) == image("never-ready")).await?;
    let told = asts(&space, &["adopt", "statefulset/web"]).await?.refused()?;
    ensure!(told.contains("a rollout is under way") && told.contains("web-0, web-1"), "{told}");
    nothing_begun(&space, "web", &told).await?;
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

pub async fn fields_that_a_native_set_does_not_have_are_named(space: Space) -> Result {
    let strategy = rolling_update(
        json!({"partition": "50%", "unorderedUpdate": {"priorityStrategy": {"orderPriority": [{"orderedKey": "a"}]}}}),
    );
    let spec = json!({
        "podManagementPolicy": "Parallel", "reserveOrdinals": [7],
        "lifecycle": {"preDelete": {"labelsHandler": {"a": "b"}}},
    });
    space.create_settled(set("web", with(strategy, spec))).await?;
    let told = asts(&space, &["release", "web"]).await?.refused()?;
    for field in ["spec.reserveOrdinals", "rollingUpdate.partition", "unorderedUpdate", "spec.lifecycle"] {
        ensure!(told.contains(field), "{field} is not in:\n{told}");
    }
    ensure!(space.api::<StatefulSet>().get_opt("web").await?.is_none(), "a StatefulSet was made");
    let before = state(&space).await?;
    asts(&space, &["release", "web", "--drop-fields"]).await?.fine()?;
    is_native(&space, "web").await?;
    stays(&space, &before).await?;

    let long = "y".repeat(60);
    space.create_settled(set(&long, json!({"replicas": 1}))).await?;
    let told = asts(&space, &["release", &long]).await?.refused()?;
    ensure!(told.contains("metadata.name: a native StatefulSet labels"), "{told}");
    Ok(())
}
