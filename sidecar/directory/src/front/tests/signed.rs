//! Entries that central systems sign themselves, as they come over HTTP: what a token may do no more, keys that are replaced, and lost
//! ones that are recovered (contract 5.1).

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{super::now, Got, Stage};
use crate::{
    Hash, canonical,
    directory::Rules,
    entry::{Entry, EntryKey, Operation},
};

fn key(n: u8) -> EntryKey {
    EntryKey::from_seed(&[n; 32]).unwrap()
}

impl Stage {
    /// The next entry of yunqi's over this body.
    fn entry(&self, operation: Operation, body: &Value) -> Entry {
        let (sequence, previous) = self.front.directory().view().read(|state| state.next_of("yunqi"));
        let (origin, body) = (self.front.directory().log_key().name().clone(), Hash::of(&[&canonical(body).unwrap()]));
        Entry { origin, csid: "yunqi".to_owned(), operation, sequence, previous, body, time: now() }
    }

    /// Sends an entry, signed by one key, and by a new one where one is replaced.
    async fn signed(&self, path: &str, entry: &Entry, body: &Value, by: Option<u8>, new: Option<u8>) -> Got {
        let said: Value = serde_json::from_slice(&entry.canonical()).unwrap();
        let mut message = json!({"header": {"version": "datanet 1.0", "entry": said}, "body": body});
        let mut add = |names: [&str; 2], n: u8| {
            message["header"][names[0]] = json!(key(n).public());
            message["header"][names[1]] = BASE64_STANDARD.encode(key(n).sign(&entry.canonical())).into();
        };
        by.into_iter().for_each(|n| add(["keyId", "signature"], n));
        new.into_iter().for_each(|n| add(["newKeyId", "newSignature"], n));
        self.post(path, message.to_string()).await
    }

    async fn connects(&self, endpoint: &str, by: u8) -> (u16, u64) {
        let body = json!({"id": "yunqi", "endpoint": endpoint});
        let entry = self.entry(Operation::Connect, &body);
        self.signed("/central-systems/connect", &entry, &body, Some(by), None).await.codes()
    }

    async fn replaces(&self, path: &str, operation: Operation, by: Option<u8>, new: u8) -> (u16, u64) {
        let body = json!({"csid": "yunqi", "key": key(new).public()});
        let entry = self.entry(operation, &body);
        self.signed(path, &entry, &body, by, Some(new)).await.codes()
    }
}

const ROTATE: &str = "/central-systems/rotate-key";
const RECOVER: &str = "/central-systems/recover-key";

#[tokio::test]
async fn who_signs_its_own_entries_is_changed_by_nobody_else() {
    let stage = Stage::new();
    let body = json!({"id": "yunqi", "endpoint": "a:1"});
    let entry = stage.entry(Operation::Connect, &body);
    let path = "/central-systems/connect";
    assert_eq!(stage.signed(path, &entry, &body, Some(1), None).await.codes(), (200, 200));
    let again = stage.signed(path, &entry, &body, Some(1), None).await;
    assert_eq!((again.codes(), &again.json()["revision"]), ((200, 200), &json!(1)), "all is so already");
    // One about another body, of another time, with another's signature, and a token alone.
    let other = json!({"id": "yunqi", "endpoint": "b:1"});
    assert_eq!(stage.signed(path, &stage.entry(Operation::Connect, &body), &other, Some(1), None).await.codes().0, 400);
    let late = Entry { time: now() - 10 * 60 * 1000, ..stage.entry(Operation::Connect, &other) };
    assert_eq!(stage.signed(path, &late, &other, Some(1), None).await.codes().0, 400);
    assert_ne!(stage.connects("c:1", 2).await.1, 200);
    let alone = super::message(json!({"id": "yunqi", "endpoint": "c:1"}));
    assert_ne!(stage.post(path, alone).await.codes().1, 200);
    let altered = Entry { sequence: 7, ..stage.entry(Operation::Connect, &other) };
    assert_ne!(stage.signed(path, &altered, &other, Some(1), None).await.codes().1, 200);
    assert_eq!(stage.connects("c:1", 1).await, (200, 200));
    assert_ne!(stage.signed(path, &entry, &body, Some(1), None).await.codes().1, 200, "what came before");
    let now = stage.says("/central-systems/retrieve", json!({"csid": "yunqi"})).await;
    assert_eq!((&now["centralsystem"]["endpoint"], &now["revision"]), (&json!("c:1"), &json!(2)));
}

#[tokio::test]
async fn a_key_is_replaced_by_both_and_a_lost_one_by_a_recovery_key() {
    let stage = Stage::with(Rules { recovery: vec![key(9).public()], ..Rules::default() });
    // A token's central system takes its first key: the new one signs alone.
    stage.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": "a:1"})).await;
    assert_eq!(stage.replaces(ROTATE, Operation::RotateKey, None, 1).await, (200, 200));
    assert_eq!(stage.connects("b:1", 1).await, (200, 200));
    // A stranger, and one who has only the new key.
    assert_ne!(stage.replaces(ROTATE, Operation::RotateKey, Some(5), 2).await.1, 200);
    assert_ne!(stage.replaces(ROTATE, Operation::RotateKey, None, 2).await.1, 200);
    assert_eq!(stage.replaces(ROTATE, Operation::RotateKey, Some(1), 2).await, (200, 200));
    assert_ne!(stage.connects("c:1", 1).await.1, 200, "the old key");
    assert_eq!(stage.connects("c:1", 2).await, (200, 200));
    assert_eq!(stage.replaces(RECOVER, Operation::Recover, Some(2), 3).await, (403, 7002), "no recovery key");
    assert_eq!(stage.replaces(RECOVER, Operation::Recover, Some(9), 3).await, (200, 200));
    assert_ne!(stage.connects("d:1", 2).await.1, 200, "the lost key");
    assert_eq!(stage.connects("d:1", 3).await, (200, 200));
    assert_eq!(stage.front.directory().view().published().size, 7);
}
