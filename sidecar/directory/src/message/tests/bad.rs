//! Bad input of contract section 8, as far as it needs no network.

use super::*;

/// Refused before anything is asked of the state: 7300 for every message.
#[test]
fn what_is_no_message_is_refused() {
    let nested = format!(r#"{{"body":{}1{}}}"#, "[".repeat(4000), "]".repeat(4000));
    for text in [
        "",
        "no json",
        "[]",
        "1",
        "null",
        "\"text\"",
        "{}",
        r#"{"header":{"version":"datanet 1.0"}}"#,
        r#"{"header":[],"body":{}}"#,
        r#"{"header":1,"body":{}}"#,
        r#"{"header":{},"body":[]}"#,
        r#"{"header":{},"body":null}"#,
        r#"{"header":{},"body":"x"}"#,
        r#"{"header":{},"header":{},"body":{}}"#,
        r#"{"body":{"csid":"a","csid":"a"}}"#,
        r#"{"body":{"csid":"\ud800"}}"#,
        r#"{"header":{"operation":"drop"},"body":{}}"#,
        r#"{"header":{"operation":1},"body":{}}"#,
        r#"{"header":{"receipt":"yes"},"body":{}}"#,
        r#"{"header":{"maxStaleness":-1},"body":{}}"#,
        r#"{"header":{"signature":"AAAA"},"body":{}}"#,
        r#"{"header":{"entry":{},"keyId":"x","signature":"AAAA"},"body":{}}"#,
        &nested,
    ] {
        for message in Message::ALL {
            let answer = Desk::new().send(*message, text);
            assert_eq!(answer["code"], 7300, "{message:?}: {}", &text[..text.len().min(80)]);
            assert!(answer["message"].is_string());
        }
    }
    let broken = Call::read(b"{\"body\":{\"csid\":\"\xff\"}}", Some(Message::Connect), Strictness::Lenient);
    assert_eq!(broken.unwrap_err().code.number(), 7300);
}

#[test]
fn messages_have_a_size() {
    let long = |message, bytes: usize| {
        let text = format!(r#"{{"body":{{"className":"{}"}}}}"#, "a".repeat(bytes));
        let read = Call::read(text.as_bytes(), message, Strictness::Lenient);
        read.unwrap_err().status()
    };
    assert_eq!(long(Some(Message::RetrieveAdapterClass), 64 << 10), 413);
    assert_eq!(long(Some(Message::RetrieveAdapterClass), 60 << 10), 400);
    assert_eq!(long(Some(Message::SyncDataSystems), 8 << 20), 413);
    assert_eq!(long(None, 8 << 20), 413);
}

#[test]
fn ids_that_cannot_be_are_refused_everywhere() {
    for id in [
        json!(""),
        json!(" "),
        json!("a b"),
        json!("a.b"),
        json!("a\0"),
        json!("a\n"),
        json!("-a"),
        json!("a".repeat(33)),
        json!(1),
        json!(["a"]),
        json!({}),
        json!(null),
    ] {
        for (message, key, more) in [
            (Message::Connect, "id", json!({"endpoint": "a:1"})),
            (Message::Disconnect, "id", json!({})),
            (Message::SyncDataSystems, "csid", json!({"dataSystems": []})),
            (Message::SyncAdapterClasses, "csid", json!({"adapterClasses": []})),
            (Message::RetrieveCentralSystem, "csid", json!({})),
        ] {
            let mut body = more;
            body[key] = id.clone();
            assert_eq!(Desk::with_yunqi().call(message, body)["code"], 7310, "{message:?} {id}");
        }
    }
}

#[test]
fn addresses_that_cannot_be_are_no_missing_ones() {
    for address in [
        json!("yunqi"),
        json!("yunqi."),
        json!(".a"),
        json!("yunqi.a.b"),
        json!("yunqi.12345678901234567"),
        json!("yunqi.-"),
        json!(1),
        json!(""),
    ] {
        assert_eq!(
            Desk::with_yunqi().call(Message::RetrieveDataSystem, json!({"dataAddress": address}))["code"],
            7312,
            "{address}"
        );
    }
    assert_eq!(Desk::with_yunqi().call(Message::RetrieveDataSystem, json!({"dataAddress": "yunqi.0"}))["code"], 7001);
}

#[test]
fn one_bad_item_refuses_the_whole_snapshot() {
    let good = json!({"dataAddress": "yunqi.0", "name": "n", "endpoint": "a:1", "adapterClass": "odps-adapter"});
    for (key, bad) in [
        ("dataAddress", json!("yunqi")),
        ("dataAddress", json!("other.1")),
        ("dataAddress", json!("YUNQI.0")),
        ("name", json!("")),
        ("name", json!(1)),
        ("name", json!("a".repeat(129))),
        ("endpoint", json!("nowhere")),
        ("endpoint", json!(1)),
        ("adapterClass", json!("unknown")),
        ("adapterClass", json!([])),
        ("desc", json!(1)),
        ("desc", json!("a\u{0}")),
        ("params", json!("text")),
        ("params", json!({"a": "b".repeat(16 << 10)})),
        ("params", json!([[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]])),
    ] {
        let mut desk = Desk::with_yunqi();
        let mut item = good.clone();
        item["dataAddress"] = json!("yunqi.1");
        item[key] = bad.clone();
        let answer = desk.call(Message::SyncDataSystems, json!({"csid": "yunqi", "dataSystems": [good, item]}));
        assert_eq!(answer["code"], 7312, "{key}: {bad}");
        assert_eq!(desk.call(Message::RetrieveDataSystem, json!({"dataAddress": "yunqi.0"}))["code"], 7001);
    }
    for item in [json!(1), json!([]), json!({}), json!(null)] {
        assert_eq!(
            Desk::with_yunqi().call(Message::SyncDataSystems, json!({"csid": "yunqi", "dataSystems": [item]}))["code"],
            7312
        );
        assert_eq!(
            Desk::with_yunqi().call(Message::SyncAdapterClasses, json!({"csid": "yunqi", "adapterClasses": [item]}))["code"],
            7311
        );
    }
    for class in [
        json!({"className": "", "protocol": {"name": "p", "version": "1"}}),
        json!({"className": "c"}),
        json!({"className": "c", "protocol": "p"}),
        json!({"className": "c", "protocol": {}}),
        json!({"className": "c", "protocol": {"name": "p"}}),
        json!({"className": "c", "protocol": {"name": 1, "version": "1"}}),
    ] {
        let answer =
            Desk::with_yunqi().call(Message::SyncAdapterClasses, json!({"csid": "yunqi", "adapterClasses": [class]}));
        assert_eq!(answer["code"], 7311, "{class}");
    }
}

#[test]
fn the_multiplexed_form_names_its_message() {
    for message in Message::ALL {
        assert_eq!(Message::of_path(message.path()), Some(*message));
        assert_eq!(Message::of_operation(message.operation()), Some(*message));
    }
    let read = |text: &str, path| Call::read(text.as_bytes(), path, Strictness::Lenient);
    let text = r#"{"header":{"version":"datanet 1.0","operation":"retrieveCentralSystem"},"body":{"csid":"yunqi"}}"#;
    assert_eq!(read(text, None).unwrap().ask, Ask::CentralSystem("yunqi".to_owned()));
    assert_eq!(read(text, Some(Message::RetrieveCentralSystem)).unwrap().ask, Ask::CentralSystem("yunqi".to_owned()));
    assert_eq!(
        read(text, Some(Message::Disconnect)).unwrap_err().to_string(),
        "7300: header.operation is not that of the path"
    );
    let without = r#"{"header":{"version":"datanet 1.0"},"body":{"csid":"yunqi"}}"#;
    assert!(read(without, None).unwrap_err().to_string().starts_with("7300: header.operation is missing"));
    assert_eq!(Message::of_path("/central-systems"), None);
}

#[test]
fn pages_have_bounds_and_cursors_their_search() {
    let mut desk = Desk::with_yunqi();
    let search = |body: Value, desk: &mut Desk| desk.call(Message::SearchAdapterClasses, body);
    for limit in [json!(0), json!(1001), json!(-1), json!("1"), json!(1.5)] {
        assert_eq!(search(json!({"limit": limit}), &mut desk)["code"], 7300, "{limit}");
    }
    let first = search(json!({"limit": 1}), &mut desk);
    assert_eq!(first["adapterClasses"], json!(["mysql-5.7"]));
    let next = json!({"limit": 1, "cursor": first["cursor"]});
    let second = search(next.clone(), &mut desk);
    assert_eq!((&second["adapterClasses"], second.get("cursor")), (&json!(["odps-aspara1.0"]), None));
    let foreign =
        desk.call(Message::SearchCentralSystems, json!({"className": "odps-adapter", "cursor": first["cursor"]}));
    assert_eq!(foreign["code"], 7300);
    assert_eq!(desk.call(Message::Connect, json!({"id": "another", "endpoint": "a:1"}))["code"], 200);
    assert_eq!(search(next, &mut desk)["code"], 7300, "the revision is another");
}
