//! Which ordinals a set has: `replicas` of them from `start` upward, reserved ones skipped.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Ordinal;

/// The ordinals of a set, in ascending order. A reserved range costs the same whatever its length.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Slots {
    ordinals: Vec<Ordinal>,
    reserved: Ranges,
}

impl Slots {
    pub fn new(start: Ordinal, replicas: usize, reserved: Ranges) -> Slots {
        let mut ordinals = Vec::with_capacity(replicas);
        let mut next = start;
        let mut ranges = reserved.0.iter().peekable();
        while ordinals.len() < replicas {
            match ranges.peek() {
                Some(&&(_, last)) if last < next => {
                    ranges.next();
                }
                Some(&&(first, last)) if first <= next => next = last.saturating_add(1),
                _ => {
                    ordinals.push(next);
                    next = next.saturating_add(1);
                }
            }
        }
        Slots { ordinals, reserved }
    }

    pub fn len(&self) -> usize {
        self.ordinals.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ordinals.is_empty()
    }

    pub fn ordinals(&self) -> &[Ordinal] {
        &self.ordinals
    }

    /// The position of an ordinal, counted from the lowest slot.
    pub fn index_of(&self, ordinal: Ordinal) -> Option<usize> {
        self.ordinals.binary_search(&ordinal).ok()
    }

    pub fn contains(&self, ordinal: Ordinal) -> bool {
        self.index_of(ordinal).is_some()
    }

    pub fn is_reserved(&self, ordinal: Ordinal) -> bool {
        self.reserved.contains(ordinal)
    }
}

/// Sorted, disjoint, inclusive ranges of ordinals.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ranges(Vec<(Ordinal, Ordinal)>);

impl Ranges {
    pub fn from_ordinals(ordinals: impl IntoIterator<Item = Ordinal>) -> Ranges {
        Ranges::merge(ordinals.into_iter().map(|ordinal| (ordinal, ordinal)).collect())
    }

    /// Reads `spec.reserveOrdinals`: numbers, `"5"` and `"5-9"`.
    ///
    /// # Errors
    /// What is wrong with which entry, in words that follow the field's path.
    pub fn parse_reserved(entries: &[IntOrString]) -> Result<Ranges, String> {
        let mut ranges = Vec::with_capacity(entries.len());
        for entry in entries {
            ranges.push(match entry {
                IntOrString::Int(number) if *number >= 0 => (i64::from(*number), i64::from(*number)),
                IntOrString::Int(number) => return Err(format!("must not be negative, is {number}")),
                IntOrString::String(text) => parse_range(text, RESERVED_DIGITS_MAX)
                    .ok_or_else(|| format!("must be an ordinal or a range such as 5-9, is {text:?}"))?,
            });
        }
        Ok(Ranges::merge(ranges))
    }

    /// Reads the text form of [`Ranges::to_text`]; what cannot be read is left out.
    pub fn parse_text(text: &str) -> Ranges {
        Ranges::merge(text.split(',').filter_map(|range| parse_range(range, SLOT_DIGITS_MAX)).collect())
    }

    /// `0-2,5`.
    pub fn to_text(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
            .collect();
        parts.join(",")
    }

    pub fn contains(&self, ordinal: Ordinal) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= ordinal);
        after > 0 && self.0[after - 1].1 >= ordinal
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ordinals are in them.
    pub fn count(&self) -> i64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    fn merge(mut ranges: Vec<(Ordinal, Ordinal)>) -> Ranges {
        ranges.sort_unstable();
        let mut merged: Vec<(Ordinal, Ordinal)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged)
    }
}

/// Longest ordinal that can be reserved: far from the end of [`Ordinal`]'s own range, so that there is always a next one.
const RESERVED_DIGITS_MAX: usize = 15;
/// Longest ordinal of a slot: above all that are reserved.
const SLOT_DIGITS_MAX: usize = RESERVED_DIGITS_MAX + 1;

fn parse_range(text: &str, digits_max: usize) -> Option<(Ordinal, Ordinal)> {
    let number = |digits: &str| -> Option<Ordinal> {
        (!digits.is_empty() && digits.len() <= digits_max && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())?
    };
    match text.split_once('-') {
        None => number(text).map(|only| (only, only)),
        Some((first, last)) => {
            let range = (number(first)?, number(last)?);
            (range.0 <= range.1).then_some(range)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(entries: &[&str]) -> Ranges {
        Ranges::parse_reserved(&entries.iter().map(|text| IntOrString::String((*text).into())).collect::<Vec<_>>())
            .unwrap()
    }

    #[test]
    fn slots_skip_reserved_ordinals_and_begin_at_the_start() {
        assert_eq!(Slots::new(0, 3, Ranges::default()).ordinals(), [0, 1, 2]);
        assert_eq!(Slots::new(2, 4, reserved(&["3", "5-6"])).ordinals(), [2, 4, 7, 8]);
        assert_eq!(Slots::new(5, 2, reserved(&["0-5"])).ordinals(), [6, 7]);
        assert!(Slots::new(0, 0, reserved(&["0"])).is_empty());
    }

    #[test]
    fn a_range_of_billions_costs_nothing() {
        let slots = Slots::new(0, 2, reserved(&["0-3000000000", "3000000002-9000000000"]));
        assert_eq!(slots.ordinals(), [3_000_000_001, 9_000_000_001]);
        assert!(slots.is_reserved(8_000_000_000));
        assert!(!slots.is_reserved(3_000_000_001));
    }

    #[test]
    fn slots_above_all_that_can_be_reserved_are_read_back() {
        let slots = Slots::new(0, 2, reserved(&["1-999999999999999"]));
        assert_eq!(slots.ordinals(), [0, 1_000_000_000_000_000]);
        let text = Ranges::from_ordinals(slots.ordinals().iter().copied()).to_text();
        assert!(Ranges::parse_text(&text).contains(1_000_000_000_000_000), "{text}");
    }

    #[test]
    fn ranges_are_merged_and_written_back() {
        let ranges = reserved(&["5-9", "3", "4", "20-30", "25"]);
        assert_eq!(ranges.to_text(), "3-9,20-30");
        assert_eq!(Ranges::parse_text("3-9,20-30"), ranges);
        assert_eq!(Ranges::from_ordinals([4, 2, 3, 7]).to_text(), "2-4,7");
        assert_eq!(Ranges::parse_text(""), Ranges::default());
    }

    #[test]
    fn malformed_ranges_are_refused() {
        for bad in ["0-9223372036854775807", "", "-", "5-", "-5", "9-5", "a", "1-2-3", "1,2"] {
            assert!(Ranges::parse_reserved(&[IntOrString::String(bad.into())]).is_err(), "{bad:?}");
        }
        assert!(Ranges::parse_reserved(&[IntOrString::Int(-1)]).is_err());
    }
}
