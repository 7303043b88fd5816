//! A resize that was begun and not ended: what of it is to be taken back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};

use super::TemplateContainer;
use crate::inplace::decision::Rebuild;
use crate::inplace::diff::Entry;
use crate::inplace::operations::Operation;
use crate::inplace::resize::quantity_of;
use crate::inplace::state::InPlaceState;
use crate::model::{Amount, FieldKind, PodFacts, Resources};

/// What is left of a resize that was begun: the Pod may have it otherwise than any template between which it moves.
#[derive(Debug, Default)]
pub(super) struct Resizes(Vec<LeftResize>);

#[derive(Debug)]
struct LeftResize {
    entry: Entry,
    /// What each amount is to be.
    amounts: BTreeMap<Amount, Option<i64>>,
    /// All that the container is to have.
    resources: Resources,
    /// The container is re-created by it.
    rebuild: Option<Rebuild>,
}

impl Resizes {
    pub(super) fn of(pod: &PodFacts, containers: &[TemplateContainer]) -> Self {
        let Some(begun) = InPlaceState::resizing_of(pod) else { return Self::default() };
        let mut left = Vec::new();
        for wanted in containers {
            let found = pod.containers.iter().find(|found| found.name == wanted.entry.name);
            let (Some(found), Some(noted)) = (found, begun.amounts.get(&wanted.entry.name)) else { continue };
            let has = found.resources.as_deref().copied().unwrap_or_default();
            // Where it still has what it had, nothing was done. What no template gives came by admission.
            let amounts: BTreeMap<Amount, Option<i64>> = noted
                .iter()
                .filter(|(amount, before)| has.get(**amount) != **before)
                .map(|(amount, before)| (*amount, wanted.resources.get(*amount).or(*before)))
                .filter(|(amount, back)| has.get(*amount) != *back)
                .collect();
            if amounts.is_empty() {
                continue;
            }
            let restarts = amounts.keys().any(|amount| wanted.restarted_by.contains(amount));
            let resources =
                amounts.iter().fold(wanted.resources, |resources, (amount, back)| resources.with(*amount, *back));
            left.push(LeftResize {
                entry: wanted.entry.clone(),
                amounts,
                resources,
                rebuild: restarts.then(|| Rebuild {
                    container: wanted.entry.name.clone(),
                    image: None,
                    old_fields: wanted.old_fields.clone(),
                    new_fields: wanted.new_fields.clone(),
                }),
            });
        }
        Self(left)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add_to(
        self,
        resize: &mut Vec<Operation>,
        resizing: &mut BTreeMap<Box<str>, BTreeSet<Amount>>,
        resized: &mut BTreeMap<Box<str>, Resources>,
        rebuild: &mut Vec<Rebuild>,
    ) {
        for left in self.0 {
            let name = &left.entry.name;
            resizing.entry(name.clone()).or_default().extend(left.amounts.keys());
            resized.insert(name.clone(), left.resources);
            if !rebuild.iter().any(|known| known.container == *name) {
                rebuild.extend(left.rebuild);
            }
            let known = resize.iter().position(|operation| operation.entry == left.entry);
            let index = known.unwrap_or_else(|| {
                resize.push(Operation { needs: Some(FieldKind::Resize), entry: left.entry, fields: Map::new() });
                resize.len() - 1
            });
            for (amount, back) in left.amounts {
                let (kind, name) = amount.place();
                let resources = resize[index].fields.entry("resources").or_insert_with(|| json!({}));
                resources[kind][name] = quantity_of(amount, back);
            }
        }
    }
}
