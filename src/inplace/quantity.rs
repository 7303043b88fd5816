//! Quantities (`500m`, `0.5`, `1Gi`): when two mean the same amount.

use serde_json::Value;

/// Amounts are counted in thousandths, rounded up, as the apiserver stores them.
const THOUSANDTHS: i128 = 1000;

/// Whether two values, texts or numbers, are the same amount. What is no quantity equals only itself.
pub fn same_quantity(left: &Value, right: &Value) -> bool {
    left == right || thousandths(left).is_some_and(|amount| Some(amount) == thousandths(right))
}

/// An amount of storage or memory in bytes, rounded up; `None`: no quantity, or negative.
pub fn quantity_bytes(value: &Value) -> Option<u128> {
    let amount = u128::try_from(thousandths(value)?).ok()?;
    Some(amount.div_ceil(THOUSANDTHS.unsigned_abs()))
}

/// An amount of cpu in thousandths of a core, rounded up; `None`: no quantity.
pub fn quantity_millicores(value: &Value) -> Option<i64> {
    i64::try_from(thousandths(value)?).ok()
}

fn thousandths(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => parse_thousandths(text),
        Value::Number(number) => parse_thousandths(&number.to_string()),
        _ => None,
    }
}

/// `None`: no quantity, or too large to be counted.
fn parse_thousandths(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let suffix_at = unsigned.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(suffix_at);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (multiplier, exponent) = scale(suffix)?;
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let amount = digits.checked_mul(multiplier)?.checked_mul(THOUSANDTHS)?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    let amount =
        if exponent >= 0 { amount.checked_mul(power)? } else { amount / power + i128::from(amount % power != 0) };
    Some(if negative { -amount } else { amount })
}

/// The suffix as a multiplier and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 0));
    let decimal = |exponent: i32| Some((1, exponent));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_amount() {
        for (left, right) in [
            (json!("500m"), json!(0.5)),
            (json!("0.5"), json!("500m")),
            (json!(1), json!("1000m")),
            (json!("1Gi"), json!("1024Mi")),
            (json!("1Gi"), json!(1_073_741_824)),
            (json!("1e3"), json!("1k")),
            (json!("1E"), json!("1E18")),
            (json!("1.5Gi"), json!("1536Mi")),
            (json!("0.1m"), json!("1m")),
            (json!("+2"), json!("2")),
            (json!("1."), json!("1")),
        ] {
            assert!(same_quantity(&left, &right), "{left} {right}");
        }
    }

    #[test]
    fn other_amounts_and_no_amounts() {
        for (left, right) in [
            (json!("1G"), json!("1Gi")),
            (json!("500m"), json!("501m")),
            (json!("-1"), json!("1")),
            (json!("x"), json!("y")),
            (json!(""), json!("0")),
            (json!("1e999"), json!("1e998")),
            (json!("1.2.3"), json!("1.23")),
            (json!(null), json!(0)),
        ] {
            assert!(!same_quantity(&left, &right), "{left} {right}");
        }
    }
}
