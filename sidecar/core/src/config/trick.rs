//! `MESH_TRICK`: static registrations in one variable (PTP section 10.4),
//! `name:kind+service=proto://address/pattern,pattern;...`.

use std::collections::BTreeMap;

use crds::{RegisteredService, RegistrationKind, ServiceKind, ServiceProto, snapshot::RegistrationConfig};

use crate::ConfigProblem;

const PLACE: &str = "MESH_TRICK";

/// Reads all registrations of the variable.
pub(super) fn registrations(text: &str) -> Result<Vec<RegistrationConfig>, ConfigProblem> {
    let mut all: Vec<RegistrationConfig> = Vec::new();
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let next = registration(entry).ok_or_else(|| {
            ConfigProblem::invalid(
                PLACE,
                format_args!(
                    "{entry} is not of the form name:kind+service=proto://host:port/pattern,pattern, where kind is complex, \
                     metadata, server or proxy, and proto http, https, grpc or grpcs"
                ),
            )
        })?;
        // One instance may have an entry for each of its services; as registrations the later would replace the earlier.
        let is_same = |one: &&mut RegistrationConfig| {
            (&one.name, &one.instance_id, one.kind) == (&next.name, &next.instance_id, next.kind)
        };
        match all.iter_mut().find(is_same) {
            Some(one) => one.services.extend(next.services),
            None => all.push(next),
        }
    }
    Ok(all)
}

fn registration(entry: &str) -> Option<RegistrationConfig> {
    let (head, target) = entry.split_once('=')?;
    let (name, rest) = head.split_once(':')?;
    let (kind, _service) = rest.split_once('+').unwrap_or((rest, ""));
    let (proto, target) = target.split_once("://")?;
    let (address, patterns) = target.split_once('/')?;
    let (proto, scheme) = match proto {
        "http" => (ServiceProto::Http, ""),
        "https" => (ServiceProto::Http, "https://"),
        "grpc" => (ServiceProto::Grpc, ""),
        "grpcs" => (ServiceProto::Grpc, "https://"),
        _ => return None,
    };
    let kind = kind_of(kind)?;
    let is_address =
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    (!name.is_empty() && is_address).then(|| RegistrationConfig {
        resource: format!("{PLACE} {name}"),
        instance_id: address.to_owned(),
        name: name.to_owned(),
        kind,
        address: format!("{scheme}{address}"),
        services: patterns.split(',').map(|pattern| service(kind, pattern, proto)).collect(),
    })
}

fn kind_of(text: &str) -> Option<RegistrationKind> {
    match text.to_ascii_lowercase().as_str() {
        "complex" => Some(RegistrationKind::Complex),
        "metadata" => Some(RegistrationKind::Metadata),
        "server" => Some(RegistrationKind::Server),
        "proxy" => Some(RegistrationKind::Proxy),
        _ => None,
    }
}

/// What is found by its name has no slash in front, any other pattern has one.
fn service(kind: RegistrationKind, pattern: &str, proto: ServiceProto) -> RegisteredService {
    let path = pattern.trim().trim_start_matches('/');
    let is_name = kind == RegistrationKind::Metadata;
    RegisteredService {
        urn: if is_name { path.to_owned() } else { format!("/{path}") },
        address: String::new(),
        kind: ServiceKind::Restful,
        proto,
        codec: "json".into(),
        // The default of the samples in seeds 000 and 001.
        timeout_ms: 10_000,
        retries: 0,
        weight: 1,
        communal: false,
        attrs: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trick_names_services_and_their_paths() {
        let all = registrations("serving:complex+x=http://10.0.0.5:8000/a/b,c;psi:complex=grpc://h:1/p").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].name.as_str(), all[0].address.as_str()), ("serving", "10.0.0.5:8000"));
        assert_eq!(all[0].services.iter().map(|s| s.urn.as_str()).collect::<Vec<_>>(), ["/a/b", "/c"]);
        assert_eq!(all[1].services[0].proto, ServiceProto::Grpc);
    }

    #[test]
    fn a_trick_may_be_called_by_name_and_over_tls() {
        let all = registrations(
            "app:Metadata=grpc://h:1/acme.score,acme.rank;s:complex=https://h:2/s;g:complex=grpcs://h:3/g",
        );
        let said = |one: &RegistrationConfig| {
            let urns: Vec<String> = one.services.iter().map(|s| s.urn.clone()).collect();
            (one.kind, one.address.clone(), urns.join(" "), one.services[0].proto)
        };
        let expected = [
            (RegistrationKind::Metadata, "h:1".to_owned(), "acme.score acme.rank".to_owned(), ServiceProto::Grpc),
            (RegistrationKind::Complex, "https://h:2".to_owned(), "/s".to_owned(), ServiceProto::Http),
            (RegistrationKind::Complex, "https://h:3".to_owned(), "/g".to_owned(), ServiceProto::Grpc),
        ];
        assert_eq!(all.unwrap().iter().map(said).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_trick_may_be_of_each_kind() {
        let text = "a:complex=http://h:1/a;b:metadata=http://h:2/b;c:server=http://h:3/c;d:proxy=https://h:4/";
        let kinds = registrations(text).unwrap().into_iter().map(|one| (one.kind, one.address)).collect::<Vec<_>>();
        let expected = [
            (RegistrationKind::Complex, "h:1".to_owned()),
            (RegistrationKind::Metadata, "h:2".to_owned()),
            (RegistrationKind::Server, "h:3".to_owned()),
            (RegistrationKind::Proxy, "https://h:4".to_owned()),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn entries_of_one_instance_are_one_registration() {
        let all = registrations("a:complex+x=http://h:1/x;b:complex=http://h:1/z;a:complex+y=grpc://h:1/y").unwrap();
        let urns = |n: usize| all[n].services.iter().map(|s| (s.urn.as_str(), s.proto)).collect::<Vec<_>>();
        assert_eq!((all.len(), urns(0)), (2, vec![("/x", ServiceProto::Http), ("/y", ServiceProto::Grpc)]));
    }

    #[test]
    fn what_is_no_trick_is_refused() {
        for text in [
            "x",
            "a:complex=http://host/p",
            "a:complex=ftp://h:1/p",
            ":complex=http://h:1/p",
            "a:complex=http://h:1",
            "a:metdata=http://h:1/p",
        ] {
            assert!(registrations(text).is_err(), "{text}");
        }
    }
}
