//! What the Pods of a cluster can take in place, beyond what every Kubernetes takes: found by dry
//! runs, or set by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::names;

/// A kind of field of a running Pod, as apiservers and kubelets do or do not follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldKind {
    /// cpu and memory, through `pods/resize`: every Kubernetes from 1.33 on, unless it is switched off there.
    Resize,
    /// `env` and `envFrom` of a container.
    Env,
    /// `volumeMounts` of a container.
    VolumeMounts,
    /// Volumes that are added or removed.
    Volumes,
    /// Another source of a volume under the same name.
    VolumeSources,
    /// Liveness and readiness probes.
    Probes,
}

impl FieldKind {
    /// Those that only a customised cluster follows.
    pub const CUSTOMISED: [FieldKind; 5] =
        [FieldKind::Env, FieldKind::VolumeMounts, FieldKind::Volumes, FieldKind::VolumeSources, FieldKind::Probes];

    /// As the flag `--in-place`, the docs and the bookkeeping call it.
    pub fn name(self) -> &'static str {
        match self {
            FieldKind::Resize => "resize",
            FieldKind::Env => "env",
            FieldKind::VolumeMounts => "volumeMounts",
            FieldKind::Volumes => "volumes",
            FieldKind::VolumeSources => "volumeSources",
            FieldKind::Probes => "probes",
        }
    }

    pub fn of_name(name: &str) -> Option<FieldKind> {
        [FieldKind::Resize].into_iter().chain(Self::CUSTOMISED).find(|kind| kind.name() == name)
    }

    /// Kinds that are asked about together: a mount without its volume, or a volume that goes while
    /// its mount stays, is refused everywhere.
    pub fn asked_with(self) -> BTreeSet<FieldKind> {
        match self {
            FieldKind::VolumeMounts | FieldKind::Volumes => [FieldKind::VolumeMounts, FieldKind::Volumes].into(),
            other => [other].into(),
        }
    }
}

/// Whether a kind of field can be changed in a running Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Can {
    Yes,
    /// Why not, in words that follow a reason: "this apiserver does not take it".
    No(Box<str>),
    /// A policy refused the dry run: this says nothing about the cluster, and the real patch would
    /// be refused too.
    Denied {
        /// CamelCase: `AdmissionDenied`, `Forbidden`.
        reason: Box<str>,
        /// The server's own message.
        message: Box<str>,
    },
    /// Nobody has asked yet.
    Unknown,
}

/// Which nodes have a kubelet that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// Those with the label [`names::CUSTOMISED_KUBELET_LABEL`].
    Labelled(Arc<BTreeSet<Box<str>>>),
    /// The manager may not see nodes: none is taken for customised.
    Unreadable,
}

/// What is known of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// What the apiserver said; what is not in it is unknown.
    pub apiserver: BTreeMap<FieldKind, Can>,
    pub nodes: Nodes,
    /// Kinds that the flag says can be done, on every node.
    pub by_hand: BTreeSet<FieldKind>,
}

impl Default for Abilities {
    fn default() -> Self {
        Self::stock()
    }
}

impl Abilities {
    /// What every Kubernetes takes, by hand.
    pub fn stock() -> Self {
        Self::by_hand([])
    }

    /// All that can be made to work, on every node, by hand.
    pub fn customised() -> Self {
        Self::by_hand(FieldKind::CUSTOMISED)
    }

    /// These kinds on top of what every Kubernetes takes, by hand.
    pub fn by_hand(kinds: impl IntoIterator<Item = FieldKind>) -> Self {
        let by_hand: BTreeSet<FieldKind> = kinds.into_iter().collect();
        let no = || Can::No("the manager's flag --in-place does not name it".into());
        let others = FieldKind::CUSTOMISED.into_iter().filter(|kind| !by_hand.contains(kind));
        Abilities { apiserver: others.map(|kind| (kind, no())).collect(), nodes: Nodes::Unreadable, by_hand }
    }

    /// Whether this kind of field can be changed in a Pod on this node (`None`: not scheduled yet,
    /// so no kubelet has started anything of it).
    pub fn of(&self, kind: FieldKind, node: Option<&str>) -> Can {
        if self.by_hand.contains(&kind) {
            return Can::Yes;
        }
        let apiserver = match (self.apiserver.get(&kind), kind) {
            (Some(can), _) => can.clone(),
            (None, FieldKind::Resize) => Can::Yes,
            (None, _) => Can::Unknown,
        };
        match (apiserver, node) {
            (Can::Yes, Some(node)) if kind != FieldKind::Resize => self.of_node(node),
            (apiserver, _) => apiserver,
        }
    }

    fn of_node(&self, node: &str) -> Can {
        match &self.nodes {
            Nodes::Labelled(nodes) if nodes.contains(node) => Can::Yes,
            Nodes::Labelled(_) => {
                Can::No(format!("node {node} has no label {}=true", names::CUSTOMISED_KUBELET_LABEL).into())
            }
            Nodes::Unreadable => Can::No("the manager may not list nodes, so all count as stock".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: FieldKind, can: Can) -> Abilities {
        Abilities {
            apiserver: [(kind, can)].into(),
            nodes: Nodes::Labelled(Arc::new(["custom".into()].into())),
            by_hand: BTreeSet::new(),
        }
    }

    #[test]
    fn a_field_needs_the_apiserver_and_the_nodes_kubelet() {
        let yes = found(FieldKind::Env, Can::Yes);
        assert_eq!(yes.of(FieldKind::Env, Some("custom")), Can::Yes);
        assert_eq!(yes.of(FieldKind::Env, None), Can::Yes);
        assert!(matches!(yes.of(FieldKind::Env, Some("stock")), Can::No(why) if why.contains("node stock")));
        assert_eq!(yes.of(FieldKind::Probes, Some("custom")), Can::Unknown);
        let no = found(FieldKind::Env, Can::No("no".into()));
        assert_eq!(no.of(FieldKind::Env, Some("custom")), Can::No("no".into()));
    }

    #[test]
    fn a_resize_needs_no_label() {
        assert_eq!(Abilities::stock().of(FieldKind::Resize, Some("any")), Can::Yes);
    }

    #[test]
    fn by_hand_holds_for_every_node() {
        let some = Abilities::by_hand([FieldKind::Env]);
        assert_eq!(some.of(FieldKind::Env, Some("any")), Can::Yes);
        assert!(matches!(some.of(FieldKind::Probes, Some("any")), Can::No(_)));
        for kind in FieldKind::CUSTOMISED {
            assert_eq!(Abilities::customised().of(kind, Some("any")), Can::Yes);
            assert_eq!(FieldKind::of_name(kind.name()), Some(kind));
        }
    }
}
