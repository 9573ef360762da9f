//! The MPIs `mesh.net.*` and `kms.*` (PTP sections 11.2 and 12.2). No answer carries a private key (decision D6).
//!
//! ```text
//! mod.rs      what is registered, and for whom
//! read.rs     what may be read: environ, edge, edges, index
//! change.rs   what changes routes: refresh, weave, ack, disable, enable, ally, disband, decline
//! partner.rs  what partners are asked for: accessible, version, assert
//! books.rs    what is kept to be read back: domains, institutions
//! kms.rs      identity and certificates
//! page.rs     lists in pages (pure)
//! ```

mod books;
mod change;
mod kms;
mod page;
mod partner;
mod read;

use std::{future::Future, sync::Arc};

use mesh_core::{
    NodeId, Refusal,
    mpi::{Access, Answer, Call, Table},
};
use serde_json::Value;

use super::{Control, ControlError, document::Document, waiting::WAITING};

pub(super) use books::Books;

/// Nodes that one call may name.
const MOST_NODES: usize = 256;

impl Control {
    /// Registers them all.
    pub fn register(self: &Arc<Self>, table: &mut Table) {
        // Partners ask environ to learn whether they reached the right node, and to get its root; a stranger may offer itself.
        self.add(table, "mesh.net.environ", Access::Partner, |this, _| async move { Ok(Some(this.environ())) });
        self.add(table, "mesh.net.weave", Access::Anyone, Self::weave_by_mpi);
        self.add(table, "mesh.net.ack", Access::Partner, Self::ack_by_mpi);
        self.add(table, WAITING, Access::Member, |this, call| async move { this.waiting(&call) });
        self.add(table, "mesh.net.edge", Access::Local, Self::edge);
        self.add(table, "mesh.net.edges", Access::Local, |this, _| async move { Ok(Some(this.edges().await.into())) });
        self.add(table, "mesh.net.index", Access::Local, Self::index);
        self.add(table, "interconn.net.decline", Access::Local, Self::decline);
        self.add(table, "mesh.net.refresh", Access::Local, Self::refresh_by_mpi);
        self.add(table, "mesh.net.disable", Access::Local, |this, call| this.switch(call, true));
        self.add(table, "mesh.net.enable", Access::Local, |this, call| this.switch(call, false));
        self.add(table, "mesh.net.ally", Access::Local, Self::ally);
        self.add(table, "mesh.net.disband", Access::Local, Self::disband);
        self.add(table, "mesh.net.accessible", Access::Local, Self::accessible);
        self.add(table, "mesh.net.version", Access::Local, Self::version);
        self.add(table, "mesh.net.assert", Access::Local, Self::assert);
        self.add(table, "mesh.net.domains", Access::Local, |this, call| async move { this.domains(&call) });
        self.add(table, "mesh.net.resolve", Access::Local, Self::resolve);
        self.add(table, "mesh.net.instx", Access::Local, |this, call| async move { this.instx(&call) });
        self.add(table, "mesh.net.instr", Access::Local, Self::instr);
        self.add(table, "kms.store.reset", Access::Local, Self::reset);
        self.add(table, "kms.store.environ", Access::Local, |this, _| async move { Ok(Some(this.environ())) });
        self.add(table, "kms.crt.store.list", Access::Local, |this, call| async move { this.certificates(&call) });
        self.add(table, "kms.crt.apply.root", Access::Local, |this, call| async move { this.apply_root(&call) });
        self.add(table, "kms.crt.apply.issue", Access::Local, Self::apply_issue);
    }

    fn add<F, Fut>(self: &Arc<Self>, table: &mut Table, name: &'static str, access: Access, method: F)
    where
        F: Fn(Arc<Self>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let this = Arc::clone(self);
        table.register(name, access, move |call| method(Arc::clone(&this), call));
    }
}

/// An argument that is an object.
fn object(call: &Call, member: &'static str) -> Result<Document, ControlError> {
    match call.arguments.get(member) {
        Some(Value::Object(members)) => Ok(Document(members.clone())),
        None | Some(Value::Null) => Err(ControlError::Missing { member }),
        Some(_) => Err(ControlError::Kind { member, expected: "an object" }),
    }
}

/// An argument that is a list of objects.
fn objects(call: &Call, member: &'static str) -> Result<Vec<Document>, ControlError> {
    let wrong = ControlError::Kind { member, expected: "a list of objects" };
    let Some(Value::Array(given)) = call.arguments.get(member) else {
        return Err(if call.arguments.contains_key(member) { wrong } else { ControlError::Missing { member } });
    };
    if given.len() > MOST_NODES {
        return Err(ControlError::TooMany { member, limit: MOST_NODES });
    }
    let documents = given.iter().map(|one| one.as_object().cloned().map(Document));
    documents.collect::<Option<Vec<_>>>().ok_or(wrong)
}

/// An argument that is a text; `None` where it is absent or empty.
fn text<'c>(call: &'c Call, member: &'static str) -> Result<Option<&'c str>, ControlError> {
    match call.arguments.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(_) => Err(ControlError::Kind { member, expected: "a text" }),
    }
}

/// The argument `node_id`.
pub(super) fn node_id(call: &Call) -> Result<NodeId, ControlError> {
    let member = "node_id";
    text(call, member)?.map(NodeId::new).ok_or(ControlError::Missing { member })
}

/// The argument `node_ids`.
fn node_ids(call: &Call) -> Result<Vec<NodeId>, ControlError> {
    let member = "node_ids";
    let wrong = ControlError::Kind { member, expected: "a list of texts" };
    let Some(Value::Array(given)) = call.arguments.get(member) else {
        return Err(if call.arguments.contains_key(member) { wrong } else { ControlError::Missing { member } });
    };
    if given.len() > MOST_NODES {
        return Err(ControlError::TooMany { member, limit: MOST_NODES });
    }
    let ids = given.iter().map(|id| id.as_str().map(str::trim).filter(|id| !id.is_empty()).map(NodeId::new));
    ids.collect::<Option<Vec<_>>>().ok_or(wrong)
}

fn done(result: Result<(), Refusal>) -> Answer {
    result.map(|()| None)
}
