//! Kubelets as the planner meets them: an old container lives on after the spec has changed, the
//! Pod says Ready until it is gone, images that cannot be pulled are noticed after that.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{node_index, set_condition};
use super::facts;
use super::random::Random;
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

#[derive(Clone, Debug)]
pub struct ContainerRun {
    /// What the running, or the next, container is made of.
    pub image: Box<str>,
    pub id: Option<Box<str>>,
    /// The image of that container.
    pub id_image: Box<str>,
    pub state: State,
    pub restarts: i32,
    /// Not ready until then, whatever the probe would say.
    pub flaps_until_ms: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its image is being pulled.
    Pulling {
        until_ms: i64,
    },
    Refused,
    Running {
        since_ms: i64,
        ready_ms: Option<i64>,
        exits_ms: Option<i64>,
    },
    /// Still running, about to be replaced.
    Stopping {
        since_ms: i64,
        until_ms: i64,
    },
    BackOff {
        until_ms: i64,
    },
}

impl ContainerRun {
    fn new(image: &str, random: &mut Random, now: i64) -> ContainerRun {
        let mut run = ContainerRun {
            image: image.into(),
            id: None,
            id_image: "".into(),
            state: State::Refused,
            restarts: 0,
            flaps_until_ms: 0,
        };
        run.pull(random, now);
        run
    }

    fn pull(&mut self, random: &mut Random, now: i64) {
        self.state = if self.image.contains("broken") {
            State::Refused
        } else {
            State::Pulling { until_ms: now + random.range(10, 2500) }
        };
    }

    pub fn start(&mut self, random: &mut Random, now: i64, id: u64) {
        self.id = Some(format!("containerd://{id}").into());
        self.id_image = self.image.clone();
        let never = self.image.contains("unready");
        let crashes = self.image.contains("crashing");
        self.state = State::Running {
            since_ms: now,
            ready_ms: (!never).then(|| now + random.range(20, 2500)),
            exits_ms: crashes.then(|| now + random.range(100, 900)),
        };
    }

    pub fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Stopping { .. })
    }

    /// The running container is the one that this image asks for.
    pub fn runs_image(&self, image: &str) -> bool {
        matches!(self.state, State::Running { .. }) && *self.id_image == *image
    }

    fn is_ready(&self, now: i64) -> bool {
        let probe = match &self.state {
            State::Running { ready_ms, .. } => ready_ms.is_some_and(|ready| ready <= now),
            State::Stopping { .. } => true,
            _ => false,
        };
        probe && self.flaps_until_ms <= now
    }

    fn next_change(&self, now: i64) -> Option<i64> {
        let state = match &self.state {
            State::Pulling { until_ms } | State::BackOff { until_ms } | State::Stopping { until_ms, .. } => {
                Some(*until_ms)
            }
            State::Refused => None,
            State::Running { ready_ms, exits_ms, .. } => {
                [*ready_ms, *exits_ms].into_iter().flatten().filter(|at| *at > now).min()
            }
        };
        let flap = Some(self.flaps_until_ms).filter(|until| *until > now);
        [state, flap].into_iter().flatten().min()
    }

    /// What happens by itself up to now.
    fn go_on(&mut self, random: &mut Random, now: i64, ids: &mut u64) {
        match self.state.clone() {
            State::Pulling { until_ms } if until_ms <= now => {
                *ids += 1;
                self.start(random, now, *ids);
            }
            State::Running { exits_ms: Some(at), .. } if at <= now => {
                self.restarts += 1;
                self.state = State::BackOff { until_ms: now + 1000 * i64::from(self.restarts.min(30)) };
            }
            State::BackOff { until_ms } if until_ms <= now => {
                *ids += 1;
                self.start(random, now, *ids);
            }
            State::Stopping { until_ms, .. } if until_ms <= now => {
                self.restarts += 1;
                self.pull(random, now);
            }
            _ => {}
        }
    }

    /// The spec asks for this image.
    fn ask(&mut self, image: &str, random: &mut Random, now: i64, grace_ms: i64) {
        if *self.image == *image {
            return;
        }
        self.image = image.into();
        match self.state {
            State::Running { since_ms, .. } => {
                self.state = State::Stopping { since_ms, until_ms: now + random.range(0, grace_ms) };
            }
            // It is on its way out: what comes after it is of the new image.
            State::Stopping { .. } => {}
            State::Pulling { .. } | State::Refused | State::BackOff { .. } => self.pull(random, now),
        }
    }

    fn status(&self, name: &str, now: i64, ended: bool) -> Value {
        let state = match &self.state {
            _ if ended => json!({"terminated": {"reason": "Completed"}}),
            State::Running { since_ms, .. } | State::Stopping { since_ms, .. } => {
                json!({"running": {"startedAt": stamp(*since_ms)}})
            }
            State::Pulling { .. } => json!({"waiting": {"reason": "ContainerCreating"}}),
            State::Refused => json!({"waiting": {"reason": "ErrImagePull"}}),
            State::BackOff { .. } => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        };
        let shown = if self.id_image.is_empty() { &self.image } else { &self.id_image };
        json!({
            "name": name,
            "image": shown_image(shown),
            "imageID": if self.id.is_some() { digest(shown) } else { String::new() },
            "containerID": self.id.as_deref().unwrap_or_default(),
            "ready": !ended && self.is_ready(now),
            "started": !ended && self.runs(),
            "restartCount": self.restarts,
            "state": state,
        })
    }
}

