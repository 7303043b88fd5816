//! One contender at one shape: create, update, scale to 0, each measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::audit::{Author, Tail, Writes};
use crate::contender::{Sets, make_namespace, remove_namespace};
use crate::floor::{self, Floor};
use crate::harness::install::MANAGER_USER;
use crate::harness::manager::Manager;
use crate::harness::{Context, Failure, Result, image};
use crate::live::{Live, Pods};
use crate::process;
use crate::settings::{Contender, Shape};

const NATIVE: Author = Author::user("system:serviceaccount:kube-system:statefulset-controller");
const MANAGER: Author = Author::user(MANAGER_USER);
const NATIVE_ROLE: &str = "kube-controller-manager";
/// Said by the manager when it begins to work.
pub const WORKING: &str = "the caches are complete, working";
const PHASE_LIMIT: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Create,
    Update,
    Scale,
}

impl Phase {
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Scale];

    pub fn title(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Scale => "scale to 0",
        }
    }
}

/// One phase, done.
#[derive(Clone, Debug)]
pub struct Measure {
    pub seconds: f64,
    /// How long Pods were out of service and came back, all together.
    pub out_of_service_seconds: f64,
    pub writes: Writes,
    /// CPU seconds of the whole control plane and the fake kubelets, until all was done.
    pub cluster_cpu_seconds: f64,
    /// Of the controller's process, until it was quiet; the bare client has none.
    pub process: Option<Use>,
}

#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub cpu_seconds: f64,
    pub peak_mib: f64,
}

/// All rounds of everything; a failure in words where there is no measure.
#[derive(Default)]
pub struct Table {
    rounds: BTreeMap<(Shape, Phase, Contender), Vec<std::result::Result<Measure, String>>>,
    /// What went wrong before, between and after the phases.
    around: Vec<String>,
}

impl Table {
    fn put(&mut self, shape: Shape, phase: Phase, contender: Contender, outcome: std::result::Result<Measure, String>) {
        self.rounds.entry((shape, phase, contender)).or_default().push(outcome);
    }

    fn note_around(&mut self, bench: &Bench, shape: Shape, contender: Contender, failure: &Failure) {
        bench.say(&format!("  {failure}"));
        self.around.push(format!("{}, {}: {failure}", shape.title(), contender.title()));
    }

    /// The round with the median time.
    pub fn median(&self, shape: Shape, phase: Phase, contender: Contender) -> Option<&Measure> {
        let rounds = self.rounds.get(&(shape, phase, contender))?;
        let mut done: Vec<&Measure> = rounds.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        done.sort_by(|first, second| first.seconds.total_cmp(&second.seconds));
        done.get(done.len().checked_sub(1)? / 2).copied()
    }

    /// What went wrong, where a round has no measure.
    pub fn failures(&self) -> Vec<String> {
        let mut told = self.around.clone();
        for ((shape, phase, contender), rounds) in &self.rounds {
            for failure in rounds.iter().filter_map(|outcome| outcome.as_ref().err()) {
                told.push(format!("{}, {}, {}: {failure}", shape.title(), phase.title(), contender.title()));
            }
        }
        told
    }
}

/// Measures and goes on when something fails: the failure is in the table.
pub async fn run(bench: &Bench, shape: Shape, contender: Contender, table: &mut Table) {
    let namespace = format!("bench-{}-{}x{}", contender.word(), shape.sets, shape.replicas);
    let outcome = in_namespace(bench, shape, contender, &namespace, table).await;
    if let Err(failure) = outcome {
        table.note_around(bench, shape, contender, &failure);
    }
    if let Err(failure) = remove_namespace(&bench.admin, &namespace).await {
        table.note_around(bench, shape, contender, &failure);
    }
}

/// Who does the work, running.
struct Worker {
    contender: Contender,
    sets: Sets,
    floor: Floor,
    live: Live,
    manager: Option<Manager>,
    pid: Option<u32>,
    author: Author,
}

async fn in_namespace(bench: &Bench, shape: Shape, contender: Contender, namespace: &str, table: &mut Table) -> Result {
    make_namespace(&bench.admin, namespace).await?;
    let mut worker = Worker::start(bench, shape, contender, namespace)?;
    for phase in Phase::ALL {
        let outcome = worker.measure(bench, shape, phase).await;
        match &outcome {
            Ok(measure) => bench.say(&format!("  {}: {}", phase.title(), told(measure, shape))),
            Err(failure) => bench.say(&format!("  {}: {failure}", phase.title())),
        }
        let failed = outcome.is_err();
        table.put(shape, phase, contender, outcome.map_err(|failure| failure.0));
        if failed {
            break;
        }
    }
    worker.end().await
}

