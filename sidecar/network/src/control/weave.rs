//! Weaving: two nodes give each other a pair and their consent (PTP section 11.3).
//!
//! `weave` and `ack` are one call each in two roles. Called by an application of this node, it is the host's side: a pair is
//! issued for the partner and sent to it. Called by another node, it is the guest's: what comes is kept, for a stranger as
//! pending ([`super::pending`]), for a partner in its route. The key of the pair leaves only over TLS to a verified peer,
//! since [`Partners::send`](crate::Partners::send) knows no other way.

use std::time::{Duration, SystemTime};

use mesh_core::{Caller, Code, NodeId, Refusal, Route, config::ApiRoute};
use mesh_pki::{Identity, Pair, Role, TrustAnchors, parse_certificates};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Control, ControlError,
    asking::{AskError, as_guest},
    document::Document,
    identity::pair,
    pending::Weave,
    permit,
    route::{self, Need, Refresh, bits_of, set_bits, status},
};
use crate::{RouteError, dial::Address};

/// What the partner may take: it may make an RSA key meanwhile, and write to a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);
/// Weaves and answers that are taken from one partner in one [`Window`](super::window::Window): each is a write to disk, after
/// which every connection is judged anew.
const MOST_IN_WINDOW: u32 = 10;
/// Members of a stranger's document: an id, a name, a code, a handful of addresses.
const LONGEST_TEXT: usize = 512;
/// A root or a chain of a stranger.
const LONGEST_PEM: usize = 32 * 1024;

impl Control {
    /// `net/weave`: this node offers itself to a partner, or another node offers itself to us.
    ///
    /// # Errors
    /// With the code of what is wrong; what was kept before that is said in the text.
    pub async fn weave(&self, caller: &Caller, body: &[u8]) -> Result<(), Refusal> {
        self.weave_document(caller, &super::document::parse(body)?).await
    }

    /// `net/ack`: this node says yes to a weave, or a partner says yes to ours.
    ///
    /// # Errors
    /// With the code of what is wrong; what was kept before that is said in the text.
    pub async fn ack(&self, caller: &Caller, body: &[u8]) -> Result<(), Refusal> {
        self.ack_document(caller, &super::document::parse(body)?).await
    }

    pub(super) async fn weave_document(&self, caller: &Caller, document: &Document) -> Result<(), Refusal> {
        let node = NodeId::new(route::node_id(document)?);
        match caller {
            Caller::Local => self.offer(&node, document).await,
            Caller::Member { .. } | Caller::Gateway => {
                Err(permit(caller, "net/weave").err().map_or_else(nobody, Refusal::from))
            }
            Caller::Partner(route) => self.taken_from_partner(route, &node, document, Said::Weave).await,
            Caller::Stranger => Ok(self.taken_from_stranger(node, document).await?),
        }
    }

    pub(super) async fn ack_document(&self, caller: &Caller, document: &Document) -> Result<(), Refusal> {
        let node = NodeId::new(route::node_id(document)?);
        match caller {
            Caller::Partner(route) => self.taken_from_partner(route, &node, document, Said::Ack).await,
            Caller::Local => self.consent(&node, document).await,
            other => Err(permit(other, "net/ack").err().map_or_else(nobody, Refusal::from)),
        }
    }

    /// The host's side of weave.
    async fn offer(&self, node: &NodeId, document: &Document) -> Result<(), Refusal> {
        self.not_ourselves(node)?;
        self.keeper.takes_routes()?;
        let route = {
            let _turn = self.changing.lock().await;
            let before = self.known(node);
            if before.is_none() && (document.text("inst_id")?.is_none() || document.text("address")?.is_none()) {
                return Err(RouteError::UnknownNode { node: node.clone() }.into());
            }
            let Refresh::Put(mut route) = route::read(document, before.as_ref(), Need::Nothing, SystemTime::now())?
            else {
                return Err(ControlError::Kind { member: "status", expected: "without the bit that removes" }.into());
            };
            let code = document.text("auth_code")?.map(str::to_owned);
            let known = route.record.get("auth_code").and_then(Value::as_str).map(str::to_owned);
            let code = code.or(known).filter(|code| !code.is_empty()).unwrap_or_else(new_code);
            route.record.insert("auth_code".into(), code.into());
            // Whoever is offered a weave is no longer turned down.
            let bits = bits_of(&route.record) & !status::REJECTED | status::APPROVING | status::APPLIED;
            set_bits(&mut route, bits);
            self.permit_tags(&route)?;
            self.keeper.put_route((*route).clone()).await?;
            *route
        };
        self.tell("weave", node, &route).await
    }

