//! In place or not: one decision a Pod.

mod begun_resize;

use std::collections::{BTreeMap, BTreeSet};

use begun_resize::Resizes;
use serde_json::{Map, Value, json};

use super::circumstance::{RESIZABLE, restarts_on_resize};
use super::decision::{Cluster, Contents, Decision, InPlacePatch, Inquiry, Pace, Rebuild};
use super::defaults::with_defaults;
use super::diff::{Difference, Entry, differences_of_defaulted, is_restartable};
use super::image::same_reference;
use super::operations::{Operation, assemble, operations};
use super::resize::amounts;
use super::restart::{Lasting, PodRestarts, Restarts, Rules, classify_annotations, restart_values};
use super::table::Class;
use crate::model::revision::hash;
use crate::model::{Amount, AnnotationRules, Can, ContainerKind, FieldKind, PodFacts, Resources};

/// The step from one revision to another: worked out once, then asked for each Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub differences: Vec<Difference>,
    /// What stands against an update in place of any Pod.
    static_reasons: Vec<String>,
    containers: Vec<TemplateContainer>,
    operations: Vec<Operation>,
    added_tolerations: Vec<Value>,
    restarts: Restarts,
}

#[derive(Clone, Debug, PartialEq)]
struct TemplateContainer {
    entry: Entry,
    kind: ContainerKind,
    image: Box<str>,
    always_pulls: bool,
    image_changes: bool,
    /// Another field changes that re-creates it.
    fields_change: bool,
    old_fields: Box<str>,
    new_fields: Box<str>,
    old_resources: Resources,
    resources: Resources,
    /// The amounts whose change re-creates it.
    restarted_by: BTreeSet<Amount>,
}

impl Change {
    /// `rules`: what annotations and variables mean for the set.
    pub fn between(old: Contents<'_>, new: Contents<'_>, rules: &Rules) -> Self {
        let (old_template, new_template) = (with_defaults(old.template), with_defaults(new.template));
        let mut differences = differences_of_defaulted(&old_template, &new_template);
        classify_annotations(&mut differences, &rules.annotations);
        let mut static_reasons: Vec<String> = differences
            .iter()
            .filter(|difference| difference.class == Class::Static)
            .map(|difference| format!("{}: {}", difference.path, difference.reason))
            .collect();
        static_reasons.extend(claim_reasons(old.claims, new.claims));
        static_reasons.extend(claimed_volumes(&differences, &[old.claims, new.claims].concat()));
        Self {
            operations: operations(&differences, &old_template, &new_template),
            containers: containers_of(&old_template, &new_template, &differences, &rules.annotations),
            restarts: Restarts::between(&old_template, &new_template, &differences, rules),
            added_tolerations: added_tolerations(&old_template, &new_template),
            static_reasons,
            differences,
        }
    }

    /// What this change does to one Pod, which has the old contents or is half way to them.
    pub fn for_pod(&self, pod: &PodFacts, cluster: &Cluster<'_>) -> Decision {
        let mut reasons = self.static_reasons.clone();
        if pod.is_terminal() {
            reasons.push(format!("Pod {} has ended, its containers will never run again", pod.name));
        }
        reasons.extend(self.containers.iter().filter_map(|wanted| misfit(pod, wanted)));
        let restarts = self.restarts.of_pod(pod, &self.lasting(pod), cluster.now);
        reasons.extend(restarts.reasons.iter().cloned());
        let left = Resizes::of(pod, &self.containers);
        if let (false, Can::No(why)) = (left.is_empty(), cluster.abilities.of(FieldKind::Resize, pod.node.as_deref())) {
            reasons.push(format!("a resize that was begun and not ended cannot be taken back: {why}"));
        }
        let (mut unknown, mut denied) = (BTreeSet::new(), None);
        for difference in self.differences.iter().filter(|difference| !restarts.makes(difference)) {
            let Some(kind) = difference.needs else { continue };
            match cluster.abilities.of(kind, pod.node.as_deref()) {
                Can::Yes => {}
                Can::No(why) => {
                    let why = self.restarts.why_not_by_annotations(difference, pod).unwrap_or(&why);
                    reasons.push(format!("{}: {}: {why}", difference.path, difference.cannot));
                }
                Can::Denied { reason, message } => denied = Some(Decision::Denied { reason, message }),
                Can::Unknown => drop(unknown.insert(kind)),
            }
        }
        // What waits for a policy waits only where nothing else decides.
        if let (true, Some(denied)) = (reasons.is_empty(), denied) {
            return denied;
        }
        match (reasons.is_empty(), cluster.in_place_only) {
            (false, false) => Decision::Recreate { reasons },
            // All reasons are to be named.
            (_, _) if !unknown.is_empty() => Decision::Ask(self.inquiries(&unknown)),
            (false, true) => Decision::Blocked { reasons },
            (true, _) => Decision::Patch(self.patch(pod, restarts, left)),
        }
    }

