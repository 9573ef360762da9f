//! One open directory: its keys, its store, its writer, and who may read and write. What the front, the administrator and the clock
//! ask of it.

mod checking;
mod witnessing;

use std::{fs::File, io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use crate::{
    DirectoryError, Strictness,
    entry::{Leaf, PublicKey},
    error::{Code, STORE_FAILED, Why},
    health::Health,
    identity::Stated,
    keeper::{Done, Keeper, View},
    keys::Keys,
    ledger::{By, Ledger, Submission},
    log::{Checkpoint, NoSigner, Receipt, Verifier, prove},
    state::{Act, Guard, Policy},
    store::{Store, StoreError},
    tokens::{Token, Tokens},
    witness::{Cosigned, Member, Witness},
};

use checking::Checking;
pub use witnessing::{NotSigned, Signed};

/// Who may read records, entry tiles and bodies (contract 5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Holders of a token or certificate of a central system.
    #[default]
    Members,
    /// Everybody.
    Public,
}

/// What HTTP says of an answer that has a code (contract section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// What the code says.
    #[default]
    Mirror,
    /// Always 200.
    AlwaysOk,
}

/// Whether a search that finds nothing takes the only name at distance 1 (leniency 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// It does not.
    #[default]
    Exact,
    /// It does.
    Near,
}

/// How answers write the names of protocols (leniency 6). What is signed, and thereby `/watch`, log and proofs, has them as registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolNames {
    /// As they were registered.
    #[default]
    AsRegistered,
    /// In lower case.
    LowerCase,
}

/// What the configuration says of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether leniencies are accepted.
    pub strictness: Strictness,
    /// What HTTP says.
    pub status: Status,
    /// Who may read.
    pub reading: Reading,
    /// How far a search goes.
    pub search: Search,
    /// How answers write protocols.
    pub protocol_names: ProtocolNames,
    /// What the state machine allows.
    pub policy: Policy,
    /// The keys that may replace a lost one.
    pub recovery: Vec<PublicKey>,
    /// The logs that this directory is a witness of.
    pub witnessed: Vec<Verifier>,
    /// The witnesses of its own.
    pub witnesses: Option<Witnesses>,
}

/// The witnesses of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnesses {
    /// Who they are.
    pub members: Vec<Member>,
    /// How many of them are enough.
    pub quorum: usize,
    /// Milliseconds after which an entry is shown without them.
    pub delay: u64,
}

/// Where a directory is kept: files that whoever opened them made sure are nobody else's.
#[derive(Debug)]
pub struct Place {
    /// Log and state.
    pub store: File,
    /// The same for people.
    pub path: PathBuf,
    /// Who signs.
    pub keys: Keys,
}

/// Why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] NoSigner),
    /// The system.
    #[error("the directory's writer cannot be started: {0}")]
    System(#[from] io::Error),
}

/// An open directory.
pub struct Directory {
    keeper: Keeper,
    checking: Checking,
    store: Arc<Store>,
    /// What each request is judged by: it waits for nobody who changes them.
    tokens: ArcSwap<Tokens>,
    /// Whoever changes the tokens, until the change is on the disk.
    changing: Mutex<()>,
    rules: Rules,
    log_key: Verifier,
    custodian: PublicKey,
    witness: Witness,
    cosigned: Option<Mutex<Cosigned>>,
    health: Health,
    repeats: Mutex<witnessing::Repeats>,
    random: SystemRandom,
    closing: watch::Sender<bool>,
}

