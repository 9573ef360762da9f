//! Receipts: that a leaf is in the log, in one text that is verified without a network (`c2sp.org/tlog-proof`).

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    checkpoint::{Checkpoint, CheckpointError},
    key::Verifier,
    note::{LONGEST, Note, NoteError, Signed},
    tree::leaf_hash,
    verify::{self, NotProven},
};
use crate::Hash;

/// The first line.
const FORMAT: &str = "c2sp.org/tlog-proof@v1";

/// Hashes of the longest inclusion proof: a log of 2^64 leaves has no more.
const MOST_HASHES: usize = 64;

/// That a leaf is in the log, as it came; nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What its issuer put in beside: nothing, or the leaf itself, so that the text says all.
    pub extra: Vec<u8>,
    /// Which leaf it is.
    pub index: u64,
    /// The siblings on its way to the root.
    pub proof: Vec<Hash>,
    /// The signed checkpoint with its cosignatures.
    pub checkpoint: Note,
}

/// Why a receipt says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not of the form.
    #[error("no receipt: {0}")]
    Malformed(&'static str),
    /// Its checkpoint does not hold.
    #[error("the receipt's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Its proof does not hold.
    #[error("the receipt's proof: {0}")]
    Proof(#[from] NotProven),
}

impl Receipt {
    /// The receipt as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let hashes: String = self.proof.iter().map(|hash| hash.base64() + "\n").collect();
        let extra = match self.extra.as_slice() {
            [] => String::new(),
            extra => format!("extra {}\n", BASE64_STANDARD.encode(extra)),
        };
        format!("{FORMAT}\n{extra}index {}\n{hashes}\n{}", self.index, self.checkpoint.encode())
    }

    /// Reads a receipt. What the `extra` line has is its issuer's.
    ///
    /// # Errors
    /// When it is not of the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let malformed = ReceiptError::Malformed;
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
        if text.len() > 2 * LONGEST {
            return Err(malformed("it is too long"));
        }
        let text = text.strip_prefix(FORMAT).and_then(|rest| rest.strip_prefix('\n'));
        let text = text.ok_or(malformed("its first line is not c2sp.org/tlog-proof@v1"))?;
        let (head, note) = text.split_once("\n\n").ok_or(malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        let extra = lines.next_if(|line| line.starts_with("extra ")).and_then(|line| line.strip_prefix("extra "));
        let extra = extra.map(|extra| BASE64_STANDARD.decode(extra)).transpose();
        let extra = extra.map_err(|_| malformed("its extra line is not base64"))?.unwrap_or_default();
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(malformed("it has no index"))?;
        let proof: Option<Vec<Hash>> = lines.map(Hash::from_base64).collect();
        let proof = proof.filter(|hashes| hashes.len() <= MOST_HASHES).ok_or(malformed("a line is no hash"))?;
        let checkpoint = Note::parse(note.as_bytes()).map_err(|error: NoteError| CheckpointError::Note(error))?;
        Ok(Self { extra, index, proof, checkpoint })
    }

    /// That `leaf` is in the log that `log` signs for: the checkpoint that says so, and who of `witnesses` cosigned it.
    ///
    /// # Errors
    /// When checkpoint or proof do not hold.
    pub fn verify<'a>(
        &self,
        leaf: &[u8],
        log: &Verifier,
        witnesses: &'a [Verifier],
    ) -> Result<(Checkpoint, Vec<Signed<'a>>), ReceiptError> {
        let (checkpoint, signed) = Checkpoint::open(&self.checkpoint, log, witnesses)?;
        verify::inclusion(leaf_hash(leaf), self.index, checkpoint.size, &self.proof, checkpoint.root)?;
        Ok((checkpoint, signed))
    }
}

/// A number in its one spelling.
fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            key::{KeyName, Kind, Signer},
            prove,
            tree::{Tree, tests::tree},
        },
        *,
    };

    fn log() -> Signer {
        Signer::from_seed(KeyName::new("log.example/datanet").unwrap(), Kind::Log, &[1; 32]).unwrap()
    }

    fn receipt(tree: &Tree, index: u64) -> Receipt {
        let origin = log().verifier().name().clone();
        let text = Checkpoint { origin, size: tree.size(), root: tree.root() }.text();
        let checkpoint = Note::new(text.clone(), vec![log().sign(&text, 0)]).unwrap();
        Receipt { extra: Vec::new(), index, proof: prove::inclusion(tree, index, tree.size()).unwrap(), checkpoint }
    }

    #[test]
    fn a_receipt_is_verified_by_its_text_alone() {
        let receipt = receipt(&tree(300), 280);
        let text = receipt.encode();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 280\n"));
        let read = Receipt::parse(text.as_bytes()).unwrap();
        assert_eq!(read, receipt);
        let verified = read.verify(&280u64.to_be_bytes(), log().verifier(), &[]);
        assert_eq!(verified.map(|(checkpoint, _)| checkpoint.size), Ok(300));
        // With what another application keeps there.
        let extra = text.replace("index", "extra AAAA\nindex");
        assert_eq!(Receipt::parse(extra.as_bytes()), Ok(Receipt { extra: vec![0; 3], ..read }));
    }

    #[test]
    fn no_changed_byte_of_a_receipt_holds() {
        let text = receipt(&tree(11), 4).encode();
        let leaf = 4u64.to_be_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let verdict =
                    Receipt::parse(&bytes).and_then(|read| read.verify(&leaf, log().verifier(), &[]).map(|_| ()));
                assert!(verdict.is_err(), "byte {at}, bit {bit}");
            }
        }
        let read = Receipt::parse(text.as_bytes()).unwrap();
        assert!(matches!(read.verify(b"other", log().verifier(), &[]), Err(ReceiptError::Proof(_))));
    }

    #[test]
    fn what_is_no_receipt_is_refused() {
        let text = receipt(&tree(11), 4).encode();
        for wrong in [
            String::new(),
            FORMAT.to_owned(),
            text.replace("@v1", "@v2"),
            text.replace("index 4", "index 04"),
            text.replace("index 4", "index -4"),
            text.replace("index 4\n", ""),
            text.replace("index 4", "extra !\nindex 4"),
            text.replace("index 4", "extra AAAA\nextra AAAA\nindex 4"),
            text.replace("\n\n", "\n"),
            text.replacen("index 4\n", &format!("index 4\n{}", (Hash::ZERO.base64() + "\n").repeat(65)), 1),
            text.clone() + &"a".repeat(2 * LONGEST),
        ] {
            assert!(Receipt::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