    /// The host's side of ack: what waited becomes a route, and the partner is told.
    async fn consent(&self, node: &NodeId, document: &Document) -> Result<(), Refusal> {
        self.not_ourselves(node)?;
        self.keeper.takes_routes()?;
        let waiting = self.waiting_for(node, SystemTime::now()).await;
        let route = {
            let _turn = self.changing.lock().await;
            let (before, now) = (self.known(node), SystemTime::now());
            if before.is_none() && waiting.is_none() {
                return Err(RouteError::UnknownNode { node: node.clone() }.into());
            }
            let mut whole = document.clone();
            if let Some(weave) = &waiting {
                fill_in(&mut whole, weave, before.as_ref());
            }
            let Refresh::Put(mut route) = route::read(&whole, before.as_ref(), Need::Nothing, now)? else {
                return Err(ControlError::Kind { member: "status", expected: "without the bit that removes" }.into());
            };
            if let Some(weave) = &waiting {
                self.join(&mut route, weave, document)?;
            }
            let bits = bits_of(&route.record) & !(status::APPROVING | status::REJECTED) | status::WOVEN;
            set_bits(&mut route, bits);
            self.permit_tags(&route)?;
            self.keeper.put_route((*route).clone()).await?;
            self.pending.forget(node).await?;
            *route
        };
        // A partner that only dials us learns of it when it does.
        if route.config.addresses.is_empty() {
            return Ok(());
        }
        self.tell("ack", node, &route).await
    }

    /// Whoever waits comes in under the roots of the route alone: an ack of the one is none of another party of that name.
    fn join(&self, route: &mut ApiRoute, weave: &Weave, said: &Document) -> Result<(), ControlError> {
        if !weave.is_under(&route.config.roots) {
            return Err(ControlError::ForeignWeave { node: weave.node_id.clone() });
        }
        // A MeshRoute has no place for a key; our own leaf will do, since the partner trusts our root.
        let is_own = said.text("guest_crt")?.is_some() || said.text("guest_key")?.is_some();
        if is_own || self.keeper.decides().is_err() {
            return Ok(());
        }
        // One without a root was compared with nothing yet.
        let roots: Vec<&str> = route.config.roots.iter().map(String::as_str).collect();
        let fits = |pair: &Pair| TrustAnchors::from_pems(&roots).is_ok_and(|anchors| self.fits(pair, &anchors).is_ok());
        if weave.pair().is_some_and(|pair| fits(&pair)) {
            weave.give_pair(route);
        }
        Ok(())
    }

    /// Sends the partner our route and, where this node has the key of its root, a pair of it.
    async fn tell(&self, verb: &str, node: &NodeId, route: &ApiRoute) -> Result<(), Refusal> {
        let partner = Identity { node_id: node.to_string(), name: route.config.peer.display_name.clone() };
        // The key of a node's root is the operator's where resources decide; the partner gets the root alone.
        let pair = match self.keeper.decides() {
            Ok(()) => Some(self.keeper.issue_for(partner).await?),
            Err(_) => None,
        };
        let code = route.record.get("auth_code").and_then(Value::as_str).unwrap_or_default();
        let arguments = as_guest(verb, &self.own_route(pair.as_ref(), code));
        let asked = self.ask(node, &format!("{verb}.net.mesh"), &arguments, Instant::now() + PATIENCE).await;
        match asked {
            Ok(_) => Ok(()),
            Err(error) => Err(not_told(verb, error)),
        }
    }

