//! What kubelets, and whoever answers lifecycle hooks, make of Pods: all that is asked of them, at once.

use jiff::Timestamp;

use crate::inplace::{InPlaceState, Progress, progress};
use crate::model::pod::{ReadyFacts, Running};
use crate::model::{ContainerFacts, ContainerKind, Gate, HookState, Hooks, PodFacts, PodPhase};

/// Whether waiting alone may make this Pod available. Others stay as they are until they are changed.
pub fn may_come_up(pod: &PodFacts, now: Timestamp) -> bool {
    if pod.is_ready() || pod.is_terminating() {
        return true;
    }
    let refused = pod.containers.iter().any(|container| {
        let reason = container.waiting_reason.as_deref().unwrap_or_default();
        !matches!(reason, "" | "ContainerCreating" | "PodInitializing")
    });
    if refused || pod.unschedulable || pod.is_terminal() {
        return false;
    }
    // Out of service for an update, or not yet up. One that runs and is not Ready has its own reasons.
    pod.phase == PodPhase::Pending
        || !matches!(pod.gate, Gate::Open | Gate::Absent)
        || progress(pod, now) != Progress::Done
}

/// Starts what is to run. `next_id` names containers.
pub fn start(pod: &mut PodFacts, now: Timestamp, observes: bool, next_id: &mut u64) {
    let state = pod.in_place_state.as_deref().and_then(InPlaceState::parse);
    pod.phase = PodPhase::Running;
    pod.started_at.get_or_insert(now);
    pod.unschedulable = false;
    pod.resize = None;
    pod.observed_generation = observes.then_some(pod.generation);
    for container in &mut pod.containers {
        if container.container_id.is_none() || is_to_be_replaced(container, state.as_ref()) {
            *next_id += 1;
            container.container_id = Some(format!("forecast://{next_id}").into());
            container.image_id = None;
            container.running = None;
        }
        container.waiting_reason = None;
        container.status_image = Some(container.image.clone());
        container.status_resources.clone_from(&container.resources);
        (container.ready, container.started) = (true, true);
        if container.kind != ContainerKind::Init && container.running.is_none() {
            container.running = Some(Running { since: Some(now) });
        }
    }
    pod.containers_ready = true;
}

/// The last patch asks for another container than the one that it found.
fn is_to_be_replaced(container: &ContainerFacts, state: Option<&InPlaceState>) -> bool {
    let Some(record) = state.and_then(|state| state.containers.get(&container.name)) else { return false };
    record.container_id == container.container_id
        && (record.image != container.image || record.started != record.wanted)
}

/// Says whether the Pod is Ready.
pub fn tell_readiness(pod: &mut PodFacts, now: Timestamp) {
    let status = pod.containers_ready && matches!(pod.gate, Gate::Open | Gate::Absent);
    if pod.ready.is_none_or(|ready| ready.status != status) {
        pod.ready = Some(ReadyFacts { status, since: Some(now) });
    }
}

/// Whoever answers hooks does what the Pod's state asks for. True: there was something to do.
pub fn answer_hooks(hooks: &Hooks, pod: &mut PodFacts) -> bool {
    let (hook, lets_go) = match pod.hook_state() {
        Some(HookState::PreparingDelete) => (&hooks.pre_delete, true),
        Some(HookState::PreparingUpdate) => (&hooks.in_place_update, true),
        Some(HookState::PreparingNormal) => (&hooks.pre_normal, false),
        Some(HookState::Updated) => (&hooks.in_place_update, false),
        Some(HookState::Normal | HookState::Updating) | None => return false,
    };
    let Some(hook) = hook else { return false };
    let answered = if lets_go { hook.held_by(pod).is_none() } else { hook.missing_on(pod).is_none() };
    for (key, value) in &hook.labels {
        if lets_go {
            pod.labels.remove(key);
        } else {
            pod.labels.insert(key.clone(), value.clone());
        }
    }
    for name in &hook.finalizers {
        pod.finalizers.retain(|held| held != name);
        if !lets_go {
            pod.finalizers.push(name.clone());
        }
    }
    !answered
}