/// Tags of one image: a runtime shows any of them.
fn shown_image(image: &str) -> String {
    let same = if image == "app:v1b" { "app:v1" } else { image };
    format!("docker.io/library/{same}")
}

fn digest(image: &str) -> String {
    format!("docker.io/library/app@sha256:{}", shown_image(image).replace([':', '/'], ""))
}

impl PodRun {
    pub fn runs_spec(&self, value: &Value) -> bool {
        facts::list(value, "/spec/containers").iter().all(|container| {
            let (name, image) = (facts::text(container, "/name"), facts::text(container, "/image"));
            self.containers.get(&name).is_some_and(|run| run.runs_image(&image))
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
            return;
        }
        if pod.is_terminal() {
            if pod.is_terminating() {
                self.finish_deletion(name);
            }
            return;
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
        run.seen = Arc::clone(&object);
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
        for container in facts::list(&object.value, "/spec/containers") {
            let (name, image) = (facts::text(container, "/name"), facts::text(container, "/image"));
            let container = run.containers.entry(name).or_insert_with(|| ContainerRun::new(&image, random, now));
            container.go_on(random, now, &mut self.cluster.container_ids);
            container.ask(&image, random, now, grace_ms);
            next = [next, container.next_change(now)].into_iter().flatten().min();
        }
        if let Some(at) = next.filter(|at| run.timer_ms <= now || *at < run.timer_ms) {
            run.timer_ms = at.max(now + 1);
            self.at(at.max(now + 1), Event::Sync { name: name.into(), uid: uid.into() });
        }
        let lag = self.random.range(1, self.swarm.status_lag_ms);
        self.after(lag, Event::Report { name: name.into(), uid: uid.into() });
    }

    fn finish_deletion(&mut self, name: &str) {
        let held = self
            .store
            .get(Kind::Pod, name)
            .is_some_and(|object| !facts::list(&object.value, "/metadata/finalizers").is_empty());
        if held {
            let ended = self.store.change(Kind::Pod, name, |value| {
                value["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            });
            drop(ended);
        } else {
            self.store.remove(Kind::Pod, name);
        }
    }

    /// The kubelet writes what it knows, without preconditions but the UID.
    pub fn report(&mut self, name: &str, uid: &str) {
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
        let containers: Vec<Value> = facts::list(&object.value, "/spec/containers")
            .iter()
            .filter_map(|container| {
                let name = facts::text(container, "/name");
                Some(run.containers.get(&name)?.status(&name, now, ended))
            })
            .collect();
        let all_ready = !ended && !run.containers.is_empty() && run.containers.values().all(|one| one.is_ready(now));
        let started = run.containers.values().any(|one| one.id.is_some());
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
            let ready = all_ready && gate_open;
            set_condition(value, "ContainersReady", if all_ready { "True" } else { "False" }, "", now);
            set_condition(value, "Ready", if ready { "True" } else { "False" }, "", now);
        });
        drop(written);
    }
}
