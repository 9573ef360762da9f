//! Every example of the seed, verbatim, and the answers that it prints.

use super::*;

pub(super) const CONNECT: &str = r#"{
    "header": {
        "version": "datanet 1.0"
    },
    "body": {
        "id": "yunqi",
        "endpoint": "1.2.3.4:9904",
        "desc": "central system deployed at hangzhou yunqi academy of engineering"
    }
}"#;

const DISCONNECT: &str = r#"{
    "header": {
        "version": "datanet 1.0"
    },
    "body": {
        "id": "yunqi"
    }
}"#;

const SYNC_DATA: &str = r#"{
    "header": {
        "version": "datanet 1.0"
    },
    "body": {
        "csid": "yunqi",
        "dataSystems": [
            {
                "dataAddress": "yunqi.BCAE345BCAE345P0",
                "name": "data system 1",
                "endpoint": "1.2.3.4:9979",
                "adapterClass": "odps-adapter"
            },
            {
                "dataAddress": "yunqi.BCAE345BCAE345P1",
                "name": "data system 2",
                "endpoint": "5.6.7.8:3367",
                "adapterClass": "mysql-adapter"
            }
        ]
    }
}"#;

pub(super) const SYNC_CLASSES: &str = r#"{
    "header": {
        "version": "datanet 1.0"
    },
    "body": {
        "csid": "yunqi",
        "adapterClasses": [
            {
                "className": "odps-adapter",
                "desc": "ODPS standard adapter",
                "protocol": {
                    "name": "ODPS",
                    "version": "aspara1.0"
                }
            },
            {
                "className": "mysql-adapter",
                "desc": "MySQL standard adapter",
                "protocol": {
                    "name": "MySQL",
                    "version": "5.7"
                }
            }
        ]
    }
}"#;

const GET_CENTRAL_SYSTEM: &str = r#"{
  "header": {
      "version": "datanet 1.0"
  },
  "body": {
      "csid": "yunqi"
  }
}"#;

const GET_CLASS: &str = r#"{
    "header": {
        "version": "datanet 1.0"
    },
    "body": {
        "className": "odps-adapter"
    }
}"#;

const GET_DATA_SYSTEM: &str = r#"{
    "header": {
        "version": "datanet 1.0"
    },
    "body": {
        "dataAddress": "yunqi.BCAE345BCAE345P0"
    }
}"#;

const SEARCH_SYSTEMS: &str = r#"{
    "header": {
        "version": "datanet 1.0"
    },
    "body": {
        "className": "odps-adpter"
    }
}"#;

const SEARCH_CLASSES: &str = r#"{
    "header": {
        "version": "datanet 1.0"
    },
    "body": {
        "protocolName": "odps",
        "protocolVersion": "aspara 1.0"
    }
}"#;

/// A directory that has read all examples of section 2.
fn full() -> Desk {
    let mut desk = Desk::with_yunqi();
    let answer = desk.send(Message::SyncDataSystems, SYNC_DATA);
    assert_eq!((&answer["code"], warned(&answer)), (&json!(200), vec![10]), "the addresses are not hexadecimal");
    desk
}

/// 2.1 to 2.4.
#[test]
fn the_examples_of_section_2_are_taken() {
    let mut desk = Desk::new();
    assert_eq!(desk.send(Message::Connect, CONNECT), json!({"code": 200, "revision": 1}));
    assert_eq!(desk.send(Message::SyncAdapterClasses, SYNC_CLASSES), json!({"code": 200, "revision": 2}));
    assert_eq!(desk.send(Message::SyncDataSystems, SYNC_DATA)["revision"], 3);
    // What is so already makes no entry.
    assert_eq!(desk.send(Message::Connect, CONNECT)["revision"], 3);
    assert_eq!(desk.send(Message::SyncAdapterClasses, SYNC_CLASSES)["revision"], 3);
    assert_eq!(desk.send(Message::SyncDataSystems, SYNC_DATA)["revision"], 3);
    assert_eq!(desk.send(Message::Disconnect, DISCONNECT), json!({"code": 200, "revision": 4}));
    assert_eq!(desk.send(Message::Disconnect, DISCONNECT), json!({"code": 200, "revision": 4}));
}

