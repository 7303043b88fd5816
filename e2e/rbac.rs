//! The manager's rights are those that it uses: no more, no fewer. Runs after all other tests, as
//! it reads in the audit log what they made the manager do.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::harness::audit::Request;
use crate::harness::install::{SYSTEM_NAMESPACE, client, identity};
use crate::harness::manifest::claim_template;
use crate::harness::{Context, Failure, Result, Space, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    no_request_lacked_a_right,
    every_right_is_used,
    rights_that_only_admission_asks_for_are_needed,
    roles_for_people_give_what_they_say,
    the_manifests_are_accepted_by_the_apiserver,
];

/// API group, resource with subresource, verb.
type Right = (String, String, String);

/// What the admission plugin OwnerReferencesPermissionEnforcement asks for. No request shows them;
/// [`rights_that_only_admission_asks_for_are_needed`] does.
const ASKED_FOR_BY_ADMISSION: [(&str, &str, &str); 2] =
    [("apps.asts.dev", "advancedstatefulsets/finalizers", "update"), ("", "persistentvolumeclaims", "delete")];

async fn no_request_lacked_a_right(space: Space) -> Result {
    let requests = space.suite.requests()?;
    ensure!(!requests.is_empty(), "the manager asked for nothing at all");
    let lacking: BTreeSet<String> = requests
        .iter()
        .filter(|request| request.lacked_a_right())
        .map(|request| format!("{} {} ({})", request.verb, request.resource(), request.response_status.message))
        .collect();
    ensure!(lacking.is_empty(), "{lacking:#?}");
    Ok(())
}

fn rights(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    rights.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    rights
}

fn right_of(request: &Request) -> Right {
    (request.object_ref.api_group.clone(), request.resource(), request.verb.clone())
}

async fn manager_rules(space: &Space) -> Result<Vec<PolicyRule>> {
    let roles: Api<ClusterRole> = Api::all(space.client.clone());
    roles.get("asts-manager").await?.rules.context("rules of the ClusterRole")
}

async fn every_right_is_used(space: Space) -> Result {
    let roles: Api<Role> = Api::namespaced(space.client.clone(), SYSTEM_NAMESPACE);
    let for_lease = roles.get("asts-manager-leader-election").await?.rules.context("rules of the Role")?;
    let mut given = rights(&manager_rules(&space).await?);
    given.extend(rights(&for_lease));
    ensure!(given.iter().all(|right| right.0 != "*" && right.1 != "*" && right.2 != "*"), "a wildcard in {given:?}");
    for (group, resource, verb) in ASKED_FOR_BY_ADMISSION {
        let right = (group.to_owned(), resource.to_owned(), verb.to_owned());
        ensure!(given.remove(&right), "{right:?} is not given");
    }
    let requests = space.suite.requests()?;
    let used: BTreeSet<Right> = requests.iter().filter(|request| !request.lacked_a_right()).map(right_of).collect();
    let unused: Vec<&Right> = given.difference(&used).collect();
    ensure!(unused.is_empty(), "given and never used: {unused:#?}");
    Ok(())
}

/// A client with the manager's rights in this namespace, but one.
async fn client_without(space: &Space, name: &str, without: Option<(&str, &str)>) -> Result<kube::Client> {
    let mut rules = manager_rules(space).await?;
    for rule in &mut rules {
        let applies = without.is_some_and(|(resource, _)| rule.resources.iter().flatten().any(|it| it == resource));
        rule.verbs.retain(|verb| !(applies && without.is_some_and(|(_, lost)| verb == lost)));
    }
    rules.retain(|rule| !rule.verbs.is_empty());
    let role = Role {
        metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        rules: Some(rules),
    };
    space.api::<Role>().create(&PostParams::default(), &role).await?;
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    space.api::<ServiceAccount>().create(&PostParams::default(), &account).await?;
    let subject = format!("--serviceaccount={}:{name}", space.namespace);
    space.kubectl(&["create", "rolebinding", name, &format!("--role={name}"), &subject], None)?;
    let kubeconfig = identity(&space.suite.cluster.info, &space.client, &space.namespace, name).await?;
    client(&kubeconfig).await
}

fn refused<T>(outcome: std::result::Result<T, kube::Error>, says: &str) -> Result {
    match outcome {
        Ok(_) => Err(Failure(format!("was not refused with {says:?}"))),
        Err(error) if error.to_string().contains(says) => Ok(()),
        Err(error) => Err(Failure(format!("refused, but not with {says:?}: {error}"))),
    }
}

