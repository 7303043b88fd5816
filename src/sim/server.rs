//! A request reaches the apiserver: it may fail before, be refused, be done, and its answer may be
//! lost. The oracle sees every one.

use std::sync::Arc;

use serde_json::{Value, json};

use super::chaos::Fault;
use super::controller::{Answered, Intent, Outcome, Request, Verb};
use super::facts;
use super::mutants::Mutant;
use super::store::{Kind, Object, Part, Refused, refused};
use super::world::{Event, SET, World, note};
use crate::inplace::with_defaults;
use crate::model::TemplateAnswer;
use crate::plan::action::{Question, RevisionAction};

/// How long a client waits for an answer that was lost.
const LOST_MS: i64 = 10_000;

impl World {
    pub fn arrive(&mut self, request: Request) {
        let alive = request.epoch == self.controllers[request.controller].epoch;
        let outcome = match request.fault {
            Some(Fault::CrashBefore) if alive => return self.crash(request.controller),
            Some(Fault::Refuse(code)) => Outcome::Refused(code, "a fault".to_owned()),
            Some(Fault::Drop) => Outcome::Unknown,
            _ => self.serve(&request),
        };
        let lost = matches!(request.fault, Some(Fault::Lose | Fault::Cut));
        let what = match &outcome {
            Outcome::Done(_) | Outcome::Template(_) => "ok".to_owned(),
            Outcome::Refused(code, message) => format!("{code} {message}"),
            Outcome::Unknown => "unknown".to_owned(),
        };
        note!(
            self,
            "c{}{} {:?} {:?} {} {what}{}",
            request.controller,
            if request.epoch == self.controllers[request.controller].epoch { "" } else { " (dead)" },
            request.verb,
            request.kind,
            request.name,
            if lost { " (answer lost)" } else { "" }
        );
        if request.fault == Some(Fault::CrashAfter) && alive {
            return self.crash(request.controller);
        }
        if request.abandoned {
            return;
        }
        let delay = self.random.range(1, self.swarm.request_ms);
        let (delay, outcome) = match request.fault {
            Some(Fault::Lose) => (delay + LOST_MS, Outcome::Unknown),
            Some(Fault::Cut | Fault::Drop) => (delay, Outcome::Unknown),
            _ => (delay, outcome),
        };
        self.after(delay, Event::Answer(Box::new(Answered { request, outcome, version: self.store.version })));
    }

    fn serve(&mut self, request: &Request) -> Outcome {
        match request.verb {
            Verb::Get => return self.read(request),
            Verb::DryRun => return self.dry_run(request),
            _ => {}
        }
        match self.commit(request) {
            // A claim or revision of ours that is there already is as good.
            Outcome::Refused(409, message) if request.verb == Verb::Create => match self.as_wanted(request) {
                Some(object) => Outcome::Done(Some(object)),
                None => Outcome::Refused(409, message),
            },
            outcome => outcome,
        }
    }

    /// A write, under the eyes of the oracle.
    pub fn commit(&mut self, request: &Request) -> Outcome {
        if request.is_for_another {
            return match self.write(request) {
                Ok(object) => Outcome::Done(Some(object)),
                Err(Refused { code, message }) => Outcome::Refused(code, message),
            };
        }
        self.oracle.before(request, &self.store, &self.cluster);
        let version = self.store.version;
        let result = self.write(request);
        match result {
            Ok(object) => {
                if self.store.version > version {
                    self.oracle.refusals_are_told(request);
                    self.oracle.after(request, self.store.version);
                    let nobody_waits = request.abandoned
                        || self.controllers.get(request.controller).is_some_and(|one| one.epoch != request.epoch);
                    if request.verb == Verb::Create && request.kind == Kind::Pod && nobody_waits {
                        self.oracle.made_late.insert(object.uid.clone());
                    }
                }
                Outcome::Done(Some(object))
            }
            Err(refused) => {
                self.refused += 1;
                self.was_refused(request, &refused);
                let Refused { code, message } = refused;
                match code {
                    404 => self.oracle.saw("a write met 404"),
                    422 => self.oracle.fail(format!("S11: {} was refused: {message}", request.name)),
                    _ => {}
                }
                Outcome::Refused(code, message)
            }
        }
    }