    fn inquiries(&self, unknown: &BTreeSet<FieldKind>) -> Vec<Inquiry> {
        let mut inquiries: Vec<Inquiry> = Vec::new();
        for kind in unknown {
            let asked = kind.asked_with();
            let about: Vec<&Operation> = self
                .operations
                .iter()
                .filter(|operation| operation.needs.is_some_and(|it| asked.contains(&it)))
                .collect();
            let kinds: BTreeSet<FieldKind> = about.iter().filter_map(|operation| operation.needs).collect();
            if !inquiries.iter().any(|inquiry| inquiry.kinds == kinds) {
                inquiries.push(Inquiry { kinds, spec: assemble(about) });
            }
        }
        inquiries
    }

    /// The containers of the new template that go on in the Pod.
    fn lasting<'a>(&'a self, pod: &PodFacts) -> Vec<Lasting<'a>> {
        let lasting = self.containers.iter().filter(|wanted| wanted.kind != ContainerKind::Init);
        lasting
            .map(|wanted| Lasting {
                entry: &wanted.entry,
                image: &wanted.image,
                always_pulls: wanted.always_pulls,
                gets_image: wanted.image_changes
                    && pod
                        .containers
                        .iter()
                        .any(|found| found.name == wanted.entry.name && !same_reference(&found.image, &wanted.image)),
                new_fields: &wanted.new_fields,
                gets_fields: self.operations.iter().any(|operation| {
                    operation.entry == wanted.entry
                        && matches!(operation.needs, Some(FieldKind::Env | FieldKind::VolumeMounts))
                }),
            })
            .collect()
    }

    fn patch(&self, pod: &PodFacts, restarts: PodRestarts, left: Resizes) -> InPlacePatch {
        let mut rebuild = Vec::new();
        let mut settled: BTreeSet<&Entry> = BTreeSet::new();
        let mut at_size: BTreeSet<&Entry> = BTreeSet::new();
        for wanted in self.containers.iter().filter(|wanted| wanted.kind != ContainerKind::Init) {
            let Some(found) = pod.containers.iter().find(|container| container.name == wanted.entry.name) else {
                continue;
            };
            // An image that only the Pod has otherwise came by admission (a registry mirror):
            // the patch and the revision label are one write, so the templates tell all.
            let has_image = same_reference(&found.image, &wanted.image);
            if !wanted.image_changes || has_image {
                settled.insert(&wanted.entry);
            }
            let amounts = found.resources.as_deref().copied().unwrap_or_default();
            if amounts.have(&wanted.resources) && !amounts.have_more(&wanted.old_resources, &wanted.resources) {
                at_size.insert(&wanted.entry);
            }
            let image = (wanted.image_changes && !has_image).then(|| wanted.image.clone());
            let image = restarts.images.get(&wanted.entry).map(|image| image.as_str().into()).or(image);
            if image.is_some() || wanted.fields_change {
                rebuild.push(Rebuild {
                    container: wanted.entry.name.clone(),
                    image,
                    old_fields: wanted.old_fields.clone(),
                    new_fields: wanted.new_fields.clone(),
                });
            }
        }
        let is_resize = |operation: &&Operation| operation.needs == Some(FieldKind::Resize);
        let resizes = self.operations.iter().filter(is_resize);
        let by_patch = self.differences.iter().filter(|difference| !restarts.makes(difference));
        let mut needs: BTreeSet<FieldKind> = by_patch.filter_map(|difference| difference.needs).collect();
        let mut resized: BTreeMap<Box<str>, Resources> = resizes
            .clone()
            .filter_map(|operation| self.containers.iter().find(|wanted| wanted.entry == operation.entry))
            .map(|wanted| (wanted.entry.name.clone(), wanted.resources))
            .collect();
        let mut resize: Vec<Operation> =
            resizes.filter(|operation| !at_size.contains(&operation.entry)).cloned().collect();
        let mut resizing = self.resizing(&resize);
        left.add_to(&mut resize, &mut resizing, &mut resized, &mut rebuild);
        if !resize.is_empty() {
            needs.insert(FieldKind::Resize);
        }
        let pace = match (rebuild.is_empty(), needs.is_empty()) {
            (false, _) => Pace::Gate,
            (true, false) => Pace::Slot,
            (true, true) => Pace::Free,
        };
        InPlacePatch {
            class: self.differences.iter().map(|difference| difference.class).max().unwrap_or(Class::Dynamic),
            pace,
            rebuild,
            operations: self
                .operations
                .iter()
                .filter(|operation| !is_resize(operation))
                .filter(|operation| operation.needs.is_some() || !settled.contains(&operation.entry))
                .filter(|operation| !restarts.replaces(operation))
                .cloned()
                .chain(restarts.operations())
                .collect(),
            env_annotations: restarts.annotations,
            resized: resized.into_iter().collect(),
            resize,
            resizing,
            added_tolerations: self.added_tolerations.clone(),
            needs,
            differences: self.differences.clone(),
        }
    }

    /// The amounts that these operations change.
    fn resizing(&self, resize: &[Operation]) -> BTreeMap<Box<str>, BTreeSet<Amount>> {
        let changed = |wanted: &TemplateContainer| {
            let differs = |amount: &Amount| wanted.old_resources.get(*amount) != wanted.resources.get(*amount);
            Amount::ALL.into_iter().filter(differs).collect()
        };
        let wanted =
            resize.iter().filter_map(|operation| self.containers.iter().find(|it| it.entry == operation.entry));
        wanted.map(|wanted| (wanted.entry.name.clone(), changed(wanted))).collect()
    }
}

