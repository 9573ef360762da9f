//! What each call of the contract means (NC section 2): the checks in their order, in plain types. Nothing here knows gRPC.
//!
//! What writes blocks for as long as the disk takes; the fronts call it where blocking does no harm.

use std::{
    net::Ipv4Addr,
    time::{Instant, SystemTime},
};

use super::{Control, caller::Caller, unix_now, verdict::Verdict};
use crate::{
    authority::Issued,
    ledger::{JoinError, Joiner, Mint, MintError, NodeView},
    seam::ConnState,
    tokens::{Life, RESERVED, Secret},
};

/// What a new node is given.
pub(super) struct Welcome {
    pub(super) token: Secret,
    pub(super) register: Issued,
    pub(super) join: Issued,
}

/// A node, or the server itself.
pub(super) struct Found {
    pub(super) state: ConnState,
    pub(super) address: Option<Ipv4Addr>,
    pub(super) node: Option<NodeView>,
}

/// With the role split on, what is not the caller's own is refused.
fn forbidden() -> Verdict {
    Verdict::bad("permission denied: this needs the administrator's certificate")
}

impl Control {
    /// GetBootStrapToken: a token for any number of nodes, or nothing but the endpoint.
    pub(super) fn mint_legacy(&self, caller: &Caller, minutes: i64) -> Result<Option<Secret>, Verdict> {
        if !caller.may_mint(self) {
            return Err(forbidden());
        }
        let now = unix_now();
        let expires = match Life::of_minutes(minutes, now).map_err(|e| Verdict::bad(e.to_string()))? {
            Life::EndpointOnly => return Ok(None),
            Life::Endless => None,
            Life::Until(end) => Some(end),
        };
        let mint = Mint { expires, legacy: true, ..Mint::default() };
        let minted = self.ledger.mint(mint, now).map_err(|error| {
            tracing::error!("no bootstrap token was made: {error}");
            match error {
                MintError::Unwritten(_) => Verdict::unwritten(),
                other => Verdict::failed(other.to_string()),
            }
        })?;
        self.audit("mint", caller, &minted.id);
        Ok(Some(minted.secret))
    }

    /// GetToken: a new node with fresh certificates.
    pub(super) fn join_legacy(&self, caller: &Caller, bootstrap: &str) -> Result<Welcome, Verdict> {
        if bootstrap.is_empty() {
            return Err(Verdict::no_bootstrap_token());
        }
        self.slow_down(caller)?;
        // Before keys are made: a stranger's guess costs a look-up.
        self.ledger.is_good(bootstrap, unix_now()).map_err(|_| self.refused_join(caller, &JoinError::NoToken))?;
        let (register, join) = self.authority.for_legacy_node(SystemTime::now()).map_err(|error| {
            tracing::error!("no certificates for a node: {error}");
            Verdict::failed("the certificates could not be made: look at the server's log")
        })?;
        let (register_key, join_key) = (register.key_sha256.clone(), join.key_sha256.clone());
        let joiner = Joiner { register_key, join_key, is_named: false };
        let joined =
            self.ledger.join(bootstrap, joiner, unix_now()).map_err(|error| self.refused_join(caller, &error))?;
        self.audit_join(caller, &joined);
        Ok(Welcome { token: joined.token, register, join })
    }

    /// CheckConnState and GetRegistedIp.
    pub(super) fn find(&self, caller: &Caller, token: &str) -> Result<Found, Verdict> {
        if token.is_empty() {
            return Err(Verdict::no_token());
        }
        if token == RESERVED {
            return Ok(Found { state: ConnState::Connected, address: Some(self.server()), node: None });
        }
        let node = self.ledger.by_token(token).ok_or_else(Verdict::unknown)?;
        if !caller.may_touch(self, node.peer) {
            return Err(forbidden());
        }
        Ok(Found { state: node.state, address: node.row.address, node: Some(node) })
    }

    /// UnRegister.
    pub(super) fn unregister_by(&self, caller: &Caller, token: &str) -> Result<(), Verdict> {
        let Some(node) = self.find(caller, token)?.node else {
            return Err(Verdict::bad("reserverd is the server's own entry and can't be unregistered"));
        };
        match self.unregister_by_way_of(caller.through, node.peer) {
            Ok(true) => {
                self.audit("unregister", caller, &node.peer);
                Ok(())
            }
            // Somebody else was faster.
            Ok(false) => Err(Verdict::unknown()),
            Err(error) => {
                tracing::error!(node = %node.peer, "a node is not unregistered: {error}");
                Err(Verdict::unwritten())
            }
        }
    }

    /// Whether a source joins too often.
    pub(super) fn slow_down(&self, caller: &Caller) -> Result<(), Verdict> {
        if self.joins.lock().admits(caller.source.ip(), Instant::now()) {
            return Ok(());
        }
        self.metrics.limited();
        Err(Verdict::failed("too many attempts from there: wait a second, then try again"))
    }

    pub(super) fn refused_join(&self, caller: &Caller, error: &JoinError) -> Verdict {
        tracing::warn!(target: "audit", source = %caller.source, "a node did not join: {error}");
        match error {
            JoinError::NoToken => Verdict::unknown(),
            JoinError::Unwritten(_) => Verdict::unwritten(),
            other => Verdict::failed(other.to_string()),
        }
    }

    /// Every use of a token and every change by somebody outside is logged, without secrets.
    pub(super) fn audit(&self, action: &'static str, caller: &Caller, what: &dyn std::fmt::Display) {
        let key = caller.shown.as_ref().map(|shown| shown.key.as_str());
        tracing::info!(target: "audit", action, source = %caller.source, certificate = key, %what, "tunnel");
    }

    pub(super) fn audit_join(&self, caller: &Caller, joined: &crate::ledger::Joined) {
        self.metrics.joined();
        self.audit("join", caller, &format_args!("{} with token {}", joined.peer, joined.joined_with));
    }
}
