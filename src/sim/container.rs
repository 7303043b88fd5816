//! One container on its node, and what a spec asks for of it.

use serde_json::{Value, json};

use super::facts;
use super::random::Random;
use super::store::stamp;

#[derive(Clone, Debug)]
pub struct ContainerRun {
    /// What the running, or the next, container is made of.
    pub image: Box<str>,
    rest: Box<str>,
    pub id: Option<Box<str>>,
    /// The image of that container, and the rest that it was made of.
    pub id_image: Box<str>,
    id_rest: Box<str>,
    pub role: Role,
    /// What it has, and when it will have what the spec asks for.
    resources: Value,
    resized_ms: Option<i64>,
    pub state: State,
    pub restarts: i32,
    /// Not ready until then, whatever the probe would say.
    pub flaps_until_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    Main,
    /// An init container that goes on.
    Sidecar,
    /// Runs once, before the others.
    Init,
}

/// What a spec asks for of one container.
pub struct Wanted {
    pub name: Box<str>,
    pub image: Box<str>,
    rest: Box<str>,
    pub role: Role,
    pub resources: Value,
}

/// Init containers first.
pub fn wanted(pod: &Value) -> Vec<Wanted> {
    let of = |pointer: &str, init: bool| {
        let all = facts::list(pod, pointer).iter();
        all.map(move |container| {
            let of = |field: &str| container.get(field).cloned().unwrap_or_default();
            Wanted {
                name: facts::text(container, "/name"),
                image: facts::text(container, "/image"),
                rest: json!([of("env"), of("envFrom"), of("volumeMounts")]).to_string().into(),
                role: match (init, &*facts::text(container, "/restartPolicy")) {
                    (false, _) => Role::Main,
                    (true, "Always") => Role::Sidecar,
                    (true, _) => Role::Init,
                },
                resources: of("resources"),
            }
        })
        .collect::<Vec<_>>()
    };
    let mut all = of("/spec/initContainers", true);
    all.extend(of("/spec/containers", false));
    all
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
    /// Has done its work.
    Done,
}

impl ContainerRun {
    pub fn new(wanted: &Wanted, random: &mut Random, now: i64) -> ContainerRun {
        let mut run = ContainerRun {
            image: wanted.image.clone(),
            rest: wanted.rest.clone(),
            id: None,
            id_image: "".into(),
            id_rest: "".into(),
            role: wanted.role,
            resources: wanted.resources.clone(),
            resized_ms: None,
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
        self.id_rest = self.rest.clone();
        let never = self.image.contains("unready");
        let crashes = self.image.contains("crashing");
        self.state = State::Running {
            since_ms: now,
            ready_ms: (!never).then(|| now + random.range(20, 2500)),
            exits_ms: (crashes || self.role == Role::Init).then(|| now + random.range(100, 900)),
        };
    }

    pub fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Stopping { .. })
    }

    pub fn keeps_its_kubelet_busy(&self) -> bool {
        matches!(self.state, State::Pulling { .. } | State::Stopping { .. })
    }

    /// The running container is the one that the spec asks for, and has what it asks for.
    pub fn is_as(&self, wanted: &Wanted) -> bool {
        self.was_as(wanted) && (matches!(self.state, State::Running { .. }) || wanted.role == Role::Init)
    }

    /// The same of the one that ran last.
    pub fn was_as(&self, wanted: &Wanted) -> bool {
        self.is_made_of(wanted) && self.resources == wanted.resources || wanted.role == Role::Init
    }

    /// The container that runs, or ran last, was made of what the spec asks for.
    pub fn is_made_of(&self, wanted: &Wanted) -> bool {
        self.id_image == wanted.image && self.id_rest == wanted.rest
    }

    /// Those after it may start.
    pub fn lets_go_on(&self) -> bool {
        match self.role {
            Role::Init => self.state == State::Done,
            Role::Sidecar => self.id.is_some(),
            Role::Main => true,
        }
    }

    /// The resources that the spec asks for come some time later.
    pub fn resize(&mut self, wanted: &Value, random: &mut Random, now: i64) {
        if self.resources == *wanted {
            self.resized_ms = None;
        } else if self.resized_ms.is_none() {
            self.resized_ms = Some(now + random.range(20, 3000));
        } else if self.resized_ms.is_some_and(|at| at <= now) {
            self.resources = wanted.clone();
            self.resized_ms = None;
        }
    }

    pub fn is_ready(&self, now: i64) -> bool {
        let probe = match &self.state {
            State::Running { ready_ms, .. } => ready_ms.is_some_and(|ready| ready <= now),
            State::Stopping { .. } | State::Done => true,
            _ => false,
        };
        probe && self.flaps_until_ms <= now
    }

    pub fn next_change(&self, now: i64) -> Option<i64> {
        let state = match &self.state {
            State::Pulling { until_ms } | State::BackOff { until_ms } | State::Stopping { until_ms, .. } => {
                Some(*until_ms)
            }
            State::Refused | State::Done => None,
            State::Running { ready_ms, exits_ms, .. } => {
                [*ready_ms, *exits_ms].into_iter().flatten().filter(|at| *at > now).min()
            }
        };
        let flap = Some(self.flaps_until_ms).filter(|until| *until > now);
        [state, flap, self.resized_ms].into_iter().flatten().min()
    }

    /// What happens by itself up to now.
    pub fn go_on(&mut self, random: &mut Random, now: i64, ids: &mut u64) {
        match self.state.clone() {
            State::Pulling { until_ms } if until_ms <= now => {
                *ids += 1;
                self.start(random, now, *ids);
            }
            State::Running { exits_ms: Some(at), .. } if at <= now && self.role == Role::Init => {
                self.state = State::Done;
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

    /// The spec asks for another container.
    pub fn ask(&mut self, wanted: &Wanted, random: &mut Random, now: i64, grace_ms: i64) {
        if self.image == wanted.image && self.rest == wanted.rest {
            return;
        }
        self.image = wanted.image.clone();
        self.rest = wanted.rest.clone();
        match self.state {
            State::Running { since_ms, .. } => {
                self.state = State::Stopping { since_ms, until_ms: now + random.range(0, grace_ms) };
            }
            // It is on its way out: what comes after it is of the new image.
            State::Stopping { .. } | State::Done => {}
            State::Pulling { .. } | State::Refused | State::BackOff { .. } => self.pull(random, now),
        }
    }

    pub fn status(&self, name: &str, now: i64, ended: bool) -> Value {
        let state = match &self.state {
            _ if ended => json!({"terminated": {"reason": "Completed"}}),
            State::Running { since_ms, .. } | State::Stopping { since_ms, .. } => {
                json!({"running": {"startedAt": stamp(*since_ms)}})
            }
            State::Pulling { .. } => json!({"waiting": {"reason": "ContainerCreating"}}),
            State::Refused => json!({"waiting": {"reason": "ErrImagePull"}}),
            State::BackOff { .. } => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            State::Done => json!({"terminated": {"reason": "Completed"}}),
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
            "resources": self.resources,
        })
    }
}

/// Tags of one image: a runtime shows any of them.
fn shown_image(image: &str) -> String {
    let same = if image == "app:v1b" { "app:v1" } else { image };
    format!("docker.io/library/{same}")
}

pub fn digest(image: &str) -> String {
    format!("docker.io/library/app@sha256:{}", shown_image(image).replace([':', '/'], ""))
}
