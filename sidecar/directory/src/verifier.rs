//! What `mesh verify` does: whether a log that somebody exported, a receipt, or a proof of the state holds. No network, and nothing of what builds proofs
//! or keeps the tree: the root is computed from the leaves by the words of RFC 6962, the state's by its definition, both anew.
//!
//! What is believed comes from [`Trust`], which the caller has from elsewhere: never from what is verified.

use std::io::{BufRead, Read as _};

use serde_json::{Value, json};

use crate::{
    Hash, canonical,
    entry::{Leaf, Mark, PublicKey},
    json as reader,
    log::{Checkpoint, KeyName, Note, Receipt, Verifier, verify},
    proofs,
    replay::Replay,
    state::Kind,
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
    /// Who signs entries for holders of tokens; a log is not verified without.
    pub directory: Option<PublicKey>,
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

/// Whether a file begins like an exported log.
#[must_use]
pub fn is_log(first: &[u8]) -> bool {
    reader::read(first).is_ok_and(|first| first.get("format").is_some())
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
    let directory = trust.directory.ok_or("a log is not verified without the key of its directory")?;
    let mut replay = Replay::new(trust.log.name().clone(), directory, trust.recovery.clone());
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
    received(text, trust).map(|(_, _, report)| report)
}

/// The number and the entry of a receipt that holds.
fn received(text: &[u8], trust: &Trust) -> Result<(u64, Leaf, Report), String> {
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
        signer(&read, trust)?,
        format!("in the log of {} entries that {} signed", checkpoint.size, trust.log.name()),
    ];
    let report = Report { origin: checkpoint.origin, size: checkpoint.size, witnesses: cosigned, verified };
    Ok((receipt.index, read, report))
}

/// Who signed an entry, and what of that one entry alone shows.
fn signer(leaf: &Leaf, trust: &Trust) -> Result<String, String> {
    let (key, mark) = (leaf.signed.key, leaf.mark);
    let of_others = |whose: &str| Err(format!("the entry is marked as signed by the {whose}, and the key is another"));
    let known = match mark {
        Mark::Directory => match trust.directory {
            Some(own) if own == key => "which is the directory's key",
            Some(_) => return of_others("directory"),
            None => "which nobody compared: no directory key was given",
        },
        Mark::Recovery if trust.recovery.contains(&key) => "which is a recovery key",
        Mark::Recovery if !trust.recovery.is_empty() => return of_others("holder of a recovery key"),
        Mark::Recovery => "which nobody compared: no recovery key was given",
        Mark::Owner => "whose it is only the whole log shows",
    };
    Ok(format!("signed as {} by {key}, {known}", mark.as_str()))
}

/// Verifies a proof of the state: an answer's `proof`, and beside it the `receipt` of the entry that made its revision. That the record in
/// it is the one which that entry led to, or that there is none.
///
/// # Errors
/// In words, what does not hold.
pub fn state_proof(text: &[u8], trust: &Trust) -> Result<Report, String> {
    let said = reader::read(text).map_err(|e| format!("the file is no JSON: {e}"))?;
    let proof = said.get("proof").ok_or("the file has no proof: ask with --proof")?;
    let text = |name: &str| proof[name].as_str().ok_or_else(|| format!("the proof has no {name}"));
    let kind = Kind::read(text("kind")?).ok_or("the proof is of no kind that there is")?;
    let key = text("key")?;
    let receipt = said["receipt"].as_str().ok_or("the proof comes without the receipt of its entry")?;
    let (index, leaf, mut report) = received(receipt.as_bytes(), trust)?;
    if proof["revision"].as_u64() != index.checked_add(1) {
        return Err(format!("the proof is not of the revision that entry {index} made"));
    }
    let value = proofs::verified_state(proof, kind, key, &leaf.state)?;
    report.verified.push(match (value, &proof["record"]) {
        (None, Value::Null) => format!("after entry {index} there is no {} {key}", kind.as_str()),
        (Some(hash), record) if canonical(record).is_ok_and(|bytes| Hash::of(&[&bytes]) == hash) => {
            format!("after entry {index} the {} {key} is {record}", kind.as_str())
        }
        _ => return Err("the record is not the one that the proof is about".into()),
    });
    Ok(report)
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
#[path = "verifier_tests.rs"]
pub(crate) mod tests;
