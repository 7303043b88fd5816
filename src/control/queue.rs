//! Which set to look at next: each at most once at a time, many at the same time, not before its
//! pause is over, and no later than it asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::backoff::{self, Chance};
use super::cache::SetKey;
use super::metrics::Metrics;

/// Events come in bursts: this long after the first, one look serves all.
const COALESCE: Duration = Duration::from_millis(15);
/// Longer than any pause that is meant; keeps the arithmetic away from overflow.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How a look at a set ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub next: Next,
    /// Look again after this time, whatever happens.
    pub wake_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more to do until something changes.
    Rest,
    /// There is more to do, and nothing is wrong.
    Again,
    /// It failed: pause, longer each time.
    Backoff,
    /// The server asked for a pause.
    Pause(Duration),
}

#[derive(Debug, Default)]
struct Entry {
    /// When it is to be looked at, if at all.
    due: Option<Instant>,
    /// Not before this, whatever comes.
    not_before: Option<Instant>,
    running: bool,
    failures: u32,
}

#[derive(Default)]
struct State {
    entries: HashMap<SetKey, Entry>,
    /// What is due and not running, by time.
    timers: BTreeSet<(Instant, SetKey)>,
}

/// The sets that wait.
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
    metrics: Arc<Metrics>,
    chance: Chance,
}

impl Queue {
    pub fn new(metrics: Arc<Metrics>, chance: Chance) -> Self {
        Queue { state: Mutex::default(), changed: Notify::new(), metrics, chance }
    }

    /// Something about the set changed.
    pub fn add(&self, key: SetKey) {
        self.add_after(key, COALESCE);
    }

    /// Look at the set no later than after this time.
    pub fn add_after(&self, key: SetKey, delay: Duration) {
        self.lock().schedule(&key, Instant::now() + delay.min(PAUSE_MAX));
        self.changed.notify_one();
    }

    /// The next set; waits until there is one. Each one taken must be given to [`Queue::done`].
    pub async fn next(&self) -> SetKey {
        loop {
            let next_at = {
                let mut state = self.lock();
                let taken = state.take_due(Instant::now());
                let waiting = state.timers.len();
                let next_at = state.timers.first().map(|(at, _)| *at);
                drop(state);
                self.metrics.queue_depth.set(i64::try_from(waiting).unwrap_or(i64::MAX));
                if let Some(key) = taken {
                    if next_at.is_some() {
                        // Another worker may sleep with an older idea of what comes next.
                        self.changed.notify_one();
                    }
                    return key;
                }
                next_at
            };
            let sleep_until = next_at.unwrap_or_else(|| Instant::now() + PAUSE_MAX);
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(sleep_until) => {}
            }
        }
    }

    /// The look at a set that [`Queue::next`] gave is over.
    pub fn done(&self, key: &SetKey, verdict: Verdict) {
        self.lock().finish(key, verdict, &self.chance);
        self.changed.notify_one();
    }

    /// How many sets wait or have a time set.
    pub fn len(&self) -> usize {
        self.lock().timers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn schedule(&mut self, key: &SetKey, at: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        let at = entry.not_before.map_or(at, |not_before| at.max(not_before));
        if entry.due.is_some_and(|due| due <= at) {
            return;
        }
        let old = entry.due.replace(at);
        if !entry.running {
            if let Some(old) = old {
                self.timers.remove(&(old, key.clone()));
            }
            self.timers.insert((at, key.clone()));
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<SetKey> {
        if self.timers.first()?.0 > now {
            return None;
        }
        let (_, key) = self.timers.pop_first()?;
        let entry = self.entries.entry(key.clone()).or_default();
        entry.running = true;
        entry.due = None;
        entry.not_before = None;
        Some(key)
    }

    fn finish(&mut self, key: &SetKey, verdict: Verdict, chance: &Chance) {
        let now = Instant::now();
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.running = false;
        entry.failures = match verdict.next {
            Next::Backoff => entry.failures.saturating_add(1),
            // What failed before may fail again after it.
            Next::Pause(_) => entry.failures,
            Next::Rest | Next::Again => 0,
        };
        let pause = match verdict.next {
            Next::Rest => None,
            Next::Again => Some(COALESCE),
            Next::Backoff => Some(chance.delay(entry.failures, backoff::SETS)),
            Next::Pause(pause) => Some(pause.min(PAUSE_MAX)),
        };
        if matches!(verdict.next, Next::Backoff | Next::Pause(_)) {
            entry.not_before = pause.map(|pause| now + pause);
        }
        // What came while it ran is in `due`, and waits for the pause as well.
        let came = entry.due.take().map(|due| entry.not_before.map_or(due, |not_before| due.max(not_before)));
        let wake = verdict.wake_after.map(|after| {
            let at = now + after.min(PAUSE_MAX);
            entry.not_before.map_or(at, |not_before| at.max(not_before))
        });
        match [came, wake, pause.map(|pause| now + pause)].into_iter().flatten().min() {
            Some(at) => {
                entry.due = Some(at);
                self.timers.insert((at, key.clone()));
            }
            None => {
                self.entries.remove(key);
            }
        }
    }
}

impl Next {
    /// A stable name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Next::Rest => "done",
            Next::Again => "again",
            Next::Backoff => "failed",
            Next::Pause(_) => "throttled",
        }
    }
}

