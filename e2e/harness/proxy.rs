//! Between a manager and the apiserver: passes on what is asked, and does harm on the way.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::dice::Dice;
use super::{Result, Suite};

/// What a proxy does to requests: chances in a thousand, and times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Harm {
    /// The connection is closed before the request goes on.
    pub dropped: u64,
    /// The request is carried out, and the connection closed instead of an answer.
    pub unanswered: u64,
    /// The request is held until its client has given up, and carried out then.
    pub late: u64,
    /// The request is answered at once with one of `codes`.
    pub refused: u64,
    pub codes: &'static [u16],
    /// Each request and each answer is held for up to this long.
    pub delay_milliseconds: u64,
    /// A watch ends after up to this long: half of them in order, half in the middle.
    pub watch_milliseconds: Option<u64>,
    /// A watch is told that its version is too old: at once, or by an event in it.
    pub expired: u64,
    /// The write of this number, from the proxy's start, is carried out, its answer held back, and all that follows too.
    pub held_write: Option<usize>,
}

/// Longer than a client waits.
const LATE: Duration = Duration::from_secs(12);

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Passed,
    Dropped,
    Unanswered,
    Late,
    Refused(u16),
    Cut,
    Expired,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub method: Method,
    /// With its query.
    pub path: String,
    pub fate: Fate,
}

impl Seen {
    /// Whether it changes what the manager manages: events and leases apart.
    pub fn is_write(&self) -> bool {
        self.method != Method::GET
            && !self.path.contains("dryRun=")
            && !self.path.contains("/leases")
            && !self.path.contains("/events")
            && !self.path.contains("/selfsubjectaccessreviews")
    }

    fn is_watch(&self) -> bool {
        self.path.contains("watch=")
    }
}

/// Watches are numbered; those up to these numbers pass nothing on any more, or end.
#[derive(Clone, Copy, Default)]
struct Broken {
    silent: usize,
    ended: usize,
}

struct State {
    upstream: kube::Client,
    harm: Mutex<Harm>,
    dice: Mutex<Dice>,
    seen: Mutex<Vec<Seen>>,
    watches: AtomicUsize,
    broken: watch::Sender<Broken>,
    /// How often the apiserver itself called a version too old.
    expired: AtomicUsize,
    /// The write that was to be held back is carried out.
    is_held: AtomicBool,
}

/// Why a connection or a body ends without its rest.
type Lost = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Lost>>;

/// Listens on loopback until it goes.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(suite: &Suite, seed: u64, harm: Harm) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (broken, _) = watch::channel(Broken::default());
        let state = Arc::new(State {
            upstream: upstream(suite).await?,
            harm: Mutex::new(harm),
            dice: Mutex::new(Dice(seed)),
            seen: Mutex::default(),
            watches: AtomicUsize::new(0),
            broken,
            expired: AtomicUsize::new(0),
            is_held: AtomicBool::new(false),
        });
        let task = tokio::spawn(listen(listener, Arc::clone(&state)));
        Ok(Self { port, state, task })
    }

    /// A kubeconfig with the manager's identity that leads here.
    pub fn kubeconfig(&self, suite: &Suite) -> Result<PathBuf> {
        self.kubeconfig_of(suite, &suite.identity)
    }

    /// The same with another identity, given by a kubeconfig.
    pub fn kubeconfig_of(&self, suite: &Suite, identity: &Path) -> Result<PathBuf> {
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(identity)?)?;
        config["clusters"][0]["cluster"] = json!({"server": format!("http://127.0.0.1:{}", self.port)});
        let file = suite.cluster.info.dir.join(format!("proxy-{}.kubeconfig", self.port));
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }

    /// From now on this harm is done, and no other.
    pub fn set(&self, harm: Harm) {
        if let Ok(mut now) = self.state.harm.lock() {
            *now = harm;
        }
    }

    /// The watches that are open pass nothing on any more, and stay open.
    pub fn silence_watches(&self) {
        let silent = self.state.watches.load(Ordering::SeqCst);
        self.state.broken.send_modify(|broken| broken.silent = silent);
    }

    /// The watches that are open end.
    pub fn end_watches(&self) {
        let ended = self.state.watches.load(Ordering::SeqCst);
        self.state.broken.send_modify(|broken| broken.ended = ended);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().map(|seen| seen.clone()).unwrap_or_default()
    }

    /// How many requests met this fate.
    pub fn count(&self, is: impl Fn(Fate) -> bool) -> usize {
        self.seen().iter().filter(|seen| is(seen.fate)).count()
    }

    /// Whether the write of `Harm::held_write` is carried out.
    pub fn is_held(&self) -> bool {
        self.state.is_held.load(Ordering::SeqCst)
    }

    /// How often the apiserver said that a version is too old.
    pub fn expired(&self) -> usize {
        self.state.expired.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client without an identity: each request brings its own.
async fn upstream(suite: &Suite) -> Result<kube::Client> {
    let info = &suite.cluster.info;
    let file: kube::config::Kubeconfig = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "asts",
        "clusters": [{"name": "asts", "cluster": {"server": info.server, "certificate-authority": info.ca}}],
        "users": [{"name": "asts", "user": {}}],
        "contexts": [{"name": "asts", "context": {"cluster": "asts", "user": "asts"}}],
    }))?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await?;
    config.read_timeout = None;
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

