//! The requests as the simulated store takes them.

use serde_json::{Value, json};

use super::Answer;
use super::script::{Ask, Deed, with_values};
use super::view::View;
use crate::sim::server::defaulted;
use crate::sim::store::{Part, Refused, Store};

#[derive(Default)]
pub struct Model {
    store: Store,
}

impl Model {
    pub fn ask(&mut self, ask: &Ask, seen: &View) -> Answer {
        let guard = seen.guard(ask);
        let guarded = |patch: &Value| {
            let mut patch = seen.filled(patch, "");
            for (field, value) in [("uid", &guard.uid), ("resourceVersion", &guard.version)] {
                if let Some(value) = value {
                    patch["metadata"][field] = json!(value);
                }
            }
            patch
        };
        let mut tried = Value::Null;
        let result = match &ask.deed {
            Deed::Create(body) => {
                let mut body = seen.filled(body, "");
                body["metadata"]["name"] = ask.name.into();
                self.store.create(ask.kind, body).map(|_| 201)
            }
            Deed::Get => match self.store.get(ask.kind, ask.name) {
                Some(_) => Ok(200),
                None => Err(Refused { code: 404, message: String::new() }),
            },
            Deed::Delete { grace_seconds } => {
                self.store.delete(ask.kind, ask.name, &guard, *grace_seconds).map(|_| 200)
            }
            Deed::Patch(patch) => self.store.patch(ask.kind, ask.name, &guarded(patch), Part::Whole).map(|_| 200),
            Deed::TryPatch(patch) => {
                self.store.patched(ask.kind, ask.name, &guarded(patch), Part::Whole).map(|(_, value)| {
                    tried = seen.tried(ask, &value, "");
                    200
                })
            }
            Deed::TryTemplate(template) => defaulted(Some(template)).map(|made| {
                tried = seen.tried(ask, &made, "");
                201
            }),
            Deed::Put(values) => {
                let whole = with_values(self.get(ask).unwrap_or_default(), values);
                self.store.replace(ask.kind, ask.name, &whole, &guard).map(|_| 200)
            }
            Deed::PatchStatus(patch) => {
                self.store.patch(ask.kind, ask.name, &guarded(patch), Part::Status).map(|_| 200)
            }
            Deed::PutStatus(status) => self.store.put_status(ask.name, status.clone(), &guard).map(|_| 200),
        };
        match result {
            Ok(code) => Answer { code, reason: String::new(), tried },
            Err(refused) => Answer { code: refused.code, reason: reason(&refused).to_owned(), tried },
        }
    }

    pub fn get(&self, ask: &Ask) -> Option<Value> {
        self.store.get(ask.kind, ask.name).map(|object| object.value.clone())
    }
}

fn reason(refused: &Refused) -> &'static str {
    match refused.code {
        404 => "NotFound",
        409 if refused.message.contains("already exists") => "AlreadyExists",
        409 => "Conflict",
        403 => "Forbidden",
        422 => "Invalid",
        _ => "",
    }
}