/// 3.1: the list is printed so in the seed. The endpoint is what was stored last (leniency 12).
#[test]
fn a_central_system_has_the_labels_that_are_printed() {
    assert_eq!(
        full().send(Message::RetrieveCentralSystem, GET_CENTRAL_SYSTEM),
        json!({
            "code": 200,
            "centralsystem": {
                "csid": "yunqi",
                "endpoint": "1.2.3.4:9904",
                "desc": "central system deployed at hangzhou yunqi academy of engineering",
                "adapterClasses": ["mysql-5.7", "odps-aspara1.0"],
                "adapterClassNames": ["mysql-adapter", "odps-adapter"],
            },
            "revision": 3,
        })
    );
}

/// 3.2: the protocol's name is echoed as it was registered (leniency 6).
#[test]
fn an_adapter_class_is_what_was_registered() {
    assert_eq!(
        full().send(Message::RetrieveAdapterClass, GET_CLASS),
        json!({
            "code": 200,
            "adapterClass": {
                "className": "odps-adapter",
                "protocol": {"name": "ODPS", "version": "aspara1.0"},
                "desc": "ODPS standard adapter",
            },
            "revision": 3,
        })
    );
}

/// 3.3.
#[test]
fn a_data_system_is_what_was_registered() {
    let answer = full().send(Message::RetrieveDataSystem, GET_DATA_SYSTEM);
    assert_eq!(
        answer["dataSystem"],
        json!({
            "dataAddress": "yunqi.BCAE345BCAE345P0",
            "name": "data system 1",
            "endpoint": "1.2.3.4:9979",
            "adapterClass": "odps-adapter",
        })
    );
    assert_eq!((&answer["code"], warned(&answer)), (&json!(200), vec![10]));
}

/// 4.1: the example asks for a typo (leniency 8), and its answer is that for the name that it means.
#[test]
fn the_search_for_a_typo_suggests_the_name_that_is_meant() {
    let mut desk = full();
    let answer = desk.send(Message::SearchCentralSystems, SEARCH_SYSTEMS);
    assert_eq!(answer, json!({"code": 200, "centralsystems": [], "suggestions": ["odps-adapter"], "revision": 3}));

    let other = json!({"id": "xuelang-centralsystem", "endpoint": "4.3.2.1:9908"});
    assert_eq!(desk.call(Message::Connect, other)["code"], 200);
    let class = json!({"className": "odps-adapter", "protocol": {"name": "odps", "version": "Aspara 1.0"}});
    let classes = json!({"csid": "xuelang-centralsystem", "adapterClasses": [class]});
    assert_eq!(desk.call(Message::SyncAdapterClasses, classes)["code"], 200);
    let both = json!([
        {"id": "xuelang-centralsystem", "endpoint": "4.3.2.1:9908"},
        {"id": "yunqi", "endpoint": "1.2.3.4:9904"},
    ]);
    let meant = SEARCH_SYSTEMS.replace("adpter", "adapter");
    assert_eq!(desk.send(Message::SearchCentralSystems, &meant)["centralsystems"], both);
    // Fuzzy mode takes the only name at distance 1.
    desk.near = true;
    let answer = desk.send(Message::SearchCentralSystems, SEARCH_SYSTEMS);
    assert_eq!((&answer["centralsystems"], warned(&answer)), (&both, vec![8]));
}

/// 4.2: the list is printed so in the seed, for a name in another case and a version with a space (leniencies 6 and 7).
#[test]
fn the_search_for_a_protocol_has_the_labels_that_are_printed() {
    let answer = full().send(Message::SearchAdapterClasses, SEARCH_CLASSES);
    assert_eq!(answer["adapterClasses"], json!(["odps-aspara1.0"]));
    assert_eq!(answer["adapterClassNames"], json!(["odps-adapter"]));
    assert_eq!((&answer["code"], warned(&answer)), (&json!(200), vec![6, 7]));
}

/// 2.4.3, the second example: a refusal has a code and a message.
#[test]
fn a_refusal_has_a_message() {
    let answer = Desk::new().send(Message::Connect, "{}");
    assert_eq!(answer, json!({"code": 7300, "message": "body is missing", "revision": 0}));
}
