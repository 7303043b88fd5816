//! The manager: runs AdvancedStatefulSets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use asts::control::abilities::InPlace;
use asts::control::error::ControlError;
use asts::control::lease::LeaseOptions;
use asts::control::run::{Options, run};
use asts::control::telemetry::{self, LogFormat};
use clap::Parser;

/// Runs AdvancedStatefulSets: stateful Pods that are updated in place.
#[derive(Parser, Debug)]
#[command(name = "asts-manager", version, max_term_width = 100)]
struct Arguments {
    /// Kubeconfig file; else the one that KUBECONFIG names, else the Pod's own service account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace to work in; may be given many times; else all
    #[arg(long, value_name = "NAME")]
    namespace: Vec<String>,
    /// Let one of several managers work, the others stand by
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    leader_elect: bool,
    /// How long without renewal until another manager takes over: 2s to 1h, a bare number means seconds
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = lease_duration)]
    lease_duration: Duration,
    /// Name of the Lease
    #[arg(long, value_name = "NAME", default_value = "asts-manager")]
    lease_name: String,
    /// Namespace of the Lease; else the manager's own (POD_NAMESPACE, else that of the service account); outside of a
    /// cluster asts-system, or kube-system where there is none
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    lease_namespace: Option<String>,
    /// Where /metrics is served; port 0 picks one and logs it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    metrics_address: SocketAddr,
    /// Where /healthz and /readyz are served; port 0 picks one and logs it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    health_address: SocketAddr,
    /// What Pods can take in place: auto (found out), stock, customised, or some of env, volumeMounts,
    /// volumes, volumeSources, probes with commas between
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    in_place: InPlace,
    /// Annotations that an injector of yours reads only when a Pod is created, as a pattern in which * stands for any
    /// characters; may be given many times. A change of one re-creates the Pods
    #[arg(long, value_name = "PATTERN")]
    injector_annotations: Vec<String>,
    /// Form of the log lines
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Least level that is logged: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::start(arguments.log_format, &arguments.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .map_err(ControlError::Runtime);
    let outcome = runtime.and_then(|runtime| {
        let outcome = runtime.block_on(run(options(arguments)));
        runtime.shutdown_timeout(Duration::from_millis(200));
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(category = error.category(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: Arguments) -> Options {
    let lease = arguments.leader_elect.then(|| LeaseOptions {
        namespace: arguments.lease_namespace,
        name: arguments.lease_name,
        identity: identity(),
        duration: arguments.lease_duration,
    });
    Options {
        kubeconfig: arguments.kubeconfig,
        namespaces: arguments.namespace,
        lease,
        metrics_address: arguments.metrics_address,
        health_address: arguments.health_address,
        in_place: arguments.in_place,
        injector_annotations: arguments.injector_annotations,
    }
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    // The Lease holds whole seconds.
    let duration = Duration::from_secs(asts::duration::parse(text)?.as_secs());
    let allowed = Duration::from_secs(2)..=Duration::from_secs(3600);
    if allowed.contains(&duration) { Ok(duration) } else { Err(format!("{text}: must be from 2s to 1h")) }
}

/// Another at each start: a process must not take what an earlier one of the same Pod held.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "asts-manager".to_owned());
    format!("{host}_{:016x}", asts::control::backoff::Chance::system().next())
}