async fn listen(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(|request| serve(Arc::clone(&state), request));
            // A connection that was closed on purpose ends with an error.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// An error closes the connection without an answer.
async fn serve(state: Arc<State>, request: Request<Incoming>) -> std::result::Result<Answer, Lost> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let mut seen = Seen { at: Instant::now(), method: parts.method.clone(), path, fate: Fate::Passed };
    let fate = state.decide(&seen);
    seen.fate = fate;
    let (is_watch, is_write) = (seen.is_watch(), seen.is_write());
    let mut writes = 0;
    if let Ok(mut log) = state.seen.lock() {
        log.push(seen);
        writes = log.iter().filter(|seen| seen.is_write()).count();
    }
    let held = state.harm.lock().ok().and_then(|harm| harm.held_write);
    let is_held = is_write && held == Some(writes);
    if held.is_some_and(|held| writes >= held) && !is_held {
        return std::future::pending().await;
    }
    tokio::time::sleep(state.delay()).await;
    match fate {
        Fate::Dropped => return Err("dropped on purpose".into()),
        Fate::Refused(code) => return refusal(code, &parts.method),
        Fate::Expired => return expired(&state),
        _ => {}
    }
    let mut request = Request::from_parts(parts, Body::from(body.to_vec()));
    request.headers_mut().remove(header::HOST);
    // Goes on when the client has gone.
    let passed = tokio::spawn({
        let state = Arc::clone(&state);
        async move {
            if fate == Fate::Late {
                tokio::time::sleep(LATE).await;
            }
            state.upstream.send(request).await
        }
    });
    let answer = passed.await??;
    if is_held {
        state.is_held.store(true, Ordering::SeqCst);
        return std::future::pending().await;
    }
    if fate == Fate::Unanswered {
        return Err("the answer is lost on purpose".into());
    }
    tokio::time::sleep(state.delay()).await;
    state.note_expired(answer.status().as_u16() == 410);
    let (mut parts, body) = answer.into_parts();
    for name in [header::TRANSFER_ENCODING, header::CONNECTION] {
        parts.headers.remove(name);
    }
    let body = if is_watch { watched(state, body).boxed_unsync() } else { body.map_err(Lost::from).boxed_unsync() };
    Ok(Response::from_parts(parts, body))
}