fn told(measure: &Measure, shape: Shape) -> String {
    let writes = measure.writes.count;
    let kinds: Vec<String> = measure.writes.by_kind.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let process = measure
        .process
        .map_or(String::new(), |used| format!(", {:.1} CPU s, {:.0} MiB at most", used.cpu_seconds, used.peak_mib));
    format!(
        "{:.2} s ({:.1} CPU s of the cluster), {writes} writes for {} Pods ({}), {} conflicts, {} refused, {} events{process}",
        measure.seconds,
        measure.cluster_cpu_seconds,
        shape.pods(),
        kinds.join(", "),
        measure.writes.conflicts,
        measure.writes.refused,
        measure.writes.events
    )
}

impl Worker {
    fn start(bench: &Bench, shape: Shape, contender: Contender, namespace: &str) -> Result<Self> {
        let (live, changes) = Live::start(bench.admin.clone(), namespace);
        let manager = match contender {
            Contender::InPlace | Contender::ReCreate => Some(start_manager(bench)?),
            Contender::Native | Contender::Floor => None,
        };
        let (author, pid) = match contender {
            Contender::Native => (NATIVE, Some(process::of_role(&bench.info.dir, NATIVE_ROLE)?)),
            Contender::Floor => (floor::AUTHOR, None),
            Contender::InPlace | Contender::ReCreate => (MANAGER, manager.as_ref().map(Manager::pid)),
        };
        Ok(Self {
            contender,
            sets: Sets::new(bench.admin.clone(), namespace, contender, shape),
            floor: Floor::new(bench.bare.clone(), namespace, shape, changes),
            live,
            manager,
            pid,
            author,
        })
    }

    async fn measure(&mut self, bench: &Bench, shape: Shape, phase: Phase) -> Result<Measure> {
        let tail = Tail::now(&bench.info.audit_log)?;
        let cpu_before = match self.pid {
            Some(pid) => {
                process::reset_peak(pid)?;
                process::cpu_seconds(pid)?
            }
            None => 0.0,
        };
        let cluster_before = process::cluster_cpu_seconds(&bench.info.dir)?;
        let out_of_service_before = self.live.out_of_service();
        let started = Instant::now();
        self.act(phase).await?;
        let what = format!("{} of {}", phase.title(), shape.title());
        let done = self.live.until(&what, PHASE_LIMIT, |pods| is_done(phase, pods, shape.pods()));
        unless_ended(self.manager.as_mut(), done).await?;
        let seconds = started.elapsed().as_secs_f64();
        let out_of_service_seconds = (self.live.out_of_service() - out_of_service_before).as_secs_f64();
        let cluster_cpu_seconds = process::cluster_cpu_seconds(&bench.info.dir)? - cluster_before;
        let writes = tail.settled(self.author).await?;
        let process = match self.pid {
            Some(pid) => {
                Some(Use { cpu_seconds: process::cpu_seconds(pid)? - cpu_before, peak_mib: process::peak_mib(pid)? })
            }
            None => None,
        };
        Ok(Measure { seconds, out_of_service_seconds, writes, cluster_cpu_seconds, process })
    }

    async fn act(&mut self, phase: Phase) -> Result {
        match phase {
            Phase::Create => self.sets.create().await,
            Phase::Update => self.sets.update().await,
            Phase::Scale => self.sets.scale_to_zero().await,
        }?;
        match (self.contender, phase) {
            (Contender::Floor, Phase::Create) => self.floor.create().await,
            (Contender::Floor, Phase::Update) => self.floor.update().await,
            (Contender::Floor, Phase::Scale) => self.floor.scale_to_zero().await,
            _ => Ok(()),
        }
    }

    async fn end(mut self) -> Result {
        self.sets.delete().await?;
        self.live.until("no Pod is left", PHASE_LIMIT, Pods::is_empty).await?;
        // In order, so that the lease is free for the next manager.
        if let Some(manager) = &mut self.manager {
            manager.terminate()?;
        }
        Ok(())
    }
}

/// Waits for something that the manager does, and not any longer when it has ended.
async fn unless_ended(manager: Option<&mut Manager>, done: impl Future<Output = Result>) -> Result {
    let Some(manager) = manager else { return done.await };
    let ended = async {
        while manager.is_alive() {
            tokio::time::sleep(LOOK).await;
        }
        Failure(format!("the manager ended: {}", manager.tail(1)))
    };
    tokio::select! {
        outcome = done => outcome,
        failure = ended => Err(failure),
    }
}

/// A manager that works, under its own identity. With a lease it would end where a machine that is too full
/// stands still for 10 s, and be started again in a cluster; here that would end the measurement.
pub fn start_manager(bench: &Bench) -> Result<Manager> {
    let log = bench.info.dir.join("manager.log");
    let mut manager = Manager::start(&bench.identity, log, &["--leader-elect=false"]).context("start the manager")?;
    manager.wait_for_log(WORKING)?;
    Ok(manager)
}

fn is_done(phase: Phase, pods: &Pods, wanted: usize) -> bool {
    let all_serve = |tag: &str| {
        let image = image(tag);
        pods.len() == wanted && pods.values().all(|pod| pod.serves(&image))
    };
    match phase {
        Phase::Create => all_serve("v1"),
        Phase::Update => all_serve("v2"),
        Phase::Scale => pods.is_empty(),
    }
}
