//! Events that users read, published off the hot path: joined, counted, bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::client::{Apiserver, At, Kind, Verb};
use super::error::Failure;
use super::metrics::Metrics;
use crate::api::names;
use crate::plan::PlannedEvent;

/// The longest note that the API takes, in bytes.
const NOTE_BYTES_MAX: usize = 1024;
const WAITING_MAX: usize = 1024;
/// Events that are alike within this time are one, with a count.
const SERIES_GAP: Duration = Duration::from_secs(360);
const SERIES_MAX: usize = 2048;
/// Per set: this many at once, then one each [`TOKEN_EVERY`].
const TOKENS_MAX: u32 = 25;
const TOKEN_EVERY: Duration = Duration::from_secs(5);

/// The set that an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
}

/// An event, ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub subject: Subject,
    pub warning: bool,
    pub reason: &'static str,
    pub action: &'static str,
    pub note: String,
}

/// Where events are handed in. Never waits.
#[derive(Clone)]
pub struct EventSender {
    sender: mpsc::Sender<Event>,
    metrics: Arc<Metrics>,
}

impl EventSender {
    /// Hands in the events of one plan; those with the same reason become one.
    pub fn send(&self, subject: &Subject, planned: &[PlannedEvent]) {
        for event in joined(subject, planned) {
            if self.sender.try_send(event).is_err() {
                self.metrics.events_dropped.inc();
            }
        }
    }
}

/// One event for each reason, with the messages one after another as far as they fit.
pub fn joined(subject: &Subject, planned: &[PlannedEvent]) -> Vec<Event> {
    let mut by_reason: BTreeMap<(bool, &'static str, &'static str), Vec<&str>> = BTreeMap::new();
    for event in planned {
        let messages = by_reason.entry((event.warning, event.reason, event.action)).or_default();
        if !messages.contains(&event.message.as_str()) {
            messages.push(&event.message);
        }
    }
    by_reason
        .into_iter()
        .map(|((warning, reason, action), messages)| {
            let note = note(&messages);
            Event { subject: subject.clone(), warning, reason, action, note }
        })
        .collect()
}

fn note(messages: &[&str]) -> String {
    const REST_BYTES_MAX: usize = 32;
    let mut note = String::new();
    for (position, message) in messages.iter().enumerate() {
        let separator = if note.is_empty() { "" } else { "; " };
        if note.len() + separator.len() + message.len() > NOTE_BYTES_MAX - REST_BYTES_MAX {
            if note.is_empty() {
                note.push_str(clipped(message, NOTE_BYTES_MAX - REST_BYTES_MAX));
                note.push('…');
            }
            let left = messages.len() - position - usize::from(position == 0);
            if left > 0 {
                note.push_str(&format!("; and {left} more"));
            }
            break;
        }
        note.push_str(separator);
        note.push_str(message);
    }
    note
}

/// Publishes what is handed in.
pub struct Publisher {
    receiver: mpsc::Receiver<Event>,
    apiserver: Arc<Apiserver>,
    metrics: Arc<Metrics>,
    instance: String,
    series: HashMap<SeriesKey, Series>,
    tokens: HashMap<Box<str>, Tokens>,
}

type SeriesKey = (Box<str>, bool, &'static str, String);

struct Series {
    event_name: String,
    count: u32,
    last: Instant,
}

struct Tokens {
    left: u32,
    filled: Instant,
}

/// The two ends of the queue.
pub fn channel(apiserver: Arc<Apiserver>, metrics: Arc<Metrics>, instance: String) -> (EventSender, Publisher) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let sender = EventSender { sender, metrics: Arc::clone(&metrics) };
    (sender, Publisher { receiver, apiserver, metrics, instance, series: HashMap::new(), tokens: HashMap::new() })
}

impl Publisher {
    /// Publishes until all senders are gone.
    pub async fn run(mut self) {
        while let Some(event) = self.receiver.recv().await {
            if !self.take_token(&event.subject.uid) {
                self.metrics.events_dropped.inc();
                continue;
            }
            if let Err(error) = self.publish(&event).await {
                self.metrics.events_dropped.inc();
                tracing::debug!(reason = event.reason, "an event was not published: {error}");
            }
        }
    }

