//! The services of the configuration, in the form of registrations.

use crds::{RegisteredService, ServiceKind, ServiceProto, snapshot::RegistrationConfig};

use crate::{Content, Registration, RegistryError, Service, decode, offer::COMMUNAL};

/// A permanent service as a registration.
///
/// # Errors
/// The first rule that it breaks. The operator and `render` refuse those; a file written by hand may hold one.
pub(crate) fn registration(config: &RegistrationConfig) -> Result<Registration, RegistryError> {
    let registration = Registration {
        instance_id: config.instance_id.clone(),
        name: config.name.clone(),
        kind: config.kind.into(),
        address: config.address.clone(),
        content: Content { services: config.services.iter().map(service).collect(), references: Vec::new() },
        timestamp: 0,
        attachments: Default::default(),
    };
    decode::check(&registration)?;
    Ok(registration)
}

fn service(config: &RegisteredService) -> Service {
    let mut attrs = config.attrs.clone();
    // The resource's own member, unless somebody who knows the wire wrote the attribute.
    attrs.entry("weight".into()).or_insert_with(|| config.weight.to_string());
    Service {
        urn: config.urn.clone(),
        address: config.address.clone(),
        proto: match config.proto {
            ServiceProto::Http => "http".into(),
            ServiceProto::Grpc => "grpc".into(),
        },
        kind: match config.kind {
            ServiceKind::Restful => "Restful".into(),
            ServiceKind::Mps => "MPS".into(),
            ServiceKind::Binding => "Binding".into(),
            ServiceKind::Forward => "Forward".into(),
            ServiceKind::Proxy => "Proxy".into(),
        },
        codec: config.codec.clone(),
        timeout: config.timeout_ms.into(),
        retries: config.retries.into(),
        flags: if config.communal { COMMUNAL } else { 0 },
        attrs,
        ..Service::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, offer};

    #[test]
    fn a_permanent_service_offers_what_its_resource_says() {
        let config: RegistrationConfig = serde_json::from_value(serde_json::json!({
            "resource": "serving", "instanceId": "i", "name": "tensorserving", "address": "10.0.0.5:8000",
            "services": [{"urn": "/a/b", "proto": "grpc", "timeoutMs": 250, "retries": 2, "weight": 3},
                         {"urn": "/c", "address": "https://10.0.0.6:8443"}],
        }))
        .unwrap();
        let read = registration(&config).unwrap();
        assert_eq!(read.kind, Kind::Complex);
        let offers = offer::of(&read);
        assert_eq!((offers[0].weight, offers[0].timeout.as_millis(), offers[0].retries), (3000, 250, 2));
        assert_eq!((offers[0].proto, offers[0].address.to_string().as_str()), (ServiceProto::Grpc, "10.0.0.5:8000"));
        assert_eq!(
            offers[1].address,
            crate::Address::parse("https://10.0.0.6:8443").unwrap(),
            "its own address counts"
        );
    }

    #[test]
    fn a_permanent_service_may_be_communal() {
        let priority = |communal: bool| {
            let config = serde_json::from_value::<RegistrationConfig>(serde_json::json!({
                "resource": "score", "instanceId": "i", "name": "score", "kind": "Metadata", "address": "10.0.0.5:8000",
                "services": [{"urn": "acme.score", "communal": communal}],
            }));
            offer::of(&registration(&config.unwrap()).unwrap())[0].priority
        };
        assert_eq!((priority(true), priority(false)), (offer::Priority::Communal, offer::Priority::Ordinary));
    }
}
