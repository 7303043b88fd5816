//! In place or not: one decision a Pod.

use std::collections::BTreeSet;

use serde_json::Value;

use super::diff::{Difference, differences, is_restartable};
use super::image::same_reference;
use super::table::Class;
use crate::model::{ContainerKind, PodFacts};

/// What a revision holds.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The Pod template, defaulted or not.
    pub template: &'a Value,
    /// The names of the claim templates, in any order.
    pub claims: &'a [&'a str],
}

/// What to do with a Pod so that it has the new contents.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Patch(InPlacePatch),
    /// Reasons as users read them, each with the field's path. Never empty.
    Recreate {
        reasons: Vec<String>,
    },
}

/// An update that the running Pod can take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InPlacePatch {
    /// The containers that are re-created, each with its new image.
    pub rebuild: Vec<(Box<str>, Box<str>)>,
    /// No container is touched: labels and annotations only, or nothing but the revision label.
    pub metadata_only: bool,
    pub differences: Vec<Difference>,
}

/// The step from one revision to another: worked out once, then asked for each Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub differences: Vec<Difference>,
    /// What stands against an update in place of any Pod.
    static_reasons: Vec<String>,
    new_containers: Vec<TemplateContainer>,
}

#[derive(Clone, Debug, PartialEq)]
struct TemplateContainer {
    name: Box<str>,
    image: Box<str>,
    kind: ContainerKind,
}

impl Change {
    pub fn between(old: Contents<'_>, new: Contents<'_>) -> Self {
        let differences = differences(old.template, new.template);
        let mut static_reasons: Vec<String> = differences
            .iter()
            .filter(|difference| difference.class == Class::Static)
            .map(|difference| format!("{}: {}", difference.path, difference.reason))
            .collect();
        static_reasons.extend(claim_reasons(old.claims, new.claims));
        Self { differences, static_reasons, new_containers: containers_of(new.template) }
    }

    /// What this change does to one Pod, which has the old contents or is half way to them.
    pub fn for_pod(&self, pod: &PodFacts) -> Decision {
        let mut reasons = self.static_reasons.clone();
        if pod.is_terminal() {
            reasons.push(format!("Pod {} has ended, its containers will never run again", pod.name));
        }
        let mut rebuild = Vec::new();
        for wanted in &self.new_containers {
            match pod.containers.iter().find(|container| container.name == wanted.name) {
                None => reasons.push(format!("{}: the Pod has no such container", wanted.path())),
                Some(found) if found.kind != wanted.kind => {
                    reasons.push(format!("{}: the Pod's container of this name is of another kind", wanted.path()));
                }
                // Its image on the Pod has done its work; a changed one is a Static difference.
                Some(found) if found.kind == ContainerKind::Init => {}
                // An image that only the Pod has otherwise came by admission (a registry mirror):
                // the patch and the revision label are one write, so the templates tell all.
                Some(_) if !self.changes_image(&wanted.path()) => {}
                Some(found) if same_reference(&found.image, &wanted.image) => {}
                Some(_) => rebuild.push((wanted.name.clone(), wanted.image.clone())),
            }
        }
        if !reasons.is_empty() {
            return Decision::Recreate { reasons };
        }
        let metadata_only = rebuild.is_empty();
        Decision::Patch(InPlacePatch { rebuild, metadata_only, differences: self.differences.clone() })
    }
}

impl Change {
    fn changes_image(&self, container: &str) -> bool {
        let path = format!("{container}.image");
        self.differences.iter().any(|difference| difference.path == path)
    }
}

/// [`Change::between`] and [`Change::for_pod`] at once, for a single Pod.
pub fn should_do_in_place_update(old: Contents<'_>, new: Contents<'_>, pod: &PodFacts) -> Decision {
    Change::between(old, new).for_pod(pod)
}

impl TemplateContainer {
    fn path(&self) -> String {
        let list = if self.kind == ContainerKind::Main { "containers" } else { "initContainers" };
        format!("spec.{list}[{}]", self.name)
    }
}

fn claim_reasons(old: &[&str], new: &[&str]) -> Vec<String> {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (old.iter().copied().collect(), new.iter().copied().collect());
    let added = new.difference(&old).map(|name| (name, "added"));
    let removed = old.difference(&new).map(|name| (name, "removed"));
    added
        .chain(removed)
        .map(|(name, what)| {
            format!("volumeClaimTemplates[{name}]: claim template {what}: a running Pod's volumes cannot be changed")
        })
        .collect()
}

/// The containers of a template that have a name; one without is refused by every apiserver.
fn containers_of(template: &Value) -> Vec<TemplateContainer> {
    let list =
        |field: &str| -> Vec<Value> { template.pointer(field).and_then(Value::as_array).cloned().unwrap_or_default() };
    let described = |container: &Value, kind: ContainerKind| -> Option<TemplateContainer> {
        Some(TemplateContainer {
            name: container.get("name")?.as_str()?.into(),
            image: container.get("image").and_then(Value::as_str).unwrap_or_default().into(),
            kind,
        })
    };
    let init = list("/spec/initContainers");
    let init = init.iter().filter_map(|container| {
        let kind = if is_restartable(container) { ContainerKind::RestartableInit } else { ContainerKind::Init };
        described(container, kind)
    });
    let main = list("/spec/containers");
    init.chain(main.iter().filter_map(|container| described(container, ContainerKind::Main))).collect()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
