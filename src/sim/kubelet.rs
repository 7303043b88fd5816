//! Kubelets as the planner meets them: an old container lives on after the spec has changed, the
//! Pod says Ready until it is gone, images that cannot be pulled are noticed after that.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{node_index, set_condition};
use super::container::{ContainerRun, Role, digest, wanted};
use super::facts;
use super::store::{Kind, Object, stamp};
use super::world::{Event, World, note};
use crate::api::names;

/// One Pod on its node.
#[derive(Debug)]
pub struct PodRun {
    /// The object that the kubelet saw last.
    pub seen: Arc<Object>,
    pub containers: BTreeMap<Box<str>, ContainerRun>,
    pub started_ms: i64,
    /// When its containers will all have ended, once it is being deleted.
    ends_ms: Option<i64>,
    pub failed: bool,
    /// When the kubelet looks again by itself.
    timer_ms: i64,
}

impl PodRun {
    pub fn runs_spec(&self, value: &Value) -> bool {
        wanted(value).iter().all(|wanted| self.containers.get(&wanted.name).is_some_and(|run| run.is_as(wanted)))
    }

    /// Each container was started as the spec says, and may have ended since: what the status says of it is late, and no
    /// controller can know.
    pub fn has_started_spec(&self, value: &Value) -> bool {
        wanted(value).iter().all(|wanted| self.containers.get(&wanted.name).is_some_and(|run| run.was_as(wanted)))
    }

    /// The first main container.
    pub fn first(&mut self) -> Option<&mut ContainerRun> {
        self.containers.values_mut().find(|run| run.role == Role::Main)
    }

    /// When the kubelet has to be woken for what happens next, if it is not woken earlier anyway.
    fn look_again_at(&mut self, next: Option<i64>, now: i64) -> Option<i64> {
        let at = next.filter(|at| self.timer_ms <= now || *at < self.timer_ms)?.max(now + 1);
        self.timer_ms = at;
        Some(at)
    }

    /// It ends containers or pulls images. A kubelet does one thing at a time for a Pod: it hears of no newer spec
    /// until that is done, nor does it write that it has observed one.
    fn is_busy(&self) -> bool {
        self.containers.values().any(ContainerRun::keeps_its_kubelet_busy)
    }

    /// A container that is made of something else than the spec says is still running. Not one that ran when the Pod was
    /// patched, ended in that very moment, and came back by itself: that cannot be seen from outside, unless the Pod was
    /// patched before.
    pub fn serves_something_else(&self, value: &Value) -> bool {
        let annotation =
            value.pointer("/metadata/annotations").and_then(|all| all.get(names::IN_PLACE_STATE_ANNOTATION));
        let patched: Value = annotation.and_then(|text| serde_json::from_str(text.as_str()?).ok()).unwrap_or_default();
        wanted(value).iter().filter(|wanted| wanted.role == Role::Main).any(|wanted| {
            let record = &patched["containers"][&*wanted.name];
            let ran = &record["containerID"];
            let came_back = ran.is_string() && record["texts"].is_null();
            self.containers.get(&wanted.name).is_some_and(|run| {
                run.runs() && !run.is_made_of(wanted) && (!came_back || run.id.as_deref() == ran.as_str())
            })
        })
    }
}