impl Verdict {
    pub const REST: Verdict = Verdict { next: Next::Rest, wake_after: None };
    pub const AGAIN: Verdict = Verdict { next: Next::Again, wake_after: None };
    pub const BACKOFF: Verdict = Verdict { next: Next::Backoff, wake_after: None };

    /// Look again no later than after `delay`.
    pub fn wake_after(self, delay: Duration) -> Verdict {
        Verdict { wake_after: Some(self.wake_after.map_or(delay, |earlier| earlier.min(delay))), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(Arc::new(Metrics::default()), Chance::system())
    }

    fn key(name: &str) -> SetKey {
        SetKey::new("shop", name)
    }

    async fn waited(queue: &Queue) -> Option<(SetKey, Duration)> {
        let from = Instant::now();
        let key = tokio::time::timeout(Duration::from_secs(3600), queue.next()).await.ok()?;
        Some((key, from.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_look() {
        let queue = queue();
        for _ in 0..10 {
            queue.add(key("web"));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let (first, took) = waited(&queue).await.unwrap();
        assert_eq!(first, key("web"));
        assert!(took <= COALESCE, "{took:?}");
        queue.done(&first, Verdict::REST);
        assert_eq!(waited(&queue).await, None);
        assert_eq!(queue.lock().entries.len(), 0, "nothing is kept of a set that rests");
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_at_a_time_and_none_is_lost() {
        let queue = queue();
        queue.add(key("web"));
        let (first, _) = waited(&queue).await.unwrap();
        queue.add(key("web"));
        assert_eq!(waited(&queue).await, None, "it is being looked at");
        queue.done(&first, Verdict::REST);
        assert_eq!(waited(&queue).await.unwrap().0, key("web"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_set_pauses_longer_and_longer_and_events_do_not_shorten_it() {
        let queue = queue();
        queue.add(key("web"));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let (taken, pause) = waited(&queue).await.unwrap();
            pauses.push(pause);
            queue.done(&taken, Verdict::BACKOFF);
            queue.add(key("web"));
        }
        assert!(pauses[4] > Duration::from_millis(250), "{pauses:?}");
        assert!(pauses[11] > Duration::from_secs(20) && pauses[11] < Duration::from_secs(38), "{pauses:?}");
        let (taken, _) = waited(&queue).await.unwrap();
        queue.done(&taken, Verdict::REST);
        queue.add(key("web"));
        let (_, pause) = waited(&queue).await.unwrap();
        assert!(pause <= COALESCE, "a success ends the pauses: {pause:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_server_asks_for_ends_no_row_of_failures() {
        let queue = queue();
        queue.add(key("web"));
        for _ in 0..6 {
            let (taken, _) = waited(&queue).await.unwrap();
            queue.done(&taken, Verdict::BACKOFF);
        }
        let (taken, _) = waited(&queue).await.unwrap();
        queue.done(&taken, Verdict { next: Next::Pause(Duration::from_millis(10)), wake_after: None });
        let (taken, _) = waited(&queue).await.unwrap();
        queue.done(&taken, Verdict::BACKOFF);
        let (_, pause) = waited(&queue).await.unwrap();
        assert!(pause > Duration::from_secs(2), "{pause:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_up_comes_in_time_and_an_event_may_come_before() {
        let queue = queue();
        queue.add(key("web"));
        let (taken, _) = waited(&queue).await.unwrap();
        queue.done(&taken, Verdict::REST.wake_after(Duration::from_secs(60)));
        queue.add(key("db"));
        let (first, _) = waited(&queue).await.unwrap();
        assert_eq!(first, key("db"));
        let (second, pause) = waited(&queue).await.unwrap();
        assert_eq!(second, key("web"));
        assert!(pause > Duration::from_secs(59) && pause <= Duration::from_secs(60), "{pause:?}");
        queue.done(&second, Verdict::REST.wake_after(Duration::from_secs(60)));
        queue.add(key("web"));
        assert!(waited(&queue).await.unwrap().1 <= COALESCE);
    }

    #[tokio::test(start_paused = true)]
    async fn all_workers_are_used() {
        let queue = Arc::new(queue());
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for name in ["a", "b", "c", "d"] {
            queue.add(key(name));
        }
        let mut taken = BTreeSet::new();
        for worker in workers {
            taken.insert(tokio::time::timeout(Duration::from_secs(1), worker).await.unwrap().unwrap());
        }
        assert_eq!(taken.len(), 4);
    }
}
