//! `kubectl asts convert`: what it prints is applied on the apiserver, and behaves as before.

use serde_json::{Value, json};

use crate::cli_plugin::{asts, asts_with, kubectl_asts};
use crate::harness::space::uid;
use crate::harness::{Context, Result, Space, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    manifests_with_every_field_are_converted_and_accepted,
    what_is_converted_re_creates_its_pods_as_before,
    lists_and_other_kinds_pass_through_kubectl_unchanged,
    what_cannot_be_converted_prints_nothing,
];

const FIXTURES: [&str; 2] = ["e2e/fixtures/native-every-field.yaml", "e2e/fixtures/openkruise-every-field.yaml"];

fn native(name: &str, spec: Value) -> Value {
    let mut manifest = set(name, spec);
    manifest["apiVersion"] = json!("apps/v1");
    manifest["kind"] = json!("StatefulSet");
    manifest
}

async fn manifests_with_every_field_are_converted_and_accepted(space: Space) -> Result {
    for fixture in FIXTURES {
        for form in ["yaml", "json"] {
            let converted = asts(&space, &["convert", "-f", fixture, "-o", form]).await?.fine()?;
            space
                .kubectl(&["apply", "--server-side", "--dry-run=server", "-f", "-"], Some(&converted))
                .context(fixture)?;
        }
        let converted = asts(&space, &["convert", "-f", fixture]).await?.fine()?;
        space.kubectl(&["apply", "-f", "-"], Some(&converted)).context(fixture)?;
        let again = asts_with(&space, &["convert", "-f", "-"], &converted).await?;
        ensure_eq!(again.err, "", "notes on what is converted already");
        ensure_eq!(again.fine()?, converted, "what is converted again");
    }
    Ok(())
}

async fn what_is_converted_re_creates_its_pods_as_before(space: Space) -> Result {
    let converted = asts_with(&space, &["convert", "-f", "-"], &native("web", json!({})).to_string()).await?;
    ensure!(converted.err.contains("podUpdatePolicy"), "no note: {}", converted.err);
    space.kubectl(&["apply", "-f", "-"], Some(&converted.fine()?))?;
    space.settled("web").await?;
    let before = space.pods_of("web").await?;
    space.set_image("web", "v2").await?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure!(uid(old) != uid(&new), "a Pod was kept");
    }
    let policy = ["convert", "-f", "-", "--pod-update-policy", "InPlaceIfPossible"];
    let in_place = asts_with(&space, &policy, &native("web", json!({})).to_string()).await?.fine()?;
    let before = space.pods_of("web").await?;
    space.kubectl(&["apply", "-f", "-"], Some(&in_place))?;
    space.settled("web").await?;
    for (old, new) in before.iter().zip(space.pods_of("web").await?) {
        ensure_eq!(uid(old), uid(&new), "UID");
    }
    Ok(())
}

/// Texts that one reader of YAML takes for something else, and the modes that people write.
const OTHERS: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: {name: odd}
data:
  a: "yes"
  b: '0644'
  c: |
    #!/bin/sh
    if true; then
      echo "x: y"  # z
    fi
  d: "1e3"
  e: ""
  f: "null"
  g: " lead"
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
  metadata: {name: s}
  stringData: {a: "12:30:45"}
- apiVersion: v1
  kind: Pod
  metadata: {name: p}
  spec:
    containers: [{name: a, image: a, tty: yes}]
    volumes: [{name: v, configMap: {name: odd, defaultMode: 0644}}]
"#;

async fn lists_and_other_kinds_pass_through_kubectl_unchanged(space: Space) -> Result {
    let file = space.suite.cluster.info.dir.join(format!("others-{}.yaml", space.namespace));
    std::fs::write(&file, OTHERS)?;
    let converted = kubectl_asts(&space, &["convert", "-f", &file.display().to_string()]).await?.fine()?;
    let read = |text: &str| space.kubectl(&["apply", "--dry-run=client", "-o", "json", "-f", "-"], Some(text));
    ensure_eq!(read(&converted)?, read(OTHERS)?, "what kubectl reads");
    Ok(())
}

async fn what_cannot_be_converted_prints_nothing(space: Space) -> Result {
    let bad = native("bad", json!({"updateStrategy": {"type": "Recreate"}}));
    let input = format!("{}\n---\n{bad}\n", native("web", json!({})));
    let ran = asts_with(&space, &["convert", "-f", "-"], &input).await?;
    ensure_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{}", ran.err);
    let told = "error: standard input, document 2: StatefulSet bad: spec.updateStrategy.type: ";
    ensure!(ran.err.contains(told), "{}", ran.err);
    let none = asts_with(&space, &["convert", "-f", "-"], "").await?.refused()?;
    ensure_eq!(none, "error: no objects found\n", "nothing to convert");
    let missing = asts(&space, &["convert", "-f", "/nowhere.yaml"]).await?.refused()?;
    ensure!(missing.contains("/nowhere.yaml"), "{missing}");
    Ok(())
}
