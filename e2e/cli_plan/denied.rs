//! Plans under admission policies that deny updates of Pods.

use serde_json::json;

use super::plugin::plan;
use super::settled;
use crate::harness::policy::{forbid, forbid_no_more};
use crate::harness::space::{image_of, pod_name, uid};
use crate::harness::wait::seconds;
use crate::harness::{Result, Space, holds, image};
use crate::{ensure, ensure_eq};

const SAME_IMAGE: &str = "object.spec.containers[0].image == oldObject.spec.containers[0].image";

/// What the manager does is what was planned: nothing, and the policy's words in its condition.
async fn nothing_happens(space: &Space, patch: serde_json::Value) -> Result {
    let before = space.pods_of("web").await?;
    space.edit("web", patch).await?;
    let condition = space.condition_is("web", "ReplicaFailure", "True", Some("AdmissionDenied")).await?;
    ensure!(condition.message.clone().unwrap_or_default().contains("it is frozen"), "{condition:?}");
    holds(seconds(3), "no Pod is touched", async || {
        for (old, new) in before.iter().zip(space.pods_of("web").await?) {
            ensure_eq!((uid(&new), image_of(&new)), (uid(old), image_of(old)), "{}", pod_name(&new));
        }
        Ok(())
    })
    .await
}

pub async fn an_image_that_a_policy_denies_is_told_and_exits_with_1(space: Space) -> Result {
    settled(&space, json!({"replicas": 3})).await?;
    forbid(&space, "UPDATE", SAME_IMAGE, "it is frozen").await?;
    let change = format!("image=app={}", image("v2"));
    let called = plan(&space, &["web", "--set", &change, "-o", "json"], None)?;
    ensure!(called.err.contains("the plan of web cannot happen: a policy denies it: Pod web-2: "), "{called:?}");
    ensure!(called.err.contains("it is frozen"), "{called:?}");
    let found = called.json(1)?;
    ensure_eq!(found["waves"], json!([]), "waves");
    ensure_eq!((&found["summary"]["inPlace"], &found["summary"]["held"]), (&json!(0), &json!(3)), "the counts");
    ensure_eq!(found["pods"][0]["heldBy"], json!("denied"), "what holds web-0");
    let blocked = found["blocked"].to_string();
    ensure!(blocked.contains("AdmissionDenied") && blocked.contains("it is frozen"), "{blocked}");
    let text = plan(&space, &["web", "--set", &change], None)?.ended(1)?;
    ensure!(text.contains("  web-0 web-1 web-2: by a policy of the cluster\n"), "{text}");
    // A change that takes new Pods, and one of the set alone, are not denied.
    let anew = json!({"spec": {"template": {"spec": {"hostNetwork": true}}}}).to_string();
    plan(&space, &["web", "-p", &anew], None)?.ended(3)?;
    plan(&space, &["web", "-p", &json!({"spec": {"replicas": 4}}).to_string()], None)?.ended(2)?;
    let containers = json!([{"name": "app", "image": image("v2"), "imagePullPolicy": "IfNotPresent"}]);
    nothing_happens(&space, json!({"template": {"spec": {"containers": containers}}})).await?;
    forbid_no_more(&space)?;
    space.settled("web").await
}

pub async fn a_label_that_a_policy_denies_is_told_and_exits_with_1(space: Space) -> Result {
    settled(&space, json!({"replicas": 2})).await?;
    forbid(&space, "UPDATE", "!has(object.metadata.labels.tier)", "it is frozen").await?;
    let patch = json!({"template": {"metadata": {"labels": {"tier": "db"}}}});
    let called = plan(&space, &["web", "-p", &json!({"spec": patch}).to_string(), "-o", "json"], None)?;
    ensure!(called.err.contains("a policy denies it: Pod web-1: "), "{called:?}");
    let found = called.json(1)?;
    ensure_eq!((&found["waves"], &found["summary"]["held"]), (&json!([]), &json!(2)), "waves, and what is held");
    ensure!(found["blocked"].to_string().contains("AdmissionDenied"), "{}", found["blocked"]);
    nothing_happens(&space, patch).await?;
    forbid_no_more(&space)?;
    space.settled("web").await
}

/// Two templates of old: the Pods of one can go in place, those of the other are made anew.
pub async fn what_was_planned_under_a_policy_for_some_pods_happens(space: Space) -> Result {
    settled(&space, json!({"replicas": 3, "template": {"spec": {"hostNetwork": true}}})).await?;
    space
        .edit(
            "web",
            json!({"template": {"spec": {"hostNetwork": null}}, "updateStrategy": {"rollingUpdate": {"partition": 2}}}),
        )
        .await?;
    space.status_is("web", "web-2 is updated", |status| status.updated_ready_replicas == 1).await?;
    forbid(&space, "UPDATE", SAME_IMAGE, "it is frozen").await?;
    let containers = json!([{"name": "app", "image": image("v2"), "imagePullPolicy": "IfNotPresent"}]);
    let patch = json!({
        "template": {"spec": {"containers": containers}}, "updateStrategy": {"rollingUpdate": {"partition": 0}},
    });
    let found = plan(&space, &["web", "-p", &json!({"spec": patch}).to_string(), "-o", "json"], None)?.json(1)?;
    let actions: Vec<(&str, &str)> = found["pods"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pod| Some((pod["action"].as_str()?, pod["heldBy"].as_str().unwrap_or_default())))
        .collect();
    ensure_eq!(actions, [("recreate", ""), ("recreate", ""), ("none", "denied")], "what happens to each Pod");
    let before = space.pods_of("web").await?;
    space.edit("web", patch).await?;
    space.status_is("web", "two Pods are updated", |status| status.updated_ready_replicas == 2).await?;
    let is_same: Vec<bool> =
        before.iter().zip(space.pods_of("web").await?).map(|(old, new)| uid(old) == uid(&new)).collect();
    ensure_eq!(is_same, [false, false, true], "Pods that are the same");
    forbid_no_more(&space)?;
    space.settled("web").await
}
