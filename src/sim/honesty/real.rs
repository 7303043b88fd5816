//! The requests as a real apiserver takes them.

use std::path::Path;
use std::time::Duration;

use http::{Method, Request, header};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::Answer;
use super::script::{Ask, Deed, with_values};
use super::view::View;
use crate::control::client::connect;
use crate::sim::store::Kind;

const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Real {
    client: Client,
    namespace: String,
    /// What the names of this script begin with: no two scripts have an object in common.
    pub prefix: String,
    /// What the server said last.
    pub message: String,
}

impl Real {
    /// Installs the resource, and makes a namespace.
    pub async fn connect(kubeconfig: &Path) -> Result<Real, String> {
        let client = connect(Some(kubeconfig)).await.map_err(|error| error.to_string())?;
        let namespace = format!("honesty-{}", std::process::id());
        let mut real = Real { client, namespace, prefix: String::new(), message: String::new() };
        let definition = crate::api::crd::definition().map_err(|error| error.to_string())?;
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        real.send(Method::POST, definitions, &definition).await?;
        let name = json!({"metadata": {"name": real.namespace}});
        real.send(Method::POST, "/api/v1/namespaces", &name).await?;
        // As the controller-manager would do, which has to be absent: it changes what the scripts make.
        let accounts = format!("/api/v1/namespaces/{}/serviceaccounts", real.namespace);
        real.send(Method::POST, &accounts, &json!({"metadata": {"name": "default"}})).await?;
        let sets = real.path(Kind::Set);
        real.until_there(&sets).await?;
        Ok(real)
    }

    async fn until_there(&mut self, path: &str) -> Result<(), String> {
        for _ in 0..TRIES {
            if self.send(Method::GET, path, &Value::Null).await?.0 == 200 {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("{path} is not there: {}", self.message))
    }

    pub async fn ask(&mut self, ask: &Ask, seen: &View) -> Result<Answer, String> {
        let guard = seen.guard(ask);
        let (all, name) = (self.path(ask.kind), format!("{}{}", self.prefix, ask.name));
        let one = format!("{all}/{name}");
        let guarded = |body: &Value| {
            let mut body = seen.filled(body, &self.prefix);
            for (field, value) in [("uid", &guard.uid), ("resourceVersion", &guard.version)] {
                if let Some(value) = value {
                    body["metadata"][field] = json!(value);
                }
            }
            body
        };
        let (method, path, body) = match &ask.deed {
            Deed::Create(body) => {
                let mut body = guarded(body);
                body["metadata"]["name"] = name.into();
                (Method::POST, all, body)
            }
            Deed::Get => (Method::GET, one, Value::Null),
            Deed::Delete { grace_seconds } => {
                let mut options = json!({
                    "preconditions": {"uid": guard.uid, "resourceVersion": guard.version},
                    "propagationPolicy": "Background",
                });
                if let Some(seconds) = grace_seconds {
                    options["gracePeriodSeconds"] = (*seconds).into();
                }
                (Method::DELETE, one, options)
            }
            Deed::Patch(patch) => (Method::PATCH, one, guarded(patch)),
            Deed::TryPatch(patch) => (Method::PATCH, format!("{one}?dryRun=All"), guarded(patch)),
            Deed::TryTemplate(template) => {
                let templates = format!("/api/v1/namespaces/{}/podtemplates?dryRun=All", self.namespace);
                (Method::POST, templates, json!({"metadata": {"name": name}, "template": template}))
            }
            Deed::Put(values) => {
                let whole = self.get(ask).await?.unwrap_or_else(|| json!({"metadata": {"name": name}}));
                let mut whole = with_values(whole, values);
                whole["metadata"]["uid"] = json!(guard.uid);
                whole["metadata"]["resourceVersion"] = json!(guard.version);
                (Method::PUT, one, whole)
            }
            Deed::PatchStatus(patch) => (Method::PATCH, format!("{one}/status"), guarded(patch)),
            Deed::PutStatus(status) => {
                let mut whole = self.get(ask).await?.unwrap_or_else(|| json!({"metadata": {"name": name}}));
                whole["status"] = status.clone();
                whole["metadata"]["resourceVersion"] = json!(guard.version);
                (Method::PUT, format!("{one}/status"), whole)
            }
        };
        let mut body = body;
        if let (Method::POST | Method::PUT, Some(fields)) = (method.clone(), body.as_object_mut()) {
            let (version, kind) = match ask.deed {
                Deed::TryTemplate(_) => ("v1", "PodTemplate"),
                _ => version_and_kind(ask.kind),
            };
            fields.insert("apiVersion".to_owned(), version.into());
            fields.insert("kind".to_owned(), kind.into());
        }
        let custom = ask.kind == Kind::Set;
        let (code, answer) = self.send_as(method, &path, &body, custom).await?;
        let done = code < 400;
        let reason = if done { "" } else { answer["reason"].as_str().unwrap_or_default() };
        self.message = answer["message"].as_str().unwrap_or_default().to_owned();
        let is_tried = done && matches!(ask.deed, Deed::TryPatch(_) | Deed::TryTemplate(_));
        let tried = if is_tried { seen.tried(ask, &answer, &self.prefix) } else { Value::Null };
        Ok(Answer { code, reason: reason.to_owned(), tried })
    }

    pub async fn get(&self, ask: &Ask) -> Result<Option<Value>, String> {
        let path = format!("{}/{}{}", self.path(ask.kind), self.prefix, ask.name);
        let (code, value) = self.send(Method::GET, &path, &Value::Null).await?;
        Ok((code == 200).then_some(value))
    }

    fn path(&self, kind: Kind) -> String {
        let (base, plural) = match kind {
            Kind::Pod => ("api/v1", "pods"),
            Kind::Claim => ("api/v1", "persistentvolumeclaims"),
            Kind::Revision => ("apis/apps/v1", "controllerrevisions"),
            _ => ("apis/apps.asts.dev/v1beta1", "advancedstatefulsets"),
        };
        format!("/{base}/namespaces/{}/{plural}", self.namespace)
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<(u16, Value), String> {
        self.send_as(method, path, body, true).await
    }

    async fn send_as(&self, method: Method, path: &str, body: &Value, merges: bool) -> Result<(u16, Value), String> {
        let content_type = match method {
            Method::PATCH if merges => "application/merge-patch+json",
            Method::PATCH => "application/strategic-merge-patch+json",
            _ => "application/json",
        };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(bytes))
            .map_err(|error| error.to_string())?;
        let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.map_err(|error| error.to_string())?;
        Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

fn version_and_kind(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Pod => ("v1", "Pod"),
        Kind::Claim => ("v1", "PersistentVolumeClaim"),
        Kind::Revision => ("apps/v1", "ControllerRevision"),
        _ => (crate::api::names::API_VERSION, crate::api::names::KIND),
    }
}
