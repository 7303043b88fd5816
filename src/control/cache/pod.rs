//! Pods: as they come, and what is kept of them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;
use serde_json::Value;

use super::Store;
use super::table::{IndexKey, Indexed, Table};
use super::watched::{Watched, boxed, boxed_map, controller_of, is_ours, resource, some_text, timestamp, trimmed};
use crate::api::names;
use crate::control::client::Kind;
use crate::inplace::env_annotations::is_reference;
use crate::inplace::resize::amounts;
use crate::model::pod::{ReadyFacts, Running, parent_and_ordinal};
use crate::model::{
    ContainerFacts, ContainerKind, Gate, HelperFacts, HelperImage, PodFacts, PodPhase, ResizeFacts, Resources, helper,
};

/// A Pod as it is read off the wire.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct PodObject {
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    readiness_gates: Option<Vec<ReadinessGate>>,
    init_containers: Option<Vec<Container>>,
    containers: Option<Vec<Container>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct ReadinessGate {
    condition_type: String,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    image: Option<String>,
    restart_policy: Option<String>,
    env: Option<Vec<Variable>>,
    resources: Option<Value>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Variable {
    name: String,
    value_from: Option<VariableSource>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct VariableSource {
    field_ref: Option<FieldReference>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct FieldReference {
    field_path: String,
}

impl Container {
    /// The variables whose values are in annotations of ours.
    fn env_in_annotations(&mut self) -> Box<[Box<str>]> {
        let variables = self.env.take().unwrap_or_default().into_iter();
        variables
            .filter(|variable| {
                let reference = variable.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
                reference.is_some_and(|reference| is_reference(&self.name, &variable.name, &reference.field_path))
            })
            .map(|variable| variable.name.into_boxed_str())
            .collect()
    }
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    observed_generation: Option<i64>,
    start_time: Option<Time>,
    conditions: Option<Vec<Condition>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<Time>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    image: Option<String>,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    state: Option<State>,
    ready: bool,
    started: Option<bool>,
    restart_count: i32,
    resources: Option<Value>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct State {
    running: Option<RunningState>,
    waiting: Option<WaitingState>,
    terminated: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct RunningState {
    started_at: Option<Time>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct WaitingState {
    reason: Option<String>,
    message: Option<String>,
}

resource!(PodObject, "Pod", "", "v1", "pods");

impl Watched for PodObject {
    const KIND: Kind = Kind::Pod;
    type Facts = PodFacts;

    /// Ours whole; those of nobody that could be ours by name, whole; those of others that stand
    /// where one of ours may want to, with no more than who and what they are; else nothing.
    fn into_facts(self) -> Option<PodFacts> {
        if let Some(owner_uid) = helper_owner(&self.metadata) {
            return Some(self.helper(owner_uid));
        }
        match controller_of(&self.metadata) {
            Some(owner) if is_ours(&owner) => Some(self.whole()),
            controller => {
                let name = self.metadata.name.as_deref().unwrap_or_default();
                parent_and_ordinal(name)?;
                Some(if controller.is_none() { self.whole() } else { self.outline() })
            }
        }
    }

    fn table(store: &mut Store) -> &mut Table<PodFacts> {
        &mut store.pods
    }
}

impl Indexed for PodFacts {
    fn name(&self) -> &str {
        &self.name
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }

    fn index_keys(&self, namespace: &str) -> Vec<IndexKey> {
        if let Some(helper) = &self.helper {
            return vec![IndexKey::Owner(helper.owner_uid.clone())];
        }
        let owner = self.controller.as_ref().filter(|owner| is_ours(owner));
        let parent = parent_and_ordinal(&self.name)
            .map(|(parent, _)| IndexKey::Parent { namespace: namespace.into(), name: parent.into() });
        owner.map(|owner| IndexKey::Owner(owner.uid.clone())).into_iter().chain(parent).collect()
    }
}

impl PodObject {
    /// Everything that a decision may look at.
    pub fn whole(self) -> PodFacts {
        let gated = self
            .spec
            .readiness_gates
            .iter()
            .flatten()
            .any(|readiness_gate| readiness_gate.condition_type == names::READINESS_GATE);
        let phase = phase(self.status.phase.as_deref());
        let said = [self.status.reason.as_deref(), self.status.message.as_deref()];
        let failed_because = if phase == PodPhase::Failed { failed_because(said) } else { None };
        let conditions = self.status.conditions.unwrap_or_default();
        let condition = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
        let containers = containers(
            self.spec.init_containers,
            self.spec.containers,
            self.status.init_container_statuses,
            self.status.container_statuses,
        );
        PodFacts {
            generation: self.metadata.generation.unwrap_or(0),
            observed_generation: self.status.observed_generation,
            node: some_text(self.spec.node_name),
            phase,
            failed_because,
            started_at: timestamp(self.status.start_time),
            ready: condition("Ready").map(|condition| ReadyFacts {
                status: condition.status == "True",
                since: timestamp(condition.last_transition_time.clone()),
            }),
            containers_ready: condition("ContainersReady").is_some_and(|condition| condition.status == "True"),
            unschedulable: condition("PodScheduled").is_some_and(|condition| {
                condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
            }),
            resize: resize(&conditions),
            gate: if gated { gate(condition(names::READINESS_GATE)) } else { Gate::Absent },
            containers,
            ..identity(self.metadata)
        }
    }

    /// A helper Pod: the images that its node is to pull, and how far it is.
    fn helper(self, owner_uid: Box<str>) -> PodFacts {
        let status = self.status;
        let (specs, mut statuses) =
            (self.spec.containers.unwrap_or_default(), status.container_statuses.unwrap_or_default());
        let asked = self.metadata.annotations.as_ref().and_then(|all| all.get(names::PRE_PULL_IMAGES_ANNOTATION));
        let asked: Vec<String> = asked.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
        let images = specs.into_iter().filter_map(|spec| helper_image(spec, &asked, &mut statuses)).collect();
        let said: Vec<&str> = [status.reason.as_deref(), status.message.as_deref()].into_iter().flatten().collect();
        let rejected = (!said.is_empty()).then(|| said.join(": ").into());
        PodFacts {
            node: some_text(self.spec.node_name),
            phase: phase(status.phase.as_deref()),
            helper: Some(Box::new(HelperFacts { owner_uid, images, rejected })),
            ..identity(self.metadata)
        }
    }

    /// Who and what it is, and whether it goes.
    fn outline(self) -> PodFacts {
        let phase = phase(self.status.phase.as_deref());
        let mut metadata = self.metadata;
        metadata.labels = None;
        PodFacts { phase, ..identity(metadata) }
    }
}

/// The UID of the set that made it, where it is a helper Pod.
/// The label alone would let one that somebody gave it take a Pod of the set for a helper, and remove it.
fn helper_owner(metadata: &ObjectMeta) -> Option<Box<str>> {
    let set_uid = metadata.labels.as_ref()?.get(names::PRE_PULL_LABEL)?;
    let has_name = metadata.name.as_deref().is_some_and(|name| name.ends_with(names::HELPER_SUFFIX));
    let group = |api_version: &str| api_version.split_once('/').is_some_and(|(group, _)| group == names::GROUP);
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| {
        owner.kind == names::KIND
            && group(&owner.api_version)
            && owner.uid == *set_uid
            && owner.controller != Some(true)
    })?;
    has_name.then(|| owner.uid.as_str().into())
}

/// What a kubelet that still works says of a container before it runs.
const UNDER_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// `asked`: the images of the template, by their containers' places. `None`: the container is somebody else's.
fn helper_image(spec: Container, asked: &[String], statuses: &mut Vec<ContainerStatus>) -> Option<HelperImage> {
    let place = helper::place_of_helper_container(&spec.name)?;
    let position = statuses.iter().position(|status| status.name == spec.name);
    let status = position.map(|position| statuses.swap_remove(position)).unwrap_or_default();
    let state = status.state.unwrap_or_default();
    let has_id = status.image_id.is_some_and(|id| !id.is_empty());
    let waiting = state.waiting.filter(|waiting| {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        !reason.is_empty() && !UNDER_WAY.contains(&reason)
    });
    Some(HelperImage {
        image: asked.get(place).map_or_else(|| boxed(spec.image), |image| image.as_str().into()),
        // One that runs has its image, whether its kubelet names it or not.
        pulled: state.running.is_some() || has_id && state.terminated.is_some(),
        error: waiting.map(|waiting| {
            let said: Vec<String> = [waiting.reason, waiting.message].into_iter().flatten().collect();
            said.join(": ").into()
        }),
    })
}

fn identity(mut metadata: ObjectMeta) -> PodFacts {
    PodFacts {
        controller: controller_of(&metadata),
        created_at: created_at(&metadata),
        namespace: boxed(metadata.namespace),
        name: boxed(metadata.name),
        uid: boxed(metadata.uid),
        resource_version: boxed(metadata.resource_version),
        deletion: timestamp(metadata.deletion_timestamp),
        labels: boxed_map(metadata.labels),
        finalizers: metadata.finalizers.unwrap_or_default().into_iter().map(String::into_boxed_str).collect(),
        hook_state_since: metadata
            .annotations
            .as_mut()
            .and_then(|annotations| annotations.remove(names::HOOK_STATE_SINCE_ANNOTATION))
            .and_then(|text| text.parse().ok()),
        in_place_state: metadata
            .annotations
            .as_mut()
            .and_then(|annotations| annotations.remove(names::IN_PLACE_STATE_ANNOTATION))
            .map(String::into_boxed_str),
        ..PodFacts::default()
    }
}

fn created_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn phase(text: Option<&str>) -> PodPhase {
    match text {
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some("Unknown") => PodPhase::Unknown,
        _ => PodPhase::Pending,
    }
}

/// What the kubelet says of a Pod that failed, not more of it than a condition can show.
fn failed_because(said: [Option<&str>; 2]) -> Option<Box<str>> {
    const LETTERS_MAX: usize = 300;
    let said: Vec<&str> = said.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    let text: String = said.join(": ").chars().take(LETTERS_MAX).collect();
    some_text(Some(text))
}

fn gate(condition: Option<&Condition>) -> Gate {
    match condition {
        None => Gate::Unset,
        Some(condition) if condition.status == "True" => Gate::Open,
        Some(condition) => Gate::Closed {
            since: condition.last_transition_time.as_ref().map(|time| time.0),
            reason: condition.reason.as_deref().unwrap_or_default().into(),
        },
    }
}

/// What holds a resize up; while it is in progress, what the kubelet says of it.
fn resize(conditions: &[Condition]) -> Option<Box<ResizeFacts>> {
    let is_true = |type_: &str| conditions.iter().find(|one| one.type_ == type_ && one.status == "True");
    let condition = is_true("PodResizePending").or_else(|| is_true("PodResizeInProgress"))?;
    let reason = condition.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("InProgress");
    let message = condition.message.as_deref().unwrap_or_default();
    Some(Box::new(ResizeFacts { reason: reason.into(), message: message.into() }))
}

/// `None`: neither cpu nor memory.
fn resources(given: Option<Value>) -> Option<Box<Resources>> {
    let amounts = amounts(&given?);
    (amounts != Resources::default()).then(|| Box::new(amounts))
}

fn containers(
    init: Option<Vec<Container>>,
    main: Option<Vec<Container>>,
    init_statuses: Option<Vec<ContainerStatus>>,
    main_statuses: Option<Vec<ContainerStatus>>,
) -> Vec<ContainerFacts> {
    let (mut init_statuses, mut main_statuses) = (init_statuses.unwrap_or_default(), main_statuses.unwrap_or_default());
    let init = init.unwrap_or_default();
    let main = main.unwrap_or_default();
    let mut facts = Vec::with_capacity(init.len() + main.len());
    for spec in init {
        let always = spec.restart_policy.as_deref() == Some("Always");
        let kind = if always { ContainerKind::RestartableInit } else { ContainerKind::Init };
        facts.push(container(spec, kind, &mut init_statuses));
    }
    for spec in main {
        facts.push(container(spec, ContainerKind::Main, &mut main_statuses));
    }
    facts
}

fn container(mut spec: Container, kind: ContainerKind, statuses: &mut Vec<ContainerStatus>) -> ContainerFacts {
    let status = statuses
        .iter()
        .position(|status| status.name == spec.name)
        .map(|position| statuses.swap_remove(position))
        .unwrap_or_default();
    let state = status.state.unwrap_or_default();
    ContainerFacts {
        env_in_annotations: spec.env_in_annotations(),
        name: spec.name.into_boxed_str(),
        kind,
        image: boxed(spec.image),
        resources: resources(spec.resources),
        status_resources: resources(status.resources),
        container_id: some_text(status.container_id),
        status_image: some_text(status.image),
        image_id: some_text(status.image_id),
        running: state.running.map(|running| Running { since: timestamp(running.started_at) }),
        waiting_reason: state.waiting.and_then(|waiting| some_text(waiting.reason)),
        ready: status.ready,
        started: status.started.unwrap_or(false),
        restart_count: status.restart_count,
    }
}
