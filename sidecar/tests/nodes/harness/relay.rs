//! A TCP relay between two nodes that cuts or swallows what comes back when it is told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
};

/// Lets everything pass.
const OPEN: i64 = i64::MAX;

/// A relay. Tampers with the connections that are open when it is told to; later ones pass.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    open: Arc<Mutex<Vec<Arc<Answers>>>>,
}

/// What may still come back on one connection, and what happens then.
struct Answers {
    left: AtomicI64,
    end: Mutex<End>,
}

/// What happens to the byte after the last that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Reset,
    Swallow,
}

impl Relay {
    /// A relay to `to`.
    pub(crate) async fn to(to: SocketAddr) -> Self {
        Self::among(vec![to]).await
    }

    /// A relay to whichever of `all` is next and listens: one address for several, as a Service is.
    #[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
    pub(crate) async fn among(mut all: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open: Arc<Mutex<Vec<Arc<Answers>>>> = Arc::default();
        let carried = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Some(far) = next_of(&mut all).await else { continue };
                let answers = Arc::new(Answers { left: AtomicI64::new(OPEN), end: Mutex::new(End::Reset) });
                carried.lock().push(Arc::clone(&answers));
                tokio::spawn(carry(near, far, answers));
            }
        });
        Self { address, open }
    }

    /// Resets the open connections once `bytes` more have come back on each.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.end(bytes, End::Reset);
    }

    /// From now on nothing comes back on the open connections, and none is closed.
    pub(crate) fn swallow(&self) {
        self.end(0, End::Swallow);
    }

    fn end(&self, bytes: i64, end: End) {
        for answers in self.open.lock().drain(..) {
            *answers.end.lock() = end;
            answers.left.store(bytes, Ordering::SeqCst);
        }
    }
}

/// A connection to the next one that listens.
#[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
async fn next_of(all: &mut [SocketAddr]) -> Option<TcpStream> {
    for _ in 0..all.len() {
        all.rotate_left(1);
        if let Ok(far) = TcpStream::connect(all[0]).await {
            return Some(far);
        }
    }
    None
}

async fn carry(near: TcpStream, far: TcpStream, answers: Arc<Answers>) {
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
        // Whatever ends here ends with a reset.
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let asked = tokio::spawn(requests(near_read, far_write));
    back(far_read, near_write, &answers).await;
    asked.abort();
}

async fn requests(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

async fn back(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, answers: &Answers) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        let left = answers.left.load(Ordering::SeqCst);
        let passing = usize::try_from(left.max(0)).unwrap().min(read);
        if left != OPEN {
            answers.left.fetch_sub(i64::try_from(passing).unwrap(), Ordering::SeqCst);
        }
        if to.write_all(&bytes[..passing]).await.is_err() {
            return;
        }
        if passing < read && *answers.end.lock() == End::Reset {
            // What has passed is read before the reset discards it.
            tokio::time::sleep(Duration::from_millis(5)).await;
            return;
        }
    }
}
