//! JSON in one form: keys in order, nulls dropped. Two templates that say the same bytes-wise
//! different thing have the same canonical text.

use serde_json::{Map, Value};

/// The value without the fields that are null, at any depth. List entries stay.
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// The text of a value with its keys in order, whatever order the map holds them in.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                if let Some(inner) = map.get(key) {
                    write(inner, out);
                }
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for (index, inner) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(inner, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_and_key_order_make_no_difference() {
        let one: Value = serde_json::from_str(r#"{"b":[{"y":null,"x":1}],"a":"t","c":null}"#).unwrap();
        let other = json!({"a": "t", "b": [{"x": 1}]});
        assert_eq!(text(&without_nulls(&one)), text(&other));
        assert_eq!(text(&other), r#"{"a":"t","b":[{"x":1}]}"#);
    }
}
