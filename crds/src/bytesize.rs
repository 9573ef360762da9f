//! A number of bytes, written as Kubernetes writes quantities: `512Ki`, `60Mi`, `1Gi`, or a plain number.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// The binary units, smallest first.
const UNITS: [(&str, u64); 4] = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40)];

/// So many digits of each unit, and of plain bytes, stay below 2^63: quantities of the API server end there.
const PATTERN: &str = "^([0-9]{1,18}|[0-9]{1,15}Ki|[0-9]{1,12}Mi|[0-9]{1,9}Gi|[0-9]{1,6}Ti)$";

/// The digits that [`PATTERN`] allows before a unit of this size.
const fn digits_before(unit: u64) -> usize {
    18 - 3 * (unit.ilog2() / 10) as usize
}

impl ByteSize {
    /// `n` gibibytes.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// `n` mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().rev().find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size));
        match unit {
            Some((name, size)) => write!(f, "{}{name}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, size) =
            UNITS.iter().find_map(|(name, size)| Some((text.strip_suffix(name)?, *size))).unwrap_or((text, 1));
        let wrong = || format!("{text:?} is no byte size: write a number with Ki, Mi, Gi or Ti, such as 64Mi");
        if digits.is_empty() || digits.len() > digits_before(size) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(size).map(Self).ok_or_else(wrong)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "maxLength": 18})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ByteSize, PATTERN};

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_divides_it() {
        let written = |bytes| ByteSize(bytes).to_string();
        assert_eq!([written(0), written(1000), written(1024), written(3 << 20)], ["0", "1000", "1Ki", "3Mi"]);
        assert_eq!([written(1 << 40), written((1 << 30) + 1)], ["1Ti", "1073741825"]);
    }

    #[test]
    fn the_largest_size_of_each_unit_fits() {
        for most in ["999999999999999999", "999999999999999Ki", "999999999999Mi", "999999999Gi", "999999Ti"] {
            assert!(most.parse::<ByteSize>().is_ok_and(|size| size.bytes() < 1 << 63), "{most}");
        }
    }

    proptest! {
        #[test]
        fn a_size_is_read_exactly_when_the_schema_takes_it(text in "[0-9]{0,19}(Ki|Mi|Gi|Ti|K|k|i| )?") {
            let taken = regex::Regex::new(PATTERN).unwrap().is_match(&text);
            prop_assert_eq!(text.parse::<ByteSize>().is_ok(), taken);
        }

        #[test]
        fn what_is_written_reads_the_same(bytes in 0..1_000_000_000_000_000_000_u64) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
    }
}
