//! What is measured once: the program's size, the time to its first write, memory with many Pods.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::Bench;
use crate::audit::{Author, Tail};
use crate::contender::{Sets, make_namespace, remove_namespace};
use crate::harness::install::MANAGER_USER;
use crate::harness::manager::{Manager, program};
use crate::harness::{Context, Failure, Result, image};
use crate::live::{Live, Pods};
use crate::measure::start_manager;
use crate::process;
use crate::settings::{Contender, Shape};

const STARTS: usize = 3;
const FIRST_WRITE_LIMIT: Duration = Duration::from_secs(60);
const MANY: Shape = Shape::at_once(10, 1000);
const MANY_LIMIT: Duration = Duration::from_secs(1800);
const REST: Duration = Duration::from_secs(10);

/// Memory of one manager, in MiB.
#[derive(Clone, Copy)]
pub struct Memory {
    pub idle_mib: f64,
    pub peak_mib: f64,
    pub after_mib: f64,
    /// Of a manager started when the Pods were there already, in its first seconds.
    pub restarted_peak_mib: f64,
}

pub struct Once {
    pub binary_mib: Result<f64>,
    pub first_write_seconds: Result<f64>,
    /// `None` unless it was asked for.
    pub many: Option<Result<Memory>>,
}

impl Once {
    /// What was asked for and has no figure, in words.
    pub fn failures(&self) -> Vec<String> {
        let many = self.many.as_ref().and_then(|many| many.as_ref().err());
        let told = [
            ("the program's size", self.binary_mib.as_ref().err()),
            ("the time to the first write", self.first_write_seconds.as_ref().err()),
            ("memory with 10,000 Pods", many),
        ];
        told.into_iter().filter_map(|(what, failure)| Some(format!("{what}: {}", failure?))).collect()
    }
}

pub async fn look(bench: &Bench, full: bool) -> Once {
    bench.say("Time from a manager's start to its first write");
    let first_write_seconds = first_write(bench).await;
    let many = if full {
        bench.say("Memory with 10,000 Pods");
        Some(many_pods(bench).await)
    } else {
        None
    };
    Once { binary_mib: binary_mib(), first_write_seconds, many }
}

fn binary_mib() -> Result<f64> {
    let file = program();
    let bytes = std::fs::metadata(&file).context(format!("{file:?}"))?.len();
    Ok(f64::from(u32::try_from(bytes)?) / 1024.0 / 1024.0)
}

/// The median of some starts, each with a set that waits for its first Pod.
async fn first_write(bench: &Bench) -> Result<f64> {
    let mut times = Vec::new();
    for start in 0..STARTS {
        let namespace = format!("bench-start-{start}");
        make_namespace(&bench.admin, &namespace).await?;
        times.push(one_start(bench, &namespace).await?);
        remove_namespace(&bench.admin, &namespace).await?;
    }
    times.sort_by(f64::total_cmp);
    times.get(STARTS / 2).copied().context("the times")
}

/// Leases and dry runs are writes too, but no action on anybody's object.
async fn one_start(bench: &Bench, namespace: &str) -> Result<f64> {
    let shape = Shape::at_once(1, 1);
    let sets = Sets::new(bench.admin.clone(), namespace, Contender::InPlace, shape);
    sets.create().await?;
    let tail = Tail::now(&bench.info.audit_log)?;
    let (started_at, started) = (Timestamp::now(), Instant::now());
    let mut manager = Manager::start(&bench.identity, bench.info.dir.join("manager.log"), &[])?;
    let first = loop {
        let requests = tail.requests(Author::user(MANAGER_USER))?;
        let is_action = |uri: &str, resource: &str| !uri.contains("dryRun=") && resource != "leases";
        if let Some(request) = requests.iter().find(|request| is_action(&request.request_uri, &request.resource())) {
            break request.request_received_timestamp.parse::<Timestamp>()?;
        }
        if started.elapsed() > FIRST_WRITE_LIMIT {
            return Err(Failure(format!("no write within {} s", FIRST_WRITE_LIMIT.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    sets.delete().await?;
    manager.terminate()?;
    Ok(first.duration_since(started_at).as_secs_f64())
}

async fn many_pods(bench: &Bench) -> Result<Memory> {
    let namespace = "bench-many";
    make_namespace(&bench.admin, namespace).await?;
    let sets = Sets::new(bench.admin.clone(), namespace, Contender::InPlace, MANY);
    let (live, _changes) = Live::start(bench.admin.clone(), namespace);
    let mut manager = start_manager(bench)?;
    let idle_mib = process::resident_mib(manager.pid())?;
    sets.create().await?;
    let serves = |pods: &Pods| pods.len() == MANY.pods() && pods.values().all(|pod| pod.serves(&image("v1")));
    live.until("10,000 Pods", MANY_LIMIT, serves).await?;
    tokio::time::sleep(REST).await;
    let (peak_mib, after_mib) = (process::peak_mib(manager.pid())?, process::resident_mib(manager.pid())?);
    manager.terminate()?;
    manager = start_manager(bench)?;
    tokio::time::sleep(REST).await;
    let restarted_peak_mib = process::peak_mib(manager.pid())?;
    bench.say(&format!("  {after_mib:.0} MiB, {peak_mib:.0} at most, {restarted_peak_mib:.0} at most after a restart"));
    sets.scale_to_zero().await?;
    live.until("no Pod is left", MANY_LIMIT, Pods::is_empty).await?;
    sets.delete().await?;
    manager.terminate()?;
    remove_namespace(&bench.admin, namespace).await?;
    Ok(Memory { idle_mib, peak_mib, after_mib, restarted_peak_mib })
}
