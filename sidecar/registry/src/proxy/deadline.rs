//! How long a gRPC caller waits, as it says itself in `grpc-timeout`. A service never has longer than that, and its own timeout
//! holds beside it (PTP section 10.4, point 3).

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// When a caller with these headers gives up.
pub(crate) fn of(headers: &HeaderMap) -> Option<Instant> {
    grpc_timeout(headers).and_then(|timeout| Instant::now().checked_add(timeout))
}

/// `grpc-timeout`: at most eight digits and a unit.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = (digits.len() <= 8).then(|| digits.parse().ok())??;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_grpc_timeout_is_read_in_each_unit() {
        for (text, read) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("10S", Some(Duration::from_secs(10))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("-1S", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(text).unwrap());
            assert_eq!(grpc_timeout(&headers), read, "{text}");
        }
    }
}
