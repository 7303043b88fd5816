//! Containers that are started again although no field changes that a kubelet looks at: because an
//! annotation of the template asks for it, or because values of their environment are in
//! annotations of the Pod (`env: Annotations`). Another reference of the same image does it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::alias::{other_reference, reference_of};
use super::diff::{Difference, Entry};
use super::env_annotations::{key, literals};
use super::operations::{Operation, find};
use super::progress::{Progress, progress};
use super::state::InPlaceState;
use super::table::{Class, annotation_row};
use crate::model::{AnnotationRules, ContainerFacts, ContainerKind, FieldKind, PodFacts};

/// What decides about annotations and environment variables, beside the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub annotations: AnnotationRules,
    /// `env: Annotations`.
    pub env_in_annotations: bool,
}

/// What a change from one template to another restarts in this way, whichever the Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Restarts {
    /// The paths of the annotations that ask for all containers.
    asked_by: Vec<String>,
    env_in_annotations: bool,
    /// Containers of which nothing changes in the environment but literal values.
    variables: BTreeMap<Entry, Vec<Variable>>,
}

/// A literal variable with another value.
#[derive(Clone, Debug, PartialEq)]
struct Variable {
    name: String,
    /// Of the difference.
    path: String,
    new: String,
}

/// The same for one Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PodRestarts {
    /// Containers whose environment changes by annotations alone.
    pub by_annotations: BTreeSet<Entry>,
    /// The Pod's annotations that hold new values.
    pub annotations: BTreeMap<String, String>,
    /// What is written for the image of each container that is started again.
    pub images: BTreeMap<Entry, String>,
    /// What stands against it.
    pub reasons: Vec<String>,
}

/// A container of the new template that goes on in the Pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasting<'a> {
    pub entry: &'a Entry,
    /// As the template writes it.
    pub image: &'a str,
    /// By its pull policy.
    pub always_pulls: bool,
    /// It gets another image by the same patch.
    pub gets_image: bool,
    /// The same patch would change its environment or mounts, were they not in annotations.
    pub gets_fields: bool,
    /// [`super::decide::fields_hash`] of the new contents.
    pub new_fields: &'a str,
}

/// Gives the differences of annotations the class that these rules give them.
pub(super) fn classify_annotations(differences: &mut [Difference], rules: &AnnotationRules) {
    for difference in differences {
        let Some(key) = difference.path.strip_prefix("metadata.annotations[").and_then(|rest| rest.strip_suffix(']'))
        else {
            continue;
        };
        let row = annotation_row(rules.injectors.matches(key), rules.restart.matches(key));
        difference.class = row.class;
        difference.reason = row.reason().to_owned();
        difference.cannot = row.cannot.to_owned();
    }
}

