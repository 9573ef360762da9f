//! The header `traceparent` (W3C Trace Context, level 1): which trace a call belongs to, and which span it comes from.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The header's name.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Whence a call comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent(pub(crate) SpanContext);

impl Parent {
    /// What a call's headers say; `None` where they say nothing, or two things.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).into_iter();
        let value = values.next()?;
        if values.next().is_some() { None } else { Self::read(value.as_bytes()) }
    }

    /// Writes it into the headers of a call, in the place of what they said.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.header()) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// Reads the header's value; `None` where it is none, as the standard wants it: the trace begins here.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // A later version may have more behind; this one has not.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        for (part, length) in [(version, 2), (trace, 32), (span, 16), (flags, 2)] {
            if part.len() != length || !part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return None;
            }
        }
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let context = SpanContext::new(trace, span, flags, true, TraceState::default());
        context.is_valid().then_some(Self(context))
    }

    /// The header's value.
    #[must_use]
    pub fn header(&self) -> String {
        let Self(context) = self;
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
    }

    /// The trace's id alone.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        let parent = Parent::read(GOOD.as_bytes()).unwrap();
        assert_eq!((parent.header().as_str(), parent.trace_id().as_str()), (GOOD, "4bf92f3577b34da6a3ce929d0e0e4736"));
        let later = Parent::read(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-more").unwrap();
        assert_eq!(later, parent, "of a later version what is known of this one");
    }

    #[test]
    fn what_is_none_is_passed_over() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
        ] {
            assert_eq!(Parent::read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Parent::read(&[0xff, 0xfe]), None);
    }

    #[test]
    fn one_header_is_read_and_two_are_none() {
        let (mut headers, parent) = (HeaderMap::new(), Parent::read(GOOD.as_bytes()).unwrap());
        assert_eq!(Parent::of(&headers), None);
        parent.write(&mut headers);
        assert_eq!(Parent::of(&headers), Some(parent));
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(Parent::of(&headers), None);
    }
}
