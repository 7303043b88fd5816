//! Bytes as a programme that spoils an object, so that a fuzzer gets far behind the first check.

use serde_json::{Value, json};

/// Zero for ever after the last.
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    pub fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }
}

fn odd(number: usize) -> Value {
    let values = [
        Value::Null,
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(3),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!(0.5),
        json!(""),
        json!("é\u{0}"),
        json!("a".repeat(300)),
        json!("0%"),
        json!("100%"),
        json!("99999999999999999999%"),
        json!("5-3"),
        json!("0-999999999999999"),
        json!("-"),
        json!("$(A)"),
        json!("app@"),
        json!("app:v2"),
        json!("1Gi"),
        json!("OnDelete"),
        json!("Parallel"),
        json!("ReCreate"),
        json!("InPlaceOnly"),
        json!("OnPodRollingUpdate"),
        json!("Always"),
        json!("2026-01-01T00:00:00Z"),
        json!("web"),
        json!("u1"),
        json!([]),
        json!({}),
        json!([null]),
        json!({"": ""}),
        json!([{"name": "app"}, {"name": "app"}]),
    ];
    values.get(number % values.len()).cloned().unwrap_or_default()
}

/// The object with up to seven changes.
pub fn mutated(mut value: Value, bytes: &mut Bytes<'_>) -> Value {
    for _ in 0..bytes.next() % 8 {
        change(&mut value, bytes);
    }
    value
}

/// The same at these places alone.
pub fn mutated_at(mut value: Value, places: &[&str], bytes: &mut Bytes<'_>) -> Value {
    for _ in 0..bytes.next() % 8 {
        let place = places[bytes.next() % places.len()];
        if let Some(inner) = value.pointer_mut(place) {
            change(inner, bytes);
        }
    }
    value
}

fn change(value: &mut Value, bytes: &mut Bytes<'_>) {
    let stop = bytes.next().is_multiple_of(6);
    match value {
        Value::Object(map) if !map.is_empty() && !stop => {
            let at = bytes.next() % map.len();
            let Some(key) = map.keys().nth(at).cloned() else { return };
            match bytes.next() % 10 {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(key, odd(bytes.next()))),
                2 => {
                    let moved = map.remove(&key).unwrap_or_default();
                    map.insert(format!("{key}X"), moved);
                }
                _ => {
                    if let Some(inner) = map.get_mut(&key) {
                        change(inner, bytes);
                    }
                }
            }
        }
        Value::Array(list) if !list.is_empty() && !stop => {
            let at = bytes.next() % list.len();
            match bytes.next() % 10 {
                0 => drop(list.remove(at)),
                1 => list.push(list[at].clone()),
                2 => list[at] = odd(bytes.next()),
                3 => list.reverse(),
                _ => change(&mut list[at], bytes),
            }
        }
        _ => *value = odd(bytes.next()),
    }
}
