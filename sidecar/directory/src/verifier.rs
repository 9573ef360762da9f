//! What `mesh verify` does: whether a log that somebody exported, or a receipt, holds. No network, and nothing of what builds proofs
//! or keeps the tree: the root is computed from the leaves by the words of RFC 6962, the state's by its definition, both anew.
//!
//! What is believed comes from [`Trust`], which the caller has from elsewhere: never from what is verified.

use std::io::{BufRead, Read as _};

use serde_json::{Value, json};

use crate::{
    Hash,
    entry::{Leaf, PublicKey},
    json as reader,
    log::{Checkpoint, KeyName, Note, Receipt, Verifier, verify},
    replay::Replay,
    trie::place,
};

/// The first line of an exported log says so.
pub const FORMAT: &str = "datanet log 1";

/// Bytes of the longest line: a leaf, and the largest body, as texts within a text.
const LONGEST_LINE: u64 = 256 << 20;

/// Whom to believe.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Who signs checkpoints.
    pub log: Verifier,
    /// Who signs entries for holders of tokens.
    pub directory: PublicKey,
    /// Who may replace lost keys.
    pub recovery: Vec<PublicKey>,
    /// Who cosigns checkpoints.
    pub witnesses: Vec<Verifier>,
    /// How many of them must have.
    pub quorum: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The log.
    pub origin: KeyName,
    /// How many entries are covered.
    pub size: u64,
    /// How many witnesses cosigned.
    pub witnesses: usize,
    /// What was verified, a line each.
    pub verified: Vec<String>,
}

/// An exported log: its first line, then one for each entry.
#[must_use]
pub fn first_line(checkpoint: &str) -> Value {
    json!({"format": FORMAT, "checkpoint": checkpoint})
}

/// The line of an entry.
#[must_use]
pub fn line(leaf: &str, body: &str) -> Value {
    json!({"leaf": leaf, "body": body})
}

/// Verifies an exported log from its first entry to its last: signatures, chains, rules, state roots, the checkpoint's root, and that
/// it continues the `remembered` checkpoint.
///
/// # Errors
/// In words, the first thing that does not hold.
pub fn log(mut lines: impl BufRead, trust: &Trust, remembered: Option<&[u8]>) -> Result<Report, String> {
    let first = next(&mut lines)?.ok_or("the file is empty")?;
    if first["format"] != FORMAT {
        return Err(format!("the file is no exported log: its first line does not say {FORMAT:?}"));
    }
    let note = first["checkpoint"].as_str().ok_or("the file has no checkpoint")?;
    let (checkpoint, cosigned) =
        opened(note.as_bytes(), trust).map_err(|e| format!("the checkpoint does not hold: {e}"))?;
    let remembered = match remembered {
        Some(note) => Some(opened(note, trust).map_err(|e| format!("the remembered checkpoint does not hold: {e}"))?.0),
        None => None,
    };
    if let Some(old) = remembered.as_ref().filter(|old| old.size > checkpoint.size) {
        return Err(format!(
            "the log has {} entries, and had {} before: entries were taken out",
            checkpoint.size, old.size
        ));
    }
    let mut hashes = Vec::new();
    let mut replay = Replay::new(trust.log.name().clone(), trust.directory, trust.recovery.clone());
    while let Some(line) = next(&mut lines)? {
        let number = hashes.len();
        let text = |name: &str| line[name].as_str().ok_or_else(|| format!("entry {number} has no {name}"));
        let (leaf, body) = (text("leaf")?, text("body")?);
        replay.next(leaf.as_bytes(), body.as_bytes()).map_err(|e| format!("entry {number}{}: {e}", named(leaf)))?;
        hashes.push(Hash::of(&[&[0], leaf.as_bytes()]));
    }
    if u64::try_from(hashes.len()).ok() != Some(checkpoint.size) {
        return Err(format!("the checkpoint is over {} entries, and the file has {}", checkpoint.size, hashes.len()));
    }
    if root(&hashes) != checkpoint.root {
        return Err(
            "the entries lead to another root than the one that the log signed: one of them is not the log's".into()
        );
    }
    let mut verified = vec![
        format!(
            "{} entries: signed by who may, each behind the one before it of its central system, and by the rules",
            hashes.len()
        ),
        "the state after each entry is the one that its leaf says".to_owned(),
        "the entries lead to the root that the log signed".to_owned(),
    ];
    state(&replay)?;
    if let Some(old) = remembered {
        let then = usize::try_from(old.size).ok().and_then(|size| hashes.get(..size)).map(root);
        if then != Some(old.root) {
            return Err(format!(
                "the log was rewritten: its first {} entries are not those of the remembered checkpoint",
                old.size
            ));
        }
        verified.push(format!("it continues the remembered checkpoint over {} entries", old.size));
    }
    Ok(Report { origin: checkpoint.origin, size: checkpoint.size, witnesses: cosigned, verified })
}

