//! A test's own namespace, and what tests do and look at in it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use asts::api::{AdvancedStatefulSet, AdvancedStatefulSetStatus, Condition as SetCondition};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::recorder::{PodLog, Recorder};
use super::wait::{eventually, seconds};
use super::{Context, Failure, Result, Suite, image, install};

/// How long anything may take that takes moments on an idle machine.
const PATIENCE_SECONDS: u64 = 60;

#[derive(Clone)]
pub struct Space {
    pub suite: Arc<Suite>,
    pub namespace: String,
    pub client: kube::Client,
    recorders: Arc<Mutex<Vec<PodLog>>>,
}

impl Space {
    pub fn new(suite: Arc<Suite>, namespace: String) -> Self {
        let client = suite.client.clone();
        Self { suite, namespace, client, recorders: Arc::default() }
    }

    /// The namespaced API of a type.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn pods(&self) -> Api<Pod> {
        self.api()
    }

    /// The sets, as untyped objects: a test can then write what the types would not let it.
    pub fn sets(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("apps.asts.dev", "v1beta1", "AdvancedStatefulSet");
        let resource = ApiResource::from_gvk_with_plural(&kind, "advancedstatefulsets");
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Runs kubectl in the namespace.
    pub fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let arguments = [&["-n", &self.namespace], arguments].concat();
        install::kubectl(&self.suite.cluster.info, &arguments, input)
    }

    /// Applies manifests with kubectl, as users do.
    pub fn apply(&self, manifest: &Value) -> Result<String> {
        self.kubectl(&["apply", "-f", "-"], Some(&manifest.to_string()))
    }

    /// Creates a set.
    pub async fn create(&self, manifest: Value) -> Result {
        let object: DynamicObject = serde_json::from_value(manifest)?;
        self.sets().create(&PostParams::default(), &object).await.context("create the set")?;
        Ok(())
    }

    /// Creates a set and waits until all of it is done.
    pub async fn create_settled(&self, manifest: Value) -> Result {
        let name = manifest["metadata"]["name"].as_str().context("the set's name")?.to_owned();
        self.create(manifest).await?;
        self.settled(&name).await
    }

    /// A merge patch of the whole set.
    pub async fn patch(&self, name: &str, patch: Value) -> Result {
        self.sets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.context("patch the set")?;
        Ok(())
    }

    /// A merge patch of the set's spec.
    pub async fn edit(&self, name: &str, spec: Value) -> Result {
        self.patch(name, json!({"spec": spec})).await
    }

    /// A merge patch of the set's template.
    pub async fn edit_template(&self, name: &str, template: Value) -> Result {
        self.edit(name, json!({"template": template})).await
    }

    /// Gives the first container another image.
    pub async fn set_image(&self, name: &str, tag: &str) -> Result {
        let patch = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image(tag)}]);
        self.json_patch(name, patch).await
    }

    /// A JSON patch of the set.
    pub async fn json_patch(&self, name: &str, patch: Value) -> Result {
        let patch: json_patch::Patch = serde_json::from_value(patch)?;
        let patch = Patch::Json::<()>(patch);
        self.sets().patch(name, &PatchParams::default(), &patch).await.context("patch the set")?;
        Ok(())
    }

    pub async fn scale(&self, name: &str, replicas: i64) -> Result {
        self.edit(name, json!({"replicas": replicas})).await
    }

    pub async fn set(&self, name: &str) -> Result<AdvancedStatefulSet> {
        self.api::<AdvancedStatefulSet>().get(name).await.context(format!("set {name}"))
    }

    pub async fn status(&self, name: &str) -> Result<AdvancedStatefulSetStatus> {
        Ok(self.set(name).await?.status.unwrap_or_default())
    }

    /// The status, once the manager has seen the present spec.
    pub async fn fresh_status(&self, name: &str) -> Result<AdvancedStatefulSetStatus> {
        let set = self.set(name).await?;
        let status = set.status.unwrap_or_default();
        if status.observed_generation == set.metadata.generation {
            Ok(status)
        } else {
            let (seen, wanted) = (status.observed_generation, set.metadata.generation);
            Err(Failure(format!("generation {seen:?} is observed, not yet {wanted:?}")))
        }
    }

    /// A condition of the present spec.
    pub async fn condition(&self, name: &str, type_: &str) -> Result<SetCondition> {
        let status = self.fresh_status(name).await?;
        let shown = format!("{:?}", status.conditions);
        let found = status.conditions.into_iter().find(|condition| condition.type_ == type_);
        found.context(format!("condition {type_} among {shown}"))
    }

    /// Waits until a condition of the present spec has a status, and a reason where one is given.
    pub async fn condition_is(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: Option<&str>,
    ) -> Result<SetCondition> {
        let what = format!("condition {type_} of {name} is {status} {reason:?}");
        eventually(seconds(PATIENCE_SECONDS), &what, async || {
            let condition = self.condition(name, type_).await?;
            if condition.status == status && (reason.is_none() || condition.reason.as_deref() == reason) {
                return Ok(condition);
            }
            Err(Failure(format!("{condition:?}")))
        })
        .await
    }

    /// Adds a condition to the set's as another program would.
    pub async fn write_condition(&self, name: &str, type_: &str) -> Result {
        let mut conditions = self.sets().get_status(name).await?.data["status"]["conditions"].clone();
        if let Some(list) = conditions.as_array_mut() {
            list.push(json!({"type": type_, "status": "True"}));
        }
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        self.sets().patch_status(name, &PatchParams::default(), &patch).await.context("patch the set's status")?;
        Ok(())
    }

    /// Waits until the status, taken of the present spec, is as the check wants it.
    pub async fn status_is(
        &self,
        name: &str,
        what: &str,
        check: impl Fn(&AdvancedStatefulSetStatus) -> bool,
    ) -> Result<AdvancedStatefulSetStatus> {
        let found = eventually(seconds(PATIENCE_SECONDS), &format!("status of {name}: {what}"), async || {
            let status = self.fresh_status(name).await?;
            if check(&status) { Ok(status) } else { Err(Failure(format!("{status:?}"))) }
        })
        .await?;
        self.recorders_catch_up().await?;
        Ok(found)
    }

    /// Has waits for a state of the set wait for this recorder too.
    pub fn follow(&self, recorder: PodLog) {
        if let Ok(mut recorders) = self.recorders.lock() {
            recorders.push(recorder);
        }
    }

    /// Waits until the recorders have seen all that has happened to Pods: a status can be read
    /// before the watch event of what it speaks of has arrived.
    pub async fn recorders_catch_up(&self) -> Result {
        let recorders = self.recorders.lock().map(|recorders| recorders.clone()).unwrap_or_default();
        if recorders.is_empty() {
            return Ok(());
        }
        eventually(seconds(PATIENCE_SECONDS), "the recorders have caught up", async || {
            let pods = self.pods().list(&ListParams::default()).await?.items;
            recorders.iter().try_for_each(|recorder| recorder.lacks(&pods))
        })
        .await
    }

    /// Waits until every replica is there, updated and available, and nothing is left to be done.
    pub async fn settled(&self, name: &str) -> Result {
        self.settled_within(name, PATIENCE_SECONDS).await
    }

    pub async fn settled_within(&self, name: &str, limit_seconds: u64) -> Result {
        eventually(seconds(limit_seconds), &format!("{name} is done"), async || {
            let wanted = self.set(name).await?.spec.replicas.unwrap_or(1);
            let status = self.fresh_status(name).await?;
            let counts = [
                status.replicas,
                status.ready_replicas,
                status.available_replicas,
                status.updated_replicas,
                status.updated_ready_replicas,
                status.updated_available_replicas,
            ];
            let same = status.current_revision == status.update_revision && status.update_revision.is_some();
            if counts == [wanted; 6] && same && status.disrupted.is_empty() {
                return Ok(());
            }
            Err(Failure(format!("{wanted} replicas are wanted, the status is {status:?}")))
        })
        .await?;
        self.recorders_catch_up().await
    }

    pub async fn pod(&self, name: &str) -> Result<Pod> {
        self.pods().get(name).await.context(format!("pod {name}"))
    }

    pub async fn find_pod(&self, name: &str) -> Result<Option<Pod>> {
        Ok(self.pods().get_opt(name).await?)
    }

    /// All Pods of the namespace whose controller is the set, by ordinal.
    pub async fn pods_of(&self, set: &str) -> Result<Vec<Pod>> {
        let uid = self.set(set).await?.metadata.uid.context("the set's UID")?;
        let mut pods = self.pods().list(&ListParams::default()).await?.items;
        pods.retain(|pod| {
            pod.metadata
                .owner_references
                .iter()
                .flatten()
                .any(|owner| owner.controller == Some(true) && owner.uid == uid)
        });
        pods.sort_by_key(|pod| ordinal(pod_name(pod)));
        Ok(pods)
    }

    /// The names of the set's Pods, by ordinal.
    pub async fn names_of(&self, set: &str) -> Result<Vec<String>> {
        Ok(self.pods_of(set).await?.iter().map(|pod| pod_name(pod).to_owned()).collect())
    }

    /// Waits until the set has exactly the Pods of these ordinals, all Ready.
    pub async fn ordinals_are(&self, set: &str, ordinals: &[i64]) -> Result {
        eventually(seconds(PATIENCE_SECONDS), &format!("{set} has the ordinals {ordinals:?}, ready"), async || {
            let pods = self.pods_of(set).await?;
            let found: Vec<i64> = pods.iter().map(|pod| ordinal(pod_name(pod))).collect();
            if found == ordinals && pods.iter().all(is_ready) {
                return Ok(());
            }
            let ready: Vec<bool> = pods.iter().map(is_ready).collect();
            Err(Failure(format!("{found:?}, ready: {ready:?}")))
        })
        .await
    }

    /// Waits until a Pod is as the check wants it.
    pub async fn pod_is(&self, name: &str, what: &str, check: impl Fn(&Pod) -> bool) -> Result<Pod> {
        eventually(seconds(PATIENCE_SECONDS), &format!("pod {name}: {what}"), async || {
            let pod = self.pod(name).await?;
            if check(&pod) { Ok(pod) } else { Err(Failure(describe(&pod))) }
        })
        .await
    }

    /// Sets or removes an annotation of a Pod; the fake kubelet obeys some.
    pub async fn annotate(&self, pod: &str, key: &str, value: Option<&str>) -> Result {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.pods()
            .patch(pod, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .context(format!("annotate {pod}"))?;
        Ok(())
    }

    /// Sets or removes a label of a Pod.
    pub async fn label(&self, pod: &str, key: &str, value: Option<&str>) -> Result {
        let patch = json!({"metadata": {"labels": {key: value}}});
        self.pods().patch(pod, &PatchParams::default(), &Patch::Merge(patch)).await.context(format!("label {pod}"))?;
        Ok(())
    }

    /// Has the containers of a Pod lose, or get back, their readiness, and waits until that shows.
    pub async fn make_ready(&self, pod: &str, ready: bool) -> Result {
        self.annotate(pod, "kwok.asts.dev/ready", if ready { None } else { Some("false") }).await?;
        self.pod_is(pod, if ready { "ready" } else { "not ready" }, |pod| is_ready(pod) == ready).await?;
        Ok(())
    }

    /// Deletes a Pod as a user does, and waits until another stands in its place.
    pub async fn delete_and_wait(&self, pod: &str) -> Result<Pod> {
        let before = uid(&self.pod(pod).await?);
        self.pods().delete(pod, &DeleteParams::default()).await?;
        self.replaced(pod, &before).await
    }

    /// Waits until a Pod with another UID is there and Ready.
    pub async fn replaced(&self, pod: &str, before: &str) -> Result<Pod> {
        eventually(seconds(PATIENCE_SECONDS), &format!("another {pod} than {before}"), async || {
            let found = self.pod(pod).await?;
            if uid(&found) != before && is_ready(&found) { Ok(found) } else { Err(Failure(describe(&found))) }
        })
        .await
    }

    pub async fn claim(&self, name: &str) -> Result<PersistentVolumeClaim> {
        self.api::<PersistentVolumeClaim>().get(name).await.context(format!("claim {name}"))
    }

    pub async fn claim_names(&self) -> Result<Vec<String>> {
        let claims = self.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?;
        let mut names: Vec<String> = claims.items.into_iter().filter_map(|claim| claim.metadata.name).collect();
        names.sort();
        Ok(names)
    }

    /// The set's revisions, by number.
    pub async fn revisions_of(&self, set: &str) -> Result<Vec<ControllerRevision>> {
        let uid = self.set(set).await?.metadata.uid.context("the set's UID")?;
        let mut revisions = self.api::<ControllerRevision>().list(&ListParams::default()).await?.items;
        revisions.retain(|revision| revision.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid));
        revisions.sort_by_key(|revision| revision.revision);
        Ok(revisions)
    }

    /// Waits for an event whose reason is this one and whose message holds a text.
    pub async fn event(&self, reason: &str, text: &str) -> Result<Event> {
        eventually(seconds(PATIENCE_SECONDS), &format!("event {reason} with {text:?}"), async || {
            let events = self.api::<Event>().list(&ListParams::default()).await?.items;
            let found = events.iter().find(|event| {
                event.reason.as_deref() == Some(reason) && event.message.as_deref().unwrap_or_default().contains(text)
            });
            let told: Vec<String> =
                events.iter().map(|event| format!("{:?} {:?}", event.reason, event.message)).collect();
            found.cloned().context(format!("among {told:?}"))
        })
        .await
    }

    /// Records from now on everything that happens to Pods and claims of the namespace.
    pub async fn record(&self) -> Result<Recorder> {
        Recorder::start(self).await
    }
}