impl Directory {
    /// Opens what is kept, and compares log and state.
    ///
    /// # Errors
    /// The store is another's, another process has it, or it is damaged.
    pub fn open(place: Place, rules: Rules) -> Result<Self, OpenError> {
        let Place { store, path, keys } = place;
        let store = Arc::new(Store::open(store, path, keys.origin())?);
        let (state, peaks) = store.load(keys.origin())?;
        let (signer, custodian) = (keys.signer()?, keys.custodian()?);
        store.is_signed_by(signer.verifier())?;
        store.is_written_by(&custodian.public())?;
        let (log_key, public) = (signer.verifier().clone(), custodian.public());
        let ledger = Ledger::new(state, peaks, signer, custodian, rules.recovery.clone(), rules.policy);
        let witness = Witness::new(keys.witness(store.id()?.as_ref())?, rules.witnessed.clone());
        let cosigned = rules.witnesses.clone();
        let cosigned = cosigned.map(|all| Cosigned::new(all.members, all.quorum, all.delay));
        let cosigned = cosigned.map(|cosigned| resumed(cosigned, &store, &log_key)).transpose()?.map(Mutex::new);
        let tokens = ArcSwap::from_pointee(store.tokens()?);
        let keeper = Keeper::start(ledger, Arc::clone(&store))?;
        let checking = Checking::new(keeper.view().published().size);
        Ok(Self {
            keeper,
            checking,
            store,
            tokens,
            changing: Mutex::default(),
            rules,
            log_key,
            custodian: public,
            witness,
            cosigned,
            health: Health::default(),
            repeats: Mutex::default(),
            random: SystemRandom::new(),
            closing: watch::Sender::new(false),
        })
    }

    /// Ends what would go on for ever: those who watch let go of it.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Resolves when it is to be closed.
    pub async fn closing(&self) {
        // The sender is here for as long as anybody waits.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// What readers see.
    #[must_use]
    pub const fn view(&self) -> &Arc<View> {
        self.keeper.view()
    }

    /// Which central systems were not reached, where somebody looks.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Where log and bodies are.
    #[must_use]
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What the configuration says.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The key that signs checkpoints.
    #[must_use]
    pub const fn log_key(&self) -> &Verifier {
        &self.log_key
    }

    /// The key that signs entries for holders of tokens.
    #[must_use]
    pub const fn custodian(&self) -> &PublicKey {
        &self.custodian
    }

    /// What its node `node` says of its keys.
    #[must_use]
    pub fn keys(&self, node: &str) -> Stated {
        let (log, directory, witness) = (self.log_key.clone(), self.custodian, self.witness_key().clone());
        Stated { node: node.to_owned(), log, directory, witness }
    }

    /// Why the store is closed until the process starts anew, or what of it is damaged, as far as it was read since it was opened.
    /// Nothing is written from then on: what is restored from a backup would lack it.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.store.lost().or_else(|| self.checking.damage())
    }

    /// Begins to read all that was kept when it was opened, where that has not begun: whoever serves it says when, as a start is not to
    /// share the disk.
    ///
    /// # Errors
    /// There can be no thread; it may be tried again.
    pub fn check(&self) -> io::Result<()> {
        self.checking.begin(&self.store)
    }

