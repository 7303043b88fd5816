//! Lists with pages, and watches: late, hanging, cut, expired.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::WireEvent;
use super::call::{Call, Reply, Resource};
use crate::sim::chaos::Fault;
use crate::sim::facts;
use crate::sim::store::{Change, Kind, Refused};
use crate::sim::world::{Event, World, note};

/// So many events are brought again.
const REPEATED: usize = 3;

/// The far end of a watch.
pub struct Watch {
    pub manager: usize,
    kind: Option<Kind>,
    /// How much of the kind's log it has brought.
    cursor: usize,
    /// Where it began.
    first: usize,
    lines: mpsc::UnboundedSender<Result<Bytes, std::io::Error>>,
    pending: bool,
    fault: Option<Fault>,
    /// The connection is dead, and its client does not know.
    is_dead: bool,
}

/// What is left of a list.
pub struct Pages {
    items: Vec<Value>,
    version: u64,
}

impl World {
    /// Something was written: each watch will bring it some time.
    pub fn wire_news(&mut self, kind: Kind) {
        let Some(wire) = &self.wire else { return };
        let waiting = wire.watches.iter().filter(|(_, watch)| watch.kind == Some(kind) && !watch.pending);
        let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        for number in waiting {
            let lag = self.random.range(1, self.swarm.watch_lag_ms);
            let fault = self.chaos.of_news(&self.swarm, self.faults);
            let lag = if fault == Some(Fault::Late) { lag * 40 } else { lag };
            let now = self.now;
            let Some(wire) = &mut self.wire else { return };
            let Some(watch) = wire.watches.get_mut(&number) else { continue };
            watch.pending = true;
            watch.fault = fault;
            let manager = watch.manager;
            let thaw = self.thaws_at(manager, kind);
            self.at((now + lag).max(thaw), Event::Wire(Box::new(WireEvent::Deliver { watch: number })));
        }
    }

    /// Watches of this kind bring nothing until then.
    fn thaws_at(&self, manager: usize, kind: Kind) -> i64 {
        let frozen = self.wire.as_ref().and_then(|wire| wire.frozen.get(&(manager, kind)).copied());
        frozen.max(self.old_caches_of(manager).map(|old| old.until_ms)).unwrap_or(0)
    }

    pub fn deliver_on_the_wire(&mut self, number: u64) {
        let some = self.random.below(6);
        let bookmark = self.random.per_mille(250);
        let Some(watch) = self.wire.as_ref().and_then(|wire| wire.watches.get(&number)) else { return };
        let (manager, Some(kind)) = (watch.manager, watch.kind) else { return };
        let visible = self.visible(manager, kind);
        let (now, faults, version) = (self.now, self.faults, self.store.version);
        let empty = Vec::new();
        let log = self.store.logs.get(&kind).unwrap_or(&empty);
        let thaw = self.thaws_at(manager, kind);
        if faults && thaw > now {
            self.at(thaw, Event::Wire(Box::new(WireEvent::Deliver { watch: number })));
            return;
        }
        let Some(wire) = &mut self.wire else { return };
        let Some(watch) = wire.watches.get_mut(&number) else { return };
        watch.pending = false;
        if watch.is_dead {
            return;
        }
        let fault = watch.fault.take();
        if fault == Some(Fault::Expire) {
            self.expire(number);
            return;
        }
        let visible = visible.max(watch.cursor);
        let end = if some == 0 { (watch.cursor + 1).min(visible) } else { visible };
        let from = if fault == Some(Fault::Repeat) {
            self.oracle.saw("a watch brought events twice");
            watch.cursor.saturating_sub(REPEATED).max(watch.first)
        } else {
            watch.cursor
        };
        let mut lines: Vec<Value> = log[from..end].iter().map(event_line).collect();
        if bookmark && end == log.len() {
            let metadata = json!({"resourceVersion": version.to_string()});
            lines.push(
                json!({"type": "BOOKMARK", "object": {"kind": "Bookmark", "apiVersion": "v1", "metadata": metadata}}),
            );
        }
        watch.cursor = end;
        let heard = lines.iter().all(|line| watch.lines.send(Ok(format!("{line}\n").into())).is_ok());
        let more = end < visible;
        if !heard {
            wire.watches.remove(&number);
        } else if fault == Some(Fault::Break) {
            self.break_off(number);
        } else if more {
            self.wire_news(kind);
        }
    }

