//! The sets of a shape, made and changed as their users would: by one request a set.

use std::time::Duration;

use asts::api::names;
use futures::{TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::harness::{Context, Failure, Result, eventually, image};
use crate::settings::{Contender, Shape};

/// Requests in flight at once: the manager's own bound.
pub const AT_ONCE: usize = 32;
const NAMESPACE_LIMIT: Duration = Duration::from_secs(120);

/// The Pods that everybody makes.
pub fn template(set: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": set}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [{"name": "app", "image": image("v1"), "imagePullPolicy": "IfNotPresent"}],
        },
    })
}

/// The name of a shape's set.
pub fn set_name(number: usize) -> String {
    format!("s{number}")
}

/// Sets of either kind in a namespace.
pub struct Sets {
    api: Api<DynamicObject>,
    contender: Contender,
    shape: Shape,
}

impl Sets {
    pub fn new(client: kube::Client, namespace: &str, contender: Contender, shape: Shape) -> Self {
        let kind = if contender == Contender::Native { "StatefulSet" } else { names::KIND };
        Self { api: Self::api(client, namespace, kind), contender, shape }
    }

    /// The sets of a namespace, of either kind.
    pub fn api(client: kube::Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = if kind == names::KIND { (names::GROUP, names::VERSION) } else { ("apps", "v1") };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(client, namespace, &resource)
    }

    pub async fn create(&self) -> Result {
        self.each(async |name| {
            let object: DynamicObject = serde_json::from_value(self.manifest(&name))?;
            self.api.create(&PostParams::default(), &object).await.context(format!("create set {name}"))?;
            Ok(())
        })
        .await
    }

    pub async fn update(&self) -> Result {
        let patch = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image("v2")}]);
        self.patch(patch).await
    }

    pub async fn scale_to_zero(&self) -> Result {
        self.patch(json!([{"op": "replace", "path": "/spec/replicas", "value": 0}])).await
    }

    pub async fn delete(&self) -> Result {
        self.each(async |name| {
            self.api.delete(&name, &DeleteParams::background()).await.context(format!("delete set {name}"))?;
            Ok(())
        })
        .await
    }

    async fn patch(&self, patch: Value) -> Result {
        let patch: Patch<()> = Patch::Json(serde_json::from_value(patch)?);
        self.each(async |name| {
            let parameters = PatchParams::default();
            self.api.patch(&name, &parameters, &patch).await.context(format!("patch set {name}"))?;
            Ok(())
        })
        .await
    }

    async fn each(&self, work: impl AsyncFn(String) -> Result) -> Result {
        let names = stream::iter((0..self.shape.sets).map(|number| Ok(set_name(number))));
        names.try_for_each_concurrent(AT_ONCE, |name| work(name)).await
    }

    fn manifest(&self, name: &str) -> Value {
        let resource = self.api.resource_url();
        let api_version = resource.split('/').skip(2).take(2).collect::<Vec<_>>().join("/");
        let (kind, mut rolling) = match self.contender {
            Contender::Native => ("StatefulSet", json!({})),
            Contender::ReCreate => ("AdvancedStatefulSet", json!({"podUpdatePolicy": "ReCreate"})),
            Contender::InPlace | Contender::Floor => ("AdvancedStatefulSet", json!({})),
        };
        rolling["maxUnavailable"] = self.shape.max_unavailable();
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": name},
            "spec": {
                "replicas": self.shape.replicas,
                "serviceName": "peers",
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"app": name}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
                "template": template(name),
            },
        })
    }
}

/// Makes a namespace and waits until Pods can be made in it.
pub async fn make_namespace(client: &kube::Client, name: &str) -> Result {
    let namespace =
        Namespace { metadata: ObjectMeta { name: Some(name.to_owned()), ..Default::default() }, ..Default::default() };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.context("make a namespace")?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    eventually(NAMESPACE_LIMIT, "the namespace has its default service account", async || {
        accounts.get("default").await?;
        Ok(())
    })
    .await
}

/// Removes a namespace and waits until it is gone, so that its end is in nobody's time.
pub async fn remove_namespace(client: &kube::Client, name: &str) -> Result {
    let api: Api<Namespace> = Api::all(client.clone());
    api.delete(name, &DeleteParams::default()).await.context("remove a namespace")?;
    eventually(NAMESPACE_LIMIT, "the namespace is gone", async || match api.get_opt(name).await? {
        None => Ok(()),
        Some(_) => Err(Failure(format!("{name} is still there"))),
    })
    .await
}
