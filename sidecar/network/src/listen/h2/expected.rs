//! A client that asks whether its body is wanted (`expect: 100-continue`) hears so as soon as somebody waits for it (RFC 9110
//! section 10.1.1); over HTTP/1.1 hyper sees to that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use futures::task::AtomicWaker;
use http::{HeaderMap, header::EXPECT};

/// Whether somebody waits for a body; shared by the body and its call.
#[derive(Debug, Default)]
pub(super) struct Expected {
    is_wanted: AtomicBool,
    call: AtomicWaker,
}

impl Expected {
    /// Of a request that asks.
    pub(super) fn of(headers: &HeaderMap) -> Option<Arc<Self>> {
        let asks = headers.get(EXPECT)?.as_bytes().eq_ignore_ascii_case(b"100-continue");
        asks.then(Arc::default)
    }

    /// Somebody reads the body, and nothing of it has come.
    pub(super) fn want(&self) {
        self.is_wanted.store(true, Ordering::Release);
        self.call.wake();
    }

    /// Whether the client is to be told; else the call is woken when it is.
    pub(super) fn is_wanted(&self, cx: &Context<'_>) -> bool {
        self.call.register(cx.waker());
        self.is_wanted.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn who_asks_is_told_once_somebody_waits() {
        let asks =
            |value: &'static str| Expected::of(&HeaderMap::from_iter([(EXPECT, HeaderValue::from_static(value))]));
        assert!(Expected::of(&HeaderMap::new()).is_none() && asks("something").is_none());
        let (expected, cx) = (asks("100-Continue").unwrap(), Context::from_waker(Waker::noop()));
        assert!(!expected.is_wanted(&cx));
        expected.want();
        assert!(expected.is_wanted(&cx));
    }
}
