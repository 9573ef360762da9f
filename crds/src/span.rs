//! A length of time, written as Go and CEL write durations: `720h`, `10m`, `1h30m`, `500ms`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A length of time with millisecond steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// The units from long to short: milliseconds, and the digits that [`PATTERN`] allows.
const UNITS: [(&str, u64, u32); 4] = [("h", 3_600_000, 6), ("m", 60_000, 7), ("s", 1_000, 9), ("ms", 1, 12)];

/// Each unit at most once, long before short; so many digits that the sum stays below the 292 years of Go and CEL.
const PATTERN: &str = "^(0|([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,12}ms)?)$";

impl Span {
    /// `n` hours.
    #[must_use]
    pub const fn hours(n: u64) -> Self {
        Self(Duration::from_secs(n * 3600))
    }

    /// `n` minutes.
    #[must_use]
    pub const fn minutes(n: u64) -> Self {
        Self(Duration::from_secs(n * 60))
    }

    /// `n` seconds.
    #[must_use]
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// The length as the standard library has it.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, size, most) in UNITS {
            // A length beyond the digits of one unit is carried by the next, so that what is written can be read again.
            let number = (rest / size).min(10_u64.pow(most) - 1);
            if number > 0 {
                write!(f, "{number}{name}")?;
                rest -= number * size;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration: write it like 720h, 10m, 1h30m or 500ms");
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut total: u64 = 0;
        let mut rest = text;
        for (name, size, most) in UNITS {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let unit = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            if &tail[..unit] != name {
                continue;
            }
            if digits > most as usize {
                return Err(wrong());
            }
            let number: u64 = number.parse().map_err(|_| wrong())?;
            total = number.checked_mul(size).and_then(|ms| ms.checked_add(total)).ok_or_else(wrong)?;
            rest = &tail[unit..];
        }
        if text.is_empty() || !rest.is_empty() { Err(wrong()) } else { Ok(Self(Duration::from_millis(total))) }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "minLength": 1, "maxLength": 38})
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{PATTERN, Span};

    #[test]
    fn a_span_is_written_from_long_units_to_short() {
        let written = |ms| Span(Duration::from_millis(ms)).to_string();
        assert_eq!([written(0), written(1), written(61_500), written(5_400_000)], ["0s", "1ms", "1m1s500ms", "1h30m"]);
    }

    #[test]
    fn units_mean_what_they_mean_to_go() {
        let read = |text: &str| text.parse::<Span>().map(|span| span.get().as_millis());
        assert_eq!(read("720h"), Ok(2_592_000_000));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("10s500ms"), Ok(10_500));
        assert_eq!(read("0"), Ok(0));
    }

    proptest! {
        #[test]
        fn a_span_is_read_exactly_when_the_schema_takes_it(text in "0?([0-9]{0,13}(h|ms|m|s|d|M| )?){0,4}") {
            let taken = !text.is_empty() && regex::Regex::new(PATTERN).unwrap().is_match(&text);
            prop_assert_eq!(text.parse::<Span>().is_ok(), taken, "{}", text);
        }

        #[test]
        fn what_is_read_is_written_so_that_it_reads_the_same(h in 0..=999_999_u64, m in 0..=9_999_999_u64, s in 0..=999_999_999_u64, ms in 0..=999_999_999_999_u64) {
            let span: Span = format!("{h}h{m}m{s}s{ms}ms").parse().unwrap();
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
