//! Gateways of one process, joined in memory: what a single one has, and what shows that the rooms need no network to be right.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::fabric::{Fabric, Inward};

/// What joins the gateways of one process.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<BTreeMap<u16, mpsc::UnboundedSender<Said>>>>);

/// One gateway at it.
#[derive(Debug)]
pub struct Memory {
    number: u16,
    hub: Hub,
    says: mpsc::UnboundedSender<Said>,
    hears: Mutex<Option<mpsc::UnboundedReceiver<Said>>>,
    me: Weak<Self>,
}

/// What is said to a gateway.
#[derive(Debug)]
enum Said {
    Joined(u16),
    Left(u16),
    Told(u16, Bytes),
    Asked(u16, Bytes, oneshot::Sender<Bytes>),
}

impl Hub {
    /// Joins a gateway with the lowest number that is free; `None`: all are taken. It is heard once it serves.
    #[must_use]
    pub fn join(&self) -> Option<Arc<Memory>> {
        let number = {
            let all = self.0.lock();
            (0..crate::NUMBERS).find(|number| !all.contains_key(number))?
        };
        let (says, hears) = mpsc::unbounded_channel();
        let (hub, hears) = (self.clone(), Mutex::new(Some(hears)));
        Some(Arc::new_cyclic(|me| Memory { number, hub, says, hears, me: Weak::clone(me) }))
    }

    fn say(&self, to: u16, said: Said) {
        if let Some(there) = self.0.lock().get(&to) {
            // One that ends takes itself away; what comes meanwhile is for nobody.
            let _ = there.send(said);
        }
    }
}

impl Fabric for Memory {
    fn number(&self) -> u16 {
        self.number
    }

    fn others(&self) -> Vec<u16> {
        self.hub.0.lock().keys().copied().filter(|number| *number != self.number).collect()
    }

    fn ask(&self, number: u16, question: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        let (answer, answered) = oneshot::channel();
        self.hub.say(number, Said::Asked(self.number, question, answer));
        async { answered.await.ok() }.boxed()
    }

    fn tell(&self, number: u16, notice: Bytes) {
        self.hub.say(number, Said::Told(self.number, notice));
    }

    fn serve(&self, inward: Arc<dyn Inward>) {
        let Some(mut hears) = self.hears.lock().take() else { return };
        {
            let mut all = self.hub.0.lock();
            for (number, there) in all.iter() {
                let _ = there.send(Said::Joined(self.number));
                let _ = self.says.send(Said::Joined(*number));
            }
            all.insert(self.number, self.says.clone());
        }
        let me = Weak::clone(&self.me);
        tokio::spawn(async move {
            while let Some(said) = hears.recv().await {
                if me.strong_count() == 0 {
                    return;
                }
                match said {
                    Said::Joined(number) => inward.joined(number),
                    Said::Left(number) => inward.left(number),
                    Said::Told(from, notice) => inward.told(from, notice),
                    Said::Asked(from, question, answer) => {
                        // Whoever asked may have gone away.
                        let _ = answer.send(inward.asked(from, question));
                    }
                }
            }
        });
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut all = self.hub.0.lock();
        if all.remove(&self.number).is_some() {
            for there in all.values() {
                let _ = there.send(Said::Left(self.number));
            }
        }
    }
}