    /// Whether all that was kept when it was opened was read since, and holds.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.checking.is_done()
    }

    /// Writes, and answers when it is kept. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// What the state refuses; 7314 where nothing can be kept.
    pub async fn submit(&self, write: Submission, now: u64) -> Result<Done, DirectoryError> {
        if self.damage().is_some() {
            return Err(DirectoryError::new(Code::Internal, Why::Internal, STORE_FAILED));
        }
        let (tell, told) = oneshot::channel();
        // Whoever asked may have gone; the write stands.
        self.keeper.submit(write, now, move |answer| drop(tell.send(answer)));
        told.await.unwrap_or_else(|_| {
            Err(DirectoryError::new(Code::Internal, Why::Busy, "the directory is closing: come again"))
        })
    }

    /// Withdraws the central systems whose leases have ended (D-1). How many.
    pub async fn end_leases(&self, now: u64) -> usize {
        let ended = self.view().read(|state| state.ended_leases(now));
        let mut withdrawn = 0;
        for csid in ended {
            let body = json!({ "csid": csid });
            let expire = Submission { csid, act: Act::Expire, guard: Guard::default(), body, by: By::Directory };
            // One that was renewed meanwhile is refused, and stays.
            withdrawn += usize::from(self.submit(expire, now).await.is_ok_and(|done| done.index.is_some()));
        }
        withdrawn
    }

    /// That an entry is in the log, as text that has the entry itself (contract 5.4). With the signatures of witnesses where the
    /// checkpoint that is shown at `now` has the entry.
    ///
    /// # Errors
    /// 7300 for an entry that is not there yet; 7314 when the log cannot be read.
    pub fn receipt(&self, index: u64, now: u64) -> Result<String, DirectoryError> {
        let latest = self.view().published();
        let shown = self.shown(now);
        let published = if shown.size > index { &shown } else { latest.as_ref() };
        if index >= published.size {
            return Err(DirectoryError::malformed(format!(
                "the log has {} entries, none is number {index}",
                latest.size
            )));
        }
        let extra = self.store.leaf(index).map_err(|error| DirectoryError::of_store(&error))?.unwrap_or_default();
        let proof = prove::inclusion(self.store.as_ref(), index, published.size)
            .map_err(|error| DirectoryError::of_store(&error))?;
        Ok(Receipt { extra, index, proof, checkpoint: published.note.clone() }.encode())
    }

    /// Whose a token is, folded.
    ///
    /// # Errors
    /// 7002 (401) for one that is none, or no longer.
    pub fn holder(&self, secret: &str, now: u64) -> Result<String, DirectoryError> {
        self.tokens.load().holder(secret, now).map(str::to_owned)
    }

    /// Makes a token for a central system, and gives its secret out once.
    ///
    /// # Errors
    /// 7310 for an id that cannot be; 7314 where it cannot be kept.
    pub fn issue(&self, csid: &str, until: Option<u64>, now: u64) -> Result<String, DirectoryError> {
        let _alone = self.changing.lock();
        let mut next = Tokens::clone(&self.tokens.load());
        let issued = next.issue(csid, until, now, &self.random)?;
        self.store.keep_tokens(&next, &[issued.hash]).map_err(unkept)?;
        self.tokens.store(Arc::new(next));
        Ok(issued.secret)
    }

    /// Revokes the tokens of a central system. How many there were.
    ///
    /// # Errors
    /// 7314 where that cannot be kept; then they hold.
    pub fn revoke(&self, csid: &str) -> Result<usize, DirectoryError> {
        let _alone = self.changing.lock();
        let mut next = Tokens::clone(&self.tokens.load());
        let gone = next.revoke(csid);
        self.store.keep_tokens(&next, &gone).map_err(unkept)?;
        self.tokens.store(Arc::new(next));
        Ok(gone.len())
    }

    /// The tokens, each with what people tell it apart by.
    #[must_use]
    pub fn tokens(&self) -> Vec<(String, Token)> {
        self.tokens.load().list().map(|(id, token)| (id, token.clone())).collect()
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The witnesses, as an earlier process left them: what they had signed is shown on, and not all at once what they never saw.
fn resumed(mut cosigned: Cosigned, store: &Store, log_key: &Verifier) -> Result<Cosigned, StoreError> {
    let Some((note, Checkpoint { size, .. })) = store.cosigned(log_key)? else { return Ok(cosigned) };
    let behind = store.leaf(size)?.and_then(|leaf| Leaf::read(&leaf).ok()).map(|leaf| leaf.entry.time);
    cosigned.resume(note, store.size()?, behind);
    Ok(cosigned)
}

/// For the administrator, who may know the reason.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unkept(error: StoreError) -> DirectoryError {
    DirectoryError::new(Code::Internal, Why::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, path::Path};

    use super::*;
    use crate::{
        log::{KeyName, Kind, Signer},
        state::Connect,
    };

    fn keys_of(name: &str) -> Keys {
        Keys::make(KeyName::new(name).unwrap(), &SystemRandom::new()).unwrap()
    }

    /// A witness, and the rules of a log that has it alone.
    fn witnessed() -> (Signer, Rules) {
        let witness = Signer::from_seed(KeyName::new("w.example").unwrap(), Kind::Witness, &[7; 32]).unwrap();
        let member = Member { verifier: witness.verifier().clone(), url: String::new() };
        let witnesses = Some(Witnesses { members: vec![member], quorum: 1, delay: 60_000 });
        (witness, Rules { witnesses, ..Rules::default() })
    }

    fn open_in(home: &Path, keys: &Keys, rules: &Rules) -> Result<Directory, OpenError> {
        let path = home.join("directory.redb");
        let store = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        Directory::open(Place { store, path, keys: keys.clone() }, rules.clone())
    }

    /// An uncosigned checkpoint was shown at once after `kill -9`, as nobody knew of the last one that was signed.
    #[tokio::test]
    async fn a_directory_that_is_opened_again_shows_what_its_witnesses_signed() {
        let home = tempfile::tempdir().unwrap();
        let keys = keys_of("log.example/datanet");
        let (witness, rules) = witnessed();
        let open = || open_in(home.path(), &keys, &rules).unwrap();
        let connect = async |directory: &Directory, endpoint: &str, now| {
            let act = Act::Connect(Connect { endpoint: endpoint.to_owned(), desc: None, ttl: None });
            let body = json!({"id": "yunqi", "endpoint": endpoint});
            let write = Submission { csid: "yunqi".to_owned(), act, guard: Guard::default(), body, by: By::Token };
            directory.submit(write, now).await.unwrap();
        };
        let first = open();
        connect(&first, "a:1", 1000).await;
        let published = first.view().published();
        first.cosigned().unwrap().lock().begin(&published, 1000);
        first.add_cosignature(0, 1, &witness.sign(published.note.text(), 1)).unwrap();
        connect(&first, "a:2", 2000).await;
        assert_eq!(first.shown(2000).size, 1);
        drop((published, first));
        let again = open();
        let shown = again.shown(62_000);
        assert_eq!((shown.size, shown.note.signatures().len()), (1, 2));
        assert_eq!(again.shown(62_001).size, 2, "what came at 2 s is hidden for no longer than before");
    }

    /// It was "damaged" for ever: witnesses were asked for the empty log too.
    #[test]
    fn a_log_that_nobody_knows_takes_another_name_whoever_signed_the_empty_one() {
        let home = tempfile::tempdir().unwrap();
        let (witness, rules) = witnessed();
        let first = open_in(home.path(), &keys_of("log.example/datanet"), &rules).unwrap();
        let published = first.view().published();
        first.cosigned().unwrap().lock().begin(&published, 1000);
        first.add_cosignature(0, 0, &witness.sign(published.note.text(), 1)).unwrap();
        assert_eq!(first.cosigned().unwrap().lock().covered(), Some(0));
        drop((published, first));
        let renamed = open_in(home.path(), &keys_of("other.example/datanet"), &rules).unwrap();
        assert_eq!(renamed.cosigned().unwrap().lock().covered(), None, "another's signature");
        assert_eq!(renamed.shown(2000).note.signatures().len(), 1);
    }

    /// A disk commit takes milliseconds, and each request asks whose its token is.
    #[test]
    fn whose_a_token_is_waits_for_nobody_who_changes_them() {
        let keys = keys_of("log.example/datanet");
        let place = Place { store: tempfile::tempfile().unwrap(), path: PathBuf::new(), keys };
        let directory = Directory::open(place, Rules::default()).unwrap();
        let token = directory.issue("yunqi", None, 0).unwrap();
        let changing = directory.changing.lock();
        assert_eq!(directory.holder(&token, 0), Ok("yunqi".to_owned()));
        assert_eq!(directory.tokens().len(), 1);
        drop(changing);
        assert_eq!(directory.revoke("yunqi"), Ok(1));
        assert!(directory.holder(&token, 0).is_err());
    }
}
