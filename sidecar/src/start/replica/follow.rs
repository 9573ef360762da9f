//! Follows the directory of this sidecar's gateway: its keys once, its checkpoint again and again, and the entries up to it in pieces,
//! each of them verified before anybody sees it.
//!
//! Nothing that comes is believed here or kept for long; what cannot be read is an answer that did not come, and is asked for again.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mesh_core::{Body, CallContext};
use mesh_directory::{
    Hash,
    entry::Leaf,
    front::PREFIX,
    log::{Note, Tile, bundle, tile::WIDTH},
    proofs, publish, read_json,
    replica::Fetched,
};
use mesh_network::WaitUntil;
use mesh_registry::Proxy;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::Kept;

/// The directory lets a checkpoint be two seconds old.
const PACE: Duration = Duration::from_secs(2);

/// After a failure it is asked again, each time later.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(30);

/// A body of some megabytes over a slow disk and a busy gateway.
const ANSWER: Duration = Duration::from_secs(30);

/// Bytes of the keys with a chain of certificates, of a checkpoint with its signatures, and of a proof.
const SHORT: u64 = 256 << 10;

/// A piece ends with so many entries, or where it has more bytes: whoever looks something up waits while it is taken in.
const ENTRIES: usize = 64;
const BYTES: usize = 1 << 20;

/// A body may have an eighth of what all records may take: read, it takes some five times its length, and no more than
/// the replica has room for, whatever stands in it.
const BODY: u64 = 8;

/// Where the directory is asked.
pub(super) struct Source {
    proxy: Arc<Proxy>,
}

/// Why an answer was not read.
enum Unread {
    /// It is longer than it may be.
    TooLong,
    /// It did not come, or is none.
    Away(String),
}

/// Why a round was not done.
pub(super) enum Failed {
    /// For now.
    Away(String),
    /// For ever: the copy has said why.
    Ended,
}

impl From<String> for Failed {
    fn from(problem: String) -> Self {
        Self::Away(problem)
    }
}

fn away(path: &str, problem: &dyn fmt::Display) -> String {
    format!("{PREFIX}{path}: {problem}")
}

/// Entries of one bundle that are next.
struct Piece(Vec<(Vec<u8>, Bytes)>);

/// Follows until the copy has ended.
pub(super) async fn run(kept: Arc<Kept>, source: Source) {
    let mut pause = SOON;
    loop {
        let wait = match round(&kept, &source).await {
            Ok(()) => {
                pause = SOON;
                PACE
            }
            Err(Failed::Away(problem)) => {
                kept.failed(problem);
                let wait = pause;
                pause = pause.saturating_mul(2).min(LATE);
                wait
            }
            Err(Failed::Ended) => return,
        };
        tokio::time::sleep(jittered(wait)).await;
    }
}

/// A quarter more or less: the sidecars of a node do not ask in step.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness it is asked in step.
    let _ = SystemRandom::new().fill(&mut byte);
    wait.mul_f64(0.75 + f64::from(byte[0]) / 512.0)
}

/// Comes up to the checkpoint that the directory shows now.
async fn round(kept: &Arc<Kept>, source: &Source) -> Result<(), Failed> {
    if !kept.has_begun() {
        kept.begin(&source.get("", SHORT).await?)?;
    }
    let asked = Instant::now();
    let note = Note::parse(&source.get("/log/checkpoint", SHORT).await?).map_err(|e| format!("the checkpoint: {e}"))?;
    let (next, first) = kept.change(|replica| {
        let next = replica.read(&note)?;
        let first = replica.proven_from(&next);
        Ok((next, first))
    })?;
    let size = next.size;
    if let Some(first) = first {
        let proof = source.consistency(first, size).await?;
        kept.change(|replica| replica.follow(next, &proof))?;
        let kept = Arc::clone(kept);
        let remembered = tokio::task::spawn_blocking(move || kept.remembered.keep(&note));
        remembered.await.map_err(|e| e.to_string())?;
    }
    loop {
        let (here, last) = kept.change(|replica| Ok(replica.progress()))?;
        let is_full = kept.is_full();
        if here < last && !is_full {
            match take(kept, source, here, last).await {
                // What is not shown is not there to be taken either.
                Err(Failed::Away(_)) if size < last => return Err(shows_less(size, last)),
                taken => taken?,
            }
            continue;
        }
        // It may have been restored from an older copy: what is written there now is not here.
        if size < last {
            return Err(shows_less(size, last));
        }
        if is_full {
            kept.is_behind();
        } else {
            kept.is_whole(asked);
        }
        return Ok(());
    }
}

fn shows_less(size: u64, last: u64) -> Failed {
    Failed::Away(format!("it shows {size} entries, and had {last}"))
}