impl World {
    /// The kubelet looks at a Pod: at news of it, and when something of its own is due.
    pub fn sync(&mut self, name: &str, uid: &str) {
        let Some(object) = self.store.get(Kind::Pod, name).filter(|object| &*object.uid == uid).cloned() else {
            self.cluster.pods.remove(uid);
            return;
        };
        let Some(pod) = object.pod() else { return };
        let Some(node) = pod.node.as_deref().map(node_index) else { return };
        if self.cluster.lost_nodes.contains(&node) {
            return self.go_on_alone(name, uid);
        }
        if pod.is_terminal() {
            if pod.is_terminating() {
                self.finish_deletion(name);
            }
            return;
        }
        if pod.helper.is_some() && !pod.is_terminating() {
            let delay = self.random.range(20, 4000);
            return self.after(delay, Event::Report { name: name.into(), uid: uid.into() });
        }
        let now = self.now;
        let grace_ms =
            1000 * object.value.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
        let random = &mut self.random;
        let run = self.cluster.pods.entry(uid.into()).or_insert_with(|| PodRun {
            seen: std::sync::Arc::clone(&object),
            containers: BTreeMap::new(),
            started_ms: now,
            ends_ms: None,
            failed: false,
            timer_ms: 0,
        });
        for container in run.containers.values_mut().filter(|_| !run.failed && !pod.is_terminating()) {
            container.go_on(random, now, &mut self.cluster.container_ids);
        }
        if run.failed || pod.is_terminating() || !run.is_busy() {
            run.seen = Arc::clone(&object);
        }
        if run.failed && !pod.is_terminating() {
            self.after(1, Event::Report { name: name.into(), uid: uid.into() });
            return;
        }
        if pod.is_terminating() {
            let ends = *run.ends_ms.get_or_insert_with(|| now + random.range(0, grace_ms));
            if ends <= now {
                note!(self, "kubelet: {name} has ended");
                self.finish_deletion(name);
            } else {
                self.at(ends, Event::Sync { name: name.into(), uid: uid.into() });
                let lag = self.random.range(1, 500);
                self.after(lag, Event::Report { name: name.into(), uid: uid.into() });
            }
            return;
        }
        let mut next = None;
        let seen = Arc::clone(&run.seen);
        for wanted in wanted(&seen.value) {
            let container =
                run.containers.entry(wanted.name.clone()).or_insert_with(|| ContainerRun::new(&wanted, random, now));
            container.ask(&wanted, random, now, grace_ms);
            container.resize(&wanted.resources, random, now);
            next = [next, container.next_change(now)].into_iter().flatten().min();
            if !container.lets_go_on() {
                break;
            }
        }
        let next = run.look_again_at(next, now);
        self.look_again(next, name, uid);
        let lag = self.random.range(1, self.swarm.status_lag_ms);
        self.after(lag, Event::Report { name: name.into(), uid: uid.into() });
    }

    /// A kubelet that cannot be reached goes on with the spec that it saw last.
    fn go_on_alone(&mut self, name: &str, uid: &str) {
        let (now, random) = (self.now, &mut self.random);
        let Some(run) = self.cluster.pods.get_mut(uid).filter(|run| !run.failed) else { return };
        let mut next = None;
        for container in run.containers.values_mut() {
            container.go_on(random, now, &mut self.cluster.container_ids);
            next = [next, container.next_change(now)].into_iter().flatten().min();
        }
        let next = run.look_again_at(next, now);
        self.look_again(next, name, uid);
    }

    fn look_again(&mut self, at: Option<i64>, name: &str, uid: &str) {
        if let Some(at) = at {
            self.at(at, Event::Sync { name: name.into(), uid: uid.into() });
        }
    }

    /// All containers have ended. Where a finalizer holds the Pod, its status says that it did.
    fn finish_deletion(&mut self, name: &str) {
        let now = self.now;
        let held = self
            .store
            .get(Kind::Pod, name)
            .is_some_and(|object| !facts::list(&object.value, "/metadata/finalizers").is_empty());
        if held {
            let ended = self.store.change(Kind::Pod, name, |value| {
                value["metadata"]["deletionGracePeriodSeconds"] = 0.into();
                value["status"]["phase"] = "Failed".into();
                set_condition(value, "ContainersReady", "False", "PodFailed", now);
                set_condition(value, "Ready", "False", "PodFailed", now);
            });
            drop(ended);
        } else {
            self.store.remove(Kind::Pod, name);
        }
    }

