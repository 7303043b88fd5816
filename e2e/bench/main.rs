//! `make bench`: the manager beside the native controller and a bare client, on one apiserver with
//! fake nodes. It measures and compares; no time that it measures can fail it.

mod audit;
mod contender;
mod floor;
#[allow(dead_code, unused_imports)]
#[path = "../harness/mod.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../live/mod.rs"]
mod live;
mod machine;
mod measure;
mod once;
mod process;
mod report;
mod settings;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use harness::cluster::{Cluster, Info};
use harness::{Context, Result, install};
use measure::Table;
use settings::{Contender, NODE_CONTENDERS, NODE_SHAPES, Settings, Shape};

/// What every measurement needs.
pub struct Bench {
    pub info: Info,
    /// The administrator.
    pub admin: kube::Client,
    /// The administrator again, under a name of its own in the audit log.
    pub bare: kube::Client,
    /// The kubeconfig of the manager's ServiceAccount.
    pub identity: PathBuf,
    started: Instant,
}

impl Bench {
    async fn on(cluster: &Cluster, started: Instant) -> Result<Self> {
        let info = cluster.info.clone();
        install::install(&info)?;
        let admin = install::client(&info.kubeconfig).await?;
        let identity = install::identity(&info, &admin, install::SYSTEM_NAMESPACE, install::SERVICE_ACCOUNT).await?;
        let bare = floor::client(&info.kubeconfig).await?;
        Ok(Self { info, admin, bare, identity, started })
    }

    async fn measure_all(&self, settings: &Settings, shapes: &[Shape], contenders: &[Contender], table: &mut Table) {
        for round in 0..settings.rounds {
            for shape in shapes {
                for contender in contenders {
                    let (round, rounds) = (round + 1, settings.rounds);
                    self.say(&format!("{}, {}, round {round} of {rounds}", shape.title(), contender.title()));
                    measure::run(self, *shape, *contender, table).await;
                }
            }
        }
    }

    /// One line of progress.
    pub fn say(&self, text: &str) {
        println!("[{:6.1} s] {text}", self.started.elapsed().as_secs_f64());
    }
}

/// Nobody's rate limit is to decide: neither the controller-manager's nor the scheduler's.
const RATES: [&str; 8] = [
    "--set-flag",
    "kube-controller-manager:kube-api-qps=5000",
    "--set-flag",
    "kube-controller-manager:kube-api-burst=5000",
    "--set-flag",
    "kube-scheduler:kube-api-qps=5000",
    "--set-flag",
    "kube-scheduler:kube-api-burst=5000",
];

fn main() -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")
        .and_then(|runtime| runtime.block_on(until_done_or_told()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("the benchmark ended early: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// A signal ends it in order: cluster and manager go with the future that holds them.
async fn until_done_or_told() -> Result {
    tokio::select! {
        outcome = run() => outcome,
        _ = tokio::signal::ctrl_c() => Err(harness::Failure("interrupted".to_owned())),
    }
}

async fn run() -> Result {
    let settings = Settings::from_environment()?;
    let machine = machine::Machine::look()?;
    let started = Instant::now();
    let mut table = Table::default();
    let mut on_node = None;
    if settings.node {
        let cluster = Cluster::start("node", &RATES)?;
        let bench = Bench::on(&cluster, started).await?;
        let mut node_table = Table::default();
        bench.measure_all(&settings, &NODE_SHAPES, &NODE_CONTENDERS, &mut node_table).await;
        on_node = Some(node_table);
    }
    let cluster = Cluster::start("local", &[&["--kwok-nodes", "20"], &RATES[..]].concat())?;
    let bench = Bench::on(&cluster, started).await?;
    // The first hundreds of requests of an apiserver take several times as long as later ones: they count for nobody.
    for contender in &settings.contenders {
        measure::run(&bench, settings::WARM_UP, *contender, &mut Table::default()).await;
    }
    bench.measure_all(&settings, &settings.shapes, &settings.contenders, &mut table).await;
    let once = once::look(&bench, settings.full).await;
    let text = report::markdown(&settings, &machine, &table, on_node.as_ref(), &once);
    println!("\n{text}");
    let of_node = on_node.iter().flat_map(Table::failures);
    let failures: Vec<String> = table.failures().into_iter().chain(of_node).chain(once.failures()).collect();
    if settings.is_whole() && failures.is_empty() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md");
        std::fs::write(file, text).context(file)?;
        bench.say("docs/benchmarks.md is written");
    } else {
        bench.say("Not all was measured, so docs/benchmarks.md stays as it is");
        failures.iter().for_each(|failure| bench.say(failure));
    }
    drop(cluster);
    Ok(())
}