    /// This node as a Route, with the pair that it issued for its reader.
    fn own_route(&self, pair: Option<&Pair>, code: &str) -> Value {
        let snapshot = self.keeper.live().load();
        let node = &snapshot.node;
        json!({
            "node_id": node.node_id.as_str(),
            "inst_id": node.inst_id.as_str(),
            "name": node.name,
            "inst_name": node.name,
            "address": self.addresses.as_deref().unwrap_or(&node.address),
            "host_root": node.roots_pem,
            "host_crt": pair.map(|pair| &pair.chain_pem),
            "host_key": pair.map(|pair| pair.key.expose()),
            "auth_code": code,
        })
    }

    /// The guest's side, where the host is a partner: the pair goes into its route. What it is trusted by does not change.
    async fn taken_from_partner(
        &self,
        route: &Route,
        node: &NodeId,
        document: &Document,
        said: Said,
    ) -> Result<(), Refusal> {
        if *node != route.node_id {
            return Err(ControlError::ForeignRoute { claimed: node.to_string(), node: route.node_id.clone() }.into());
        }
        if said == Said::Weave {
            document.required("auth_code")?;
        }
        let given = host_pair(document)?;
        if let Some(given) = &given {
            self.fits(given, &route.anchors)?;
        }
        // There are as many windows as routes.
        if !self.told.lock().entry(route.node_id.clone()).or_default().take(MOST_IN_WINDOW, SystemTime::now()) {
            return Err(ControlError::TooOften { node: route.node_id.clone() }.into());
        }
        let _turn = self.changing.lock().await;
        let Some(mut known) = self.known(node) else {
            return Err(RouteError::UnknownNode { node: node.clone() }.into());
        };
        // A resource or a file that has this partner is our consent already, and has no place for a key: our own leaf will do,
        // since the partner trusts our root.
        if self.keeper.api_route(node).is_none() {
            tracing::info!(%node, "the partner offers itself or says yes: its route stays as the resource or file has it");
            return Ok(());
        }
        if let Some(given) = given {
            (known.config.client_pair, known.client_pair) = (true, Some(given));
        }
        let bits = bits_of(&known.record);
        let bits = match said {
            Said::Ack => bits & !status::APPROVING | status::WOVEN,
            Said::Weave => bits | status::APPLIED,
        };
        known.record.insert("status".into(), bits.into());
        self.keeper.put_route(known).await?;
        Ok(())
    }