    fn take_token(&mut self, uid: &str) -> bool {
        let now = Instant::now();
        if self.tokens.len() > SERIES_MAX {
            self.tokens.retain(|_, tokens| now - tokens.filled < TOKEN_EVERY * TOKENS_MAX);
        }
        let tokens = self.tokens.entry(uid.into()).or_insert(Tokens { left: TOKENS_MAX, filled: now });
        let grown = (now - tokens.filled).as_secs() / TOKEN_EVERY.as_secs();
        if grown > 0 {
            tokens.left = tokens.left.saturating_add(u32::try_from(grown).unwrap_or(TOKENS_MAX)).min(TOKENS_MAX);
            tokens.filled = now;
        }
        let has_one = tokens.left > 0;
        tokens.left = tokens.left.saturating_sub(1);
        has_one
    }

    async fn publish(&mut self, event: &Event) -> Result<(), super::error::CallError> {
        let now = Instant::now();
        if self.series.len() > SERIES_MAX {
            self.series.retain(|_, series| now - series.last < SERIES_GAP);
        }
        let key = (event.subject.uid.clone(), event.warning, event.reason, event.note.clone());
        let namespace = &event.subject.namespace;
        if let Some(series) = self.series.get_mut(&key).filter(|series| now - series.last < SERIES_GAP) {
            series.count = series.count.saturating_add(1);
            series.last = now;
            let body =
                json!({"series": {"count": series.count, "lastObservedTime": micro(self.apiserver.clock.now())}});
            let at = At::one(Kind::Event, namespace, &series.event_name);
            match self.apiserver.write::<IgnoredAny>(Verb::MergePatch, at, Some(&body)).await {
                // It has expired on the server: make it anew.
                Err(error) if error.failure == Failure::NotFound => {}
                other => return other.map(|_| ()),
            }
        }
        let event_name = format!("{}.{:016x}", short(&event.subject.name), self.apiserver.chance.next());
        let body = self.body(event, &event_name);
        self.apiserver.write::<IgnoredAny>(Verb::Create, At::all(Kind::Event, namespace), Some(&body)).await?;
        self.series.insert(key, Series { event_name, count: 1, last: now });
        Ok(())
    }

    fn body(&self, event: &Event, event_name: &str) -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": event_name, "namespace": event.subject.namespace},
            "eventTime": micro(self.apiserver.clock.now()),
            "reportingController": "apps.asts.dev/asts-manager",
            "reportingInstance": self.instance,
            "reason": event.reason,
            "action": event.action,
            "note": event.note,
            "type": if event.warning { "Warning" } else { "Normal" },
            "regarding": {
                "apiVersion": names::API_VERSION,
                "kind": names::KIND,
                "namespace": event.subject.namespace,
                "name": event.subject.name,
                "uid": event.subject.uid,
            },
        })
    }
}

/// A set's name may fill an object name by itself; an event's name needs room for more.
fn short(name: &str) -> &str {
    const BYTES_MAX: usize = 200;
    clipped(name, BYTES_MAX).trim_end_matches(['.', '-'])
}

/// The text's beginning, whole characters only.
fn clipped(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// A time as the API writes it where it counts microseconds.
fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject { namespace: "shop".into(), name: "web".into(), uid: "u".into() }
    }

    fn planned(reason: &'static str, message: String) -> PlannedEvent {
        PlannedEvent { warning: false, reason, action: "Create", message }
    }

    #[test]
    fn many_of_a_kind_are_one_note_of_bounded_size() {
        let mut events: Vec<_> =
            (0..300).map(|ordinal| planned("SuccessfulCreate", format!("created Pod web-{ordinal}"))).collect();
        events.push(planned("Other", "é".repeat(2000)));
        let events = joined(&subject(), &events);
        assert_eq!(events.len(), 2);
        let created = events.iter().find(|event| event.reason == "SuccessfulCreate").unwrap();
        assert!(created.note.starts_with("created Pod web-0; created Pod web-1; "));
        let named = created.note.matches("created").count();
        assert!(created.note.ends_with(&format!("; and {} more", 300 - named)), "{}", created.note);
        assert!(events.iter().all(|event| event.note.len() <= NOTE_BYTES_MAX));
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(micro(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
    }
}
