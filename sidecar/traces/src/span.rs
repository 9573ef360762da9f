//! One span, from its begin to its end, and which of them a task is in.

use std::borrow::Cow;

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

use crate::Parent;

tokio::task_local! {
    static CURRENT: (SdkTracer, Parent);
}

/// Begins a span under the one that this task is in; `None` where it is in none, or traces are off.
#[must_use]
pub fn child(name: &'static str, kind: SpanKind) -> Option<Span> {
    CURRENT.try_with(|(tracer, parent)| Span::begin(tracer, name, kind, Some(parent))).ok()
}

/// A span that has begun. It ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    tracer: SdkTracer,
    span: SdkSpan,
}

impl Span {
    pub(crate) fn begin(tracer: &SdkTracer, name: &'static str, kind: SpanKind, parent: Option<&Parent>) -> Self {
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.0.clone()),
            None => Context::new(),
        };
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &context);
        Self { tracer: tracer.clone(), span }
    }

    /// Says more of it, where it is recorded. Nothing secret, and nothing of a payload.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if self.span.is_recording() {
            self.span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// It failed; why, in a word of a fixed set.
    pub fn failed(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.span.set_status(Status::error(reason));
    }

    /// For what is called under it.
    #[must_use]
    pub fn parent(&self) -> Parent {
        Parent(self.span.span_context().clone())
    }

    /// Runs `work` in it: spans that [`child`] begins there are under this one.
    pub async fn around<W: Future>(&self, work: W) -> W::Output {
        CURRENT.scope((self.tracer.clone(), self.parent()), work).await
    }
}
