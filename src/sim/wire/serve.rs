//! Requests reach the apiserver, are refused or done, and are answered, or not.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::{Call, Reply, Resource};
use super::{Command, WireEvent};
use crate::sim::chaos::{Fault, Sort};
use crate::sim::controller::{Outcome, Request};
use crate::sim::server;
use crate::sim::store::{Guard, Kind, Object, Part, Refused};
use crate::sim::world::{Event, SET, World, note};

impl World {
    /// A manager has sent a request.
    pub fn sent(&mut self, mut call: Call) {
        let is_write = call.method != http::Method::GET
            && !call.query.contains_key("dryRun")
            && matches!(call.resource, Resource::Stored(kind) if kind != Kind::Lease);
        self.mutate_body(&call.method.clone(), &mut call.body);
        if is_write {
            match self.intended(&call) {
                Ok(request) => call.request = Some(request),
                Err(message) => self.oracle.fail(message),
            }
        }
        let sort = call.request.as_ref().map_or(if is_write { Sort::Write } else { Sort::Read }, Request::sort);
        call.fault = self.chaos.of_request(&self.swarm, sort, self.faults);
        let delay = match call.fault {
            Some(Fault::Slow(delay)) => delay,
            _ => self.random.range(1, self.swarm.request_ms),
        };
        self.after(delay, Event::Wire(Box::new(WireEvent::Arrive(Box::new(call)))));
        if let Some(wire) = &self.wire {
            wire.changed.notify_one();
        }
    }

    pub fn on_the_wire(&mut self, event: WireEvent) {
        match event {
            WireEvent::Arrive(call) => self.arrive_on_the_wire(*call),
            // One that has given up does not hear it.
            WireEvent::Answer { answer, reply } => drop(answer.send(reply)),
            WireEvent::Deliver { watch } => self.deliver_on_the_wire(watch),
            WireEvent::End { watch } => self.end_watch(watch),
            WireEvent::Restart { manager } => self.restart_manager(manager),
        }
    }

    fn arrive_on_the_wire(&mut self, mut call: Call) {
        let alive = self.wire.as_ref().is_some_and(|wire| {
            wire.managers.get(call.manager).is_some_and(|manager| manager.alive && manager.epoch == call.epoch)
        });
        let given_up = !alive || call.answer.as_ref().is_none_or(tokio::sync::oneshot::Sender::is_closed);
        if let Some(request) = &mut call.request {
            request.abandoned = given_up;
        }
        let reply = match call.fault {
            Some(Fault::CrashBefore) if alive => return self.crash_manager(call.manager),
            Some(Fault::Drop) => {
                note!(self, "m{} {} {:?} {} never arrives", call.manager, call.method, call.resource, call.name);
                return;
            }
            Some(Fault::Refuse(code)) => {
                let taken = code == 409 && call.method == http::Method::POST;
                let message = if taken { "already exists (a fault)" } else { "a fault" };
                Reply::of_refusal(&Refused { code, message: message.to_owned() })
            }
            _ => self.serve_call(&call),
        };
        let what = match &reply {
            Reply::Json(code, value) if *code >= 400 => {
                format!("{code} {}", super::super::facts::text(value, "/message"))
            }
            Reply::Json(..) => "ok".to_owned(),
            Reply::Lines(_) => "watching".to_owned(),
        };
        let fault = call.fault.map_or_else(String::new, |fault| format!(" ({fault:?})"));
        let Call { manager, method, resource, name, subresource, .. } = &call;
        let dead = if alive { "" } else { " (dead)" };
        let body = if *method == http::Method::PATCH { call.body.to_string() } else { String::new() };
        note!(self, "m{manager}{dead} {method} {resource:?} {name} {subresource} {what}{fault} {body}");
        let answer = call.answer.take();
        match call.fault {
            Some(Fault::CrashAfter) if alive => return self.crash_manager(call.manager),
            Some(Fault::Lose) => {
                if let Some(wire) = &mut self.wire {
                    wire.unanswered.extend(answer);
                }
                return;
            }
            Some(Fault::Cut) => return,
            _ => {}
        }
        let delay = self.random.range(1, self.swarm.request_ms);
        if let Some(answer) = answer.filter(|answer| !answer.is_closed()) {
            self.after(delay, Event::Wire(Box::new(WireEvent::Answer { answer, reply })));
        }
    }

