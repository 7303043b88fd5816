//! One cluster, one manager, many tests at once, and a namespace for each of them.

use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, PostParams};
use libtest_mimic::{Arguments, Failed, Trial};

use super::audit::{Request, requests_of};
use super::cluster::Cluster;
use super::manager::Manager;
use super::{Context, Failure, Result, Space, install, report};

/// The longest wait for a watch that has fallen silent, on a busy machine.
const TEST_LIMIT_SECONDS: u64 = 300;
const NAMESPACE_LENGTH_MAX: usize = 48;

type TestFuture = Pin<Box<dyn Future<Output = Result>>>;

/// A test by its name: `scale::goes_up_in_order`.
#[derive(Clone, Copy)]
pub struct Test {
    name: &'static str,
    body: fn(Space) -> TestFuture,
}

impl Test {
    pub const fn new(name: &'static str, body: fn(Space) -> TestFuture) -> Self {
        Self { name, body }
    }

    /// The name without the name of this program.
    pub fn name(&self) -> &'static str {
        self.name.split_once("::").map_or(self.name, |(_, name)| name)
    }
}

/// What all tests share.
pub struct Suite {
    pub cluster: Cluster,
    pub runtime: tokio::runtime::Handle,
    /// The administrator.
    pub client: kube::Client,
    pub manager: std::sync::Mutex<Manager>,
    /// The kubeconfig of the manager's identity.
    pub identity: PathBuf,
    /// What managers asked of other clusters, whose audit logs went with them.
    elsewhere: std::sync::Mutex<Vec<Request>>,
    namespaces: AtomicUsize,
}

impl Suite {
    /// Starts a cluster and installs the project in it; the manager runs under its own rights.
    pub async fn start(provider: &str, arguments: &[&str]) -> Result<Arc<Self>> {
        Self::of(Cluster::start(provider, arguments)?).await
    }

    /// The same on a cluster of a test's own, which may be treated badly.
    pub async fn start_apart() -> Result<Arc<Self>> {
        Self::of(Cluster::start("local", &["--kwok-nodes=3"])?).await
    }

    async fn of(cluster: Cluster) -> Result<Arc<Self>> {
        install::install(&cluster.info)?;
        let client = install::client(&cluster.info.kubeconfig).await?;
        let account = install::SERVICE_ACCOUNT;
        let identity = install::identity(&cluster.info, &client, install::SYSTEM_NAMESPACE, account).await?;
        let mut manager = Manager::start(&identity, cluster.info.dir.join("manager.log"), &[])?;
        manager.wait_for_log("health_address")?;
        let runtime = tokio::runtime::Handle::current();
        let (elsewhere, namespaces) = Default::default();
        Ok(Arc::new(Self { cluster, runtime, client, manager: manager.into(), identity, elsewhere, namespaces }))
    }

    /// A namespace in this cluster for a test that began in another.
    pub async fn space(self: &Arc<Self>, name: &str) -> Result<Space> {
        Ok(Space::new(self.clone(), self.make_namespace(name).await?))
    }

