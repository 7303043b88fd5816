//! A manager that is limited to a namespace, under a Role of that namespace.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::json;

use crate::chaos::{apart, with_manager};
use crate::harness::audit::requests_of;
use crate::harness::install::{SYSTEM_NAMESPACE, identity};
use crate::harness::manager::Manager;
use crate::harness::space::{image_of, uid};
use crate::harness::wait::seconds;
use crate::harness::{Context, Result, Space, holds, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![a_manager_of_one_namespace_needs_only_roles];

const ACCOUNT: &str = "limited";

/// The rules of the ClusterRole as a Role of the namespace, and the Role for the lease.
async fn give_rights(space: &Space) -> Result {
    let accounts: Api<ServiceAccount> = Api::namespaced(space.client.clone(), SYSTEM_NAMESPACE);
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    let whole: Api<ClusterRole> = Api::all(space.client.clone());
    let rules = whole.get("asts-manager").await?.rules;
    let role = Role { metadata: ObjectMeta { name: Some(ACCOUNT.to_owned()), ..Default::default() }, rules };
    space.api::<Role>().create(&PostParams::default(), &role).await?;
    let subject = format!("--serviceaccount={SYSTEM_NAMESPACE}:{ACCOUNT}");
    space.kubectl(&["create", "rolebinding", ACCOUNT, &format!("--role={ACCOUNT}"), &subject], None)?;
    let lease = "--role=asts-manager-leader-election";
    space.kubectl(&["create", "rolebinding", ACCOUNT, lease, &subject, "-n", SYSTEM_NAMESPACE], None)?;
    Ok(())
}

async fn a_manager_of_one_namespace_needs_only_roles(here: Space) -> Result {
    apart(&here, "limited", async |suite, space| {
        with_manager(suite, Manager::terminate)?;
        give_rights(space).await?;
        let info = &suite.cluster.info;
        let kubeconfig = identity(info, &space.client, SYSTEM_NAMESPACE, ACCOUNT).await?;
        let log = info.dir.join("limited.log");
        let mut manager = Manager::start(&kubeconfig, log, &["--namespace", &space.namespace])?;

        let elsewhere = suite.space("elsewhere").await?;
        elsewhere.create(set("web", json!({}))).await?;
        space.create_settled(set("web", json!({}))).await?;
        let before = uid(&space.pod("web-0").await?);
        space.set_image("web", "v2").await?;
        space.settled("web").await?;
        let after = space.pod("web-0").await?;
        ensure_eq!((image_of(&after), uid(&after)), (image("v2").as_str(), before), "web-0");
        // Which nodes are customised is unknown here, so they count as stock.
        let probe = json!({"exec": {"command": ["true"]}});
        let patch = json!([{"op": "add", "path": "/spec/template/spec/containers/0/readinessProbe", "value": probe}]);
        space.json_patch("web", patch).await?;
        space.settled("web").await?;
        ensure!(uid(&space.pod("web-0").await?) != uid(&after), "web-0 was not made anew");
        holds(seconds(2), "nothing is done elsewhere", async || {
            ensure_eq!(elsewhere.names_of("web").await?, Vec::<String>::new(), "Pods elsewhere");
            Ok(())
        })
        .await?;

        let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{ACCOUNT}");
        let requests = requests_of(&info.audit_log, &user)?;
        let lease = requests.iter().any(|request| request.resource() == "leases" && request.response_status.code < 300);
        ensure!(lease, "the manager holds no lease");
        let lacking: Vec<String> = requests
            .iter()
            .filter(|request| request.lacked_a_right() && request.resource() != "nodes")
            .map(|request| format!("{} {}", request.verb, request.request_uri))
            .collect();
        ensure!(lacking.is_empty(), "{lacking:#?}");
        manager.is_alive().then_some(()).context("the manager ended")?;
        manager.kill()
    })
    .await
}
