//! How a request says that it is gRPC, and how long its caller waits: what every room with a gRPC side reads alike.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header::CONTENT_TYPE};

static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Whether a request is gRPC.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Reads `grpc-timeout`: up to eight digits and a unit. One that cannot be read counts as absent.
#[must_use]
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(&TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // A sign would be read, too.
    let is_number = digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn deadlines_are_read_in_all_units() {
        let read = |text: &str| {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), HeaderValue::from_str(text).unwrap())]);
            timeout(&headers).map(|limit| limit.as_nanos())
        };
        let table = [
            ("1H", Some(3_600_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("10S", Some(10_000_000_000)),
            ("700m", Some(700_000_000)),
            ("5u", Some(5_000)),
            ("9n", Some(9)),
            ("99999999H", Some(99_999_999 * 3_600_000_000_000)),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("10", None),
            ("-1S", None),
            ("+1S", None),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_request_is_grpc_by_its_content_type_with_or_without_a_codec() {
        for (media, expected) in
            [("application/grpc", true), ("application/grpc+proto", true), ("application/json", false)]
        {
            assert_eq!(is_grpc(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))])), expected);
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
