//! What tools see that know nothing of the services: reflection in both versions, and health.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use proto::health::{HealthCheckRequest, health_client::HealthClient};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::Channel;

use super::stage::*;
use crate::seam::Desk as _;

/// One question of `grpcurl` in a version of reflection, and the part of the answer that counts.
macro_rules! asker {
    ($name:ident, $version:ident) => {
        mod $name {
            use futures::{StreamExt as _, stream};
            use tonic::transport::Channel;
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };

            async fn ask(channel: Channel, question: MessageRequest) -> MessageResponse {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
                let answers = ServerReflectionClient::new(channel)
                    .server_reflection_info(stream::once(std::future::ready(request)))
                    .await;
                answers.unwrap().into_inner().next().await.unwrap().unwrap().message_response.unwrap()
            }

            pub(super) async fn services(channel: Channel) -> Vec<String> {
                match ask(channel, MessageRequest::ListServices(String::new())).await {
                    MessageResponse::ListServicesResponse(all) => all.service.into_iter().map(|s| s.name).collect(),
                    other => panic!("{other:?}"),
                }
            }

            pub(super) async fn file_of(channel: Channel, symbol: &str) -> Vec<u8> {
                match ask(channel, MessageRequest::FileContainingSymbol(symbol.into())).await {
                    MessageResponse::FileDescriptorResponse(files) => files.file_descriptor_proto.concat(),
                    other => panic!("{other:?}"),
                }
            }
        }
    };
}
asker!(v1, v1);
asker!(v1alpha, v1alpha);

async fn both(stage: &Stage) -> [(Channel, &'static str, &'static str); 2] {
    let register = stage.channel(stage.register, Some(&stage.admin())).await.unwrap();
    let bootstrap = stage.channel(stage.bootstrap, None).await.unwrap();
    [
        (register, "pb.LiteKubeNCService", "pb.LiteKubeNCBootstrapService"),
        (bootstrap, "pb.LiteKubeNCBootstrapService", "pb.LiteKubeNCService"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_tell_their_own_services_in_both_versions_of_reflection() {
    let stage = stage(|_| {});
    for (channel, own, other) in both(&stage).await {
        for services in [v1::services(channel.clone()).await, v1alpha::services(channel.clone()).await] {
            assert!(services.iter().any(|name| name == own), "{services:?}");
            assert!(!services.iter().any(|name| name == other), "{services:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_json_are_those_of_the_contract_and_so_is_the_files() {
    let stage = stage(|_| {});
    let (channel, ..) = both(&stage).await[0].clone();
    for file in [
        v1::file_of(channel.clone(), "pb.GetTokenResponse").await,
        v1alpha::file_of(channel.clone(), "pb.GetTokenResponse").await,
    ] {
        let text = String::from_utf8_lossy(&file);
        for name in
            ["network_controller_service.proto", "grpcServerIp", "grpcCaCert", "networkCaCert", "helloText", "bindIp"]
        {
            assert!(text.contains(name), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_by_service_and_for_the_port() {
    let stage = stage(|_| {});
    for (channel, own, other) in both(&stage).await {
        let mut health = HealthClient::new(channel);
        let ask = |service: &str| HealthCheckRequest { service: service.into() };
        assert_eq!(health.check(ask(own)).await.unwrap().into_inner().status, 1);
        assert_eq!(health.check(ask("")).await.unwrap().into_inner().status, 1);
        assert_eq!(health.check(ask(other)).await.unwrap_err().code(), tonic::Code::NotFound);
    }
}

/// Old clients know no newer one (NC, table of ports).
#[tokio::test]
async fn both_versions_of_tls_are_spoken_on_all_three_ports_with_a_certificate_and_where_it_may_be_without() {
    let stage = stage(|_| {});
    let authority = stage.control.authority();
    let (register, join) = authority.for_legacy_node(SystemTime::now()).unwrap();
    let (register, join) = (Credentials::from(&register), Credentials::from(&join));
    let ports = [
        ("6440", authority.register.requiring(), Some(&register), 1),
        ("6439", authority.register.verifying(), Some(&register), 1),
        ("6439", authority.register.verifying(), None, 0),
        ("6441", stage.desk.tls(), Some(&join), 1),
        ("6441", stage.desk.tls(), None, 0),
    ];
    for (port, server, shows, certificates) in ports {
        for version in [&TLS12, &TLS13] {
            let mut config = stage.tls_of(&[version], shows);
            // Whoever offers one on 6441 offers that of HTTP/1.1; legacy clients offer none.
            config.alpn_protocols.retain(|_| port != "6441");
            let (near, far) = tokio::io::duplex(64 << 10);
            let name = ServerName::from(IpAddr::from([203, 0, 113, 7]));
            let connector = TlsConnector::from(Arc::new(config));
            let (client, served) =
                tokio::join!(connector.connect(name, near), TlsAcceptor::from(Arc::clone(&server)).accept(far));
            let (client, served) = (client.unwrap(), served.unwrap());
            let shown = served.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
            assert_eq!((client.get_ref().1.protocol_version(), shown), (Some(version.version), certificates), "{port}");
        }
    }
}
