//! A store from an exported log: what a directory goes on with whose disk is gone. All of it is verified as it is read, by the keys
//! that are to go on with it.

use std::io::BufRead;

use crate::{
    entry::PublicKey,
    keys::Keys,
    ledger::Step,
    log::{Checkpoint, Note},
    replay::Replay,
    store::Store,
    verifier::{FORMAT, named, next},
};

/// Entries of one commit: some megabytes.
const GROUP: usize = 512;

/// Reads an exported log into a store that is empty. How many entries it has.
///
/// # Errors
/// In words, what does not hold. The store has then a part of the log, and is of no use.
pub fn restore(mut lines: impl BufRead, keys: &Keys, recovery: Vec<PublicKey>, store: &Store) -> Result<u64, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let first = next(&mut lines)?.filter(|first| first["format"] == FORMAT);
    let first = first.ok_or_else(|| format!("the file is no exported log: its first line does not say {FORMAT:?}"))?;
    let note = first["checkpoint"].as_str().ok_or("the file has no checkpoint")?;
    let note = Note::parse(note.as_bytes()).map_err(|e| said(&e))?;
    let signer = keys.signer().map_err(|e| said(&e))?;
    let (checkpoint, _) = Checkpoint::open(&note, signer.verifier(), &[])
        .map_err(|e| format!("the checkpoint is not one of these keys: {e}"))?;
    let custodian = keys.custodian().map_err(|e| said(&e))?.public();
    let mut replay = Replay::new(keys.origin().clone(), custodian, recovery);
    let mut group: Vec<Step> = Vec::new();
    while let Some(line) = next(&mut lines)? {
        let number = replay.head().0;
        let text = |name: &str| line[name].as_str().ok_or_else(|| format!("entry {number} has no {name}"));
        let (leaf, body) = (text("leaf")?, text("body")?);
        let step = replay.step(leaf.as_bytes(), body.as_bytes());
        group.push(step.map_err(|e| format!("entry {number}{}: {e}", named(leaf)))?);
        if group.len() == GROUP {
            store.commit(&group, None).map_err(|e| said(&e))?;
            group.clear();
        }
    }
    let (size, root) = replay.head();
    if (size, root) != (checkpoint.size, checkpoint.root) {
        return Err(format!("the checkpoint is over {} entries, and the file's {size} are not those", checkpoint.size));
    }
    store.commit(&group, Some(&note)).map_err(|e| said(&e))?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ring::rand::SystemRandom;
    use serde_json::json;

    use super::*;
    use crate::{
        directory::{Directory, Place, Rules},
        ledger::{By, tests::write},
        log::KeyName,
        message::Message,
        verifier,
    };

    fn store(path: &std::path::Path, keys: &Keys) -> Store {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        Store::open(file, path.to_owned(), keys.origin()).unwrap()
    }

    fn open(path: &std::path::Path, keys: &Keys) -> Directory {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        Directory::open(Place { store: file, path: path.to_owned(), keys: keys.clone() }, Rules::default()).unwrap()
    }

    fn exported(directory: &Directory) -> String {
        let published = directory.view().published();
        let mut text = verifier::first_line(&published.note.encode()).to_string() + "\n";
        for index in 0..published.size {
            let leaf = directory.store().leaf(index).unwrap().unwrap();
            let entry = crate::entry::Leaf::read(&leaf).unwrap().entry;
            let body = directory.store().body(&entry.body).unwrap().unwrap();
            let line = verifier::line(std::str::from_utf8(&leaf).unwrap(), std::str::from_utf8(&body).unwrap());
            text += &(line.to_string() + "\n");
        }
        text
    }

    #[tokio::test]
    async fn a_directory_whose_disk_is_gone_goes_on_from_what_was_exported() {
        let home = tempfile::tempdir().unwrap();
        let keys = Keys::make(KeyName::new("log.example/datanet").unwrap(), &SystemRandom::new()).unwrap();
        let first = open(&home.path().join("first"), &keys);
        let connect = |n: u64| write(Message::Connect, json!({"id": "yunqi", "endpoint": format!("a:{n}")}), By::Token);
        for n in 1..=600 {
            first.submit(connect(n), n).await.unwrap();
        }
        let (text, head) = (exported(&first), first.view().published());
        let second = home.path().join("second");
        assert_eq!(restore(text.as_bytes(), &keys, Vec::new(), &store(&second, &keys)), Ok(600));
        let again = open(&second, &keys);
        assert_eq!(again.view().published().note.encode(), head.note.encode());
        assert_eq!(exported(&again), text);
        assert_ne!(again.witness_key(), first.witness_key(), "it does not know what the first signed");
        assert_eq!(again.submit(connect(601), 601).await.unwrap().revision, 601);

        let others = Keys::make(keys.origin().clone(), &SystemRandom::new()).unwrap();
        let shorter = text.lines().take(600).collect::<Vec<_>>().join("\n");
        for (n, (what, text, keys, words)) in [
            ("nothing", String::new(), &keys, "no exported log"),
            ("another's", text.clone(), &others, "not one of these keys"),
            ("altered", text.replacen("a:300", "a:3oo", 1), &keys, "entry 299"),
            ("an entry is missing", shorter, &keys, "the file's 599"),
        ]
        .into_iter()
        .enumerate()
        {
            let refused = restore(text.as_bytes(), keys, Vec::new(), &store(&home.path().join(n.to_string()), keys));
            assert!(refused.as_ref().is_err_and(|error| error.contains(words)), "{what}: {refused:?}");
        }
    }
}
