//! The body of `add-checkpoint`: the size that the witness knows, the proof from there on, and the checkpoint.

use crate::{
    Hash,
    log::{Note, Signature},
};

/// Lines of the longest proof (`c2sp.org/tlog-witness`).
const MOST_HASHES: usize = 63;

/// Signature lines of an answer: a witness has a key or two.
const MOST_LINES: usize = 16;

/// Characters of a refusal that are shown to people.
const MOST_WORDS: usize = 200;

/// What a log sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The size that the witness signed last; 0: none.
    pub old: u64,
    /// That the checkpoint continues the log of that size.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub note: Note,
}

/// The body is not of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no request for a cosignature: {0}")]
pub struct Malformed(pub &'static str);

impl Request {
    /// The body as it is sent.
    #[must_use]
    pub fn encode(&self) -> String {
        let hashes: String = self.proof.iter().map(|hash| hash.base64() + "\n").collect();
        format!("old {}\n{hashes}\n{}", self.old, self.note.encode())
    }

    /// Reads a body.
    ///
    /// # Errors
    /// When it is not of the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("it is not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(Malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(Malformed("its first line is not `old` and a size"))?;
        let proof: Option<Vec<Hash>> = lines.map(Hash::from_base64).collect();
        let proof = proof.filter(|hashes| hashes.len() <= MOST_HASHES);
        let proof = proof.ok_or(Malformed("its proof is not of at most 63 hashes in base64"))?;
        let note = Note::parse(note.as_bytes()).map_err(|_| Malformed("its checkpoint is no signed note"))?;
        Ok(Self { old, proof, note })
    }
}

/// The signature lines of a witness' answer.
#[must_use]
pub fn signatures(body: &[u8]) -> Option<Vec<Signature>> {
    let text = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    if text.split('\n').nth(MOST_LINES).is_some() {
        return None;
    }
    text.split('\n').map(Signature::parse).collect()
}

/// What a witness' answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It signed.
    Signed(Vec<Signature>),
    /// It signed this size last: the proof must begin there.
    Known(u64),
}

/// Reads a witness' answer.
///
/// # Errors
/// In words, why it did not sign.
pub fn answered(status: u16, body: &[u8]) -> Result<Answered, String> {
    let text =
        || String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect::<String>();
    match status {
        200 => signatures(body).map(Answered::Signed).ok_or_else(|| "its answer has no signatures".to_owned()),
        409 => {
            let size = std::str::from_utf8(body).ok().and_then(|body| decimal(body.trim_end()));
            size.map(Answered::Known).ok_or_else(|| format!("it does not say which size it knows: {}", text()))
        }
        _ => Err(format!("HTTP {status}: {}", text())),
    }
}

/// A number in its one spelling.
fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// The size to ask from, where a witness that was asked from `old` on says that it knows `known`, and the log has `size` leaves.
///
/// # Errors
/// Why it cannot be asked again, for people.
pub fn from_known(known: u64, old: u64, size: u64) -> Result<u64, String> {
    if known > size {
        return Err(format!("it has signed {known} entries, and the log has {size}: was it restored?"));
    }
    if known != old {
        return Ok(known);
    }
    Err(match known {
        0 => "it has signed nothing under this name, and refuses a log that begins there".to_owned(),
        _ => format!("it has signed another log of {known} entries under this name and key"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{KeyName, Kind, Signer};

    fn note() -> Note {
        let name = KeyName::new("log.example/datanet").unwrap();
        let text = format!("{name}\n5\n{}\n", Hash::ZERO.base64());
        Note::new(text.clone(), vec![Signer::from_seed(name, Kind::Log, &[1; 32]).unwrap().sign(&text, 0)]).unwrap()
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for (old, hashes) in [(0, 0), (3, 2), (u64::MAX, 63)] {
            let request = Request { old, proof: vec![Hash::ZERO; hashes], note: note() };
            assert_eq!(Request::parse(request.encode().as_bytes()), Ok(request));
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let good = Request { old: 3, proof: vec![Hash::ZERO; 2], note: note() }.encode();
        let long = Request { old: 3, proof: vec![Hash::ZERO; 64], note: note() }.encode();
        for wrong in [
            String::new(),
            "old 3\n".to_owned(),
            good.replace("old 3", "old 03"),
            good.replace("old 3", "old -3"),
            good.replace("old 3", "old 18446744073709551616"),
            good.replace("old 3", "new 3"),
            good.replace("old 3\n", ""),
            good.replacen("=\n", "\n", 1),
            good.replacen("\n\n", "\n", 1),
            good.trim_end().to_owned(),
            good.replace('\u{2014}', "-"),
            long,
        ] {
            assert!(Request::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(Request::parse(b"old 0\n\n\xff").is_err());
    }

    #[test]
    fn an_answer_means_what_its_status_says() {
        let line = note().signatures()[0].line();
        assert_eq!(answered(200, line.as_bytes()), Ok(Answered::Signed(note().signatures().to_vec())));
        assert_eq!(answered(409, b"17\n"), Ok(Answered::Known(17)));
        for (status, body, words) in [
            (200, &b"yes\n"[..], "no signatures"),
            (409, b"conflict", "which size"),
            (404, b"unknown \x07log\n", "HTTP 404: unknown log"),
            (500, b"\xff", "HTTP 500"),
        ] {
            assert!(answered(status, body).unwrap_err().contains(words), "{status}");
        }
    }

    #[test]
    fn an_answer_has_signature_lines_and_nothing_else() {
        let line = note().signatures()[0].line();
        assert_eq!(signatures(line.as_bytes()), Some(note().signatures().to_vec()));
        assert_eq!(signatures(line.repeat(16).as_bytes()).map(|all| all.len()), Some(16));
        for wrong in [String::new(), "\n".to_owned(), line.trim_end().to_owned(), format!("{line}x\n"), line.repeat(17)]
        {
            assert_eq!(signatures(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_witness_that_knows_another_size_is_asked_from_there() {
        assert_eq!([from_known(3, 0, 5), from_known(0, 3, 5), from_known(5, 0, 5)], [Ok(3), Ok(0), Ok(5)]);
        let why = |known, old| from_known(known, old, 5).unwrap_err();
        assert!(why(6, 0).contains("was it restored"));
        assert!(why(3, 3).contains("another log of 3 entries"));
        assert!(why(0, 0).contains("nothing under this name"), "there is no log of no entries to blame");
    }
}