impl State {
    fn decide(&self, seen: &Seen) -> Fate {
        let (Ok(harm), Ok(mut dice)) = (self.harm.lock(), self.dice.lock()) else { return Fate::Passed };
        let chances = [(harm.dropped, Fate::Dropped), (harm.unanswered, Fate::Unanswered), (harm.late, Fate::Late)];
        if let Some((_, fate)) = chances.into_iter().find(|(chance, _)| dice.per_mille(*chance)) {
            return fate;
        }
        if dice.per_mille(harm.refused) {
            return dice.pick(harm.codes).map_or(Fate::Passed, Fate::Refused);
        }
        match seen.is_watch() {
            true if dice.per_mille(harm.expired) => Fate::Expired,
            true if harm.watch_milliseconds.is_some() => Fate::Cut,
            _ => Fate::Passed,
        }
    }

    fn delay(&self) -> Duration {
        let longest = self.harm.lock().map_or(0, |harm| harm.delay_milliseconds);
        let drawn = self.dice.lock().map_or(0, |mut dice| dice.below(longest + 1));
        Duration::from_millis(drawn)
    }

    /// How long a watch lives, and whether it ends in order.
    fn lifetime(&self) -> (Option<Duration>, bool) {
        let longest = self.harm.lock().ok().and_then(|harm| harm.watch_milliseconds);
        let Ok(mut dice) = self.dice.lock() else { return (None, true) };
        (longest.map(|longest| Duration::from_millis(dice.below(longest) + 1)), dice.below(2) == 0)
    }

    fn note_expired(&self, is_so: bool) {
        if is_so {
            self.expired.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn status(code: u16, reason: &str) -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": format!("{reason}: a fault of the test"),
    })
    .to_string()
}

fn whole(code: u16, text: String) -> std::result::Result<Answer, Lost> {
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    let mut answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    if code == 429 {
        answer = answer.header(header::RETRY_AFTER, "1");
    }
    Ok(answer.body(body.boxed_unsync())?)
}

fn refusal(code: u16, method: &Method) -> std::result::Result<Answer, Lost> {
    let reason = match code {
        409 if method == Method::POST => "AlreadyExists",
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    whole(code, status(code, reason))
}

fn expired(state: &State) -> std::result::Result<Answer, Lost> {
    let gone = status(410, "Expired");
    if state.lifetime().1 {
        return whole(410, gone);
    }
    whole(200, format!("{{\"type\":\"ERROR\",\"object\":{gone}}}\n"))
}

/// A watch on its way to the manager.
struct Watched {
    state: Arc<State>,
    body: Body,
    number: usize,
    broken: watch::Receiver<Broken>,
    until: Option<tokio::time::Instant>,
    /// Whether it ends in order when it ends early.
    in_order: bool,
}

type Part = std::result::Result<Frame<Bytes>, Lost>;

/// The body of a watch, until its time is over or it is told to be silent or to end.
fn watched(state: Arc<State>, body: Body) -> StreamBody<impl futures::Stream<Item = Part>> {
    let number = state.watches.fetch_add(1, Ordering::SeqCst) + 1;
    let (lifetime, in_order) = state.lifetime();
    let until = lifetime.map(|lifetime| tokio::time::Instant::now() + lifetime);
    let broken = state.broken.subscribe();
    let watched = Watched { state, body, number, broken, until, in_order };
    StreamBody::new(stream::unfold(Some(watched), |watched| async move {
        let mut watched = watched?;
        let part = watched.next().await?;
        let goes_on = part.is_ok().then_some(watched);
        Some((part, goes_on))
    }))
}

impl Watched {
    async fn next(&mut self) -> Option<Part> {
        loop {
            let broken = *self.broken.borrow_and_update();
            if broken.ended >= self.number {
                return self.cut();
            }
            tokio::select! {
                changed = self.broken.changed() => changed.ok()?,
                part = self.body.frame(), if broken.silent < self.number => {
                    let part = part?.map_err(Lost::from);
                    let data = part.as_ref().ok().and_then(Frame::data_ref);
                    self.state.note_expired(data.is_some_and(|data| contains(data, b"\"code\":410")));
                    return Some(part);
                }
                () = at(self.until) => return self.cut(),
            }
        }
    }

    fn cut(&self) -> Option<Part> {
        (!self.in_order).then(|| Err(Lost::from("cut on purpose")))
    }
}

async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
