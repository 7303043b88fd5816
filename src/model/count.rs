//! `IntOrString` → absolute counts, with the rounding rule of each field.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A count as users write it: a number, or a percentage of the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Number(usize),
    Percent(usize),
}

impl Count {
    /// Reads a number of at least 0, or `N%`.
    ///
    /// # Errors
    /// What is wrong with the value, in words that follow the field's path.
    pub fn parse(value: &IntOrString) -> Result<Count, String> {
        match value {
            IntOrString::Int(number) => {
                usize::try_from(*number).map(Count::Number).map_err(|_| format!("must not be negative, is {number}"))
            }
            IntOrString::String(text) => text
                .strip_suffix('%')
                .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse::<usize>().ok())
                .map(Count::Percent)
                .ok_or_else(|| format!("must be a number or a percentage such as 25%, is {text:?}")),
        }
    }

    pub fn is_zero(self) -> bool {
        matches!(self, Count::Number(0) | Count::Percent(0))
    }

    /// A budget: a percentage is rounded down, and is at least 1.
    pub fn budget_of(self, replicas: usize) -> usize {
        match self {
            Count::Number(number) => number,
            Count::Percent(percent) => replicas.saturating_mul(percent) / 100,
        }
        .max(1)
    }

    /// A partition: a percentage is rounded up, and below 100 % at least one slot updates.
    pub fn partition_of(self, replicas: usize) -> usize {
        match self {
            Count::Number(number) => number,
            Count::Percent(percent) if percent >= 100 => replicas,
            Count::Percent(percent) => replicas.saturating_mul(percent).div_ceil(100).min(replicas.saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_in_percent_is_rounded_down_and_at_least_one() {
        assert_eq!(Count::Percent(50).budget_of(5), 2);
        assert_eq!(Count::Percent(1).budget_of(5), 1);
        assert_eq!(Count::Percent(100).budget_of(5), 5);
        assert_eq!(Count::Number(7).budget_of(5), 7);
        assert_eq!(Count::Percent(20).budget_of(0), 1);
    }

    #[test]
    fn a_partition_in_percent_is_rounded_up_and_lets_one_slot_update_below_all() {
        assert_eq!(Count::Percent(50).partition_of(5), 3);
        assert_eq!(Count::Percent(99).partition_of(5), 4);
        assert_eq!(Count::Percent(99).partition_of(1), 0);
        assert_eq!(Count::Percent(100).partition_of(5), 5);
        assert_eq!(Count::Percent(0).partition_of(5), 0);
        assert_eq!(Count::Percent(50).partition_of(0), 0);
        assert_eq!(Count::Number(9).partition_of(5), 9);
    }

    #[test]
    fn what_is_no_count_is_refused() {
        for bad in ["", "%", "-5%", "5", "1.5%", "+5%", "5 %"] {
            assert!(Count::parse(&IntOrString::String(bad.into())).is_err(), "{bad:?}");
        }
        assert!(Count::parse(&IntOrString::Int(-1)).is_err());
    }
}
