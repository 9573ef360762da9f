//! Joining with keys of one's own, and through the tunnel.

use std::time::SystemTime;

use mesh_pki::{CertificateInfo, RequestedKey, parse_certificates};
use proto::tunnel::{EnrolRequest, enrolment_client::EnrolmentClient};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::stage::*;
use crate::{
    ledger::Mint,
    seam::{Denied, Desk, Knock, PeerId},
};

const REGISTER: &str = include_str!("requests/register.csr.pem");
const JOIN: &str = include_str!("requests/join.csr.pem");

fn uri(pem: &str) -> String {
    let der = parse_certificates(pem).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der[0]).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    match &names.value.general_names[..] {
        [GeneralName::URI(uri)] => (*uri).to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_keeps_its_keys_gets_certificates_that_name_it_and_its_address() {
    let stage = stage(|_| {});
    let token = stage.control.ledger().mint(Mint { max_uses: Some(2), ..Mint::default() }, 0).unwrap().secret;
    let mut stranger = EnrolmentClient::new(stage.channel(stage.bootstrap, None).await.unwrap());
    let ask = |register: &str, join: &str| EnrolRequest {
        bootstrap_token: token.expose().into(),
        register_request: register.into(),
        join_request: join.into(),
    };
    for (register, join) in [("", JOIN), (REGISTER, "no request"), (JOIN, JOIN)] {
        let refused = stranger.enrol(ask(register, join)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
    }
    let enrolled = stranger.enrol(ask(REGISTER, JOIN)).await.unwrap().into_inner();
    assert_eq!(enrolled.tunnel_address, "203.0.113.7:6441");
    for certificate in [&enrolled.register_certificate, &enrolled.join_certificate] {
        assert_eq!(uri(certificate), "spiffe://lknm/node/n1/ip/10.1.1.3");
    }
    let subject = CertificateInfo::from_pem(&enrolled.join_certificate).unwrap().subject;
    assert_eq!(subject, "O=lknm:join, CN=network-controller-client");
    let again = stranger.enrol(ask(REGISTER, JOIN)).await.unwrap_err();
    assert_eq!(again.code(), tonic::Code::AlreadyExists);
    let unknown = EnrolRequest { bootstrap_token: "0000000000004000".into(), ..ask(REGISTER, JOIN) };
    assert_eq!(stranger.enrol(unknown).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let own = parse_certificates(&enrolled.join_certificate).unwrap();
    let knock = Knock { token: &enrolled.token, chain: &own, source: "192.0.2.1".parse().unwrap() };
    assert_eq!(stage.desk.admit(&knock).unwrap().address, Some("10.1.1.3".parse().unwrap()));
    let other = stage.joined().await;
    assert_eq!(stage.desk.admit(&Knock { token: &other.token, ..knock }), Err(Denied::Invalid));
    // What names another address, or another node of that number elsewhere, is not this one's whatever its key is.
    let key = RequestedKey::from_pem(JOIN).unwrap();
    let named = |peer, address: [u8; 4]| {
        let pair = stage.control.authority().for_node((PeerId(peer), address.into()), (&key, &key), SystemTime::now());
        let chain = parse_certificates(&pair.unwrap().1).unwrap();
        stage.desk.admit(&Knock { chain: &chain, ..knock }).map(drop)
    };
    assert_eq!(named(1, [10, 1, 1, 3]), Ok(()));
    assert_eq!((named(1, [10, 1, 1, 5]), named(2, [10, 1, 1, 3])), (Err(Denied::Invalid), Err(Denied::Invalid)));
    // One that it had before it may name.
    let ledger = stage.control.ledger();
    ledger.overdue(0, Some(0));
    assert_eq!(ledger.release(PeerId(1)), Ok(true));
    let addresses = [2, 1].map(|node| ledger.address(PeerId(node)).unwrap().octets());
    assert_eq!(addresses, [[10, 1, 1, 3], [10, 1, 1, 5]]);
    for (address, is_taken) in [([10, 1, 1, 3], true), ([10, 1, 1, 5], true), ([10, 1, 1, 7], false)] {
        assert_eq!(named(1, address).is_ok(), is_taken, "{address:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_register_plane_is_served_on_a_stream_that_is_no_socket() {
    let stage = stage(|_| {});
    let joined = stage.joined().await;
    // The server's own settings are a frame of kind 4.
    assert_eq!(stage.greets_through(stage.peer(&joined), &stage.admin()).await, 4);
}