    /// The guest's side, where nobody knows the host: it waits until somebody of this node says yes.
    async fn taken_from_stranger(&self, node: NodeId, document: &Document) -> Result<(), ControlError> {
        let snapshot = self.keeper.live().snapshot();
        let is_taken = snapshot.route_to(&node).is_some_and(|route| !route.anchors.is_empty());
        if is_taken || node == snapshot.node.node_id {
            return Err(ControlError::NotItself { claimed: node.to_string() });
        }
        if self.known(&node).is_some_and(|known| bits_of(&known.record) & status::REJECTED != 0) {
            return Err(ControlError::TurnedDown { claimed: node.to_string() });
        }
        NodeId::given(node.as_str()).ok_or(ControlError::Missing { member: "node_id" })?;
        let short = |member: &'static str| {
            let text = document.text(member)?.unwrap_or_default();
            if text.len() > LONGEST_TEXT || text.chars().any(char::is_control) {
                return Err(ControlError::Kind { member, expected: "a line of 512 bytes at most" });
            }
            Ok(text.to_owned())
        };
        document.required("auth_code")?;
        let address = short("address")?;
        if !address.is_empty() {
            Address::parse_list(&address)?;
        }
        let root = document.text("host_root")?.unwrap_or_default();
        let given = host_pair(document)?;
        if !root.is_empty() {
            let anchors = TrustAnchors::from_pems(&[root])
                .map_err(|problem| ControlError::Certificate { member: "host_root", problem })?;
            given.as_ref().map_or(Ok(()), |given| self.fits(given, &anchors))?;
        }
        let (certificate, key) =
            given.map_or_else(Default::default, |pair| (pair.chain_pem, pair.key.expose().to_owned()));
        if [root.len(), certificate.len(), key.len()].iter().any(|length| *length > LONGEST_PEM) {
            return Err(ControlError::Kind {
                member: "host_root, host_crt, host_key",
                expected: "32 KiB each at most",
            });
        }
        route::check_id("node_id", node.as_str())?;
        let (inst_id, name, auth_code) = (short("inst_id")?, short("name")?, short("auth_code")?);
        let now = SystemTime::now();
        let at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let root = root.to_owned();
        let node_id = node.to_string();
        let weave = Weave { node_id, inst_id, name, address, auth_code, root, certificate, key, at };
        self.pending.take(weave, now).await?;
        tracing::info!(%node, "a party that no route trusts asks to be woven: see mesh route ls, answer by net/ack");
        Ok(())
    }

    /// A pair that somebody issued for us: under its own root, and for this node.
    fn fits(&self, pair: &Pair, anchors: &TrustAnchors) -> Result<(), ControlError> {
        let unfit = |reason: String| ControlError::UnfitPair { reason };
        let chain = parse_certificates(&pair.chain_pem)
            .map_err(|problem| ControlError::Certificate { member: "host_crt", problem })?;
        anchors.verify(&chain, Role::Client, SystemTime::now()).map_err(|problem| unfit(problem.to_string()))?;
        let own = self.keeper.live().load().node.node_id.to_string();
        match chain.first().map(mesh_pki::CertificateInfo::from_der) {
            Some(Ok(info)) if info.names_node(&own) => Ok(()),
            _ => Err(unfit(format!("it does not name {own}"))),
        }
    }

    fn not_ourselves(&self, node: &NodeId) -> Result<(), ControlError> {
        if *node == self.keeper.live().load().node.node_id {
            return Err(ControlError::Ourselves);
        }
        Ok(())
    }
}

/// What a partner says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Weave,
    Ack,
}

/// The pair that a host sends along.
fn host_pair(document: &Document) -> Result<Option<Pair>, ControlError> {
    pair(("host_crt", document.text("host_crt")?), ("host_key", document.text("host_key")?))
}

/// What the waiting weave says, where neither the caller nor the route says anything.
fn fill_in(document: &mut Document, weave: &Weave, before: Option<&ApiRoute>) {
    let has_roots = before.is_some_and(|before| !before.config.roots.is_empty());
    let has_address = before.is_some_and(|before| !before.config.addresses.is_empty());
    let members = [
        ("inst_id", &weave.inst_id, before.is_some()),
        ("name", &weave.name, before.is_some_and(|before| !before.config.peer.display_name.is_empty())),
        ("address", &weave.address, has_address),
        ("guest_root", &weave.root, has_roots),
        ("auth_code", &weave.auth_code, false),
    ];
    for (member, text, is_known) in members {
        let is_given = document.0.get(member).and_then(Value::as_str).is_some_and(|given| !given.is_empty());
        if !(is_known || is_given || text.is_empty()) {
            document.0.insert(member.to_owned(), text.as_str().into());
        }
    }
}

/// A code that people on both sides can compare.
fn new_code() -> String {
    format!("{:08x}", rand::rng().random::<u32>())
}

/// What is kept here although the partner was not told.
fn not_told(verb: &str, error: AskError) -> Refusal {
    let mut refusal = Refusal::from(error);
    refusal.message = format!("kept here, and the partner was not told; repeat net/{verb}: {}", refusal.message);
    refusal
}

fn nobody() -> Refusal {
    Refusal::of_caller(Code::NOT_PERMITTED, "this call is for this node's own applications and its partners")
}
