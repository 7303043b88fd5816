//! No field of a Pod template is left without a class, by the schema of `k8s-openapi`.

use crate::inplace;

#[path = "schema_walk.rs"]
mod walk;

use walk::Schema;

fn schema_of<T: schemars::JsonSchema>() -> Schema {
    let document = serde_json::to_value(schemars::schema_for!(T)).unwrap();
    Schema { root: document.clone(), document }
}

#[test]
fn every_field_of_a_pod_has_a_class() {
    walk::every_field_of_a_pod_has_a_class(&schema_of::<k8s_openapi::api::core::v1::PodSpec>());
}

#[test]
fn every_field_of_a_container_has_a_class() {
    walk::every_field_of_a_container_has_a_class(&schema_of::<k8s_openapi::api::core::v1::Container>());
}
