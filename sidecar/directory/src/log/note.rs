//! Signed notes: a text, and lines of those who signed it (`c2sp.org/signed-note`).
//!
//! A verifier ignores lines of signers that it does not know, and refuses a note on which a signature of a known one is wrong.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::key::{KeyId, KeyName, Verifier};

/// What a signature line begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// The most signatures that are looked at. The contract wants at least 16; stock tools stop at 100.
pub const MOST_SIGNATURES: usize = 100;

/// Bytes of the longest note that is read: a checkpoint with all its signatures is a tenth of it.
pub(super) const LONGEST: usize = 128 << 10;

/// Why bytes are no note, or no note of those one trusts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than anything that is read.
    #[error("the note has {0} bytes: at most {LONGEST} are read")]
    TooLong(usize),
    /// Not of the form of a note.
    #[error("no signed note: {0}")]
    Malformed(&'static str),
    /// Someone who is trusted did not sign this text.
    #[error("the signature of {0} is wrong: the text is not what was signed")]
    WrongSignature(KeyName),
    /// None of those who are trusted signed it.
    #[error("nobody who is trusted signed the note")]
    Unsigned,
}

/// One signature on a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Who signed, as the line says.
    pub name: KeyName,
    /// With which key, as the line says.
    pub id: KeyId,
    /// What was made with it; its form is the matter of the key's kind.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// The line of a note, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        let bytes = BASE64_STANDARD.encode([&self.id.0[..], &self.bytes].concat());
        format!("{DASH}{} {bytes}\n", self.name)
    }

    /// The line of a note, without its end.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, bytes) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = BASE64_STANDARD.decode(bytes).ok()?;
        let (id, bytes) = bytes.split_first_chunk()?;
        // A signature of nothing says nothing.
        (!bytes.is_empty()).then_some(())?;
        Some(Self { name: KeyName::new(name)?, id: KeyId(*id), bytes: bytes.to_vec() })
    }
}

/// A text and the signatures that came with it, none of them verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// A note over `text`, which ends with a line end and has no empty last line; `None` when it is not so.
    #[must_use]
    pub fn new(text: String, signatures: Vec<Signature>) -> Option<Self> {
        (is_text(&text) && signatures.len() <= MOST_SIGNATURES).then_some(Self { text, signatures })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// When the bytes are not of its form.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > LONGEST {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let all = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        // The last empty line divides: the text may have others.
        let end = all.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, lines) = (&all[..=end], &all[end + 2..]);
        if !is_text(text) {
            return Err(NoteError::Malformed("its text has control characters"));
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("its last line does not end"))?;
        if lines.split('\n').nth(MOST_SIGNATURES).is_some() {
            return Err(NoteError::Malformed("too many signatures"));
        }
        let signatures = lines.split('\n').map(Signature::parse).collect::<Option<_>>();
        let signatures = signatures.ok_or(NoteError::Malformed("a line is no signature"))?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, with its last line's end. Whose text it is only [`Note::open`] says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, none of them verified.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Those of `trusted` who signed the text, each once, with the time that a cosignature says.
    ///
    /// # Errors
    /// When a signature of one of them is wrong, or none of them signed.
    pub fn open<'a>(&self, trusted: &'a [Verifier]) -> Result<Vec<Signed<'a>>, NoteError> {
        let mut signed: Vec<Signed<'a>> = Vec::new();
        for signature in &self.signatures {
            let signer = trusted.iter().find(|one| one.name() == &signature.name && one.id() == signature.id);
            let Some(signer) = signer.filter(|signer| signed.iter().all(|known| known.signer != *signer)) else {
                continue;
            };
            let proof = signer.verify(&self.text, &signature.bytes);
            let time = proof.ok_or_else(|| NoteError::WrongSignature(signature.name.clone()))?;
            signed.push(Signed { signer, time: time.0 });
        }
        if signed.is_empty() { Err(NoteError::Unsigned) } else { Ok(signed) }
    }

    /// Adds a signature behind the others; `false` when there is no room for it.
    pub fn add(&mut self, signature: Signature) -> bool {
        let room = self.signatures.len() < MOST_SIGNATURES;
        if room {
            self.signatures.push(signature);
        }
        room
    }

    /// The note as it is served.
    #[must_use]
    pub fn encode(&self) -> String {
        let lines: String = self.signatures.iter().map(Signature::line).collect();
        format!("{}\n{lines}", self.text)
    }
}

/// One who signed a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Who.
    pub signer: &'a Verifier,
    /// When, in seconds since 1970, if the kind of signature says so.
    pub time: Option<u64>,
}

/// Lines of printable characters, each with its end, the last not empty.
fn is_text(text: &str) -> bool {
    let printable = text.chars().all(|c| c == '\n' || c >= ' ');
    printable && text.ends_with('\n') && text.len() > 1 && !text.ends_with("\n\n")
}

#[cfg(test)]
mod tests {
    use super::{
        super::key::{Kind, Signer},
        *,
    };

