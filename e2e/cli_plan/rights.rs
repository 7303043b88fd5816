//! Plans of people who may not do much.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::Role;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::plugin::plan_as;
use crate::harness::install::identity;
use crate::harness::{Result, Space, set};
use crate::{ensure, ensure_eq};

/// Somebody with these rules in the space's namespace.
async fn somebody(space: &Space, name: &str, rules: Value) -> Result<PathBuf> {
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    space.api::<ServiceAccount>().create(&PostParams::default(), &account).await?;
    let role: Role = serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?;
    space.api::<Role>().create(&PostParams::default(), &role).await?;
    let subject = format!("--serviceaccount={}:{name}", space.namespace);
    space.kubectl(&["create", "rolebinding", name, &format!("--role={name}"), &subject], None)?;
    identity(&space.suite.cluster.info, &space.client, &space.namespace, name).await
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

pub async fn a_plan_without_rights_says_what_is_forbidden(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let nobody = somebody(&space, "nobody", json!([])).await?;
    let called = plan_as(&space, &nobody, &["web"], None)?;
    ensure!(called.code == 1 && called.err.contains("Forbidden"), "{called:?}");
    let reader = json!([rule("apps.asts.dev", &["advancedstatefulsets"], &["get"])]);
    let reader = somebody(&space, "reader", reader).await?;
    let called = plan_as(&space, &reader, &["web", "--set", "image=app=x"], None)?;
    ensure!(called.code == 1 && called.err.contains("cannot patch resource \"advancedstatefulsets\""), "{called:?}");
    Ok(())
}

pub async fn a_plan_with_few_rights_says_what_it_assumed(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 2}))).await?;
    let few = json!([
        rule("apps.asts.dev", &["advancedstatefulsets"], &["get", "patch"]),
        rule("", &["pods"], &["get", "list"]),
    ]);
    let few = somebody(&space, "few", few).await?;
    let changes = ["web", "--set", "env=app.A=b", "-o", "json"];
    let called = plan_as(&space, &few, &changes, None)?.json(3)?;
    ensure_eq!(called["summary"]["recreated"], json!(2), "Pods re-created");
    let notes = called["notes"].to_string();
    for what in ["the claims", "the revisions", "takes env in place", "assumed: a stock cluster", "which nodes"] {
        ensure!(notes.contains(what), "the notes do not speak of {what:?}: {notes}");
    }
    let why = called["fields"].to_string();
    ensure!(why.contains("nobody could ask whether the apiserver takes it"), "{why}");
    Ok(())
}
