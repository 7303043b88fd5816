//! What users and misfortune do, drawn from the seed before the run begins, so that a run can be
//! made smaller by leaving steps out.

use serde_json::{Value, json};

use super::chaos::{Fault, Point};
use super::clocks::Clocks;
use super::misfortune;
use super::random::Random;
use super::store::Kind;

/// How hard the world is, drawn for each seed: everything at once finds less.
#[derive(Clone, Debug, PartialEq)]
pub struct Swarm {
    pub controllers: usize,
    pub watch_lag_ms: i64,
    pub slow_watch_per_mille: u32,
    pub broken_watch_per_mille: u32,
    pub kubelet_lag_ms: i64,
    pub status_lag_ms: i64,
    pub request_ms: i64,
    pub slow_request_per_mille: u32,
    pub error_per_mille: u32,
    pub lost_answer_per_mille: u32,
    /// Writes that change Pods in place and that a policy refuses.
    pub denied_in_place_per_mille: u32,
    pub collector_lag_ms: i64,
    pub restart_ms: i64,
    /// How far the controllers' clocks are ahead, until somebody sets them.
    pub clocks_ms: Clocks,
    /// The managers elect a leader. Only on the wire.
    pub lease: bool,
    /// There are other sets. Only on the wire.
    pub crowd: bool,
}

#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    pub swarm: Swarm,
    /// The set as it is created.
    pub set: Value,
    /// Times in milliseconds, ascending.
    pub steps: Vec<(i64, Step)>,
    /// When faults and users end.
    pub peace_ms: i64,
    /// Faults of requests and watches; `None`: drawn, as the swarm says.
    pub faults: Option<Vec<(Point, Fault)>>,
    /// Views that stay behind until faults end.
    pub behind: Vec<Behind>,
    /// Apiserver and kubelets take more of a running Pod than the stock ones.
    pub customised: bool,
}

/// A controller does not see the newest events of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    pub controller: usize,
    pub kind: Kind,
    pub events: usize,
}

/// One thing that someone does. Indices are taken modulo what there is.
#[derive(Clone, Debug)]
pub enum Step {
    CreateSet,
    DeleteSet {
        orphan: bool,
    },
    /// A merge patch of the set's spec.
    Spec(Value),
    DeletePod(usize),
    ForceDeletePod(usize),
    MarkPod(usize),
    StripLabels(usize),
    StripOwner(usize),
    LieAboutRevision(usize),
    /// Someone else's Pod with one of our names; `None`: without an owner.
    ForeignPod {
        ordinal: i64,
        owned: bool,
    },
    RemoveForeignPods,
    DeleteClaim(usize),
    Crash(usize),
    /// A controller starts anew, on an apiserver whose caches are so many writes behind for so long: what it lists and
    /// watches is old, what it reads by name is not.
    TravelBack {
        controller: usize,
        writes: u64,
        milliseconds: i64,
    },
    Freeze {
        controller: usize,
        kind: Kind,
        milliseconds: i64,
    },
    /// Somebody sets a controller's clock: it is that far ahead now, or behind.
    SetClock {
        controller: usize,
        ahead_ms: i64,
    },
    Quota(bool),
    /// A webhook denies new Pods, or does so no more.
    DenyPods(bool),
    /// A webhook puts a container into each new Pod, or does so no more.
    Inject(bool),
    /// The namespace takes nothing new, or takes it again.
    TakeNothing(bool),
    /// The namespace is being terminated, for good, with all that it has.
    EndNamespace,
    /// Somebody's finalizer: a Pod that is deleted stays, Terminating, until it is taken away.
    HoldPod(usize),
    LetPodsGo,
    /// Another controller takes a claim.
    TakeClaim(usize),
    /// A claim's volume is lost.
    LoseClaim(usize),
    /// Claims have no other controller, and their volumes, again.
    GiveBackClaims,
    LoseNode(usize),
    FindNode(usize),
    CrashContainer(usize),
    Flap {
        pod: usize,
        milliseconds: i64,
    },
    Evict(usize),
}

