//! A log as an earlier build wrote it, with the checkpoint that was signed then. Whatever changes in records, readers and rules, it must
//! be verified, restored and written again to the same bytes: else no log that is out there could be.
//!
//! `GOLDENS=write` writes it anew. Do that only to add entries of a new kind: a line that differs from before is a log that is broken.

use std::{env, fs, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    Hash, canonical,
    entry::{Entry, Leaf, Operation, Signed},
    keys::Keys,
    ledger::{
        By, Ledger, Step, Submission,
        tests::{NOW, history, key, ledger, origin, own, replay, write},
    },
    log::{Kind, Signer},
    message::{Adoption, Message},
    restore::restore,
    state::{Act, Guard},
    store::Store,
    verifier::{self, Trust},
};

/// How many entries it has.
const SIZE: u64 = 24;

fn file() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "src", "golden", "log.ndjson"].iter().collect()
}

/// The keys that the ledger of tests has.
fn keys() -> Keys {
    let seed = |n: u8| BASE64_STANDARD.encode([n; 32]);
    let text = json!({"origin": origin().as_str(), "log": seed(1), "directory": seed(2)});
    Keys::read(&text.to_string()).unwrap()
}

/// What is written, and by whom.
struct Written {
    ledger: Ledger,
    steps: Vec<Step>,
}

impl Written {
    fn take(&mut self, write: &Submission, now: u64) {
        self.steps.push(self.ledger.submit(write, now).unwrap().unwrap());
    }

    /// By the holder of a token.
    fn token(&mut self, message: Message, body: Value) {
        self.take(&write(message, body, By::Token), NOW);
    }

    /// By the holder of key `by`, and of the `new` one.
    fn own(&mut self, message: Message, body: Value, by: u8, new: Option<u8>) {
        let write = own(&self.ledger, message, body, by, new);
        self.take(&write, NOW);
    }

    /// The end of a lease.
    fn expire(&mut self, csid: &str) {
        let (csid, body) = (csid.to_owned(), json!({"csid": csid}));
        self.take(&Submission { csid, act: Act::Expire, guard: Guard::default(), body, by: By::Directory }, NOW + 1000);
    }

    /// The holder of a token takes a key.
    fn adopt(&mut self, csid: &str, new: u8) {
        let mut write = write(Message::RotateKey, json!({"csid": csid, "key": key(new).public()}), By::Token);
        let (sequence, previous) = self.ledger.state().next_of(csid);
        let body = Hash::of(&[&canonical(&write.body).unwrap()]);
        let (origin, csid) = (origin(), csid.to_owned());
        let entry = Entry { origin, csid, operation: Operation::RotateKey, sequence, previous, body, time: NOW };
        write.by = By::Adopt(Box::new(Adoption { new: Signed::new(&entry, &key(new)), entry }));
        self.take(&write, NOW);
    }
}

/// Entries of every kind, with all that a reader could take for something else: numbers, texts beyond ASCII, keys that sort otherwise in
/// UTF-16, unknown keys, classes that nobody offers, and what came and went.
fn written() -> Written {
    let mut ledger = ledger();
    let steps = history(&mut ledger);
    let mut log = Written { ledger, steps };
    log.expire("leased");
    let desc = "中心系统 — \u{1F600}\n\u{e9}";
    log.token(Message::Connect, json!({"id": "Mixed-Case_1", "endpoint": "https://mesh.example/a?b=1", "desc": desc}));
    let numbers = json!([1e3, 0.1, 1e-7, 1e21, -0.0, 9007199254740993_u64, null, true, {}]);
    let params = json!({"b": 1.5, "a": numbers, "\u{20ac}": 1, "\u{fb33}": {"\u{1F600}": []}});
    let classes = json!([
        {"className": "odps-adapter", "protocol": {"name": "ODPS", "version": "aspara 1.0"}, "params": params, "desc": "d"},
        {"className": "类", "protocol": {"name": "MySQL", "version": "5.7"}},
    ]);
    log.token(Message::SyncAdapterClasses, json!({"csid": "mixed-case_1", "adapterClasses": classes}));
    let data = json!([
        {"dataAddress": "Mixed-Case_1.BCAE345BCAE345P0", "name": "数据", "endpoint": "[2001:db8::1]:1", "adapterClass": "odps-aspara1.0", "params": params},
        {"dataAddress": "mixed-case_1.0", "name": "n", "endpoint": "a:1", "adapterClass": "nobodys", "paramsDef": [1, "2", 3.25]},
    ]);
    let more = json!({"z": 1, "a": 2});
    log.token(
        Message::SyncDataSystems,
        json!({"csid": "Mixed-Case_1", "dataSystems": data, "pending": true, "unknown": more}),
    );
    log.own(Message::SyncAdapterClasses, json!({"csid": "own", "adapterClasses": classes}), 9, None);
    log.token(Message::DeltaAdapterClasses, json!({"csid": "mixed-case_1", "withdrawn": ["odps-adapter"]}));
    log.adopt("Mixed-Case_1", 20);
    log.own(Message::Connect, json!({"id": "MIXED-case_1", "endpoint": "own:1"}), 20, None);
    log.own(Message::RotateKey, json!({"csid": "mixed-case_1", "key": key(21).public()}), 20, Some(21));
    log.own(Message::Disconnect, json!({"id": "mixed-case_1"}), 21, None);
    log.token(Message::Connect, json!({"id": "yunqi", "endpoint": "again:1"}));
    log.own(Message::SyncAdapterClasses, json!({"csid": "own", "adapterClasses": []}), 9, None);
    log.token(Message::Connect, json!({"id": "leased", "endpoint": "d:4", "ttl": 60}));
    log
}

/// As it is exported.
fn exported(Written { ledger, steps }: &Written) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines = steps.iter().map(|step| verifier::line(&text(&step.leaf), &text(&step.body)).to_string() + "\n");
    verifier::first_line(&ledger.checkpoint().unwrap().encode()).to_string() + "\n" + &lines.collect::<String>()
}

#[test]
fn what_is_written_today_is_what_was_written_before() {
    let now = exported(&written());
    if env::var_os("GOLDENS").is_some_and(|wanted| wanted == "write") {
        fs::write(file(), &now).unwrap();
    }
    let before = fs::read_to_string(file()).unwrap();
    for (number, (now, before)) in now.lines().zip(before.lines()).enumerate() {
        assert_eq!(now, before, "line {number}");
    }
    assert_eq!(now.lines().count(), before.lines().count());
}

#[test]
fn what_was_written_before_is_verified_and_restored() {
    let text = fs::read_to_string(file()).unwrap();
    let (keys, replay) = (keys(), replay());
    let signer = Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap();
    let trust = Trust {
        log: signer.verifier().clone(),
        directory: Some(*replay.custodian()),
        recovery: replay.recovery().to_vec(),
        witnesses: vec![],
        quorum: 0,
    };
    assert_eq!(verifier::log(text.as_bytes(), &trust, None).map(|report| report.size), Ok(SIZE));
    let store = Store::open(tempfile::tempfile().unwrap(), PathBuf::new(), &origin()).unwrap();
    assert_eq!(restore(text.as_bytes(), &keys, replay.recovery().to_vec(), &store), Ok(SIZE));
    let (state, peaks) = store.load(&origin()).unwrap();
    let last = Leaf::read(&store.leaf(SIZE - 1).unwrap().unwrap()).unwrap();
    assert_eq!((state.root(), peaks.size()), (last.state, SIZE));
}
