//! Requests to the Pods, as a load balancer would send them: only to those that are Ready.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::Live;
use crate::harness::{Context, Failure, Result};

const PORT: u16 = 8080;
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(10);
/// Long: a machine that is busy with other tests is not a Pod that does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// A client ends after this many requests, whatever happens.
const REQUESTS_MAX: usize = 100_000;
const FAILURES_KEPT: usize = 5;

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers by the version in them.
    pub answers: BTreeMap<String, usize>,
    pub failures: usize,
    /// The first few.
    pub told: Vec<String>,
    /// Moments at which no Pod was Ready.
    pub nowhere: usize,
}

impl Tally {
    pub fn requests(&self) -> usize {
        self.answers.values().sum::<usize>() + self.failures
    }
}

/// The clients, until they are stopped.
pub struct Traffic {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(live: &Arc<Live>) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let turn = Arc::new(AtomicUsize::new(0));
        let clients =
            (0..CLIENTS).map(|_| tokio::spawn(send(live.clone(), tally.clone(), stop.clone(), turn.clone()))).collect();
        Self { tally, stop, clients }
    }

    /// Lets each client finish its request.
    pub async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            let _ = client.await;
        }
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn send(live: Arc<Live>, tally: Arc<Mutex<Tally>>, stop: Arc<AtomicBool>, turn: Arc<AtomicUsize>) {
    for _ in 0..REQUESTS_MAX {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let target = next_ready(&live, &turn);
        let outcome = match &target {
            Some((_, ip)) => Some(version(ip).await),
            None => None,
        };
        {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match (outcome, target) {
                (Some(Ok(version)), _) => *tally.answers.entry(version).or_default() += 1,
                (Some(Err(failure)), Some((name, _))) => {
                    tally.failures += 1;
                    if tally.told.len() < FAILURES_KEPT {
                        tally.told.push(format!("{name}: {failure}"));
                    }
                }
                _ => tally.nowhere += 1,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The Ready Pods take turns.
fn next_ready(live: &Live, turn: &AtomicUsize) -> Option<(String, String)> {
    let pods = live.pods();
    let ready: Vec<_> = pods.iter().filter(|(_, pod)| pod.ready).collect();
    let (name, pod) = ready.get(turn.fetch_add(1, Ordering::Relaxed).checked_rem(ready.len())?)?;
    Some(((*name).clone(), pod.ip.clone()))
}

/// One request on a connection of its own: the version that the program answers with.
pub async fn version(ip: &str) -> Result<String> {
    tokio::time::timeout(ANSWER_LIMIT, ask(ip)).await.context("no answer in time")?
}

async fn ask(ip: &str) -> Result<String> {
    let stream = TcpStream::connect((ip, PORT)).await.context("connect")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/version").header("Host", ip).body(Empty::<hyper::body::Bytes>::new())?;
    let answer = sender.send_request(request).await.context("send")?;
    let status = answer.status();
    let body = answer.into_body().collect().await.context("read")?.to_bytes();
    connection.abort();
    if !status.is_success() {
        return Err(Failure(format!("answered {status}")));
    }
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}
