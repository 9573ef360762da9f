//! The leniencies of contract section 3, each accepted with its warning and refused by a strict directory.

use super::*;

const LENIENT: &[(u8, Message, &str)] = &[
    (
        1,
        Message::SyncDataSystems,
        r#"{"csid":"yunqi","dataSystems":[{"dataAddress":"yunqi.0","name":"n","endpoint":"a:1","adpaterClass":"odps-adapter"}]}"#,
    ),
    (3, Message::Disconnect, r#"{"csid":"yunqi"}"#),
    (3, Message::RetrieveCentralSystem, r#"{"id":"yunqi"}"#),
    (6, Message::SearchAdapterClasses, r#"{"protocolName":"odps"}"#),
    (7, Message::SearchAdapterClasses, r#"{"protocolVersion":"aspara 1.0"}"#),
    (9, Message::Connect, r#"{"id":"xuelang-centralsystem","endpoint":"a:1"}"#),
    (10, Message::RetrieveDataSystem, r#"{"dataAddress":"yunqi.P0"}"#),
    (12, Message::Connect, r#"{"id":"yunqi","endpoint":"https://yunqi.example/datanet"}"#),
    (
        14,
        Message::SyncAdapterClasses,
        r#"{"csid":"yunqi","adapterClasses":[{"className":"c","protocol":{"name":"p","version":"1"},"paramsDef":[{"a":1}]}]}"#,
    ),
    (
        15,
        Message::SyncDataSystems,
        r#"{"csid":"yunqi","dataSystems":[{"dataAddress":"yunqi.0","name":"n","endpoint":"a:1","adapterClassName":"odps-adapter"}]}"#,
    ),
    (15, Message::RetrieveAdapterClass, r#"{"adapterClassName":"odps-adapter"}"#),
    (20, Message::RetrieveAdapterClass, r#"{"className":"odps-adapter","more":1}"#),
];

fn text(body: &str) -> String {
    format!(r#"{{"header":{{"version":"datanet 1.0"}},"body":{body}}}"#)
}

/// A directory in which `yunqi.P0` is registered, too.
fn desk() -> Desk {
    let mut desk = Desk::with_yunqi();
    let data = json!({"dataAddress": "yunqi.P0", "name": "n", "endpoint": "a:1", "adapterClass": "odps-adapter"});
    assert_eq!(desk.call(Message::SyncDataSystems, json!({"csid": "yunqi", "dataSystems": [data]}))["code"], 200);
    desk
}

#[test]
fn each_is_accepted_with_its_warning() {
    for (number, message, body) in LENIENT {
        let answer = desk().send(*message, &text(body));
        assert_eq!((&answer["code"], warned(&answer)), (&json!(200), vec![*number]), "{number}: {answer}");
    }
}

#[test]
fn each_is_refused_by_a_strict_directory() {
    for (number, message, body) in LENIENT {
        let mut desk = desk();
        desk.strictness = Strictness::Strict;
        let (root, answer) = (desk.state.root(), desk.send(*message, &text(body)));
        assert_eq!(answer["code"], 7300, "{number}: {answer}");
        let named = format!("this directory is strict: leniency {number}: ");
        assert!(answer["message"].as_str().unwrap().starts_with(&named), "{answer}");
        assert_eq!(desk.state.root(), root);
    }
}

/// Leniency 2.
#[test]
fn a_version_may_be_missing_or_written_otherwise_but_not_another() {
    let body = r#""body":{"csid":"yunqi"}"#;
    for header in
        ["", r#""header":{},"#, r#""header":{"version":" Datanet  1.0 "},"#, r#""header":{"version":"DATANET1.0"},"#]
    {
        let text = format!("{{{header}{body}}}");
        let mut desk = desk();
        assert_eq!(warned(&desk.send(Message::RetrieveCentralSystem, &text)), [2], "{header}");
        desk.strictness = Strictness::Strict;
        assert_eq!(desk.send(Message::RetrieveCentralSystem, &text)["code"], 7300, "{header}");
    }
    for version in [r#""datanet 1.1""#, r#""datanet 2.0""#, r#""1.0""#, r#""""#, "1.0", "null"] {
        let text = format!(r#"{{"header":{{"version":{version}}},{body}}}"#);
        let answer = desk().send(Message::RetrieveCentralSystem, &text);
        assert_eq!(answer["code"], 7300, "{version}");
    }
    let answer =
        desk().send(Message::RetrieveCentralSystem, &format!(r#"{{"header":{{"version":"datanet 2.0"}},{body}}}"#));
    assert_eq!(answer["message"], r#"version "datanet 2.0" is not spoken here, "datanet 1.0" is"#);
}

/// Leniency 1 and 3: two keys for one thing must say the same.
#[test]
fn two_keys_that_differ_are_refused() {
    let data = |class: &str| {
        format!(r#"{{"csid":"yunqi","dataSystems":[{{"dataAddress":"yunqi.0","name":"n","endpoint":"a:1",{class}}}]}}"#)
    };
    let both = |one: &str, other: &str| text(&data(&format!(r#""adapterClass":"{one}","adpaterClass":"{other}""#)));
    let equal = desk().send(Message::SyncDataSystems, &both("odps-adapter", "odps-adapter"));
    assert_eq!((&equal["code"], warned(&equal)), (&json!(200), vec![1]));
    assert_eq!(desk().send(Message::SyncDataSystems, &both("odps-adapter", "mysql-adapter"))["code"], 7312);

    assert_eq!(desk().send(Message::RetrieveCentralSystem, &text(r#"{"id":"yunqi","csid":"yunqi"}"#))["code"], 200);
    assert_eq!(desk().send(Message::RetrieveCentralSystem, &text(r#"{"id":"yunqi","csid":"other"}"#))["code"], 7300);
}

/// Leniency 4: what the prose requires is required; an empty list is one.
#[test]
fn an_empty_snapshot_means_none_and_a_missing_one_nothing() {
    let mut desk = desk();
    for (message, list) in [(Message::SyncDataSystems, "dataSystems"), (Message::SyncAdapterClasses, "adapterClasses")]
    {
        assert_eq!(desk.call(message, json!({"csid": "yunqi"}))["message"], format!("{list} is missing"));
        assert_eq!(desk.call(message, json!({list: []}))["code"], 7310, "csid is missing");
        assert_eq!(desk.call(message, json!({"csid": "yunqi", list: []}))["code"], 200);
    }
    let none = desk.call(Message::RetrieveCentralSystem, json!({"csid": "yunqi"}));
    assert_eq!(none["centralsystem"]["adapterClasses"], json!([]));
    assert_eq!(desk.call(Message::RetrieveDataSystem, json!({"dataAddress": "yunqi.P0"}))["code"], 7001);
}

/// Leniency 6, its option: the name alone is written otherwise, wherever a definition is answered. What is found, and with which warnings,
/// does not depend on it.
#[test]
fn protocols_are_answered_in_lower_case_where_that_is_wanted() {
    let mut desk = desk();
    let asked = [
        (Message::RetrieveAdapterClass, json!({"className": "odps-adapter"})),
        (Message::ListAdapterClasses, json!({"protocolName": "oDpS"})),
        (Message::SearchAdapterClasses, json!({"protocolName": "oDpS"})),
        (Message::RetrieveCentralSystem, json!({"csid": "yunqi"})),
    ];
    let mut answers = |names| {
        desk.names = names;
        asked.clone().map(|(message, body)| desk.call(message, body))
    };
    let (registered, mut lower) = (answers(ProtocolNames::AsRegistered), answers(ProtocolNames::LowerCase));
    let paths = ["/adapterClass/protocol", "/adapterClasses/0/protocol"];
    for ((path, registered), lower) in paths.into_iter().zip(&registered).zip(&mut lower) {
        let lower = lower.pointer_mut(path).unwrap();
        assert_eq!(*lower, json!({"name": "odps", "version": "aspara1.0"}));
        assert_eq!(registered.pointer(path), Some(&json!({"name": "ODPS", "version": "aspara1.0"})));
        lower["name"] = json!("ODPS");
    }
    assert_eq!(registered, lower);
    assert_eq!(warned(&lower[2]), [6]);
}

/// Leniency 9: unique without case, stored as given.
#[test]
fn ids_are_unique_without_case_and_kept_as_given() {
    let mut desk = desk();
    assert_eq!(desk.call(Message::RetrieveCentralSystem, json!({"csid": "YUNQI"}))["centralsystem"]["csid"], "yunqi");
    assert_eq!(desk.call(Message::Connect, json!({"id": "Yunqi", "endpoint": "b:2"}))["code"], 200);
    let kept = desk.call(Message::RetrieveCentralSystem, json!({"csid": "yunqi"}));
    assert_eq!((&kept["centralsystem"]["csid"], &kept["centralsystem"]["endpoint"]), (&json!("yunqi"), &json!("b:2")));
    assert_eq!(
        desk.call(Message::RetrieveDataSystem, json!({"dataAddress": "Yunqi.p0"}))["dataSystem"]["dataAddress"],
        "yunqi.P0"
    );
}

/// Leniency 14: kept as they are, and answered where they are.
#[test]
fn parameters_are_kept_as_they_came() {
    let mut desk = desk();
    let params = json!({"host": "h", "list": [1, 2.5, null], "deep": {"a": {}}});
    let data = json!({"dataAddress": "yunqi.0", "name": "n", "endpoint": "a:1", "adapterClass": "odps-adapter", "desc": "d", "params": params});
    assert_eq!(desk.call(Message::SyncDataSystems, json!({"csid": "yunqi", "dataSystems": [data]}))["code"], 200);
    assert_eq!(desk.call(Message::RetrieveDataSystem, json!({"dataAddress": "yunqi.0"}))["dataSystem"], data);
}

/// Leniency 18.
#[test]
fn a_search_without_parameters_has_all_classes() {
    let answer = desk().call(Message::SearchAdapterClasses, json!({}));
    assert_eq!(answer["adapterClasses"], json!(["mysql-5.7", "odps-aspara1.0"]));
    assert_eq!(warned(&answer), Vec::<u8>::new());
    for body in [json!({"protocolName": 1}), json!({"protocolVersion": []}), json!({"protocolName": " "})] {
        assert_eq!(desk().call(Message::SearchAdapterClasses, body)["code"], 7313);
    }
    for body in [json!({}), json!({"className": ""}), json!({"className": 1})] {
        assert_eq!(desk().call(Message::SearchCentralSystems, body)["code"], 7313);
    }
}
