//! Trace ids: a call that comes without one gets one before it leaves this node (PTP section 4.3).

use std::borrow::Cow;

use mesh_core::CallContext;

/// The trace id of a call, or a new one: 32 hexadecimal digits, as tracing systems write them.
pub(super) fn id_of(context: &CallContext) -> String {
    context.trace_id.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()))
}

/// The same call, with a trace id.
pub(super) fn named(context: &CallContext) -> Cow<'_, CallContext> {
    match context.trace_id {
        Some(_) => Cow::Borrowed(context),
        None => Cow::Owned(CallContext { trace_id: Some(id_of(context)), ..context.clone() }),
    }
}
