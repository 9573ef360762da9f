//! Checkpoints: what a log commits to at one size, as the text of a signed note (`c2sp.org/tlog-checkpoint`).
//!
//! Origin, size and root, and no time, so that every replica says the same bytes for the same size.

use super::{
    key::{KeyName, Verifier},
    note::{Note, NoteError, Signed},
};
use crate::Hash;

/// A log at one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: KeyName,
    /// How many leaves it has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a note is no checkpoint that one may rely on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// No note, or none of the log's.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text is none of a checkpoint.
    #[error("the note is no checkpoint of three lines: origin, size, root")]
    Malformed,
    /// Another log's.
    #[error("the checkpoint is one of {0}, not of the log that is trusted")]
    OtherLog(KeyName),
    /// Witnesses signed and the log did not.
    #[error("the log itself did not sign the checkpoint")]
    NotTheLog,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.base64())
    }

    /// Reads the text. Extension lines are refused: this log writes none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let [origin, size, root, end] = [lines.next()?, lines.next()?, lines.next()?, lines.next()?];
        let read = Self { origin: KeyName::new(origin)?, size: size.parse().ok()?, root: Hash::from_base64(root)? };
        // Numbers and base64 have one spelling, and nothing stands behind the third line.
        (end.is_empty() && read.text() == text).then_some(read)
    }

    /// The same of any log's checkpoint, which may have more lines (`c2sp.org/tlog-checkpoint`): what its first three say.
    #[must_use]
    pub fn head(text: &str) -> Option<Self> {
        let end = text.match_indices('\n').nth(2)?.0.saturating_add(1);
        let (head, more) = text.split_at_checked(end)?;
        Self::parse(head).filter(|_| more.split_terminator('\n').all(|line| !line.is_empty()))
    }

    /// The checkpoint of a note that `log` signed, and who else of `witnesses` did.
    ///
    /// # Errors
    /// When the log did not sign it, a signature of one of them is wrong, or it is another log's.
    pub fn open<'a>(
        note: &Note,
        log: &Verifier,
        witnesses: &'a [Verifier],
    ) -> Result<(Self, Vec<Signed<'a>>), CheckpointError> {
        note.open(std::slice::from_ref(log)).map_err(|error| match error {
            NoteError::Unsigned => CheckpointError::NotTheLog,
            other => CheckpointError::Note(other),
        })?;
        let checkpoint = Self::parse(note.text()).ok_or(CheckpointError::Malformed)?;
        if checkpoint.origin != *log.name() {
            return Err(CheckpointError::OtherLog(checkpoint.origin));
        }
        match note.open(witnesses) {
            Ok(signed) => Ok((checkpoint, signed)),
            Err(NoteError::Unsigned) => Ok((checkpoint, Vec::new())),
            Err(wrong) => Err(wrong.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::key::{Kind, Signer},
        *,
    };

    /// The example of the checkpoint specification.
    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn signer(name: &str, kind: Kind) -> Signer {
        Signer::from_seed(KeyName::new(name).unwrap(), kind, &[3; 32]).unwrap()
    }

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let read = Checkpoint::parse(TEXT).unwrap();
        assert_eq!((read.origin.as_str(), read.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(read.text(), TEXT);
    }

    #[test]
    fn there_is_one_spelling() {
        for wrong in [
            "",
            "\n\n\n",
            TEXT.trim_end(),
            &format!("{TEXT}extension\n"),
            &format!("{TEXT}\n"),
            &TEXT.replace("20852163", "020852163"),
            &TEXT.replace("20852163", "+20852163"),
            &TEXT.replace("20852163", "-1"),
            &TEXT.replace("20852163", "18446744073709551616"),
            &TEXT.replace("2I=", "2J="),
            &TEXT.replace('=', ""),
            &TEXT.replace("example", "exa mple"),
        ] {
            assert_eq!(Checkpoint::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn it_counts_only_when_the_log_signed_it() {
        let (log, witness) =
            (signer("example.com/behind-the-sofa", Kind::Log), signer("witness.example", Kind::Witness));
        let note = |signers: &[&Signer]| {
            Note::new(TEXT.to_owned(), signers.iter().map(|one| one.sign(TEXT, 5)).collect()).unwrap()
        };
        let witnesses = [witness.verifier().clone()];
        let open = |note: &Note| {
            let opened = Checkpoint::open(note, log.verifier(), &witnesses);
            opened.map(|(checkpoint, signed)| (checkpoint.size, signed.len()))
        };
        assert_eq!(open(&note(&[&log])), Ok((20_852_163, 0)));
        assert_eq!(open(&note(&[&witness, &log])), Ok((20_852_163, 1)));
        assert_eq!(open(&note(&[&witness])), Err(CheckpointError::NotTheLog));

        // A wrong cosignature of a known witness spoils the note.
        let mut wrong = note(&[&log]);
        wrong.add(witness.sign("another\n", 5));
        let refused = NoteError::WrongSignature(witness.verifier().name().clone());
        assert_eq!(open(&wrong), Err(CheckpointError::Note(refused)));
    }

    #[test]
    fn a_key_signs_for_its_own_log_only() {
        let other = signer("example.com/other", Kind::Log);
        let note = Note::new(TEXT.to_owned(), vec![other.sign(TEXT, 0)]).unwrap();
        let origin = KeyName::new("example.com/behind-the-sofa").unwrap();
        assert_eq!(Checkpoint::open(&note, other.verifier(), &[]), Err(CheckpointError::OtherLog(origin)));
        let note = Note::new("hello\n".to_owned(), vec![other.sign("hello\n", 0)]).unwrap();
        assert_eq!(Checkpoint::open(&note, other.verifier(), &[]), Err(CheckpointError::Malformed));
    }
}