/// kubernetes/kubernetes#126919: without one of them no claim was handed over, and none was collected.
async fn rights_that_only_admission_asks_for_are_needed(space: Space) -> Result {
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    let owners = space.pod("web-0").await?.metadata.owner_references.context("web-0's owners")?;
    ensure_eq!(owners[0].block_owner_deletion, Some(true), "blockOwnerDeletion of web-0's owner");
    let claims: Api<PersistentVolumeClaim> = space.api();
    claims.create(&PostParams::default(), &serde_json::from_value(claim_template("data-web-0", "1Mi"))?).await?;

    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web-9", "ownerReferences": owners},
        "spec": {"containers": [{"name": "app", "image": image("v1")}]},
    }))?;
    let make_pod = async |client: kube::Client| {
        let pods: Api<Pod> = Api::namespaced(client, &space.namespace);
        pods.create(&PostParams { dry_run: true, ..Default::default() }, &pod).await
    };
    let own_claim = async |client: kube::Client| {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, &space.namespace);
        let patch = Patch::Merge(json!({"metadata": {"ownerReferences": owners}}));
        claims.patch("data-web-0", &PatchParams { dry_run: true, ..Default::default() }, &patch).await
    };
    let whole = client_without(&space, "whole", None).await?;
    make_pod(whole.clone()).await.context("a Pod with all rights")?;
    own_claim(whole).await.context("a claim's owners with all rights")?;

    let no_finalizers =
        client_without(&space, "no-finalizers", Some(("advancedstatefulsets/finalizers", "update"))).await?;
    refused(make_pod(no_finalizers).await, "cannot set blockOwnerDeletion")?;
    let no_delete = client_without(&space, "no-delete", Some(("persistentvolumeclaims", "delete"))).await?;
    refused(own_claim(no_delete).await, "cannot set an ownerRef on a resource you can't delete")
}

async fn roles_for_people_give_what_they_say(space: Space) -> Result {
    let expected: BTreeMap<&str, [(&str, &str, bool); 4]> = BTreeMap::from([
        (
            "asts-view",
            [
                ("get", "advancedstatefulsets", true),
                ("create", "advancedstatefulsets", false),
                ("patch", "advancedstatefulsets/scale", false),
                ("update", "advancedstatefulsets/status", false),
            ],
        ),
        (
            "asts-edit",
            [
                ("get", "advancedstatefulsets", true),
                ("create", "advancedstatefulsets", true),
                ("patch", "advancedstatefulsets/scale", true),
                ("update", "advancedstatefulsets/status", false),
            ],
        ),
        (
            "asts-admin",
            [
                ("get", "advancedstatefulsets", true),
                ("create", "advancedstatefulsets", true),
                ("patch", "advancedstatefulsets/scale", true),
                ("update", "advancedstatefulsets/status", true),
            ],
        ),
    ]);
    for (role, answers) in expected {
        space.kubectl(
            &["create", "rolebinding", role, &format!("--clusterrole={role}"), &format!("--user={role}")],
            None,
        )?;
        for (verb, resource, wanted) in answers {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "LocalSubjectAccessReview",
                "metadata": {"namespace": space.namespace},
                "spec": {"user": role, "resourceAttributes": {
                    "namespace": space.namespace, "verb": verb, "group": "apps.asts.dev",
                    "resource": resource, "subresource": subresource,
                }},
            });
            let answer = space.kubectl(&["create", "-o", "json", "-f", "-"], Some(&review.to_string()))?;
            let answer: serde_json::Value = serde_json::from_str(&answer)?;
            ensure_eq!(answer["status"]["allowed"], wanted, "{role} may {verb} {resource}/{subresource}");
        }
    }
    Ok(())
}

async fn the_manifests_are_accepted_by_the_apiserver(space: Space) -> Result {
    let dry_run = ["--server-side", "--dry-run=server", "--warnings-as-errors", "--force-conflicts"];
    for folder in ["config/crd", "config/default"] {
        let arguments = [&["apply", "-k", folder], &dry_run[..]].concat();
        crate::harness::install::kubectl(&space.suite.cluster.info, &arguments, None)?;
    }
    Ok(())
}
