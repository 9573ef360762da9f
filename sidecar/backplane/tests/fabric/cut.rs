//! A link to a server that can be cut, and mended.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// A port that leads to a server.
pub(crate) struct Link {
    pub(crate) port: u16,
    is_cut: Arc<AtomicBool>,
    cut: Arc<Notify>,
}

impl Link {
    pub(crate) async fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (is_cut, cut) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let (down, now) = (Arc::clone(&is_cut), Arc::clone(&cut));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if down.load(Ordering::SeqCst) {
                    continue;
                }
                let now = Arc::clone(&now);
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                    tokio::select! {
                        // First: what comes once it is cut goes nowhere.
                        biased;
                        () = now.notified() => {}
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Ok(Self { port, is_cut, cut })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.cut.notify_waiters();
    }

    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}