/// Verifies a receipt: that the entry which it has is in the log that its checkpoint is over, and signed by whom it names.
///
/// # Errors
/// In words, what does not hold.
pub fn receipt(text: &[u8], trust: &Trust) -> Result<Report, String> {
    let receipt = Receipt::parse(text).map_err(|e| e.to_string())?;
    let leaf = receipt.extra.as_slice();
    if leaf.is_empty() {
        return Err("the receipt does not have its entry: its extra line is missing".into());
    }
    let (checkpoint, cosigned) = opened(receipt.checkpoint.encode().as_bytes(), trust)?;
    let read = Leaf::read(leaf).map_err(|e| format!("the entry: {e}"))?;
    read.check().map_err(|e| format!("the entry: {e}"))?;
    verify::inclusion(Hash::of(&[&[0], leaf]), receipt.index, checkpoint.size, &receipt.proof, checkpoint.root)
        .map_err(|e| format!("the entry is not number {} of the log: {e}", receipt.index))?;
    let entry = &read.entry;
    let verified = vec![
        format!(
            "entry {} of the log: {} of {}, sequence {}",
            receipt.index,
            entry.operation.as_str(),
            entry.csid,
            entry.sequence
        ),
        format!("signed by {} as {}", read.signed.key, read.mark.as_str()),
        format!("in the log of {} entries that {} signed", checkpoint.size, trust.log.name()),
    ];
    Ok(Report { origin: checkpoint.origin, size: checkpoint.size, witnesses: cosigned, verified })
}

/// A checkpoint that the log signed and enough witnesses cosigned.
fn opened(note: &[u8], trust: &Trust) -> Result<(Checkpoint, usize), String> {
    let note = Note::parse(note).map_err(|e| e.to_string())?;
    let (checkpoint, signed) = Checkpoint::open(&note, &trust.log, &trust.witnesses).map_err(|e| e.to_string())?;
    let mut names: Vec<&KeyName> = signed.iter().map(|signed| signed.signer.name()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < trust.quorum {
        return Err(format!("{} of the witnesses cosigned it, and {} must have", names.len(), trust.quorum));
    }
    Ok((checkpoint, names.len()))
}

pub(crate) fn next(lines: &mut impl BufRead) -> Result<Option<Value>, String> {
    let mut line = Vec::new();
    let read = lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
    match read.map_err(|e| format!("the file cannot be read: {e}"))? {
        0 => Ok(None),
        _ => reader::read(&line).map(Some).map_err(|e| format!("a line of the file is no JSON: {e}")),
    }
}

/// What people call an entry.
pub(crate) fn named(leaf: &str) -> String {
    let entry = Leaf::read(leaf.as_bytes()).ok().map(|leaf| leaf.entry);
    entry.map_or_else(String::new, |entry| format!(" ({} of {})", entry.operation.as_str(), entry.csid))
}

/// RFC 6962 section 2.1, by its words: the hash of no leaf, of one, or of the two halves, the left of which is the largest power of two
/// that is smaller than all.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [one] => *one,
        more => {
            let half = more.len().next_power_of_two() / 2;
            let (left, right) = more.split_at(half);
            Hash::of(&[&[1], root(left).bytes(), root(right).bytes()])
        }
    }
}