/// [`Change::between`] and [`Change::for_pod`] at once, for a single Pod.
pub fn should_do_in_place_update(
    old: Contents<'_>,
    new: Contents<'_>,
    pod: &PodFacts,
    cluster: &Cluster<'_>,
) -> Decision {
    Change::between(old, new, cluster.rules).for_pod(pod, cluster)
}

/// A short name for all fields of a container (JSON, of a defaulted template) that re-create it
/// when they change, the image apart: that one is compared as the Pod's spec has it. `restarts`: the
/// annotations of the template that ask for restarts.
pub fn fields_hash(container: &Value, restarts: &Map<String, Value>) -> Box<str> {
    let mut fields = Map::new();
    if !restarts.is_empty() {
        fields.insert("annotations".to_owned(), restarts.clone().into());
    }
    for field in ["env", "envFrom", "volumeMounts"] {
        if let Some(value) = container.get(field) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    for resource in RESIZABLE.iter().filter(|resource| restarts_on_resize(container, resource)) {
        let of = |kind: &str| container.get("resources")?.get(kind)?.get(*resource).cloned();
        fields.insert((*resource).to_owned(), json!([of("limits"), of("requests")]));
    }
    hash(&fields.into(), 0).into()
}

/// Why the Pod has no container that could become the wanted one.
fn misfit(pod: &PodFacts, wanted: &TemplateContainer) -> Option<String> {
    let path = format!("spec.{}[{}]", wanted.entry.list, wanted.entry.name);
    match pod.containers.iter().find(|container| container.name == wanted.entry.name) {
        None => Some(format!("{path}: the Pod has no such container")),
        Some(found) if found.kind != wanted.kind => {
            Some(format!("{path}: the Pod's container of this name is of another kind"))
        }
        Some(_) => None,
    }
}

/// Why claim templates that come or go take a new Pod, each with its path.
pub fn claim_reasons(old: &[&str], new: &[&str]) -> Vec<String> {
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

/// A claim wins over a volume of the template with its name: the Pod's volume is another than the
/// one that changes.
fn claimed_volumes<'a>(differences: &'a [Difference], claims: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let in_volume = |difference: &Difference| {
        difference.entry.as_ref().is_some_and(|entry| entry.list == "volumes" && claims.contains(&&*entry.name))
    };
    differences
        .iter()
        .filter(move |difference| difference.class != Class::Static && in_volume(difference))
        .map(|difference| format!("{}: a claim template has this name", difference.path))
}

fn added_tolerations(old: &Value, new: &Value) -> Vec<Value> {
    let list = |template: &Value| -> Vec<Value> {
        template.pointer("/spec/tolerations").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let old = list(old);
    list(new).into_iter().filter(|toleration| !old.contains(toleration)).collect()
}

/// The new template's containers that have a name; one without is refused by every apiserver.
fn containers_of(
    old: &Value,
    new: &Value,
    differences: &[Difference],
    annotations: &AnnotationRules,
) -> Vec<TemplateContainer> {
    let (old_restarts, new_restarts) = (restart_values(old, annotations), restart_values(new, annotations));
    let mut rebuilt: BTreeMap<&Entry, (bool, bool)> = BTreeMap::new();
    for difference in differences.iter().filter(|difference| difference.class == Class::Rebuild) {
        let Some(entry) = difference.entry.as_ref().filter(|entry| entry.list != "volumes") else { continue };
        let (image, fields) = rebuilt.entry(entry).or_default();
        let is_image = difference.needs.is_none();
        *image |= is_image;
        *fields |= !is_image;
    }
    let list = |template: &Value, list: &str| -> Vec<Value> {
        template.pointer(&format!("/spec/{list}")).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let mut containers = Vec::new();
    for list_name in ["initContainers", "containers"] {
        let before = list(old, list_name);
        for container in list(new, list_name) {
            let Some(name) = container.get("name").and_then(Value::as_str) else { continue };
            let entry = Entry { list: list_name, name: name.into() };
            let kind = match (list_name, is_restartable(&container)) {
                ("containers", _) => ContainerKind::Main,
                (_, true) => ContainerKind::RestartableInit,
                (_, false) => ContainerKind::Init,
            };
            let old = before.iter().find(|old| old.get("name") == container.get("name"));
            let (image_changes, fields_change) = rebuilt.get(&entry).copied().unwrap_or_default();
            containers.push(TemplateContainer {
                kind,
                image: container.get("image").and_then(Value::as_str).unwrap_or_default().into(),
                image_changes,
                fields_change,
                always_pulls: container.get("imagePullPolicy").and_then(Value::as_str) == Some("Always"),
                old_fields: fields_hash(old.unwrap_or(&Value::Null), &old_restarts),
                new_fields: fields_hash(&container, &new_restarts),
                old_resources: amounts(old.and_then(|old| old.get("resources")).unwrap_or(&Value::Null)),
                resources: amounts(container.get("resources").unwrap_or(&Value::Null)),
                restarted_by: Amount::ALL
                    .into_iter()
                    .filter(|amount| restarts_on_resize(&container, amount.place().1))
                    .collect(),
                entry,
            });
        }
    }
    containers
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