pub const TEMPLATES: [&str; 16] = [
    "A",
    "B",
    "C",
    "A again",
    "same digest",
    "labels",
    "static",
    "init",
    "sidecar",
    "sidecar again",
    "sized",
    "sized more",
    "probe",
    "broken",
    "crashing",
    "unready",
];
/// Those of them that Pods become Ready with.
pub const GOOD_TEMPLATES: [&str; 13] = [
    "A",
    "B",
    "C",
    "A again",
    "same digest",
    "labels",
    "static",
    "init",
    "sidecar",
    "sidecar again",
    "sized",
    "sized more",
    "probe",
];

pub fn template(name: &str) -> Value {
    let mut template = json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"note": name}},
        "spec": {
            "terminationGracePeriodSeconds": 4,
            "containers": [{"name": "app", "image": "app:v1"}, {"name": "side", "image": "side:v1"}],
        },
    });
    let (app, side) = match name {
        "B" => ("app:v2", "side:v1"),
        "C" => ("app:v3", "side:v2"),
        "same digest" => ("app:v1b", "side:v1"),
        "broken" => ("app:broken", "side:v1"),
        "crashing" => ("app:crashing", "side:v2"),
        "unready" => ("app:unready", "side:v1"),
        "invalid" => ("invalid-image", "side:v1"),
        _ => ("app:v1", "side:v1"),
    };
    template["spec"]["containers"][0]["image"] = app.into();
    template["spec"]["containers"][1]["image"] = side.into();
    match name {
        // The same as A, said in other words.
        "A again" => {
            template["metadata"]["annotations"]["note"] = "A".into();
            template["spec"]["restartPolicy"] = "Always".into();
            template["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
            template["spec"]["containers"][1]["image"] = "docker.io/library/side:v1".into();
        }
        "labels" => {
            template["metadata"]["labels"]["tier"] = "gold".into();
            template["metadata"]["annotations"] = Value::Null;
        }
        "static" => template["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "value": "x"}]),
        "init" => template["spec"]["initContainers"] = json!([{"name": "prepare", "image": "init:v1"}]),
        "sidecar" | "sidecar again" => {
            let image = if name == "sidecar" { "proxy:v1" } else { "proxy:v2" };
            template["spec"]["initContainers"] = json!([
                {"name": "prepare", "image": "init:v1"},
                {"name": "proxy", "image": image, "restartPolicy": "Always"},
            ]);
        }
        "sized" | "sized more" => {
            let cpu = if name == "sized" { "100m" } else { "200m" };
            template["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu, "memory": "64Mi"}});
        }
        "probe" => {
            template["spec"]["containers"][0]["readinessProbe"] =
                json!({"tcpSocket": {"port": 80}, "periodSeconds": 3});
        }
        _ => {}
    }
    template
}

fn draw_swarm(seed: u64, random: &mut Random) -> Swarm {
    let rare = |random: &mut Random, rates: &[u32]| random.pick(rates);
    Swarm {
        controllers: if random.per_mille(400) { 2 } else { 1 },
        watch_lag_ms: random.pick(&[5, 50, 500, 3000]),
        slow_watch_per_mille: rare(random, &[0, 0, 20, 100]),
        broken_watch_per_mille: rare(random, &[0, 0, 10, 50]),
        kubelet_lag_ms: random.pick(&[20, 300, 1500]),
        status_lag_ms: random.pick(&[20, 300, 2000]),
        request_ms: random.pick(&[3, 30, 300]),
        slow_request_per_mille: rare(random, &[0, 0, 20, 80]),
        error_per_mille: rare(random, &[0, 0, 20, 150]),
        lost_answer_per_mille: rare(random, &[0, 0, 20, 100]),
        // By a chance of its own: a seed's script stays what it was.
        denied_in_place_per_mille: rare(
            &mut Random::new(seed ^ 0x6465_6e69_6564),
            &[0, 0, 0, 0, 0, 0, 0, 50, 300, 1000],
        ),
        collector_lag_ms: random.pick(&[50, 1000, 20_000]),
        restart_ms: random.pick(&[50, 3000, 30_000]),
        clocks_ms: misfortune::draw_clocks(seed, random.pick(&[0, 0, 0, 1500, 40_000])),
        lease: random.per_mille(300),
        crowd: random.per_mille(250),
    }
}

pub fn draw_set(random: &mut Random) -> Value {
    let claims = random.per_mille(500);
    let mut spec = json!({
        "replicas": random.range(1, 5),
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(random.pick(&GOOD_TEMPLATES)),
        "podManagementPolicy": random.pick(&["OrderedReady", "Parallel"]),
        "revisionHistoryLimit": random.range(0, 3),
        "minReadySeconds": random.pick(&[0, 0, 0, 3, 15]),
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {
            "maxUnavailable": random.pick(&[1, 1, 2, 3]),
            "podUpdatePolicy": random.pick(&["InPlaceIfPossible", "InPlaceIfPossible", "ReCreate"]),
            "inPlaceUpdateStrategy": {"gracePeriodSeconds": random.pick(&[0, 0, 3, 10]), "timeoutSeconds": random.pick(&[30, 600])},
        }},
    });
    if claims {
        spec["volumeClaimTemplates"] = json!([{
            "metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        }]);
        spec["persistentVolumeClaimRetentionPolicy"] = json!({
            "whenDeleted": random.pick(&["Retain", "Delete"]), "whenScaled": random.pick(&["Retain", "Delete"]),
        });
    }
    if random.per_mille(150) {
        spec["scaleStrategy"] = json!({"maxUnavailable": random.range(1, 3)});
    }
    if claims && random.per_mille(400) {
        spec["volumeClaimUpdateStrategy"] = json!({"type": "OnPodRollingUpdate"});
    }
    let rolling = &mut spec["updateStrategy"]["rollingUpdate"];
    if random.per_mille(120) {
        rolling["unorderedUpdate"] = json!({"priorityStrategy": {"orderPriority": [{"orderedKey": "tier"}]}});
    }
    if random.per_mille(200) {
        rolling["inPlaceUpdateStrategy"]["prePull"] = true.into();
    }
    if random.per_mille(150) {
        spec["ordinals"] = json!({"start": random.range(1, 3)});
    }
    spec
}

impl Script {
    /// What a clock that was ahead has written lies in the future for so long.
    pub fn furthest_ahead_ms(&self) -> i64 {
        let set = self.steps.iter().filter_map(|(_, step)| match step {
            Step::SetClock { ahead_ms, .. } => Some(*ahead_ms),
            _ => None,
        });
        set.chain(self.swarm.clocks_ms).max().unwrap_or(0).max(0)
    }

    /// Whether one of its steps is such a one.
    pub fn has_step(&self, of: fn(&Step) -> bool) -> bool {
        self.steps.iter().any(|(_, step)| of(step))
    }
}

fn rolling(fields: Value) -> Step {
    Step::Spec(json!({"updateStrategy": {"rollingUpdate": fields}}))
}

/// What users do to the spec.
fn draw_edit(random: &mut Random) -> Step {
    match random.below(17) {
        0..=5 => Step::Spec(json!({"template": template(random.pick(&TEMPLATES))})),
        6 | 7 => Step::Spec(json!({"replicas": random.range(0, 6)})),
        8 => rolling(json!({"partition": match random.below(4) {
            0 => Value::from("50%"),
            _ => Value::from(random.range(0, 4)),
        }})),
        9 => rolling(json!({"paused": random.per_mille(400)})),
        10 => rolling(json!({"maxUnavailable": random.range(1, 3)})),
        11 => rolling(json!({"podUpdatePolicy": random.pick(&["InPlaceIfPossible", "ReCreate", "InPlaceOnly"])})),
        12 => Step::Spec(
            json!({"updateStrategy": {"type": random.pick(&["OnDelete", "RollingUpdate", "RollingUpdate"])}}),
        ),
        13 => Step::Spec(json!({"minReadySeconds": random.pick(&[0, 2, 10])})),
        14 => Step::Spec(json!({"reserveOrdinals": match random.below(3) {
            0 => json!([]),
            1 => json!([random.range(0, 4)]),
            _ => json!([random.range(0, 2), "3-4"]),
        }})),
        15 => Step::Spec(json!({"volumeClaimTemplates": [{
            "metadata": {"name": "data"},
            "spec": {"resources": {"requests": {"storage": format!("{}Gi", random.range(1, 4))}}},
        }]})),
        _ => match random.below(3) {
            0 => Step::Spec(json!({"ordinals": {"start": random.range(0, 3)}})),
            1 => rolling(json!({"inPlaceUpdateStrategy": {"gracePeriodSeconds": random.pick(&[0, 5])}})),
            _ => Step::Spec(json!({"persistentVolumeClaimRetentionPolicy": {
                "whenScaled": random.pick(&["Retain", "Delete"]), "whenDeleted": random.pick(&["Retain", "Delete"]),
            }})),
        },
    }
}

/// A watch hangs: of Pods most often, for they say most.
fn freeze(random: &mut Random, swarm: &Swarm) -> Step {
    Step::Freeze {
        controller: random.below(swarm.controllers),
        kind: random.pick(&[Kind::Pod, Kind::Pod, Kind::Pod, Kind::Set, Kind::Claim, Kind::Revision]),
        milliseconds: random.range(500, 60_000),
    }
}

/// What happens to Pods and to the machinery.
fn draw_trouble(random: &mut Random, swarm: &Swarm) -> Vec<Step> {
    let pod = random.below(8);
    if swarm.controllers > 1 && random.per_mille(250) {
        return vec![freeze(random, swarm)];
    }
    match random.below(17) {
        0 => vec![Step::DeletePod(pod)],
        1 => vec![Step::ForceDeletePod(pod)],
        2 => vec![Step::MarkPod(pod)],
        3 => vec![Step::StripLabels(pod)],
        4 => vec![Step::StripOwner(pod)],
        5 => vec![Step::LieAboutRevision(pod)],
        6 => vec![Step::ForeignPod { ordinal: random.range(0, 5), owned: random.per_mille(600) }],
        7 => vec![Step::RemoveForeignPods],
        8..=10 => vec![Step::Crash(random.below(swarm.controllers))],
        11 => vec![freeze(random, swarm)],
        12 => vec![Step::Quota(random.per_mille(500))],
        13 => vec![if random.per_mille(400) { Step::LoseNode(pod % 3) } else { Step::FindNode(pod % 3) }],
        14 => vec![Step::CrashContainer(pod)],
        15 => vec![Step::Flap { pod, milliseconds: random.range(100, 20_000) }],
        _ => vec![Step::Evict(pod)],
    }
}

/// Some of those who start anew do so on an apiserver that is behind.
fn travel_back(seed: u64, steps: &mut [(i64, Step)]) {
    let mut random = Random::new(seed ^ 0x7472_6176_656c);
    for (_, step) in steps {
        if let Step::Crash(controller) = *step
            && random.per_mille(400)
        {
            let writes = random.pick(&[3, 30, 300]);
            *step = Step::TravelBack {
                controller,
                writes: random.next() % writes + 1,
                milliseconds: random.range(500, 60_000),
            };
        }
    }
}

pub fn draw(seed: u64) -> Script {
    let mut random = Random::new(seed);
    let swarm = draw_swarm(seed, &mut random);
    let set = draw_set(&mut random);
    let trouble = random.pick(&[0, 150, 500]);
    let rare = random.per_mille(150);
    let pause_ms = random.pick(&[300, 2000, 15_000]);
    let count = random.range(2, 14);
    let mut steps = vec![(0, Step::CreateSet)];
    let mut at = random.range(0, 20_000);
    for _ in 0..count {
        at += random.range(1, pause_ms) * if random.per_mille(250) { 8 } else { 1 };
        if random.per_mille(trouble) {
            steps.extend(draw_trouble(&mut random, &swarm).into_iter().map(|step| (at, step)));
        } else if rare && random.per_mille(120) {
            steps.push((at, Step::DeleteSet { orphan: random.per_mille(500) }));
            steps.push((at + random.range(10, 20_000), Step::CreateSet));
        } else if rare && random.per_mille(100) {
            steps.push((at, Step::DeleteClaim(random.below(6))));
        } else {
            steps.push((at, draw_edit(&mut random)));
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    let customised = random.per_mille(250);
    travel_back(seed, &mut steps);
    misfortune::add(seed, &swarm, &mut steps);
    let peace_ms = steps.last().map_or(0, |(at, _)| *at) + random.range(10, 60_000);
    Script { seed, swarm, set, steps, peace_ms, faults: None, behind: Vec::new(), customised }
}
