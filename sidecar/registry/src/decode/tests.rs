use mesh_core::{Code, ProtocolError};
use serde_json::json;

use super::*;

/// The request of seed 001, section 3.1, verbatim.
const SEED_001: &str = include_str!("../../tests/fixtures/seed-001-register.json");
/// The `Metadata` of seed 000, section 2.1, verbatim.
const SEED_000: &str = include_str!("../../tests/fixtures/seed-000-metadata.json");

fn code(value: &Value) -> Code {
    document(value.to_string().as_bytes()).map_or_else(|e| e.code(), |_| Code::SUCCESS)
}

fn sample() -> Value {
    serde_json::from_str(&SEED_001.replace("IP:PORT", "10.0.0.5:8000")).unwrap()
}

#[test]
fn the_manuals_sample_is_taken_once_its_placeholder_is_an_address() {
    let error = document(SEED_001.as_bytes()).unwrap_err();
    assert_eq!(error.code(), Code::BAD_ADDRESS, "{error}");
    let read = document(SEED_001.replace("IP:PORT", "10.0.0.5:8000").as_bytes()).unwrap();
    assert_eq!((read.name.as_str(), read.kind, read.timestamp), ("tensorserving", Kind::Complex, 300_000));
    let services: Vec<_> = read
        .content
        .services
        .iter()
        .map(|s| (s.urn.as_str(), s.proto.as_str(), s.timeout, s.version.as_str()))
        .collect();
    assert_eq!(services, [("/a/b/c", "http", 10_000, "1.0.0"), ("/a/b/c", "grpc", 10_000, "1.0.0")]);
}

/// The JSON of every control call is read alike (PTP section 3.3).
#[test]
fn a_trailing_comma_is_forgiven() {
    let text = sample().to_string();
    let (body, _) = text.rsplit_once('}').unwrap();
    assert_eq!(document(format!("{body},\n}}").as_bytes()).unwrap(), document(text.as_bytes()).unwrap());
}

#[test]
fn a_list_of_the_members_is_no_registration() {
    let list = json!(["10.0.0.5:1", "n", "complex", "10.0.0.5:1", {"services": []}, 0, {}]);
    assert_eq!(code(&list), Code::BAD_REQUEST);
    for said in [argument(list.clone()).map(drop), key(list).map(drop)] {
        assert_eq!(said.map_err(|e| e.code()), Err(Code::BAD_REQUEST));
    }
}

#[test]
fn the_older_manuals_content_and_its_text_timestamp_are_taken() {
    let content: Value = serde_json::from_str(&SEED_000.replace("IP:PORT", "10.0.0.5:8000")).unwrap();
    let value = json!({"instance_id": "i", "name": "n", "kind": "complex", "address": "10.0.0.5:8000",
        "timestamp": "300000", "attachments": {}, "content": content});
    let read = document(value.to_string().as_bytes()).unwrap();
    assert_eq!((read.timestamp, read.content.services.len()), (300_000, 2));
}

#[test]
fn what_register_needs_is_named_when_it_is_missing() {
    for member in ["instance_id", "name", "kind", "address", "content"] {
        for absent in [None, Some(Value::Null)] {
            let mut value = sample();
            let map = value.as_object_mut().unwrap();
            match absent {
                None => map.remove(member),
                Some(null) => map.insert(member.into(), null),
            };
            assert_eq!(document(value.to_string().as_bytes()), Err(RegistryError::Missing(member)));
        }
    }
}

#[test]
fn over_an_mpi_an_empty_address_is_the_instances_id() {
    let mut value = sample();
    value["address"] = json!("");
    value["instance_id"] = json!("10.0.0.7:1");
    assert_eq!(argument(value).unwrap().address, "10.0.0.7:1");
}

#[test]
fn each_rule_has_its_code() {
    let table: [(&str, Value, Code); 13] = [
        ("/content/services/0/attrs", json!({"plugins": "barrier,rewrite"}), Code::SUCCESS),
        ("/kind", json!("Complex"), Code::SUCCESS),
        ("/kind", json!("cluster"), Code::BAD_REQUEST),
        ("/address", json!("nowhere"), Code::BAD_ADDRESS),
        ("/content/services/0/address", json!("10.0.0.5"), Code::BAD_ADDRESS),
        ("/content/services/0/urn", json!("/v1/interconn/chan/push"), Code::BAD_REQUEST),
        ("/content/services/0/urn", json!(""), Code::BAD_REQUEST),
        ("/content/services/0/proto", json!("mqtt"), Code::BAD_REQUEST),
        ("/content/services/0/attrs", json!({"weight": "-1"}), Code::BAD_REQUEST),
        ("/content/services/0/attrs", json!({"weight": 3}), Code::SUCCESS),
        ("/content/services/0/timeout", json!("soon"), Code::BAD_REQUEST),
        ("/content/services/0/timeout", Value::Null, Code::SUCCESS),
        ("/timestamp", json!([1]), Code::BAD_REQUEST),
    ];
    for (place, value, expected) in table {
        let mut document = sample();
        *document.pointer_mut(place).unwrap() = value.clone();
        assert_eq!(code(&document), expected, "{place} = {value}");
    }
}

