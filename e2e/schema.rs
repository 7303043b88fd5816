//! No field of a Pod template is left without a class, by the schema of the apiserver that runs, which may be newer than
//! the types that the manager was built with.

use asts::inplace;
use serde_json::{Value, json};

use crate::harness::{Context, Result, Space};
use crate::{ensure, test_list};

#[path = "../src/inplace/schema_walk.rs"]
mod walk;

use walk::Schema;

test_list![every_field_that_the_apiserver_has_is_judged_and_unknown_ones_re_create];

/// As `/openapi/v3` tells it.
fn schema_of(space: &Space, type_: &str) -> Result<Schema> {
    let text = space.kubectl(&["get", "--raw", "/openapi/v3/api/v1"], None)?;
    let document: Value = serde_json::from_str(&text).context("the schema")?;
    let name = format!("io.k8s.api.core.v1.{type_}");
    ensure!(document["components"]["schemas"][&name].is_object(), "the apiserver has no {name}");
    Ok(Schema { root: json!({"$ref": format!("#/components/schemas/{name}")}), document })
}

async fn every_field_that_the_apiserver_has_is_judged_and_unknown_ones_re_create(space: Space) -> Result {
    walk::every_field_of_a_pod_has_a_class(&schema_of(&space, "PodSpec")?);
    walk::every_field_of_a_container_has_a_class(&schema_of(&space, "Container")?);
    Ok(())
}
