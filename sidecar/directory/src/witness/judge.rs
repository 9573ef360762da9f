//! A plain witness: it signs a log's checkpoint where that continues the one that it signed last, and no other.

use super::Request;
use crate::{
    Hash,
    log::{Checkpoint, KeyName, NotProven, Signature, Signer, Verifier, verify},
};

/// The last checkpoint of a log that the witness signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How many leaves it is over.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Default for Seen {
    /// Of a log that it never signed: the empty one.
    fn default() -> Self {
        Self { size: 0, root: Hash::of(&[]) }
    }
}

/// Why a witness does not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404
    #[error("this witness does not know the log {0}")]
    UnknownLog(KeyName),
    /// 403
    #[error("the checkpoint is not signed by the key that this witness knows the log by")]
    Unsigned,
    /// 400
    #[error("{0}")]
    Malformed(&'static str),
    /// 409: a proof is needed from another size on.
    #[error("the witness signed {0} leaves last")]
    OtherSize(u64),
    /// 409: two logs of one name.
    #[error("the witness signed another root for {0} leaves: the log has two histories")]
    Fork(u64),
    /// 422
    #[error("the checkpoint does not continue the one that was signed last: {0}")]
    NotProven(#[from] NotProven),
}

impl Refusal {
    /// What HTTP says of it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Unsigned => 403,
            Self::UnknownLog(_) => 404,
            Self::OtherSize(_) | Self::Fork(_) => 409,
            Self::NotProven(_) => 422,
        }
    }

    /// The size that the witness knows, where that is what the log has to know.
    #[must_use]
    pub const fn known(&self) -> Option<u64> {
        match self {
            Self::OtherSize(size) | Self::Fork(size) => Some(*size),
            _ => None,
        }
    }
}

/// A witness: its key, and the logs that it signs for.
#[derive(Debug)]
pub struct Witness {
    signer: Signer,
    logs: Vec<Verifier>,
}

impl Witness {
    /// A witness of `logs`.
    #[must_use]
    pub const fn new(signer: Signer, logs: Vec<Verifier>) -> Self {
        Self { signer, logs }
    }