#[test]
fn everything_is_bounded() {
    let with = |place: &str, value: Value| {
        let mut document = sample();
        *document.pointer_mut(place).unwrap() = value;
        code(&document)
    };
    let service = sample()["content"]["services"][0].clone();
    let attrs = |n: usize| Value::Object((0..n).map(|i| (format!("k{i}"), json!("v"))).collect());
    assert_eq!(with("/content/services", json!(vec![service.clone(); MOST_SERVICES])), Code::SUCCESS);
    assert_eq!(with("/content/services", json!(vec![service; MOST_SERVICES + 1])), Code::BAD_REQUEST);
    assert_eq!(with("/name", json!("n".repeat(LONGEST_NAME + 1))), Code::BAD_REQUEST);
    assert_eq!(with("/instance_id", json!("a\tb")), Code::BAD_REQUEST);
    assert_eq!(with("/content/services/0/lang", json!("l".repeat(LONGEST_TEXT + 1))), Code::BAD_REQUEST);
    assert_eq!(with("/content/services/0/attrs", attrs(MOST_ATTRS + 1)), Code::BAD_REQUEST);
    assert_eq!(with("/attachments", attrs(MOST_ATTACHMENTS + 1)), Code::BAD_REQUEST);
    assert!(document(&vec![b' '; LONGEST_DOCUMENT + 1]).is_err());
}

#[test]
fn what_is_no_json_object_is_refused_and_deep_nesting_does_no_harm() {
    for text in ["", "{", "[]x", "null x", "\"a\"", "\u{feff}{}"] {
        assert_eq!(document(text.as_bytes()).unwrap_err().code(), Code::BAD_REQUEST, "{text}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(document(deep.as_bytes()).unwrap_err().code(), Code::BAD_REQUEST);
}

#[test]
fn services_of_sdks_that_are_not_routed_by_path_are_kept_as_they_are() {
    let value = json!({"instance_id": "10.0.0.5:8864", "name": "mesh", "kind": "metadata", "address": "10.0.0.5:8864",
        "content": {"services": null, "references": [{"urn": "push.chan.mesh", "proto": "grpc", "asyncable": true}]}});
    let read = argument(value).unwrap();
    assert_eq!((read.content.services.len(), read.content.references[0].urn.as_str()), (0, "push.chan.mesh"));
}

#[test]
fn a_service_by_name_may_be_what_nobody_can_call_here_and_is_at_an_address_all_the_same() {
    let with = |service: Value| {
        argument(json!({"instance_id": "10.0.0.5:8864", "name": "app", "kind": "metadata", "address": "",
            "content": {"services": [service]}}))
        .map(|_| ())
        .map_err(|e| e.code())
    };
    assert_eq!(with(json!({"urn": "score.acme", "kind": "MPS", "proto": "mqtt"})), Ok(()));
    for address in ["10.0.0.6:1", "https://h:443", ""] {
        assert_eq!(with(json!({"urn": "score.acme", "kind": "MPS", "address": address})), Ok(()), "{address}");
    }
    for address in ["nowhere", "10.0.0.6", "h:0", "ftp://h:21"] {
        let found = with(json!({"urn": "score.acme", "kind": "MPS", "address": address}));
        assert_eq!(found, Err(Code::BAD_ADDRESS), "{address}");
        let server = argument(json!({"instance_id": "10.0.0.5:8864", "name": "app", "kind": "server",
            "address": "10.0.0.5:8864", "content": {"services": [{"urn": "score.acme", "address": address}]}}));
        assert_eq!(server.map(drop).map_err(|e| e.code()), Err(Code::BAD_ADDRESS), "{address}");
    }
}

#[test]
fn the_lists_that_the_head_python_sdk_swaps_are_put_right() {
    let service = json!({"urn": "score.acme", "kind": "MPS", "lang": "Python3", "proto": "grpc"});
    let reference = json!({"urn": "environ.net.mesh", "proto": "grpc", "timeout": 5000});
    let registration = |services: &Value, references: &Value| {
        json!({"instance_id": "10.0.0.5:8864", "name": "app", "kind": "metadata", "address": "10.0.0.5:8864",
            "content": {"services": services, "references": references}})
    };
    let (services, references) = (json!([service]), json!([reference]));
    let right = argument(registration(&services, &references)).unwrap();
    assert_eq!(argument(registration(&references, &services)).unwrap(), right);
    assert_eq!((right.content.services[0].kind.as_str(), right.content.references[0].timeout), ("MPS", 5000));
    // Where both have services, nothing is guessed.
    let both = argument(registration(&services, &services)).unwrap();
    assert_eq!((both.content.services.len(), both.content.references.len()), (1, 1));
}

#[test]
fn what_was_read_is_exported_in_the_same_form() {
    let read = document(sample().to_string().as_bytes()).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(argument(written).unwrap(), read);
}

#[test]
fn a_removal_needs_only_the_key() {
    let value = json!({"instance_id": "i", "name": "n", "kind": "metadata", "content": {"services": []}});
    assert_eq!(key(value).unwrap().to_string(), "metadata\tn\ti");
    assert_eq!(key(json!({"name": "n", "kind": "metadata"})), Err(RegistryError::Missing("instance_id")));
}