/// The state's root, by its definition (contract 5.3), from nothing but the records.
fn state(replay: &Replay) -> Result<(), String> {
    let mut leaves: Vec<(Hash, Hash)> = replay
        .state()
        .records()
        .map(|(kind, key, record)| (place(kind.as_str(), key), Hash::of(&[&record.canonical()])))
        .collect();
    leaves.sort_unstable();
    let found = sparse(&leaves, 0);
    if found == replay.state().root() {
        Ok(())
    } else {
        Err(format!("the records have the root {found}, and the log says {}", replay.state().root()))
    }
}

/// A subtree without a leaf is 32 zero bytes, one with one leaf is that leaf, any other the node above its halves.
pub(crate) fn sparse(leaves: &[(Hash, Hash)], depth: u8) -> Hash {
    match leaves {
        [] => Hash::ZERO,
        [(key, value)] => Hash::of(&[&[2], key.bytes(), value.bytes()]),
        more => {
            let middle = more.partition_point(|(key, _)| !key.bit(depth));
            let (left, right) = more.split_at(middle);
            let below = depth.saturating_add(1);
            Hash::of(&[&[3], sparse(left, below).bytes(), sparse(right, below).bytes()])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{
            Step,
            tests::{history, ledger, origin},
        },
        log::{Kind, Signer, Tree, leaf_hash, prove},
        trie::{Change, Trie},
    };

    /// A log with all that may be in one, as it is exported, and whom to believe of it.
    fn exported() -> (Vec<Step>, Vec<Note>, Trust) {
        let mut ledger = ledger();
        let steps = history(&mut ledger);
        let replay = crate::ledger::tests::replay();
        let signer = Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap();
        let trust = Trust {
            log: signer.verifier().clone(),
            directory: *replay.custodian(),
            recovery: replay.recovery().to_vec(),
            witnesses: vec![],
            quorum: 0,
        };
        let (mut tree, mut notes) = (Tree::default(), Vec::new());
        for step in &steps {
            tree.append(leaf_hash(&step.leaf));
            let checkpoint = Checkpoint { origin: origin(), size: tree.size(), root: tree.root() };
            let text = checkpoint.text();
            notes.push(Note::new(text.clone(), vec![signer.sign(&text, 0)]).unwrap());
        }
        (steps, notes, trust)
    }

    fn file(steps: &[Step], note: &Note) -> String {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let lines = steps.iter().map(|step| line(&text(&step.leaf), &text(&step.body)).to_string() + "\n");
        first_line(&note.encode()).to_string() + "\n" + &lines.collect::<String>()
    }

    #[test]
    fn a_whole_log_holds_and_continues_each_of_its_checkpoints() {
        let (steps, notes, trust) = exported();
        let text = file(&steps, notes.last().unwrap());
        for old in &notes {
            let report = log(text.as_bytes(), &trust, Some(old.encode().as_bytes())).unwrap();
            assert_eq!((report.size, report.verified.len()), (steps.len() as u64, 4));
        }
        let first = log(file(&steps[..1], &notes[0]).as_bytes(), &trust, notes[0].encode().as_bytes().into());
        assert_eq!(first.map(|report| report.size), Ok(1));
    }

    #[test]
    fn what_was_altered_is_named_in_words() {
        let (steps, notes, trust) = exported();
        let last = notes.last().unwrap();
        let text = file(&steps, last);
        let refused = |text: &str, trust: &Trust, old: Option<&Note>| {
            log(text.as_bytes(), trust, old.map(|old| old.encode().into_bytes()).as_deref()).unwrap_err()
        };
        let lines: Vec<&str> = text.lines().collect();
        let without = |gone: usize| {
            let rest: Vec<&str> =
                lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| *line).collect();
            rest.join("\n")
        };
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        let other = Trust { directory: PublicKey::new([7; 32]), ..trust.clone() };
        let witnessed = Trust { quorum: 1, ..trust.clone() };
        let stranger = Signer::from_seed(origin(), Kind::Log, &[9; 32]).unwrap().verifier().clone();
        for (what, found, words) in [
            ("nothing", refused("", &trust, None), "the file is empty"),
            ("another file", refused("{}", &trust, None), "is no exported log"),
            ("no checkpoint", refused(&without(0), &trust, None), "is no exported log"),
            ("an entry is missing", refused(&without(1), &trust, None), "entry "),
            ("the last is missing", refused(&without(lines.len() - 1), &trust, None), "and the file has"),
            ("two are swapped", refused(&swapped.join("\n"), &trust, None), "entry "),
            (
                "an earlier checkpoint",
                refused(&file(&steps, &notes[0]), &trust, None),
                "the checkpoint is over 1 entries",
            ),
            (
                "entries were taken out",
                refused(&file(&steps[..1], &notes[0]), &trust, Some(last)),
                "entries were taken out",
            ),
            ("another directory's key", refused(&text, &other, None), "the key is another"),
            ("no witness", refused(&text, &witnessed, None), "1 must have"),
            (
                "another log's key",
                refused(&text, &Trust { log: stranger, ..trust.clone() }, None),
                "the checkpoint does not hold",
            ),
        ] {
            assert!(found.contains(words), "{what}: {found}");
        }
    }

    #[test]
    fn no_byte_of_an_exported_log_may_change() {
        let (steps, notes, trust) = exported();
        let text = file(&steps, notes.last().unwrap());
        let whole = log(text.as_bytes(), &trust, None).unwrap();
        for at in (0..text.len()).step_by(7) {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let found = log(changed.as_slice(), &trust, None);
            // The space between lines, and unknown signatures, say nothing.
            assert!(found.is_err() || found == Ok(whole.clone()), "byte {at}: {found:?}");
        }
    }

    #[test]
    fn a_receipt_holds_for_its_own_entry_alone() {
        let (steps, notes, trust) = exported();
        let mut tree = Tree::default();
        steps.iter().for_each(|step| tree.append(leaf_hash(&step.leaf)));
        let made = |index: u64, leaf: &[u8]| Receipt {
            extra: leaf.to_vec(),
            index,
            proof: prove::inclusion(&tree, index, tree.size()).unwrap(),
            checkpoint: notes.last().unwrap().clone(),
        };
        for (index, step) in (0..).zip(&steps) {
            let report = receipt(made(index, &step.leaf).encode().as_bytes(), &trust).unwrap();
            assert!(report.verified[0].starts_with(&format!("entry {index} of the log")));
            let other = &steps[(usize::try_from(index).unwrap() + 1) % steps.len()];
            let wrong = receipt(made(index, &other.leaf).encode().as_bytes(), &trust).unwrap_err();
            assert!(wrong.contains("is not number"), "{wrong}");
        }
        assert!(receipt(made(0, b"").encode().as_bytes(), &trust).unwrap_err().contains("does not have its entry"));
        assert!(receipt(b"x", &trust).is_err());
    }

    /// The verifier's own way comes to what the server's comes to, for each size of log and of state.
    #[test]
    fn both_ways_come_to_the_same_roots() {
        let (mut tree, mut trie, mut hashes, mut values) = (Tree::default(), Trie::default(), Vec::new(), Vec::new());
        for n in 0..70u8 {
            assert_eq!((root(&hashes), sparse(&values, 0)), (tree.root(), trie.root()), "{n}");
            tree.append(leaf_hash(&[n]));
            hashes.push(leaf_hash(&[n]));
            let (key, value) = (place("csid", &n.to_string()), Hash::of(&[&[n]]));
            trie = trie.with(vec![Change { key, value: Some(value) }]);
            values.push((key, value));
            values.sort_unstable();
        }
    }
}