    /// Everything that managers asked of this cluster, and of those that were remembered.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let mut requests = requests_of(&self.cluster.info.audit_log, install::MANAGER_USER)?;
        if let Ok(elsewhere) = self.elsewhere.lock() {
            requests.extend(elsewhere.iter().cloned());
        }
        Ok(requests)
    }

    /// Keeps what managers asked of another cluster, which is about to go. Refusals are left out: an
    /// apiserver that was just started again has not read the roles yet.
    pub fn remember(&self, other: &Suite) -> Result {
        let requests = other.requests()?.into_iter().filter(|request| !request.lacked_a_right());
        if let Ok(mut elsewhere) = self.elsewhere.lock() {
            elsewhere.extend(requests);
        }
        Ok(())
    }

    /// Starts one more manager under the same identity.
    pub fn start_manager(&self, arguments: &[&str]) -> Result<Manager> {
        self.start_manager_with(&self.identity, arguments)
    }

    /// The same with another kubeconfig, such as one that leads through a proxy.
    pub fn start_manager_with(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Manager> {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        Manager::start(kubeconfig, self.cluster.info.dir.join(format!("manager-{number}.log")), arguments)
    }

    /// Runs what `body` does in a namespace of its own. What went wrong is told with what was there.
    pub fn run(self: &Arc<Self>, test: Test) -> std::result::Result<(), Failed> {
        self.runtime.block_on(async {
            let namespace = self.make_namespace(test.name()).await?;
            let space = Space::new(self.clone(), namespace.clone());
            let body = AssertUnwindSafe((test.body)(space)).catch_unwind();
            let limit = test_limit();
            let outcome = match tokio::time::timeout(limit, body).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(panic)) => Err(Failure(format!("panicked: {}", panic_text(panic.as_ref())))),
                Err(_) => Err(Failure(format!("not done within {} s", limit.as_secs()))),
            };
            let told = match outcome {
                Ok(()) => Ok(()),
                Err(failure) => Err(Failed::from(format!("{failure}\n\n{}", report::state(self, &namespace)))),
            };
            self.remove_namespace(namespace);
            told
        })
    }

    /// A test as the test runner takes it.
    pub fn trial(self: &Arc<Self>, test: Test) -> Trial {
        let suite = self.clone();
        Trial::test(test.name(), move || suite.run(test))
    }

    async fn make_namespace(&self, test: &str) -> Result<String> {
        let words = test.replace("::", "-").replace('_', "-");
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let short: String = words.chars().take(NAMESPACE_LENGTH_MAX).collect();
        let pid = std::process::id() % 10_000;
        let name = format!("{}-{pid}-{number}", short.trim_end_matches('-'));
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta { name: Some(name.clone()), ..Default::default() },
            ..Default::default()
        };
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await.context("make a namespace")?;
        Ok(name)
    }

    /// In the background: nobody waits for it.
    fn remove_namespace(&self, name: String) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        self.runtime.spawn(async move {
            if let Err(error) = api.delete(&name, &DeleteParams::default()).await {
                eprintln!("namespace {name} stays: {error}");
            }
        });
    }
}

/// `ASTS_TEST_SECONDS` gives a test that was asked for more than usual its time.
fn test_limit() -> Duration {
    let asked = std::env::var("ASTS_TEST_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(TEST_LIMIT_SECONDS))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("for no reason told")
}

/// Runs tests on kubelets of this machine, so many at once; where there are no rights for that they
/// are skipped.
#[allow(dead_code)] // the tests with fake nodes have no use for it
pub fn run_as_root(cluster: &[&str], at_once: usize, tests: &[Test], last: &[Test]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(at_once);
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root && !arguments.list {
        println!("skipped: a kubelet needs root");
        println!("0 passed, 0 failed, {} skipped", tests.len() + last.len());
        return ExitCode::SUCCESS;
    }
    run(&arguments, "node", cluster, tests, last)
}

/// Runs the tests, then, one by one, those that look back at all of them or must be alone, and prints one closing line.
pub fn run(arguments: &Arguments, provider: &str, cluster: &[&str], tests: &[Test], last: &[Test]) -> ExitCode {
    if arguments.list {
        let trials = tests.iter().chain(last).map(|test| Trial::test(test.name(), || Ok(()))).collect();
        libtest_mimic::run(arguments, trials).exit();
    }
    let started = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match started {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the tests cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let suite = match runtime.block_on(Suite::start(provider, cluster)) {
        Ok(suite) => suite,
        Err(failure) => {
            eprintln!("the tests cannot start: {failure}");
            println!("0 passed, 1 failed, 0 skipped");
            return ExitCode::FAILURE;
        }
    };
    let [mut passed, mut failed, mut skipped] = [0; 3];
    let one_by_one = Arguments { test_threads: Some(1), ..arguments.clone() };
    for (arguments, group) in [(arguments, tests), (&one_by_one, last)] {
        if group.is_empty() {
            continue;
        }
        let trials = group.iter().map(|test| suite.trial(*test)).collect();
        let conclusion = libtest_mimic::run(arguments, trials);
        passed += conclusion.num_passed;
        failed += conclusion.num_failed;
        skipped += conclusion.num_ignored;
    }
    if let Ok(mut manager) = suite.manager.lock() {
        if !manager.is_alive() {
            eprintln!("the manager ended before the tests did:\n{}", manager.tail(20));
            failed += 1;
        }
        if let Err(failure) = manager.kill() {
            eprintln!("{failure}");
        }
    }
    suite.cluster.end();
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
