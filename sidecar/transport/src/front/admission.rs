//! Who may call which operation, and as whom (design section 4, "Who may call what"; PTP sections 4.3 and 12.4).

use mesh_core::{CallContext, Caller, Node};

use super::op::Op;
use crate::{Origin, TransportError};

/// Admits the caller to `op`, and completes the source ids: a partner's are the verified ones, and a claim to be somebody
/// else is refused; for everybody else a missing one is this node's own. Another gateway of this node speaks for whom it has admitted.
pub(crate) fn admit(op: Op, caller: &Caller, node: &Node, context: &mut CallContext) -> Result<Origin, TransportError> {
    match caller {
        Caller::Stranger => Err(TransportError::Stranger),
        Caller::Local | Caller::Member { .. } => {
            context.source_node.get_or_insert_with(|| node.node_id.clone());
            context.source_inst.get_or_insert_with(|| node.inst_id.clone());
            Ok(Origin::Application)
        }
        // It has admitted the caller, and completed what it said.
        Caller::Gateway => Ok(context.behalf.take().map_or(Origin::Application, Origin::Partner)),
        Caller::Partner(_) if !op.is_wrapper() => Err(TransportError::NotOpen { what: op.name() }),
        Caller::Partner(route) => {
            let foreign = |claimed: &dyn std::fmt::Display| TransportError::ForeignSource {
                claimed: claimed.to_string(),
                partner: route.node_id.to_string(),
            };
            if let Some(claimed) = context.source_node.as_ref().filter(|claimed| **claimed != route.node_id) {
                return Err(foreign(claimed));
            }
            if let (Some(claimed), Some(known)) = (&context.source_inst, &route.inst_id)
                && claimed != known
            {
                return Err(foreign(claimed));
            }
            context.source_node = Some(route.node_id.clone());
            context.source_inst.clone_from(&route.inst_id);
            Ok(Origin::Partner(route.node_id.clone()))
        }
    }
}
