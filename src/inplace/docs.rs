//! The page about updates in place, made from the table that decides.

use std::fmt::Write;

use super::table::{Class, ROWS, Row};

const HEAD: &str = "\
# In place or not

<!-- Made by `make crds` from src/inplace/docs.rs and src/inplace/table.rs. Do not edit. -->

When the template changes, every field that differs is named and classed; together they decide what happens to a Pod.
Compared are the templates after defaulting, lists by the keys of their entries, images and quantities by meaning.

- **Dynamic**: the Pod and its containers go on.
- **Rebuild**: the Pod stays, with its UID, IP, node and volumes; the containers concerned are re-created.
- **Static**: the Pod is re-created.

One field that the Pod cannot take in place is enough: under `podUpdatePolicy: InPlaceIfPossible` the Pod is re-created, and the event
says which fields asked for it; under `InPlaceOnly` nothing is done, and the condition `InPlaceUpdateBlocked` names them all.

## The table

Looked at from the top; the first row that fits decides. `*` stands for any name. `spec.containers` speaks of restartable init containers too
(`restartPolicy: Always`), `spec.initContainers` of those that run once: their work must run again, so any change of them takes a new Pod.

| field | when | class | the cluster must take | otherwise |
|---|---|---|---|---|
";

const TAIL: &str = "
Everything that no row names is Static: *this field of a running Pod cannot be changed*. So are claim templates that come or go.

## What the cluster can do

A stock cluster (1.33 or later) takes labels, annotations, added tolerations, images, and cpu and memory through `pods/resize`. The rest needs an
apiserver and kubelets that are customised ([customised-kubernetes.md](customised-kubernetes.md)):

| kind of field | what it is |
|---|---|
| `env` | `env` and `envFrom` of a container |
| `volumeMounts` | `volumeMounts` of a container |
| `volumes` | volumes that come or go |
| `volumeSources` | another source of the same type under a volume's name |
| `probes` | liveness and readiness probes |

What the apiserver takes is found and not guessed: before the first Pod is touched, a server-side dry run of the patch is made for each kind of field
that nobody knows about, with the UID and the resourceVersion of a Pod that is about to be updated. A 422 means no (an old resourceVersion would be a
conflict, which is no answer and is asked again). Yes is remembered for an hour, no for ten minutes, and both are forgotten when the
apiserver's version changes. A policy that denies the dry run says nothing about the cluster: its message is in the condition `ReplicaFailure`, the Pod waits, and it
is asked again after half a minute. A webhook that knows no dry runs hides the answer; then the patch itself is tried.

An apiserver that takes a field says nothing about the kubelet of a node. **The label `apps.asts.dev/customised-kubelet=true` on a node says that its
kubelet is customised**; put it there with the kubelet (`--node-labels` may not set it on all clusters; `kubectl label node` does). A Pod on
any other node is treated as on a stock cluster. Where the manager may not list nodes (`--namespace` with a Role alone), every node counts as stock.

The manager's flag sets it by hand:

| `--in-place` | |
|---|---|
| `auto` | found out, as above (the default) |
| `stock` | what every Kubernetes takes; nothing is asked |
| `customised` | all kinds of field, on every node, whatever its labels; nothing is asked |
| `env,probes,…` | these kinds of field likewise, the others not |

## What happens to a Pod

| | budget, ledger | readiness gate | writes to the Pod |
|---|---|---|---|
| labels, annotations, tolerations | none | left alone | 1 |
| probes, volume sources, resources with `NotRequired` | a slot, until the Pod has been available for `minReadySeconds` since the patch | left alone | 1, and 2 for a resize |
| what re-creates containers | a slot | closed before, opened after | 3, and 1 for a resize |

Order, partition, pause and `OnDelete` hold for all of them. With `minReadySeconds` longer than a probe takes to fail (`periodSeconds` times
`failureThreshold`), a bad probe reaches `maxUnavailable` Pods and no more.

Everything goes in one strategic merge patch, by the names of containers, volumes, variables and the paths of mounts, with the UID and the resourceVersion of the
Pod that was decided about. So what admission added stays: the token's volume and mounts, sidecars, tolerations, variables. `envFrom` has no keys and is
written as a whole. Resources go first, through `pods/resize`; what is begun is noted in the Pod's bookkeeping before, with the closing of the gate where there is one. Should the manager
end between the two, the rest is written, or, where the template has changed meanwhile, the resize taken back.

## When it is done

For each container that was ever rebuilt, an annotation of the Pod (`apps.asts.dev/inplace-update-state`) holds the `containerID` at the last patch, and
what that one was started with: its image, and a hash of its environment, its mounts, and the resources that restart it.

- A container whose wanted fields are the ones that it was started with (the template went back) is done when it runs and `observedGeneration` has reached the patch.
- Any other must show another `containerID`, started. The image in the status is no sign of it: one image has many names.
- A container that crashed and came back by itself around the patch counts when it has run on for a moment, or the old one's time to end is over.
- A resize is done when the status shows the resources. `Infeasible` or `Deferred` is in the condition `Progressing` (`WaitingForResize`).
- The rest is done when `observedGeneration` has reached the patch; where the server has none (1.33), with the spec.

An update without effect for `timeoutSeconds` is given up: `InPlaceIfPossible` re-creates the Pod, `InPlaceOnly` reports it in `InPlaceUpdateBlocked`. Where the kubelet has
seen the change and the old container runs on, the message says that the node's kubelet seems to be a stock one: then take the label off that node. While the rollout is paused, held
by the partition, or under `OnDelete`, it is only reported. A Pod that started and is not Ready is never re-created by this.
";

/// About [`super::restart`].
const RESTARTS: &str = include_str!("docs_restarts.md");

const TRACE: &str = "\n<!-- trace:begin -->\n";

const END: &str = "<!-- trace:end -->\n";

/// The page in Markdown. `trace`: the figures, as they were measured.
pub fn markdown(trace: &str) -> Result<String, std::fmt::Error> {
    let mut page = HEAD.to_owned();
    for row in ROWS {
        let class = if row.class == Class::Static { "Static".to_owned() } else { format!("**{:?}**", row.class) };
        let needs = row.needs.map_or("", crate::model::FieldKind::name);
        writeln!(page, "| `{}` | {} | {class}{} | {needs} | {} |", row.path, row.when.words(), what(row), row.cannot)?;
    }
    page.push_str(TAIL);
    page.push_str(RESTARTS);
    page.push_str(TRACE);
    page.push_str(trace);
    page.push_str(END);
    Ok(page)
}

fn what(row: &Row) -> String {
    if row.can.is_empty() { String::new() } else { format!(": {}", row.can) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_current() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let page = super::markdown(&read("inplace-trace.md")).unwrap();
        assert!(read("inplace.md") == page, "docs/inplace.md is stale: make crds");
        for row in super::ROWS {
            assert!(page.contains(&format!("| `{}` | {} |", row.path, row.when.words())), "{}", row.path);
        }
    }
}
