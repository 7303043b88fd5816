//! A cluster that this process runs, and that ends with it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Context, Failure, Result};

/// How long a cluster may take to end in order.
const END_LIMIT: Duration = Duration::from_secs(45);

/// Set to the `cluster.json` of a cluster that runs already, tests use that one and leave it.
const RUNNING_CLUSTER: &str = "ASTS_E2E_CLUSTER";

/// What a started cluster says of itself.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    pub kubeconfig: PathBuf,
    pub server: String,
    /// Where etcd listens, without encryption or rights.
    #[serde(default)]
    pub etcd: String,
    pub ca: PathBuf,
    pub dir: PathBuf,
    pub kubectl: Vec<String>,
    pub audit_log: PathBuf,
    /// An empty folder for volumes of type hostPath. Only a real node has a use for it.
    #[allow(dead_code)]
    #[serde(default)]
    pub volumes: PathBuf,
}

/// The process that runs the cluster. Its standard input is the lifeline: it closes when this
/// process ends, however it ends.
struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

pub struct Cluster {
    pub info: Info,
    running: Mutex<Option<Running>>,
}

impl Cluster {
    /// Starts a cluster, or takes the running one that the environment names.
    pub fn start(provider: &str, arguments: &[&str]) -> Result<Self> {
        if let Some(file) = std::env::var_os(RUNNING_CLUSTER).filter(|_| arguments.is_empty()) {
            let text = std::fs::read_to_string(&file).context(RUNNING_CLUSTER)?;
            return Ok(Self { info: serde_json::from_str(&text)?, running: Mutex::new(None) });
        }
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/cluster/asts-cluster");
        let mut child = Command::new(program)
            .args(["run", "--provider", provider])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(program)?;
        let input = child.stdin.take().context("the cluster's input")?;
        let mut output = BufReader::new(child.stdout.take().context("the cluster's output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line.is_empty() {
            let status = child.wait()?;
            return Err(Failure(format!("the cluster did not start: {status}")));
        }
        let info = serde_json::from_str(&line).context(format!("the cluster's first line {line:?}"))?;
        Ok(Self { info, running: Mutex::new(Some(Running { child, input, output })) })
    }

    /// Has the cluster do something: `kill kube-apiserver`, `start kube-apiserver`, `status`.
    pub fn command(&self, command: &str) -> Result<serde_json::Value> {
        let mut running = self.running.lock().map_err(|_| Failure("the cluster's lock".to_owned()))?;
        let running = running.as_mut().context("a cluster of our own")?;
        writeln!(running.input, "{command}")?;
        running.input.flush()?;
        let mut line = String::new();
        running.output.read_line(&mut line)?;
        let answer: serde_json::Value = serde_json::from_str(&line)?;
        if answer["ok"] == true { Ok(answer) } else { Err(Failure(format!("{command}: {line}"))) }
    }

    /// Ends the cluster and waits until it is gone.
    pub fn end(&self) {
        let Some(Running { mut child, input, output }) =
            self.running.lock().ok().and_then(|mut running| running.take())
        else {
            return;
        };
        drop((input, output));
        let started = Instant::now();
        while started.elapsed() < END_LIMIT {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(50)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        eprintln!("the cluster (process {}) still runs", child.id());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}