/// Takes the entries from `here` on that are in one bundle, some after the others.
async fn take(kept: &Arc<Kept>, source: &Source, here: u64, last: u64) -> Result<(), Failed> {
    let path = Tile::of_entry(here, last).to_string();
    let bytes = source.get(&format!("/log/{path}"), publish::LARGEST).await?;
    let leaves = bundle::leaves(&bytes).ok_or_else(|| format!("{path} is no bundle of entries"))?;
    let mut rest = leaves.get(usize::try_from(here % WIDTH).unwrap_or_default()..).unwrap_or_default();
    if rest.is_empty() {
        return Err(format!("{path} has {} entries", leaves.len()).into());
    }
    let mut next = here;
    while !rest.is_empty() && !kept.is_full() {
        let most = kept.wanted.memory / BODY;
        let piece = source.piece(rest, most).await?;
        if let (true, Some(leaf)) = (piece.0.is_empty(), rest.first()) {
            return too_long(kept, source, leaf, (next, last), most).await;
        }
        rest = rest.get(piece.0.len()..).unwrap_or_default();
        next = next.saturating_add(piece.0.len() as u64);
        let proof = source.consistency(next, last).await?;
        let kept = Arc::clone(kept);
        let taken = tokio::task::spawn_blocking(move || {
            let entries: Vec<Fetched<'_>> = piece.0.iter().map(|(leaf, body)| Fetched { leaf, body }).collect();
            kept.change(|replica| replica.take(&entries, &proof))
        });
        taken.await.map_err(|e| e.to_string())??;
    }
    Ok(())
}

/// The next entry's body has more than `most` bytes, as somebody says. Where that is so the copy goes no further.
async fn too_long(
    kept: &Kept,
    source: &Source,
    leaf: &[u8],
    (here, last): (u64, u64),
    most: u64,
) -> Result<(), Failed> {
    let path = body_of(&Leaf::read(leaf).map_err(|e| e.to_string())?);
    let proof = source.consistency(here.saturating_add(1), last).await?;
    let body = source.hash(&path).await?;
    kept.change(|replica| replica.is_too_long(leaf, body, most, &proof))?;
    if kept.is_full() {
        Ok(())
    } else {
        Err(format!("{path} is not what was signed, and longer than {most} bytes").into())
    }
}

fn body_of(leaf: &Leaf) -> String {
    format!("/log/body/{}", leaf.entry.body)
}

impl Source {
    pub(super) const fn new(proxy: Arc<Proxy>) -> Self {
        Self { proxy }
    }

    /// What is at a path of the directory.
    async fn get(&self, path: &str, most: u64) -> Result<Bytes, String> {
        self.read(path, most).await.map_err(|unread| match unread {
            Unread::TooLong => format!("{path} is longer than {most} bytes"),
            Unread::Away(problem) => problem,
        })
    }

    async fn read(&self, path: &str, most: u64) -> Result<Bytes, Unread> {
        let late = || Unread::Away(format!("{path} did not come within {} s", ANSWER.as_secs()));
        tokio::time::timeout(ANSWER, self.answer(path, most)).await.map_err(|_| late())?
    }

    async fn answer(&self, path: &str, most: u64) -> Result<Bytes, Unread> {
        let answer = self.opened(path).await.map_err(Unread::Away)?;
        let body = Limited::new(answer, usize::try_from(most).unwrap_or(usize::MAX)).collect().await;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Unread::TooLong),
            Err(error) => Err(Unread::Away(away(path, &error))),
        }
    }

    /// What begins to come from a path.
    async fn opened(&self, path: &str) -> Result<Body, String> {
        let mut request = Request::get(format!("{PREFIX}{path}")).body(Body::Empty).map_err(|e| away(path, &e))?;
        // A gateway that is away is asked again, and not waited for.
        request.extensions_mut().insert(WaitUntil(tokio::time::Instant::now()));
        let answer = self.proxy.pass(request, &CallContext::default()).await.map_err(|e| away(path, &e))?;
        if answer.status() != StatusCode::OK {
            return Err(away(path, &format_args!("it answers {}", answer.status())));
        }
        Ok(answer.into_body())
    }

    /// The hash of what is at a path, however long it is: nothing of it is kept.
    async fn hash(&self, path: &str) -> Result<Hash, String> {
        let hashed = async {
            let (mut body, mut hasher) = (self.opened(path).await?, Hash::hasher());
            while let Some(frame) = body.frame().await {
                frame.map_err(|e| away(path, &e))?.data_ref().into_iter().for_each(|piece| hasher.update(piece));
            }
            Ok(hasher.finish())
        };
        let late = || away(path, &format_args!("it does not end within {} s", ANSWER.as_secs()));
        tokio::time::timeout(ANSWER, hashed).await.map_err(|_| late())?
    }

    /// The proof that the log of `second` entries continues that of `first`; none where nothing is to be proven.
    async fn consistency(&self, first: u64, second: u64) -> Result<Vec<Hash>, String> {
        if first == 0 || first >= second {
            return Ok(Vec::new());
        }
        let path = format!("/proof/consistency?first={first}&second={second}");
        let answer = read_json(&self.get(&path, SHORT).await?).map_err(|e| format!("{path}: {e}"))?;
        proofs::read(&answer).ok_or_else(|| format!("{path} has no list of hashes"))
    }

    /// The first of these entries with their bodies, of which one may have `most` bytes. None: the first has more.
    async fn piece(&self, leaves: &[&[u8]], most: u64) -> Result<Piece, String> {
        let (mut piece, mut bytes) = (Vec::new(), 0_usize);
        for leaf in leaves.iter().take(ENTRIES) {
            let body = match Leaf::read(leaf) {
                Ok(read) => match self.read(&body_of(&read), most).await {
                    Ok(body) => body,
                    Err(Unread::TooLong) => break,
                    Err(Unread::Away(problem)) => return Err(problem),
                },
                // The copy says what is wrong with it.
                Err(_) => Bytes::new(),
            };
            bytes = bytes.saturating_add(leaf.len()).saturating_add(body.len());
            piece.push((leaf.to_vec(), body));
            if bytes > BYTES {
                break;
            }
        }
        Ok(Piece(piece))
    }
}
