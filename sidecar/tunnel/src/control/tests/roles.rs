//! Who may do what: the role split on and off, strict mode, the administrator's own services.

use proto::tunnel::{KickNodeRequest, ListNodesRequest, ListTokensRequest, MintTokenRequest, RevokeTokenRequest};

use super::{
    super::{Certificates, Pem, Roles, Takeover},
    stage::*,
};
use crate::{
    authority::{Clock, Forgotten},
    ledger::Shows,
    legacy::{Legacy, LegacyNode},
    seam::{Cut, Denied, Desk, Knock, PeerId},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh_pki::{CertificateInfo, PlaneSubject, PlaneUse, Root, parse_certificates};
use proto::nc::{CheckConnStateRequest, GetTokenResponse};
use std::time::SystemTime;

const JOINER: PlaneSubject<'_> =
    PlaneSubject { organization: Some("lknm:join"), common_name: "network-controller-client" };

fn pem(field: &str) -> String {
    String::from_utf8(STANDARD.decode(field).unwrap()).unwrap()
}

fn register_pair(joined: &GetTokenResponse) -> Credentials {
    Credentials { certificate: pem(&joined.grpc_client_cert), key: pem(&joined.grpc_client_key) }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_split_a_node_may_do_what_the_original_lets_it_do() {
    let stage = stage(|_| {});
    let (own, other) = (stage.joined().await, stage.joined().await);
    let mut node = stage.register_as(&register_pair(&own)).await;
    assert_eq!(mint(&mut node, 10).await.verdict(), ("200", "ok"));
    assert_eq!(check(&mut node, &other.token).await.verdict(), ("200", "ok"));
    assert!(unregister(&mut node, &other.token).await.result);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_split_a_node_asks_about_and_removes_itself_only_and_mints_nothing() {
    let stage = stage(|setup| setup.roles = Roles::Split);
    let (own, other) = (stage.joined().await, stage.joined().await);
    let mut node = stage.register_as(&register_pair(&own)).await;
    let refused = ("400", "permission denied: this needs the administrator's certificate");
    let minted = mint(&mut node, 10).await;
    assert_eq!((minted.verdict(), minted.boot_strap_token.as_str()), (refused, ""));
    assert_eq!(check(&mut node, &other.token).await.verdict(), refused);
    assert_eq!(ip_of(&mut node, &other.token).await.verdict(), refused);
    assert_eq!(unregister(&mut node, &other.token).await.verdict(), refused);
    assert_eq!(check(&mut node, &own.token).await.verdict(), ("200", "ok"));
    assert_eq!(check(&mut node, "reserverd").await.verdict(), ("200", "ok"));
    assert!(unregister(&mut node, &own.token).await.result);
    assert!(unregister(&mut stage.as_admin().await, &other.token).await.result);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrator_makes_lists_and_revokes_tokens_and_nodes_may_not() {
    let stage = stage(|_| {});
    let joined = stage.joined().await;
    let mut node = stage.administration(&register_pair(&joined)).await;
    let denied = node.list_tokens(ListTokensRequest {}).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
    let mut admin = stage.administration(&stage.admin()).await;
    let ask = MintTokenRequest { labels: [("site".to_owned(), "lab".to_owned())].into(), ..Default::default() };
    let minted = admin.mint_token(ask).await.unwrap().into_inner();
    let pin = stage.control.authority().register.authority_sha256();
    assert!(minted.token.ends_with(&format!("#{pin}")), "{}", minted.token);
    let mut stranger = stage.stranger().await;
    assert_eq!(get_token(&mut stranger, &minted.token).await.verdict(), ("200", "ok"));
    // Once is the default of our own interface.
    assert_eq!(get_token(&mut stranger, &minted.token).await.code, "400");
    let listed = admin.list_tokens(ListTokensRequest {}).await.unwrap().into_inner().tokens;
    let row = listed.iter().find(|row| row.id == minted.id).unwrap();
    assert_eq!((row.uses, row.max_uses, row.revoked), (1, 1, false));
    let nodes = admin.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert!(nodes.iter().any(|node| node.token_id == minted.id && node.labels["site"] == "lab" && node.state == -1));
    admin.revoke_token(RevokeTokenRequest { id: minted.id.clone() }).await.unwrap();
    let unknown = admin.revoke_token(RevokeTokenRequest { id: "nobody".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kicked_node_may_come_again_and_an_unregistered_one_may_not() {
    let stage = stage(|_| {});
    let joined = stage.joined().await;
    let peer = stage.peer(&joined);
    let mut admin = stage.administration(&stage.admin()).await;
    let kick = |unregister| KickNodeRequest { id: peer.to_string(), unregister };
    admin.kick_node(kick(false)).await.unwrap();
    assert!(stage.control.ledger().node(peer).is_some());
    admin.kick_node(kick(true)).await.unwrap();
    assert!(stage.control.ledger().node(peer).is_none());
    assert_eq!(stage.hub.cuts(), [(peer, Cut::Kicked), (peer, Cut::Unregistered)]);
    for id in ["", "n", "n99999999999999999999999", "7", &peer.to_string()] {
        let gone = admin.kick_node(KickNodeRequest { id: id.into(), unregister: false }).await.unwrap_err();
        assert_eq!(gone.code(), tonic::Code::NotFound, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_on_the_tunnel_must_not_be_another_nodes_and_in_strict_mode_be_the_nodes_own() {
    for (mode, without) in [(Certificates::Optional, Ok(())), (Certificates::Required, Err(Denied::Invalid))] {
        let stage = stage(|setup| setup.certificates = mode);
        let (own, other) = (stage.joined().await, stage.joined().await);
        let chain = |joined: &GetTokenResponse| parse_certificates(&pem(&joined.network_client_cert)).unwrap();
        let (mine, foreign) = (chain(&own), chain(&other));
        let source = "192.0.2.1".parse().unwrap();
        let admitted = |chain: &[_]| stage.desk.admit(&Knock { token: &own.token, chain, source }).map(drop);
        assert_eq!(admitted(&[]), without);
        assert_eq!(admitted(&mine), Ok(()));
        assert_eq!(admitted(&foreign), Err(Denied::Invalid));
    }
}

/// The tunnel's TLS lets it through, as a legacy client would come again for ever (NC section 4, refusal).
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_expired_or_of_a_stranger_is_refused_with_its_token() {
    let stage = stage(|_| {});
    let joined = stage.joined().await;
    let source = "192.0.2.1".parse().unwrap();
    let admitted = |chain: &[_]| stage.desk.admit(&Knock { token: &joined.token, chain, source }).map(drop);
    let strangers =
        Root::generate_plane(PlaneSubject { organization: None, common_name: "x" }, DAY, SystemTime::now()).unwrap();
    let of_a_stranger = strangers.issue_plane(JOINER, PlaneUse::Client(None), DAY, SystemTime::now()).unwrap();
    for pem in [&stage.expired_joiner, &of_a_stranger.chain_pem, &stage.admin().certificate] {
        assert_eq!(admitted(&parse_certificates(pem).unwrap()), Err(Denied::Invalid), "{pem}");
    }
    assert_eq!(admitted(&parse_certificates(&pem(&joined.network_client_cert)).unwrap()), Ok(()));
}

/// Certificates that LiteKube's servers made are not renewed: whoever looks sees when a node will not come in any more, and why.
#[tokio::test(flavor = "multi_thread")]
async fn when_a_nodes_certificate_ends_is_known_once_it_was_shown_and_of_nobody_elses() {
    let stage = stage(|_| {});
    let (own, other) = (stage.joined().await, stage.joined().await);
    let peer = |token: &str| stage.control.ledger().by_token(token).unwrap().peer;
    let ends = |token: &str| stage.control.ledger().node(peer(token)).unwrap().certificate_ends;
    let end_of = |pem: &str| Some(super::super::unix(CertificateInfo::from_pem(pem).unwrap().not_after));
    let source = "192.0.2.1".parse().unwrap();
    let knocks = |token: &str, pem: &str| {
        let chain = parse_certificates(pem).unwrap();
        stage.desk.admit(&Knock { token, chain: &chain, source }).map(drop)
    };
    let certificate = pem(&own.network_client_cert);
    // What is another node's, or nobody's, says nothing of this one.
    for foreign in [&pem(&other.network_client_cert), &stage.expired_joiner] {
        assert_eq!((knocks(&own.token, foreign), ends(&own.token)), (Err(Denied::Invalid), None));
    }
    assert_eq!((knocks(&own.token, &certificate), ends(&own.token)), (Ok(()), end_of(&certificate)));
    assert_eq!(stage.desk.admit(&Knock { token: &own.token, chain: &[], source }).map(drop), Ok(()));
    assert_eq!((ends(&own.token), ends(&other.token)), (end_of(&certificate), None));
    let token = "b52f93d3f0ec4be7";
    let node = LegacyNode { token: token.into(), address: None, created: None };
    let old = Legacy { nodes: vec![node], ..Legacy::default() };
    stage.control.ledger().import(&old, Vec::new(), 0).unwrap();
    // Of an imported node any good one may be its own; one that is over only where its key is known.
    assert_eq!((knocks(token, &stage.expired_joiner), ends(token)), (Err(Denied::Invalid), None));
    let key = CertificateInfo::from_pem(&stage.expired_joiner).unwrap().spki_sha256;
    stage.control.ledger().show(peer(token), Shows::Join, &key).unwrap();
    assert_eq!(
        (knocks(token, &stage.expired_joiner), ends(token)),
        (Err(Denied::Invalid), end_of(&stage.expired_joiner))
    );
    let shown =
        stage.administration(&stage.admin()).await.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    let shown: Vec<_> = shown.iter().map(|node| Some(node.certificate_ends).filter(|ends| *ends != 0)).collect();
    assert_eq!(shown, [end_of(&certificate), None, end_of(&stage.expired_joiner)]);
}

/// Who was imported has no key that anybody knows, until it shows one where nobody else can be.
#[tokio::test(flavor = "multi_thread")]
async fn an_imported_node_is_known_by_the_certificate_that_it_shows_through_its_own_tunnel() {
    let stage = stage(|setup| setup.roles = Roles::Split);
    let (own, token) = (stage.control.authority().for_legacy_node(SystemTime::now()).unwrap().0, "b52f93d3f0ec4be7");
    let node = LegacyNode { token: token.into(), address: None, created: None };
    let old = Legacy { nodes: vec![node], ..Legacy::default() };
    stage.control.ledger().import(&old, Vec::new(), 0).unwrap();
    let peer = stage.control.ledger().by_token(token).unwrap().peer;
    let refused = ("400", "permission denied: this needs the administrator's certificate");
    let mut direct = stage.register_as(&Credentials::from(&own)).await;
    assert_eq!(check(&mut direct, token).await.verdict(), refused);
    let other = stage.joined().await;
    assert_eq!(stage.control.ledger().address(peer).map(|address| address.octets()), Ok([10, 1, 1, 3]));
    // Of somebody in a network behind the node.
    stage.greets_from([192, 168, 7, 9], peer, &Credentials::from(&own)).await;
    for shows in [&stage.admin(), &register_pair(&other), &Credentials::from(&own)] {
        assert_eq!(stage.control.ledger().node(peer).unwrap().row.register_key, None);
        stage.greets_through(peer, shows).await;
    }
    assert_eq!(stage.control.ledger().node(peer).unwrap().row.register_key, Some(own.key_sha256.clone()));
    assert_eq!(check(&mut direct, token).await.verdict(), ("200", "ok"));
    assert_eq!(check(&mut direct, &other.token).await.verdict(), refused);
    assert!(unregister(&mut direct, token).await.result);
    assert!(stage.control.authority().is_denied(&own.key_sha256));
}

/// What a key that leaked could do with a connection that is open already.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_authority_ends_sessions_and_calls_of_its_certificates_and_of_no_other() {
    let stage = stage(|_| {});
    let joined = stage.joined().await;
    let (mut open, mut of_admin) = (stage.register_as(&register_pair(&joined)).await, stage.as_admin().await);
    let authority = stage.control.authority();
    let replaced = authority.register.authority_sha256();
    let subject = PlaneSubject { organization: None, common_name: "lknm-register-ca@1650000000" };
    let brought = Root::generate_plane(subject, 300 * DAY, SystemTime::now()).unwrap();
    let pem = Pem { certificate: brought.certificate_pem().into(), key: brought.key().expose().into() };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    stage.control.take_over(&Takeover { register: Some(pem), ..Takeover::default() }, now).unwrap();
    let mut new = stage.register_as(&register_pair(&stage.joined().await)).await;
    for client in [&mut open, &mut of_admin, &mut new] {
        assert_eq!(check(client, &joined.token).await.verdict(), ("200", "ok"));
    }
    let forget = |sha256: &str| stage.control.forget_authority(sha256, Clock::Unsure).unwrap();
    assert_eq!(forget(&authority.join.authority_sha256()), (Forgotten::Needed, Vec::new()));
    assert_eq!(stage.hub.cut_authorities(), [""; 0]);
    assert_eq!(forget(&replaced), (Forgotten::Done, vec![PeerId(7)]));
    assert_eq!(stage.hub.cut_authorities(), [replaced]);
    for client in [&mut open, &mut of_admin] {
        let ask = CheckConnStateRequest { token: joined.token.clone() };
        assert_eq!(client.check_conn_state(ask).await.unwrap_err().code(), tonic::Code::Unauthenticated);
    }
    assert_eq!(check(&mut new, &joined.token).await.verdict(), ("200", "ok"));
    assert_eq!(check(&mut stage.as_admin().await, &joined.token).await.verdict(), ("200", "ok"));
}
