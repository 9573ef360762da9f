//! What the administrator asks: tokens made, listed and revoked; nodes listed and sent away (NC section 8).

use std::{collections::HashMap, sync::Arc};

use proto::tunnel::{
    BootstrapToken, KickNodeRequest, KickNodeResponse, ListNodesRequest, ListNodesResponse, ListTokensRequest,
    ListTokensResponse, MintTokenRequest, MintTokenResponse, Node, RevokeTokenRequest, RevokeTokenResponse,
    administration_server::Administration,
};
use tonic::{Request, Response, Status};

use super::{
    Control,
    caller::Caller,
    register::{blocking, caller},
    unix_now,
};
use crate::{
    ledger::{Mint, MintError, NodeView, RevokeError, TokenRow},
    seam::{Cut, Figures, PeerId},
};

/// The service.
#[derive(Clone)]
pub(super) struct AdministrationDesk(pub(super) Arc<Control>);

/// Only the administrator's certificate opens this, whatever nodes may do otherwise.
fn admin<T>(control: &Control, request: &Request<T>) -> Result<Caller, Status> {
    let caller = caller(control, request)?;
    if caller.is_admin() { Ok(caller) } else { Err(Status::permission_denied("this is the administrator's business")) }
}

#[tonic::async_trait]
impl Administration for AdministrationDesk {
    async fn mint_token(&self, request: Request<MintTokenRequest>) -> Result<Response<MintTokenResponse>, Status> {
        let caller = admin(&self.0, &request)?;
        let (control, ask) = (Arc::clone(&self.0), request.into_inner());
        let mint = Mint {
            expires: (ask.expires != 0).then_some(ask.expires),
            max_uses: Some(ask.max_uses.unwrap_or(1)).filter(|most| *most != 0),
            labels: ask.labels,
            ephemeral: (ask.ephemeral_seconds != 0).then_some(ask.ephemeral_seconds),
            legacy: ask.legacy,
            approval: ask.approval,
        };
        blocking(move || control.mint(&caller, mint)).await?.map(Response::new)
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        admin(&self.0, &request)?;
        let tokens = self.0.ledger.tokens().into_iter().map(shown_token).collect();
        Ok(Response::new(ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let caller = admin(&self.0, &request)?;
        let (control, id) = (Arc::clone(&self.0), request.into_inner().id);
        blocking(move || {
            control.ledger.revoke(&id).map_err(|e| match e {
                RevokeError::Unknown => Status::not_found(e.to_string()),
                RevokeError::Unwritten(e) => Status::unavailable(e.to_string()),
            })?;
            control.audit("revoke", &caller, &id);
            Ok(Response::new(RevokeTokenResponse {}))
        })
        .await?
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        admin(&self.0, &request)?;
        let figures: HashMap<PeerId, Figures> = self.0.figures().into_iter().map(|row| (row.peer, row)).collect();
        let nodes = self.0.ledger.nodes().into_iter().map(|node| shown_node(&node, figures.get(&node.peer))).collect();
        Ok(Response::new(ListNodesResponse { nodes }))
    }

    async fn kick_node(&self, request: Request<KickNodeRequest>) -> Result<Response<KickNodeResponse>, Status> {
        let caller = admin(&self.0, &request)?;
        let (control, ask) = (Arc::clone(&self.0), request.into_inner());
        blocking(move || control.kick(&caller, &ask)).await?.map(Response::new)
    }
}

impl Control {
    fn mint(&self, caller: &Caller, mint: Mint) -> Result<MintTokenResponse, Status> {
        let now = unix_now();
        if mint.expires.is_some_and(|end| end <= now) {
            return Err(Status::invalid_argument("the token would be expired before it is used"));
        }
        let legacy = mint.legacy;
        let minted = self.ledger.mint(mint, now).map_err(|e| match e {
            MintError::Labels => Status::invalid_argument(e.to_string()),
            MintError::TooMany => Status::resource_exhausted(e.to_string()),
            MintError::Random(_) | MintError::Unwritten(_) => Status::unavailable(e.to_string()),
        })?;
        self.audit("mint", caller, &minted.id);
        Ok(MintTokenResponse { token: self.whole(&minted.secret, legacy), id: minted.id })
    }

    fn kick(&self, caller: &Caller, ask: &KickNodeRequest) -> Result<KickNodeResponse, Status> {
        let unknown = || Status::not_found("no node is called that: `mesh tunnel ls` lists them");
        let number = ask.id.strip_prefix('n').and_then(|number| number.parse().ok()).ok_or_else(unknown)?;
        let peer = PeerId(number);
        self.ledger.node(peer).ok_or_else(unknown)?;
        if ask.unregister {
            self.unregister_by_way_of(caller.through, peer).map_err(|e| Status::unavailable(e.to_string()))?;
        } else {
            self.cut_by_way_of(caller.through, peer, Cut::Kicked);
        }
        self.audit(if ask.unregister { "unregister" } else { "kick" }, caller, &peer);
        Ok(KickNodeResponse {})
    }
}

fn shown_token((id, row): (String, TokenRow)) -> BootstrapToken {
    BootstrapToken {
        id,
        created: row.created,
        expires: row.expires.unwrap_or_default(),
        uses: row.uses,
        max_uses: row.max_uses.unwrap_or_default(),
        revoked: row.revoked,
        labels: row.labels,
    }
}

fn shown_node(node: &NodeView, figures: Option<&Figures>) -> Node {
    let shown = Node {
        id: node.peer.to_string(),
        state: node.state.wire(),
        address: node.row.address.map(|ip| ip.to_string()).unwrap_or_default(),
        created: node.row.created,
        token_id: node.row.joined_with.clone(),
        labels: node.row.labels.clone(),
        certificate_ends: node.certificate_ends.unwrap_or_default(),
        ..Node::default()
    };
    let Some(live) = figures else { return shown };
    Node {
        from: live.from.to_string(),
        packets_in: live.packets_in,
        packets_out: live.packets_out,
        bytes_in: live.bytes_in,
        bytes_out: live.bytes_out,
        dropped: live.dropped,
        ..shown
    }
}