    /// The example of the signed-note specification.
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn signer(n: u8, kind: Kind) -> Signer {
        Signer::from_seed(KeyName::new(&format!("signer.example/{n}")).unwrap(), kind, &[n; 32]).unwrap()
    }

    #[test]
    fn the_example_of_the_specification_is_opened() {
        let key: Verifier = KEY.parse().unwrap();
        let note = Note::parse(NOTE.as_bytes()).unwrap();
        let trusted = [key];
        assert_eq!(note.open(&trusted), Ok(vec![Signed { signer: &trusted[0], time: None }]));
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.encode(), NOTE);
        assert_eq!(trusted[0].to_string(), KEY);
    }

    #[test]
    fn no_changed_byte_is_opened() {
        let trusted = [KEY.parse().unwrap()];
        for at in 0..NOTE.len() {
            for bit in 0..8 {
                let mut bytes = NOTE.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let opened = Note::parse(&bytes).and_then(|note| note.open(&trusted).map(|_| ()));
                assert!(opened.is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn unknown_signers_are_ignored_and_a_known_one_must_be_right() {
        let text = "one\n\ntwo\n";
        let [mine, other, third] = [1, 2, 3].map(|n| signer(n, Kind::Log));
        let note = |lines: Vec<Signature>| Note::new(text.to_owned(), lines).unwrap();
        let trusted = [mine.verifier().clone(), other.verifier().clone()];
        let wrong = Signature { bytes: mine.sign("another\n", 0).bytes, ..mine.sign(text, 0) };

        let names =
            |note: &Note| note.open(&trusted).map(|all| all.iter().map(|one| one.signer.name().clone()).collect());
        let both = vec![mine.verifier().name().clone(), other.verifier().name().clone()];
        assert_eq!(names(&note(vec![third.sign(text, 0), mine.sign(text, 0), other.sign(text, 0)])), Ok(both));
        assert_eq!(names(&note(vec![third.sign(text, 0)])), Err::<Vec<_>, _>(NoteError::Unsigned));
        let refused = NoteError::WrongSignature(mine.verifier().name().clone());
        assert_eq!(names(&note(vec![other.sign(text, 0), wrong.clone()])), Err(refused));
        // The same name with another key is another signer.
        let unknown = Signature { id: KeyId([9; 4]), ..wrong };
        assert_eq!(names(&note(vec![unknown])), Err(NoteError::Unsigned));
        // Who signs twice counts once.
        let twice = note(vec![mine.sign(text, 0), mine.sign(text, 0)]);
        assert_eq!(names(&twice).map(|names: Vec<_>| names.len()), Ok(1));
    }

    #[test]
    fn sixteen_signatures_and_more_are_read_up_to_the_bound() {
        let text = "text\n";
        let many: Vec<Signer> =
            (0..20).map(|n| signer(n, if n % 2 == 0 { Kind::Log } else { Kind::Witness })).collect();
        let mut note = Note::new(text.to_owned(), many.iter().map(|one| one.sign(text, 77)).collect()).unwrap();
        let trusted: Vec<Verifier> = many.iter().map(|one| one.verifier().clone()).collect();
        let read = Note::parse(note.encode().as_bytes()).unwrap();
        let times: Vec<Option<u64>> = read.open(&trusted).unwrap().iter().map(|one| one.time).collect();
        assert_eq!(times, [None, Some(77)].repeat(10));

        while note.add(many[0].sign(text, 0)) {}
        assert_eq!(Note::parse(note.encode().as_bytes()), Ok(note.clone()));
        let above = note.encode() + &many[0].sign(text, 0).line();
        assert_eq!(Note::parse(above.as_bytes()), Err(NoteError::Malformed("too many signatures")));
        assert_eq!(Note::parse(&vec![b'a'; LONGEST + 1]), Err(NoteError::TooLong(LONGEST + 1)));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let line = NOTE.rsplit("\n\n").next().unwrap();
        for wrong in [
            "",
            "text\n",
            "text\n\n",
            "\n\n",
            &format!("\n{line}"),
            &format!("text\n{line}"),
            &format!("text\n\n{}", line.trim_end()),
            &format!("text\n\n{line}\n"),
            &format!("te\u{1}xt\n\n{line}"),
            &format!("text\r\n\n{line}"),
            &format!("text\n\n{}", line.replace('\u{2014}', "-")),
            &format!("text\n\n{}", line.replace("foo ", "foo  ")),
            &format!("text\n\n{}", line.replace("foo", "f+oo")),
            &format!("text\n\n{}", line.replace('=', "")),
            "text\n\n\u{2014} example.com/foo Uw2QOg==\n",
            "text\n\n\u{2014} example.com/foo AAAA\n",
        ] {
            assert!(Note::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(Note::parse(b"text\xff\n\n").is_err());
        for text in ["", "\n", "text", "text\n\n", "te\u{0}xt\n"] {
            assert_eq!(Note::new(text.to_owned(), Vec::new()), None, "{text:?}");
        }
    }
}