    /// A helper Pod: its images are pulled, or cannot be, and then nothing of them can start.
    fn report_helper(&mut self, name: &str, uid: &str) -> bool {
        let Some(object) = self.store.get(Kind::Pod, name).filter(|object| &*object.uid == uid).cloned() else {
            return false;
        };
        let Some(pod) = object.pod().filter(|pod| pod.helper.is_some() && !pod.is_terminating()) else { return false };
        let node = pod.node.as_deref().map(node_index);
        if node.is_some_and(|node| self.cluster.lost_nodes.contains(&node)) {
            return true;
        }
        let mut failed = false;
        let statuses: Vec<Value> = wanted(&object.value)
            .iter()
            .map(|wanted| {
                let broken = wanted.image.contains("broken");
                failed |= broken;
                let state = if broken {
                    json!({"waiting": {"reason": "ErrImagePull"}})
                } else {
                    json!({"terminated": {"reason": "StartError", "exitCode": 128}})
                };
                let image_id = if broken { String::new() } else { digest(&wanted.image) };
                json!({"name": wanted.name, "imageID": image_id, "state": state, "ready": false, "restartCount": 0})
            })
            .collect();
        let written = self.store.change(Kind::Pod, name, |value| {
            value["status"]["phase"] = if failed { "Pending" } else { "Failed" }.into();
            value["status"]["containerStatuses"] = statuses.into();
        });
        drop(written);
        true
    }

    /// The kubelet writes what it knows, without preconditions but the UID.
    pub fn report(&mut self, name: &str, uid: &str) {
        if self.report_helper(name, uid) {
            return;
        }
        let Some(run) = self.cluster.pods.get(uid) else { return };
        let Some(object) = self.store.get(Kind::Pod, name).filter(|object| &*object.uid == uid).cloned() else {
            return;
        };
        let Some(pod) = object.pod() else { return };
        let lost = pod.node.as_deref().map(node_index).is_some_and(|node| self.cluster.lost_nodes.contains(&node));
        if lost || pod.is_terminal() {
            return;
        }
        let now = self.now;
        let ended = run.failed;
        let statuses = |init: bool| -> Vec<Value> {
            let wanted = wanted(&object.value).into_iter().filter(|wanted| (wanted.role != Role::Main) == init);
            wanted
                .filter_map(|wanted| Some(run.containers.get(&wanted.name)?.status(&wanted.name, now, ended)))
                .collect()
        };
        let (init, containers) = (statuses(true), statuses(false));
        let mut main = run.containers.values().filter(|one| one.role == Role::Main);
        let all_ready = !ended
            && containers.len() == facts::list(&object.value, "/spec/containers").len()
            && run.containers.values().all(|one| one.is_ready(now));
        let started = main.any(|one| one.id.is_some());
        // The gate as the kubelet knows it: the object that it saw last.
        let gate_open = !facts::list(&run.seen.value, "/spec/readinessGates").iter().any(|gate| {
            let type_ = facts::text(gate, "/conditionType");
            &*type_ == names::READINESS_GATE
                && facts::condition(&run.seen.value, &type_).is_none_or(|one| &*facts::text(one, "/status") != "True")
        });
        let observed = run.seen.value.pointer("/metadata/generation").cloned().unwrap_or_default();
        let started_at = stamp(run.started_ms);
        let written = self.store.change(Kind::Pod, name, |value| {
            value["status"]["phase"] = if ended {
                "Failed"
            } else if started {
                "Running"
            } else {
                "Pending"
            }
            .into();
            value["status"]["startTime"] = started_at.into();
            value["status"]["observedGeneration"] = observed;
            value["status"]["containerStatuses"] = containers.into();
            if !init.is_empty() {
                value["status"]["initContainerStatuses"] = init.into();
            }
            let ready = all_ready && gate_open;
            set_condition(value, "ContainersReady", if all_ready { "True" } else { "False" }, "", now);
            set_condition(value, "Ready", if ready { "True" } else { "False" }, "", now);
        });
        drop(written);
    }
}