    fn write(&mut self, request: &Request) -> Result<Arc<Object>, Refused> {
        let name = &request.name;
        if request.verb == Verb::Create {
            // Quota and webhook are the one set's.
            self.policies.admit((!request.is_for_another).then_some(request.kind), name)?;
        }
        match request.verb {
            Verb::Create => self.store.create(request.kind, request.body.clone()),
            Verb::Delete => self.store.delete(request.kind, name, &request.guard, request.grace_seconds),
            Verb::Patch | Verb::MergePatch => self.store.patch(request.kind, name, &request.body, Part::Whole),
            Verb::PatchStatus => self.store.patch(request.kind, name, &request.body, Part::Status),
            Verb::Resize => self.store.patch(request.kind, name, &request.body, Part::Resize),
            Verb::PutStatus => self.store.put_status(name, request.body.clone(), &request.guard),
            Verb::Get | Verb::DryRun => super::store::refused(400, "no write"),
        }
    }

    /// After a 409 to a create, the executor looks live whether the object is its own.
    fn as_wanted(&self, request: &Request) -> Option<Arc<Object>> {
        let found = self.store.get(request.kind, &request.name)?;
        let owner = facts::controller(&found.value).map(|owner| owner.uid);
        let ours = owner.as_ref() == Some(&request.read.set_uid);
        let wanted = match (&request.intent, request.kind) {
            (Intent::Revision(RevisionAction::Create { data, .. }), _) => found.value.get("data") == Some(&**data),
            (_, Kind::Pod) => true,
            _ => false,
        };
        (ours && wanted).then(|| Arc::clone(found))
    }

    fn read(&mut self, request: &Request) -> Outcome {
        let mut object = self.store.get(request.kind, &request.name).cloned();
        if self.mutant == Some(Mutant::AnswersFromTheView) && matches!(request.intent, Intent::Ask(_)) {
            let view = self.controllers[request.controller].views.get(&request.kind);
            object = view.and_then(|view| view.objects.get(&request.name)).cloned();
        }
        if request.kind == Kind::Set {
            self.oracle.looked_at_set(request.controller, request.epoch, object.as_deref());
        }
        match &request.intent {
            Intent::CheckSet => {
                let same = object.as_ref().is_some_and(|set| set.uid == request.read.set_uid && !set.is_terminating());
                if !same {
                    return Outcome::Refused(404, "the set is another one now".to_owned());
                }
            }
            Intent::CheckRevision(hash) => {
                if self.mutant == Some(Mutant::HistoryWithoutALook) {
                    return Outcome::Done(object);
                }
                let label = |object: &Arc<Object>| object.pod().is_some_and(|pod| pod.revision_label() == &**hash);
                let named = object.as_ref().and_then(|set| set.set()).is_some_and(|set| {
                    let names = [&set.status.current_revision, &set.status.update_revision];
                    names.iter().any(|name| name.as_deref().is_some_and(|name| name.ends_with(&**hash)))
                });
                let seen = self.controllers[request.controller].run.as_ref().map(|run| run.snapshot.set.generation);
                let same = object.as_ref().and_then(|set| set.set()).map(|set| set.generation) == seen;
                if named || !same || self.store.all(Kind::Pod).any(|(_, pod)| label(pod)) {
                    return Outcome::Refused(409, "the revision is in use".to_owned());
                }
            }
            _ => {}
        }
        Outcome::Done(object)
    }

    fn dry_run(&self, request: &Request) -> Outcome {
        let Intent::Ask(Question::DefaultedTemplate { template, .. }) = &request.intent else {
            return Outcome::Refused(400, "nothing asked".to_owned());
        };
        let template = serde_json::from_str::<Value>(template).ok();
        match self.policies.admit(None, "template").and_then(|()| defaulted(template.as_ref())) {
            Ok(object) => Outcome::Template(TemplateAnswer::Defaulted(Arc::new(object["template"].clone()))),
            Err(Refused { code: 422, message }) => Outcome::Template(TemplateAnswer::Invalid(message.into())),
            Err(Refused { code, message }) => Outcome::Refused(code, message),
        }
    }

    pub fn set_version(&self) -> Option<&Arc<Object>> {
        self.store.get(Kind::Set, SET)
    }
}

/// A PodTemplate as the apiserver would store it.
pub fn defaulted(template: Option<&Value>) -> Result<Value, Refused> {
    let Some(template) = template else { return refused(400, "no template") };
    if template.to_string().contains("invalid-image") {
        return refused(422, "spec.containers[0].image: Invalid value");
    }
    let mut template = with_defaults(template);
    // A default that this controller has never heard of.
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("fieldOfTomorrow").or_insert_with(|| "always".into());
    }
    Ok(json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}))
}
