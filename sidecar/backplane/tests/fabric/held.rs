//! A link to a server on which single messages are held, by their subjects, while all others pass.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What of a message's subject has it held; empty: none is.
type Subject = watch::Receiver<&'static str>;

/// A port that leads to a server.
pub(crate) struct Held {
    port: u16,
    subject: watch::Sender<&'static str>,
    count: Arc<AtomicUsize>,
}

impl Held {
    pub(crate) async fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (subject, count) = (watch::Sender::new(""), Arc::new(AtomicUsize::new(0)));
        let (held, holds) = (subject.subscribe(), Arc::clone(&count));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let ((near, to_near), (far, to_far)) = (near.into_split(), far.into_split());
                for (from, to) in [(near, to_far), (far, to_near)] {
                    tokio::spawn(pass(from, to, held.clone(), Arc::clone(&holds)));
                }
            }
        });
        Ok(Self { port, subject, count })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Holds messages, in both directions, whose subject has this in it.
    pub(crate) fn hold(&self, subject: &'static str) {
        self.count.store(0, Ordering::SeqCst);
        self.subject.send_replace(subject);
    }

    /// Whether messages were held since.
    pub(crate) fn holds(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Lets all pass that was held, and all that comes.
    pub(crate) fn free(&self) {
        self.subject.send_replace("");
    }
}

/// Passes what one end says to the other. Whatever is wrong with either ends it.
async fn pass(from: OwnedReadHalf, to: OwnedWriteHalf, held: Subject, count: Arc<AtomicUsize>) -> Result<()> {
    let (mut from, to) = (BufReader::new(from), Arc::new(tokio::sync::Mutex::new(to)));
    let waiting = Arc::new(Mutex::new(Vec::<u8>::new()));
    let (mut freed, late, held_back) = (held.clone(), Arc::clone(&to), Arc::clone(&waiting));
    tokio::spawn(async move {
        while freed.changed().await.is_ok() {
            let is_free = freed.borrow_and_update().is_empty();
            let bytes = if is_free { std::mem::take(&mut *held_back.lock()) } else { Vec::new() };
            late.lock().await.write_all(&bytes).await?;
        }
        anyhow::Ok(())
    });
    loop {
        let (mut said, mut line) = (Vec::new(), String::new());
        if from.read_line(&mut line).await? == 0 {
            to.lock().await.shutdown().await?;
            return Ok(());
        }
        said.extend_from_slice(line.as_bytes());
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_message = words.first().is_some_and(|word| ["PUB", "HPUB", "MSG", "HMSG"].contains(word));
        if is_message {
            let length: usize = words.last().context("a message without a length")?.parse()?;
            let head = said.len();
            said.resize(head + length + 2, 0);
            from.read_exact(&mut said[head..]).await?;
        }
        let subject = *held.borrow();
        let is_held = is_message && !subject.is_empty() && words.get(1).is_some_and(|it| it.contains(subject));
        if is_held {
            waiting.lock().extend_from_slice(&said);
            count.fetch_add(1, Ordering::SeqCst);
        } else {
            to.lock().await.write_all(&said).await?;
        }
    }
}
