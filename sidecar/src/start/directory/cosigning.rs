//! Has this node's log signed by its witnesses (Datanet section 6): each new checkpoint is sent to all of them, in rounds.
//!
//! One task decides what is asked for, and each witness has one that asks. What their answers mean is `mesh_directory::witness`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Uri,
    header::{CONTENT_TYPE, HeaderMap},
};
use http_body_util::Full;
use mesh_directory::{
    directory::Directory,
    keeper::Published,
    log::{Signature, prove},
    witness::{Answered, Member, PATH, Request as Ask, answered, from_known},
};
use mesh_grid::auth::{Outward, url};
use tokio::sync::{Notify, watch};

use super::now;

/// The least time from one round to the next: a witness writes to its disk for each, and clients keep a checkpoint for as long.
const PACE: Duration = Duration::from_secs(1);

/// How long a round waits for signatures before a newer checkpoint is asked for. Those that come later still count.
const ROUND: Duration = Duration::from_secs(5);

/// A witness answers at once, but for its disk and the way.
const ANSWER: Duration = Duration::from_secs(10);

/// After a failure a witness is asked again, each time later.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(60);

/// Bytes of an answer: some lines.
const LONGEST: usize = 16 << 10;

/// How often one question is put anew because the witness knows another size: once, and once more where it signed meanwhile.
const TRIES: usize = 3;

/// What is asked for now.
type Target = watch::Receiver<Option<Arc<Published>>>;

/// Asks until the directory closes.
pub(super) async fn run(directory: Arc<Directory>, outward: Outward) {
    let closing = Arc::clone(&directory);
    tokio::select! {
        () = closing.closing() => {}
        () = rounds(&directory, &outward) => {}
    }
}

async fn rounds(directory: &Arc<Directory>, outward: &Outward) {
    let Some(cosigned) = directory.cosigned() else { return };
    let members: Vec<Member> = cosigned.lock().members().map(|(member, _)| member.clone()).collect();
    let (target, signed) = (watch::Sender::new(None), Arc::new(Notify::new()));
    // They end with this.
    let mut askers = tokio::task::JoinSet::new();
    for (place, member) in members.into_iter().enumerate() {
        let (directory, outward) = (Arc::clone(directory), outward.clone());
        let asker = Asker { directory, outward, place, member, old: 0, signed: Arc::clone(&signed) };
        askers.spawn(asker.run(target.subscribe()));
    }
    let mut changes = directory.view().changes();
    // The empty log says nothing, and may still have another name.
    if changes.wait_for(|size| *size > 0).await.is_err() {
        return;
    }
    loop {
        let published = directory.view().published();
        cosigned.lock().begin(&published, now());
        target.send_replace(Some(Arc::clone(&published)));
        let covered = async {
            loop {
                let next = signed.notified();
                if cosigned.lock().is_covered() {
                    break;
                }
                next.await;
            }
        };
        // The others may still answer.
        drop(tokio::time::timeout(ROUND, covered).await);
        tokio::time::sleep(PACE).await;
        if changes.wait_for(|size| *size > published.size).await.is_err() {
            return;
        }
    }
}

/// Asks one witness.
struct Asker {
    directory: Arc<Directory>,
    outward: Outward,
    place: usize,
    member: Member,
    /// The size that it signed last, as far as it is known.
    old: u64,
    signed: Arc<Notify>,
}

impl Asker {
    async fn run(mut self, mut target: Target) {
        let (mut pause, mut said) = (SOON, String::new());
        loop {
            let Ok(wanted) = target.wait_for(Option::is_some).await.map(|wanted| wanted.clone()) else { return };
            let Some(wanted) = wanted else { return };
            target.mark_unchanged();
            match self.ask(&wanted).await {
                Ok(()) => {
                    (pause, said) = (SOON, String::new());
                    self.signed.notify_one();
                    if target.changed().await.is_err() {
                        return;
                    }
                }
                Err(problem) => {
                    if problem != said {
                        let witness = self.member.verifier.name();
                        tracing::warn!(%witness, size = wanted.size, "a witness does not sign: {problem}");
                    }
                    self.failed(problem.clone());
                    said = problem;
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LATE);
                }
            }
        }
    }

    fn failed(&self, problem: String) {
        if let Some(cosigned) = self.directory.cosigned() {
            cosigned.lock().failed(self.place, problem);
        }
    }

    /// Has the witness sign `wanted`.
    async fn ask(&mut self, wanted: &Published) -> Result<(), String> {
        for _ in 0..TRIES {
            match self.send(wanted).await? {
                Answered::Signed(signatures) => {
                    self.old = wanted.size;
                    let key = &self.member.verifier;
                    let own = |one: &&Signature| one.name == *key.name() && one.id == key.id();
                    let signature = signatures.iter().find(own);
                    let signature =
                        signature.cloned().ok_or_else(|| format!("it signed with another key than {key}"))?;
                    let (directory, place, size) = (Arc::clone(&self.directory), self.place, wanted.size);
                    let add = move || directory.add_cosignature(place, size, &signature);
                    return tokio::task::spawn_blocking(add).await.map_err(|e| e.to_string())?;
                }
                Answered::Known(size) => self.old = from_known(size, self.old, wanted.size)?,
            }
        }
        Err("it is at another size each time".to_owned())
    }

    async fn send(&self, wanted: &Published) -> Result<Answered, String> {
        let (directory, old, size) = (Arc::clone(&self.directory), self.old.min(wanted.size), wanted.size);
        let proof = tokio::task::spawn_blocking(move || prove::consistency(directory.store().as_ref(), old, size));
        let proof = proof.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let body = Ask { old, proof, note: wanted.note.clone() }.encode();
        let request = request(&self.member.url, body)?;
        let answer = self.outward.ask(request, ANSWER, LONGEST).await?;
        answered(answer.status.as_u16(), &answer.body)
    }
}

fn request(prefix: &str, body: String) -> Result<Request<Full<Bytes>>, String> {
    let at: Uri = url(&format!("{}{PATH}", prefix.trim_end_matches('/'))).map_err(|e| e.to_string())?;
    let mut request = Request::new(Full::new(Bytes::from(body)));
    (*request.method_mut(), *request.uri_mut()) = (Method::POST, at);
    let headers: &mut HeaderMap = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(request)
}