    fn serve_call(&mut self, call: &Call) -> Reply {
        let result = match (call.method.as_str(), call.resource) {
            ("GET", Resource::Version) => return Reply::Json(200, version()),
            ("GET", _) if call.query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") => {
                return self.begin_watch(call);
            }
            ("GET", _) if call.name.is_empty() => return self.list(call),
            ("GET", Resource::Stored(kind)) => match self.looked_at(call, kind) {
                Some(object) => Ok(object.value.clone()),
                None => Err(Refused { code: 404, message: format!("no {kind:?} {}", call.name) }),
            },
            ("POST", Resource::PodTemplate) => {
                let admitted = self.policies.admit(None, "template");
                admitted.and_then(|()| server::defaulted(call.body.pointer("/template")))
            }
            ("POST", Resource::Event) => self.policies.admit(None, "event").map(|()| call.body.clone()),
            (_, Resource::Event) => Ok(call.body.clone()),
            (_, Resource::Stored(Kind::Lease)) => self.write_lease(call),
            ("PATCH", Resource::Stored(kind)) if call.query.contains_key("dryRun") => {
                self.store.patched(kind, &call.name, &call.body, Part::Whole).map(|(_, value)| value)
            }
            (_, Resource::Stored(_)) => match &call.request {
                Some(request) => match self.commit(&request.clone()) {
                    Outcome::Done(object) => Ok(object.map(|object| object.value.clone()).unwrap_or_default()),
                    Outcome::Refused(code, message) => Err(Refused { code, message }),
                    Outcome::Template(_) | Outcome::Unknown => Err(Refused { code: 500, message: String::new() }),
                },
                None => Err(Refused { code: 500, message: "nobody planned this".to_owned() }),
            },
            _ => Err(Refused { code: 405, message: "no such method".to_owned() }),
        };
        match result {
            Ok(value) => Reply::Json(if call.method == http::Method::POST { 201 } else { 200 }, value),
            Err(refused) => Reply::of_refusal(&refused),
        }
    }

    fn looked_at(&mut self, call: &Call, kind: Kind) -> Option<&Arc<Object>> {
        let object = self.store.get(kind, &call.name);
        if kind == Kind::Set && call.name == SET {
            self.oracle.looked_at_set(call.manager, call.epoch, object.map(|object| &**object));
        }
        object
    }

    fn write_lease(&mut self, call: &Call) -> Result<Value, Refused> {
        let written = match call.method.as_str() {
            "POST" => self.store.create(Kind::Lease, call.body.clone()),
            _ => {
                let version = call.body.pointer("/metadata/resourceVersion").and_then(Value::as_str);
                let guard = Guard { uid: None, version: version.map(Box::from) };
                self.store.replace(Kind::Lease, &call.name, &call.body, &guard)
            }
        };
        written.map(|object| object.value.clone())
    }

    pub fn crash_manager(&mut self, manager: usize) {
        let pause = self.random.range(1, self.swarm.restart_ms);
        let Some(wire) = &mut self.wire else { return };
        let Some(seen) = wire.managers.get_mut(manager).filter(|seen| seen.alive) else { return };
        seen.alive = false;
        seen.epoch += 1;
        wire.commands.push(Command::Stop(manager));
        wire.watches.retain(|_, watch| watch.manager != manager);
        wire.changed.notify_one();
        note!(self, "m{manager} crashes");
        self.after(pause, Event::Wire(Box::new(WireEvent::Restart { manager })));
    }

    fn restart_manager(&mut self, manager: usize) {
        let Some(wire) = &mut self.wire else { return };
        let Some(seen) = wire.managers.get_mut(manager).filter(|seen| !seen.alive) else { return };
        seen.alive = true;
        seen.restarts += 1;
        seen.plans.clear();
        wire.commands.push(Command::Start(manager));
        note!(self, "m{manager} starts");
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
    })
}