    /// Its key.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        self.signer.verifier()
    }

    /// The checkpoint of a request, which its log has signed.
    ///
    /// # Errors
    /// When the log is unknown or did not sign it, or it is none.
    pub fn open(&self, request: &Request) -> Result<Checkpoint, Refusal> {
        let checkpoint =
            Checkpoint::head(request.note.text()).ok_or(Refusal::Malformed("the note is no checkpoint"))?;
        // A log may be known by several keys.
        let keys: Vec<Verifier> = self.logs.iter().filter(|log| *log.name() == checkpoint.origin).cloned().collect();
        if keys.is_empty() {
            return Err(Refusal::UnknownLog(checkpoint.origin));
        }
        request.note.open(&keys).map_err(|_| Refusal::Unsigned)?;
        Ok(checkpoint)
    }

    /// Whether the checkpoint of a request follows what was signed last: what is to be kept before anything is signed.
    ///
    /// # Errors
    /// When it does not, or the request does not begin where the witness is.
    pub fn judge(request: &Request, checkpoint: &Checkpoint, seen: Seen) -> Result<Seen, Refusal> {
        let (size, root) = (checkpoint.size, checkpoint.root);
        if request.old > size {
            return Err(Refusal::Malformed("the old size is above the checkpoint's"));
        }
        if request.old != seen.size {
            return Err(Refusal::OtherSize(seen.size));
        }
        if size == seen.size && root != seen.root {
            return Err(Refusal::Fork(seen.size));
        }
        verify::consistency(seen.size, seen.root, size, root, &request.proof)?;
        Ok(Seen { size, root })
    }

    /// Signs what was judged and kept. `time` in seconds since 1970.
    #[must_use]
    pub fn sign(&self, request: &Request, time: u64) -> Signature {
        self.signer.sign(request.note.text(), time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Kind, Note, Tree, leaf_hash, prove};

    const LOG: &str = "log.example/datanet";

    fn signer(name: &str, kind: Kind, n: u8) -> Signer {
        Signer::from_seed(KeyName::new(name).unwrap(), kind, &[n; 32]).unwrap()
    }

    fn witness() -> Witness {
        Witness::new(signer("witness.example/w", Kind::Witness, 9), vec![signer(LOG, Kind::Log, 1).verifier().clone()])
    }

    fn tree(leaves: impl IntoIterator<Item = u8>) -> Tree {
        let mut tree = Tree::default();
        leaves.into_iter().for_each(|n| tree.append(leaf_hash(&[n])));
        tree
    }

    fn note(tree: &Tree, by: &Signer, more: &str) -> Note {
        let head = Checkpoint { origin: KeyName::new(LOG).unwrap(), size: tree.size(), root: tree.root() };
        let text = head.text() + more;
        Note::new(text.clone(), vec![by.sign(&text, 0)]).unwrap()
    }

    fn request(tree: &Tree, old: u64) -> Request {
        let proof = prove::consistency(tree, old.min(tree.size()), tree.size()).unwrap();
        Request { old, proof, note: note(tree, &signer(LOG, Kind::Log, 1), "") }
    }

    fn judged(request: &Request, seen: Seen) -> Result<Seen, Refusal> {
        Witness::judge(request, &witness().open(request)?, seen)
    }

    #[test]
    fn a_log_that_grows_is_signed_from_each_size_to_each() {
        for second in 0..=40u8 {
            let later = tree(0..second);
            for first in 0..=second {
                let earlier = tree(0..first);
                let seen = Seen { size: u64::from(first), root: earlier.root() };
                let now = Seen { size: u64::from(second), root: later.root() };
                assert_eq!(judged(&request(&later, u64::from(first)), seen), Ok(now), "{first} to {second}");
            }
        }
        let (witness, request) = (witness(), request(&tree(0..3), 0));
        let signature = witness.sign(&request, 77);
        assert!(
            witness.verifier().verify(request.note.text(), &signature.bytes).is_some_and(|time| time.0 == Some(77))
        );
    }

    /// What `c2sp.org/tlog-witness` wants to be refused, with its status.
    #[test]
    fn what_is_no_continuation_is_refused_with_its_status() {
        let (five, nine, forked) = (tree(0..5), tree(0..9), tree([9, 1, 2, 3, 4, 5, 6, 7, 8]));
        let seen = Seen { size: 5, root: five.root() };
        let stranger = signer(LOG, Kind::Log, 2);
        let by_stranger = Request { note: note(&nine, &stranger, ""), ..request(&nine, 5) };
        let mut flipped = request(&nine, 5);
        flipped.proof[0] = Hash::ZERO;
        let mut longer = request(&nine, 5);
        longer.proof.push(Hash::ZERO);
        let same = tree([9, 1, 2, 3, 4]);
        let unproven = Request { proof: Vec::new(), ..request(&nine, 5) };
        for (what, request, seen, status, known) in [
            ("another key", by_stranger, seen, 403, None),
            ("an old size above", request(&five, 6), seen, 400, None),
            ("an old size too low", request(&nine, 3), seen, 409, Some(5)),
            ("an old size too high", request(&nine, 7), seen, 409, Some(5)),
            ("the same size with another root", request(&same, 5), seen, 409, Some(5)),
            ("another history", request(&forked, 5), seen, 422, None),
            ("another hash", flipped, seen, 422, None),
            ("a hash too many", longer, seen, 422, None),
            ("no proof", unproven, seen, 422, None),
            ("a log that shrinks", request(&five, 5), Seen { size: 9, root: nine.root() }, 409, Some(9)),
        ] {
            let refused = judged(&request, seen).unwrap_err();
            assert_eq!((refused.status(), refused.known()), (status, known), "{what}: {refused}");
        }
        let nobody = Witness::new(signer("w", Kind::Witness, 9), Vec::new());
        assert_eq!(nobody.open(&request(&five, 0)).unwrap_err().status(), 404);
        let text = "hello\n".to_owned();
        let hello = Note::new(text.clone(), vec![signer(LOG, Kind::Log, 1).sign(&text, 0)]).unwrap();
        let hello = Request { old: 0, proof: Vec::new(), note: hello };
        assert_eq!(witness().open(&hello).unwrap_err().status(), 400);
    }

    #[test]
    fn a_log_of_two_keys_is_known_by_each() {
        let keys = [1, 2].map(|n| signer(LOG, Kind::Log, n).verifier().clone());
        let witness = Witness::new(signer("witness.example/w", Kind::Witness, 9), keys.to_vec());
        let five = tree(0..5);
        let by = |n| Request { note: note(&five, &signer(LOG, Kind::Log, n), ""), ..request(&five, 0) };
        assert_eq!([1, 2, 3].map(|n| witness.open(&by(n)).is_ok()), [true, true, false]);
    }

    /// Other logs may say more in their checkpoints; all of it is signed.
    #[test]
    fn a_checkpoint_with_more_lines_is_signed_as_a_whole() {
        let five = tree(0..5);
        let request = Request { note: note(&five, &signer(LOG, Kind::Log, 1), "more\n"), ..request(&five, 0) };
        assert!(judged(&request, Seen::default()).is_ok());
        assert!(witness().verifier().verify(request.note.text(), &witness().sign(&request, 1).bytes).is_some());
    }
}