/// A short account of a Pod.
pub fn describe(pod: &Pod) -> String {
    format!(
        "{} uid {} revision {:?} image {:?} ready {} deletion {:?}",
        pod_name(pod),
        uid(pod),
        revision_label(pod),
        image_of(pod),
        is_ready(pod),
        pod.metadata.deletion_timestamp
    )
}

pub fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

/// The number at the end of a name; -1 where there is none.
pub fn ordinal(name: &str) -> i64 {
    name.rsplit_once('-').and_then(|(_, digits)| digits.parse().ok()).unwrap_or(-1)
}

pub fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// The labels of a Pod but for those that the apiserver copies from the node that it happens to be on.
pub fn own_labels(pod: &Pod) -> std::collections::BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| !key.starts_with("topology.kubernetes.io/"));
    labels
}

pub fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

pub fn revision_label(pod: &Pod) -> &str {
    label(pod, "controller-revision-hash").unwrap_or_default()
}

/// The hash at the end of a revision's full name.
pub fn hash_in(revision: Option<&str>) -> &str {
    revision.and_then(|name| name.rsplit_once('-')).map_or("", |(_, hash)| hash)
}

/// The first container's image.
pub fn image_of(pod: &Pod) -> &str {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    container.and_then(|container| container.image.as_deref()).unwrap_or_default()
}

/// The first container's id, as the kubelet tells it.
pub fn container_id(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.container_id.as_deref()
}

/// A condition's status and reason.
pub fn pod_condition<'a>(pod: &'a Pod, type_: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&found.status, found.reason.as_deref().unwrap_or_default()))
}

pub fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && pod_condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}
