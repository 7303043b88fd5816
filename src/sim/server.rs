//! A request reaches the apiserver: it may fail before, be refused, be done, and its answer may be
//! lost. The oracle sees every one.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::controller::{Answered, Intent, Outcome, Request, Verb};
use super::facts;
use super::store::{Kind, Object, Refused};
use super::world::{Event, Mutant, SET, World, note};
use crate::inplace::with_defaults;
use crate::model::{Snapshot, TemplateAnswer};
use crate::plan::action::{Question, RevisionAction};

/// How long a client waits for an answer that was lost.
const LOST_MS: i64 = 10_000;

impl World {
    pub fn arrive(&mut self, request: Request) {
        let chaos = self.faults.then(|| self.random.next() % 1000).map_or(1000, |drawn| drawn as u32);
        let rates = &self.swarm;
        let outcome = if chaos < rates.error_per_mille {
            let code = self.random.pick(&[500, 429, 409, 503]);
            Outcome::Refused(code, "a fault".to_owned())
        } else {
            self.serve(&request)
        };
        let lost = self.faults && self.random.per_mille(self.swarm.lost_answer_per_mille);
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
        if request.abandoned {
            return;
        }
        let delay = self.random.range(1, self.swarm.request_ms);
        let (delay, outcome) = if lost { (delay + LOST_MS, Outcome::Unknown) } else { (delay, outcome) };
        self.after(delay, Event::Answer(Box::new(Answered { request, outcome, version: self.store.version })));
    }

    fn serve(&mut self, request: &Request) -> Outcome {
        match request.verb {
            Verb::Get => return self.read(request),
            Verb::DryRun => return dry_run(request),
            _ => {}
        }
        self.oracle.before(request, &self.store, &self.cluster);
        if self.quota_used_up && request.verb == Verb::Create && request.kind == Kind::Pod {
            return Outcome::Refused(403, "exceeded quota: pods".to_owned());
        }
        let version = self.store.version;
        let result = self.write(request);
        match result {
            Ok(object) => {
                if self.store.version > version {
                    self.oracle.after(self.now, request, self.store.version);
                }
                Outcome::Done(Some(object))
            }
            Err(Refused { code, message }) => {
                if code == 422 {
                    self.oracle.fail(format!("S11: {} was refused: {message}", request.name));
                }
                Outcome::Refused(code, message)
            }
        }
    }

    fn write(&mut self, request: &Request) -> Result<Arc<Object>, Refused> {
        let name = &request.name;
        match request.verb {
            Verb::Create => match self.store.create(request.kind, request.body.clone()) {
                // A claim or revision of ours that is there already is as good.
                Err(refused) if refused.code == 409 && self.is_as_wanted(request) => {
                    self.store.get(request.kind, name).cloned().ok_or(refused)
                }
                other => other,
            },
            Verb::Delete => self.store.delete(request.kind, name, &request.guard, None),
            Verb::Patch => self.store.patch(request.kind, name, &request.body, false),
            Verb::PatchStatus => self.store.patch(request.kind, name, &request.body, true),
            Verb::PutStatus => self.store.put_status(name, request.body.clone(), &request.guard),
            Verb::Get | Verb::DryRun => super::store::refused(400, "no write"),
        }
    }

    /// After a 409 to a create, the executor looks live whether the object is its own.
    fn is_as_wanted(&self, request: &Request) -> bool {
        let Some(found) = self.store.get(request.kind, &request.name) else { return false };
        let owner = facts::controller(&found.value).map(|owner| owner.uid);
        match (&request.intent, request.kind) {
            (Intent::Revision(RevisionAction::Create { data, .. }), _) => {
                owner.as_ref() == Some(&request.read.set_uid) && found.value.get("data") == Some(&**data)
            }
            (_, Kind::Pod) => owner.as_ref() == Some(&request.read.set_uid),
            _ => false,
        }
    }

    fn read(&mut self, request: &Request) -> Outcome {
        let mut object = self.store.get(request.kind, &request.name).cloned();
        if self.mutant == Some(Mutant::AnswersFromTheView) && matches!(request.intent, Intent::Ask(_)) {
            let view = self.controllers[request.controller].views.get(&request.kind);
            object = view.and_then(|view| view.objects.get(&request.name)).cloned();
        }
        match &request.intent {
            Intent::CheckSet => {
                let same = object.as_ref().is_some_and(|set| set.uid == request.read.set_uid && !set.is_terminating());
                if !same {
                    return Outcome::Refused(404, "the set is another one now".to_owned());
                }
            }
            Intent::CheckRevision(hash) => {
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

    pub fn mutate_snapshot(&self, snapshot: &mut Snapshot) {
        let Some(mutant) = self.mutant else { return };
        match mutant {
            Mutant::ForgetLedgerAtOnce | Mutant::NoLedger => {
                let mut status = (*snapshot.set.status).clone();
                status.disrupted.clear();
                snapshot.set.status = Arc::new(status);
            }
            Mutant::IgnorePartition | Mutant::IgnorePause | Mutant::BudgetTooLarge => {
                let mut spec = (*snapshot.set.spec).clone();
                if let Some(rolling) = spec.update_strategy.as_mut().and_then(|one| one.rolling_update.as_mut()) {
                    match mutant {
                        Mutant::IgnorePartition => rolling.partition = None,
                        Mutant::IgnorePause => rolling.paused = None,
                        _ => rolling.max_unavailable = Some(IntOrString::Int(9)),
                    }
                }
                snapshot.set.spec = Arc::new(spec);
            }
            Mutant::TerminatingPodsUnseen => {
                for pod in snapshot.pods.values_mut() {
                    if pod.is_terminating() {
                        let mut blind = (**pod).clone();
                        blind.deletion = None;
                        *pod = Arc::new(blind);
                    }
                }
            }
            _ => {}
        }
    }

    pub fn set_version(&self) -> Option<&Arc<Object>> {
        self.store.get(Kind::Set, SET)
    }
}

/// A PodTemplate as the apiserver would store it.
fn dry_run(request: &Request) -> Outcome {
    let Intent::Ask(Question::DefaultedTemplate { template, .. }) = &request.intent else {
        return Outcome::Refused(400, "nothing asked".to_owned());
    };
    let Ok(mut template) = serde_json::from_str::<Value>(template) else {
        return Outcome::Refused(400, "no JSON".to_owned());
    };
    if template.to_string().contains("invalid-image") {
        return Outcome::Template(TemplateAnswer::Invalid("spec.containers[0].image: Invalid value".into()));
    }
    template = with_defaults(&template);
    // A default that this controller has never heard of.
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("fieldOfTomorrow").or_insert_with(|| "always".into());
    }
    Outcome::Template(TemplateAnswer::Defaulted(Arc::new(template)))
}