    fn expire(&mut self, number: u64) {
        note!(self, "watch {number} has expired");
        self.oracle.saw("a watch expired");
        if let Some(watch) = self.wire.as_mut().and_then(|wire| wire.watches.remove(&number)) {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410,
            });
            let line = json!({"type": "ERROR", "object": status});
            drop(watch.lines.send(Ok(format!("{line}\n").into())));
        }
    }

    /// One of the ways in which connections end.
    fn break_off(&mut self, number: u64) {
        note!(self, "watch {number} breaks");
        self.oracle.saw("a watch broke");
        let Some(wire) = &mut self.wire else { return };
        let Some(watch) = wire.watches.get_mut(&number) else { return };
        match number % 3 {
            0 => watch.is_dead = true,
            1 => {
                drop(watch.lines.send(Err(std::io::Error::other("the connection was reset"))));
                wire.watches.remove(&number);
            }
            _ => drop(wire.watches.remove(&number)),
        }
    }

    /// The server's own end of a watch.
    pub fn end_watch(&mut self, number: u64) {
        if let Some(wire) = &mut self.wire
            && wire.watches.get(&number).is_some_and(|watch| !watch.is_dead)
        {
            wire.watches.remove(&number);
        }
    }

    pub fn begin_watch(&mut self, call: &Call) -> Reply {
        let from: u64 = call.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let seconds: i64 = call.query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
        let kind = match call.resource {
            Resource::Stored(kind) => Some(kind),
            _ => None,
        };
        let log = kind.and_then(|kind| self.store.logs.get(&kind));
        let cursor = log.map_or(0, |log| log.partition_point(|change| change.version <= from));
        let behind = log.is_some_and(|log| cursor < log.len());
        let (sender, lines) = mpsc::unbounded_channel();
        let Some(wire) = &mut self.wire else { return Reply::Lines(lines) };
        let number = wire.number();
        let watch = Watch {
            manager: call.manager,
            kind,
            cursor,
            first: cursor,
            lines: sender,
            pending: false,
            fault: None,
            is_dead: false,
        };
        wire.watches.insert(number, watch);
        self.after(seconds * 1000, Event::Wire(Box::new(WireEvent::End { watch: number })));
        if let Some(kind) = kind.filter(|_| behind) {
            self.wire_news(kind);
        }
        Reply::Lines(lines)
    }

    pub fn list(&mut self, call: &Call) -> Reply {
        let (items, version) = match call.query.get("continue") {
            Some(token) => {
                let token = token.parse().unwrap_or(0);
                let Some(pages) = self.wire.as_mut().and_then(|wire| wire.pages.remove(&token)) else {
                    let message = "the continue token has expired".to_owned();
                    return Reply::of_refusal(&Refused { code: 410, message });
                };
                (pages.items, pages.version)
            }
            None => {
                let old = self.old_caches_of(call.manager);
                let version = old.map_or(self.store.version, |old| old.version);
                (self.listed(call, version), version)
            }
        };
        self.page(items, version, call)
    }

    fn listed(&self, call: &Call, version: u64) -> Vec<Value> {
        let Resource::Stored(kind) = call.resource else { return Vec::new() };
        let wanted = call.query.get("labelSelector").map(String::as_str);
        let (objects, _) = self.store.as_of(kind, version);
        let objects = objects.values().filter(|object| wanted.is_none_or(|wanted| selects(wanted, &object.value)));
        objects.map(|object| object.value.clone()).collect()
    }

    fn page(&mut self, mut items: Vec<Value>, version: u64, call: &Call) -> Reply {
        let limit: usize = call.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        // Short pages, so that there are several.
        let limit = if self.faults { limit.min(1 + self.random.below(5)) } else { limit };
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if items.len() > limit
            && let Some(wire) = &mut self.wire
        {
            let token = wire.number();
            let rest = items.split_off(limit);
            wire.pages.insert(token, Pages { items: rest, version });
            metadata["continue"] = token.to_string().into();
        }
        Reply::Json(200, json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }
}

fn event_line(change: &Change) -> Value {
    match (&change.object, &change.before) {
        (Some(object), None) => json!({"type": "ADDED", "object": object.value}),
        (Some(object), Some(_)) => json!({"type": "MODIFIED", "object": object.value}),
        (None, before) => {
            let mut last = before.as_ref().map(|before| before.value.clone()).unwrap_or_default();
            last["metadata"]["resourceVersion"] = change.version.to_string().into();
            json!({"type": "DELETED", "object": last})
        }
    }
}

/// Requirements with commas between them, each `key in (a,b)` or `key=value`.
fn selects(selector: &str, value: &Value) -> bool {
    let labels: BTreeMap<String, String> = value
        .pointer("/metadata/labels")
        .and_then(|labels| serde_json::from_value(labels.clone()).ok())
        .unwrap_or_default();
    let mut depth = 0;
    let requirements = selector.split(|character| {
        depth += i32::from(character == '(') - i32::from(character == ')');
        character == ',' && depth == 0
    });
    requirements.into_iter().all(|requirement| {
        if let Some((key, values)) = requirement.split_once(" in ") {
            let mut values = values.trim_matches(['(', ')']).split(',');
            return labels.get(key).is_some_and(|label| values.any(|value| value.trim() == label));
        }
        let (key, wanted) = requirement.split_once('=').unwrap_or((requirement, ""));
        labels.get(key).is_some_and(|label| label == wanted)
    })
}

/// The namespace's name, as objects of the store have it.
pub fn name_of(body: &Value) -> String {
    facts::text(body, "/metadata/name").into()
}
