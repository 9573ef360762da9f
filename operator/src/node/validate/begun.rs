//! How far the log of a directory has come, kept beside its keys: the checkpoint that the gateway reported. A gateway whose volume does
//! not hold that log does not begin another under the same key (`sidecar/src/start/directory/begun.rs`).
//!
//! A pod's report is no proof; the log's own signature is one, so nothing is kept that these keys did not sign. The form is that of
//! c2sp.org/tlog-checkpoint.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crds::{DIRECTORY_BEGUN, DIRECTORY_KEY, DirectoryStatus};
use ring::signature::Ed25519KeyPair;

use super::rooms::DirectoryKeys;
use crate::node::{ABANDON_LOG, Keys};

/// Each report would be a write of two Secrets; a log that has half of what is known of it is the same log, whatever it lost.
const GROWTH: u64 = 2;

/// What a kept or reported checkpoint says.
struct Begun {
    /// The log's name and the id of its key, as verifier keys begin.
    name: String,
    size: u64,
}

/// Brings what is kept up to what the gateway said, or forgets keys whose log is lost and `abandoned` by name: new ones are made then.
pub(super) fn follow(keys: &mut Keys, abandoned: &str, told: Option<&DirectoryStatus>) {
    let kept = keys.text(DIRECTORY_BEGUN).and_then(|note| Begun::read(note, keys));
    if kept.is_none() {
        // Somebody restored other keys beside it: it says nothing of theirs.
        keys.0.remove(DIRECTORY_BEGUN);
    }
    let Some(told) = told else { return };
    let lost = told.lost.as_deref().filter(|lost| kept.as_ref().is_some_and(|kept| kept.name == *lost));
    if lost == Some(abandoned) {
        tracing::warn!(target: "audit", log = abandoned, annotation = ABANDON_LOG, "the directory begins another log under new keys");
        keys.0.remove(DIRECTORY_KEY);
        keys.0.remove(DIRECTORY_BEGUN);
        return;
    }
    let Some(note) = &told.checkpoint else { return };
    let Some(fresh) = Begun::read(note, keys) else { return };
    if kept.is_none_or(|kept| fresh.size > kept.size && fresh.size / GROWTH >= kept.size) {
        keys.0.insert(DIRECTORY_BEGUN.to_owned(), note.clone().into_bytes());
    }
}

impl Begun {
    /// Reads a checkpoint that the log of `keys` signed; `None` where it is none.
    fn read(note: &str, keys: &Keys) -> Option<Self> {
        let kept: DirectoryKeys = serde_json::from_str(keys.text(DIRECTORY_KEY)?).ok()?;
        let seed = BASE64_STANDARD.decode(kept.log).ok()?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        let (lines, signatures) = note.split_once("\n\n")?;
        let mut head = lines.split('\n');
        let (origin, size) = (head.next()?, head.next()?.parse().ok()?);
        let text = format!("{lines}\n");
        // Ed25519 signs the same text the same way each time.
        let own = key.sign(text.as_bytes());
        let id = signatures.lines().find_map(|line| {
            let (name, signed) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            let signed = BASE64_STANDARD.decode(signed).ok()?;
            let (id, signature) = signed.split_first_chunk()?;
            (name == origin && signature == own.as_ref()).then_some(u32::from_be_bytes(*id))
        })?;
        Some(Self { name: format!("{origin}+{id:08x}"), size })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::sample::secret;

    /// The seed of all keys here.
    const SEED: [u8; 32] = [7; 32];

    fn keys() -> Keys {
        let seed = BASE64_STANDARD.encode(SEED);
        secret(&[(DIRECTORY_KEY, &json!({"origin": "LX1/datanet", "log": seed, "directory": seed}).to_string())])
    }

    fn note(size: u64, seed: [u8; 32]) -> String {
        let text = format!("LX1/datanet\n{size}\n{}\n", BASE64_STANDARD.encode([1; 32]));
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let signed = [&[0xab, 1, 2, 3][..], key.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n\u{2014} LX1/datanet {}\n", BASE64_STANDARD.encode(signed))
    }

    fn told(checkpoint: Option<String>, lost: Option<&str>) -> DirectoryStatus {
        DirectoryStatus { checkpoint, lost: lost.map(str::to_owned), ..DirectoryStatus::default() }
    }

    fn size(keys: &Keys) -> Option<u64> {
        Begun::read(keys.text(DIRECTORY_BEGUN)?, keys).map(|begun| begun.size)
    }

    #[test]
    fn what_is_known_of_a_log_grows_by_doubling_and_never_shrinks() {
        let mut kept = keys();
        for (reported, expected) in
            [(0, 0), (1, 1), (1, 1), (2, 2), (3, 2), (900, 900), (1799, 900), (5, 900), (1800, 1800)]
        {
            follow(&mut kept, "", Some(&told(Some(note(reported, SEED)), None)));
            assert_eq!(size(&kept), Some(expected), "after {reported}");
        }
        follow(&mut kept, "", None);
        follow(&mut kept, "", Some(&told(None, None)));
        assert_eq!(size(&kept), Some(1800), "who says nothing takes nothing back");
    }

    /// Signed by OpenSSL with the same seed.
    #[test]
    fn a_checkpoint_of_other_hands_is_read() {
        let note = "LX1/datanet\n7\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n\n\u{2014} witness.example AAAA\n\u{2014} LX1/datanet k56tZP4iY+UhfpKlA/Uv2eK1wWG0d8kYXkw7+GEEfZbzAhUB0theL65w+Q5WF36t9S791/FmBrzSH2BFBs8qe/Ac8Qk=\n";
        let read = Begun::read(note, &keys()).unwrap();
        assert_eq!((read.name.as_str(), read.size), ("LX1/datanet+939ead64", 7));
    }

    #[test]
    fn only_what_these_keys_signed_is_kept() {
        let mut kept = keys();
        let good = note(3, SEED);
        let signed = good.split_once("\n\n").unwrap().1;
        for bad in [
            note(3, [8; 32]),
            good.replace("\n3\n", "\n9007199254740991\n"),
            good.replace("LX1", "LX2"),
            format!("LX1/datanet\n3\n\n{signed}"),
            good.replace('\u{2014}', "-"),
            String::new(),
        ] {
            follow(&mut kept, "", Some(&told(Some(bad.clone()), None)));
            assert_eq!(kept, keys(), "{bad}");
        }
        kept.0.insert(DIRECTORY_BEGUN.into(), note(5, [8; 32]).into_bytes());
        follow(&mut kept, "", None);
        assert_eq!(kept, keys(), "keys that were restored are not held to the log of others");
    }

    #[test]
    fn keys_are_forgotten_where_their_log_is_lost_and_abandoned_by_name() {
        let name = "LX1/datanet+ab010203";
        let lost = told(None, Some(name));
        let mut begun = keys();
        follow(&mut begun, "", Some(&told(Some(note(5, SEED)), None)));
        for (abandoned, told) in [
            ("", Some(&lost)),
            ("LX1/datanet+ffffffff", Some(&lost)),
            ("true", Some(&lost)),
            (name, None),
            (name, Some(&told(Some(note(6, SEED)), None))),
            ("other", Some(&told(None, Some("other")))),
        ] {
            let mut kept = begun.clone();
            follow(&mut kept, abandoned, told);
            assert_eq!(kept, begun, "{abandoned}");
        }
        follow(&mut begun, name, Some(&lost));
        assert_eq!(begun, Keys::default());
        let mut fresh = keys();
        follow(&mut fresh, name, Some(&lost));
        assert_eq!(fresh, keys(), "the keys that were made then are not those of the log that was lost");
    }
}