/// The values of a template's annotations that ask for restarts: a container that was started with
/// others is not what is wanted.
pub(super) fn restart_values(template: &Value, rules: &AnnotationRules) -> Map<String, Value> {
    let annotations = template.pointer("/metadata/annotations").and_then(Value::as_object);
    annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| rules.restart.matches(key) && !rules.injectors.matches(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

impl Restarts {
    /// `old` and `new`: the templates; `differences`: with the classes of [`classify_annotations`].
    pub fn between(old: &Value, new: &Value, differences: &[Difference], rules: &Rules) -> Self {
        let asked_by = differences
            .iter()
            .filter(|difference| difference.class == Class::Rebuild && difference.path.starts_with("metadata."))
            .map(|difference| difference.path.clone())
            .collect();
        let variables = if rules.env_in_annotations { variables(old, new, differences) } else { BTreeMap::new() };
        Restarts { asked_by, env_in_annotations: rules.env_in_annotations, variables }
    }

    /// Containers whose environment can change in this Pod by its annotations.
    fn by_annotations(&self, pod: &PodFacts) -> BTreeSet<Entry> {
        let holds = |(entry, variables): &(&Entry, &Vec<Variable>)| {
            container_of(pod, entry)
                .is_some_and(|found| variables.iter().all(|variable| has_reference(found, variable)))
        };
        self.variables.iter().filter(holds).map(|(entry, _)| entry.clone()).collect()
    }

    /// Why a variable does not change by annotations although that was asked for; `None`: it was not.
    pub fn why_not_by_annotations(&self, difference: &Difference, pod: &PodFacts) -> Option<&'static str> {
        if !self.env_in_annotations || difference.needs != Some(FieldKind::Env) {
            return None;
        }
        let entry = difference.entry.as_ref()?;
        let Some(variables) = self.variables.get(entry) else {
            return Some(
                "with env Annotations only literal values change in a running Pod, of names that it was made with and \
                 without a $",
            );
        };
        let found = container_of(pod, entry)?;
        let variable = variables.iter().find(|variable| variable.path == difference.path)?;
        (!has_reference(found, variable)).then_some(
            "the Pod was made before env was set to Annotations, with the value in its spec; the new Pod has it in an \
             annotation",
        )
    }

    /// What is to be done to a Pod.
    pub fn of_pod(&self, pod: &PodFacts, lasting: &[Lasting<'_>], now: Timestamp) -> PodRestarts {
        let mut restarts = PodRestarts { by_annotations: self.by_annotations(pod), ..PodRestarts::default() };
        restarts.reasons.extend(self.runs_once(pod));
        for (entry, variables) in self.variables.iter().filter(|(entry, _)| restarts.by_annotations.contains(*entry)) {
            let values = variables.iter().map(|variable| (key(&entry.name, &variable.name), variable.new.clone()));
            restarts.annotations.extend(values);
        }
        let state = pod.in_place_state.as_deref().and_then(InPlaceState::parse);
        let under_way = state.filter(|_| progress(pod, now) != Progress::Done);
        for one in lasting {
            let by_annotations = restarts.by_annotations.contains(one.entry);
            let asked = by_annotations || !self.asked_by.is_empty();
            let Some(found) = container_of(pod, one.entry).filter(|_| asked || one.gets_image) else { continue };
            let record = under_way.as_ref().and_then(|state| state.containers.get(&one.entry.name));
            let avoid = record.map(|record| record.texts_with_other_fields(found, one.new_fields)).unwrap_or_default();
            if !asked && !avoid.contains(&one.image) {
                // The patch of its image says all.
                continue;
            }
            let text = if one.gets_image {
                reference_of(found, one.image, one.always_pulls, &avoid)
            } else {
                other_reference(found, one.image, one.always_pulls, &avoid)
            };
            match text {
                Ok(image) => drop(restarts.images.insert(one.entry.clone(), image)),
                // The kubelet starts it again for its fields. A resize is another request, and may come too early.
                Err(_) if one.gets_fields && !by_annotations => {}
                // So it does where an earlier patch, still under way, changed them on a customised cluster.
                Err(_) if !asked && under_way.as_ref().is_some_and(|state| !state.needs.is_empty()) => {}
                Err(why) => restarts.reasons.push(self.cannot_restart(one.entry, why)),
            }
        }
        restarts
    }

    fn cannot_restart(&self, entry: &Entry, why: &str) -> String {
        let variables = self.variables.get(entry).into_iter().flatten().map(|variable| &variable.path);
        let mut paths: Vec<String> = self.asked_by.iter().chain(variables).cloned().collect();
        if paths.is_empty() {
            paths.push(format!("spec.{}[{}].image", entry.list, entry.name));
        }
        format!("{}: container {} cannot be started again in the running Pod: {why}", paths.join(", "), entry.name)
    }

    /// A restart is meant to do the work of init containers again too.
    fn runs_once(&self, pod: &PodFacts) -> Option<String> {
        let first = self.asked_by.first()?;
        let once = pod.containers.iter().find(|container| container.kind == ContainerKind::Init)?;
        Some(format!(
            "{first}: a change of this annotation asks for a restart, and init container {} runs again only in a new Pod",
            once.name
        ))
    }
}

impl PodRestarts {
    /// Whether the annotations make this difference, and nothing else has to.
    pub fn makes(&self, difference: &Difference) -> bool {
        difference.needs == Some(FieldKind::Env)
            && difference.entry.as_ref().is_some_and(|entry| self.by_annotations.contains(entry))
    }

    /// Whether this operation is not needed beside the annotations.
    pub fn replaces(&self, operation: &Operation) -> bool {
        match operation.needs {
            None => self.images.contains_key(&operation.entry),
            Some(kind) => kind == FieldKind::Env && self.by_annotations.contains(&operation.entry),
        }
    }

    /// The images' other texts.
    pub fn operations(&self) -> Vec<Operation> {
        let operation = |(entry, image): (&Entry, &String)| Operation {
            needs: None,
            entry: entry.clone(),
            fields: [("image".to_owned(), image.as_str().into())].into_iter().collect(),
        };
        self.images.iter().map(operation).collect()
    }
}

/// Literal values that change, of containers with no other change of their environment.
fn variables(old: &Value, new: &Value, differences: &[Difference]) -> BTreeMap<Entry, Vec<Variable>> {
    let mut changed: BTreeMap<Entry, Option<Vec<Variable>>> = BTreeMap::new();
    for difference in differences.iter().filter(|difference| difference.needs == Some(FieldKind::Env)) {
        let Some(entry) = &difference.entry else { continue };
        let found = changed.entry(entry.clone()).or_insert_with(|| Some(Vec::new()));
        match (variable(old, new, entry, difference), found.as_mut()) {
            (Some(variable), Some(variables)) => variables.push(variable),
            _ => *found = None,
        }
    }
    changed.into_iter().filter_map(|(entry, variables)| Some((entry, variables?))).collect()
}

fn variable(old: &Value, new: &Value, entry: &Entry, difference: &Difference) -> Option<Variable> {
    let name = difference.path.rsplit_once(".env[").and_then(|(_, rest)| rest.strip_suffix("].value"))?;
    let literal = |template: &Value| literals(find(template, entry)?).remove(name);
    literal(old)?;
    Some(Variable { name: name.to_owned(), path: difference.path.clone(), new: literal(new)? })
}

fn has_reference(container: &ContainerFacts, variable: &Variable) -> bool {
    container.env_in_annotations.iter().any(|name| **name == variable.name)
}

fn container_of<'a>(pod: &'a PodFacts, entry: &Entry) -> Option<&'a ContainerFacts> {
    pod.containers.iter().find(|container| container.name == entry.name)
}

#[cfg(test)]
#[path = "restart_tests.rs"]
mod tests;
