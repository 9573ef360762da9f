//! One session under appends and reads that goes from gateway to gateway, while owners and the server are killed at random: nothing
//! that was confirmed is lost, and nothing that was read comes again. `BACKPLANE_ROUNDS` says how often.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mesh_backplane::{Log, Place, SessionError};
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::timeout};

use super::{NODE, append, gateway, places};
use crate::{room::PATIENCE, server::Server};

/// Rounds in each run of all tests: every way of being killed comes twice.
const ROUNDS: u64 = 6;
/// One record of so many does not fit into a message of NATS.
const LARGE: u64 = 40;

/// What was said of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Nothing yet, or that nobody knows.
    Unsure,
    Refused,
    Kept(Place),
    /// It was kept, and whether it is read nobody knows.
    Reading(Place),
    Read,
}

/// All records, by their names, and what was said of each.
#[derive(Clone, Debug, Default)]
struct Records(Arc<Mutex<BTreeMap<String, Said>>>);

impl Records {
    fn says(&self, name: &str, said: Said) {
        self.0.lock().insert(name.into(), said);
    }

    /// A record that is kept, somewhere after the `nth`; it is being read from now on.
    fn reads(&self, nth: u64) -> Option<(String, Place)> {
        let mut all = self.0.lock();
        let kept = all.iter_mut().filter_map(|(name, said)| match *said {
            Said::Kept(place) => Some((name.clone(), place, said)),
            _ => None,
        });
        let mut kept: Vec<_> = kept.collect();
        let at = usize::try_from(nth).ok()?.checked_rem(kept.len())?;
        let (name, place, said) = kept.swap_remove(at);
        *said = Said::Reading(place);
        Some((name, place))
    }

    /// Compares what was said with what the next owner finds, which is what holds from now on.
    fn compare(&self, unread: &[(Place, Bytes)]) -> Result<()> {
        ensure!(places(unread).is_sorted(), "out of order");
        let (mut all, mut found) = (self.0.lock(), BTreeSet::new());
        for (place, body) in unread {
            let name = String::from_utf8(body.iter().copied().take_while(|byte| *byte != b' ').collect())?;
            let said = all.get_mut(&name).with_context(|| format!("{name} was never appended"))?;
            let may_be = match *said {
                Said::Unsure => true,
                Said::Kept(at) | Said::Reading(at) => at == *place,
                Said::Refused | Said::Read => false,
            };
            ensure!(may_be && found.insert(name.clone()), "{name} is found at {place:?}, and was {said:?}");
            *said = Said::Kept(*place);
        }
        for (name, said) in all.iter_mut().filter(|(name, _)| !found.contains(*name)) {
            ensure!(!matches!(said, Said::Kept(_)), "{name} was {said:?}, and is lost");
            *said = match said {
                Said::Reading(_) | Said::Read => Said::Read,
                _ => Said::Refused,
            };
        }
        Ok(())
    }
}

/// Chance that is the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        // Knuth's MMIX generator; its low bits are poor.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// Those who append to a log, and those who read.
struct Users {
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Users {
    fn of(log: &Log, all: &Records, round: u64, chance: &mut Chance) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let tasks = (0..4).map(|user| {
            let (log, all, over, seed) = (log.clone(), all.clone(), Arc::clone(&is_over), chance.below(u64::MAX >> 33));
            tokio::spawn(async move {
                let mut chance = Chance(seed);
                for n in 0.. {
                    let uses = async {
                        if user == 0 {
                            reads(&log, &all, &mut chance).await
                        } else {
                            let bytes = if chance.below(LARGE) == 0 { 2 << 20 } else { chance.below(2000) };
                            appends(&log, &all, &format!("{round}-{user}-{n}"), usize::try_from(bytes)?).await
                        }
                    };
                    if !uses.await? || over.load(Ordering::SeqCst) {
                        break;
                    }
                }
                Ok(())
            })
        });
        Self { tasks: tasks.collect(), is_over }
    }

    /// They hear the answers to what they have asked.
    async fn end(self) -> Result<()> {
        self.is_over.store(true, Ordering::SeqCst);
        for task in self.tasks {
            timeout(PATIENCE, task).await???;
        }
        Ok(())
    }

    /// They hear nothing any more.
    async fn die(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        for task in self.tasks {
            // It was just ended.
            let _ = task.await;
        }
    }
}

/// Appends a record; answers whether the log is used on.
async fn appends(log: &Log, all: &Records, name: &str, bytes: usize) -> Result<bool> {
    all.says(name, Said::Unsure);
    let body = [name.as_bytes(), b" ", &vec![b'x'; bytes]].concat();
    match append(log, body).await? {
        Ok(place) => all.says(name, Said::Kept(place)),
        Err(SessionError::Unsure) => {}
        Err(_) => all.says(name, Said::Refused),
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(!log.has_moved())
}

/// Reads a record, if there is one; answers whether the log is used on.
async fn reads(log: &Log, all: &Records, chance: &mut Chance) -> Result<bool> {
    if let Some((name, place)) = all.reads(chance.below(1000)) {
        match timeout(PATIENCE, log.consume(&[place])).await? {
            Ok(()) => all.says(&name, Said::Read),
            Err(SessionError::Unsure) => {}
            Err(_) => all.says(&name, Said::Kept(place)),
        }
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(!log.has_moved())
}

/// Everybody thinks that whoever owns the session is gone.
async fn nobody_owns(server: &Server, epoch: u64) -> Result<()> {
    let deed = format!(r#"{{"number":1000,"life":1,"epoch":{epoch}}}"#);
    let start = Instant::now();
    loop {
        let put = async {
            let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await?);
            let store = jetstream.get_key_value(format!("interconn-v1-{NODE}-sessions")).await?;
            let keys: Vec<String> = futures::TryStreamExt::try_collect(store.keys().await?).await?;
            store.put(keys.first().context("there is no deed")?, deed.clone().into()).await?;
            anyhow::Ok(())
        };
        match timeout(Duration::from_secs(10), put).await {
            Ok(Ok(())) => return Ok(()),
            why => ensure!(start.elapsed() < PATIENCE, "{why:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_and_the_server_are_killed_and_nothing_confirmed_is_lost_or_read_twice() -> Result<()> {
    let rounds = env::var("BACKPLANE_ROUNDS").ok().map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() & u128::from(u64::MAX))?;
    goes_round(rounds, Chance(seed)).await.with_context(|| format!("with the seed {seed}"))
}

async fn goes_round(rounds: u64, mut chance: Chance) -> Result<()> {
    let mut server = Server::start("")?;
    let (all, mut before) = (Records::default(), None::<Users>);
    let gateways = [gateway(server.url(), "a").await?, gateway(server.url(), "b").await?];
    for (round, owner) in (0..rounds).zip(gateways.iter().cycle()) {
        let (hold, log, unread) = owner.takes("s").await?;
        if let Some(users) = before.take() {
            users.end().await?;
        }
        all.compare(&unread).with_context(|| format!("round {round}"))?;
        let users = Users::of(&log, &all, round, &mut chance);
        tokio::time::sleep(Duration::from_millis(50 + chance.below(400))).await;
        match round % 3 {
            0 => users.die().await,
            1 => {
                server.kill()?;
                tokio::time::sleep(Duration::from_millis(chance.below(300))).await;
                server.start_again()?;
                tokio::time::sleep(Duration::from_millis(chance.below(1000))).await;
                before = Some(users);
            }
            // It is thought to be gone, and is used until it learns of that.
            _ => before = Some(users),
        }
        nobody_owns(&server, hold.epoch()).await?;
    }
    let last = &gateways[0];
    let (_, log, unread) = last.takes("s").await?;
    if let Some(users) = before {
        users.end().await?;
    }
    all.compare(&unread).context("at the end")?;
    let is_said = |said| all.0.lock().values().any(|it| *it == said);
    ensure!(is_said(Said::Read) && is_said(Said::Refused), "nothing was read, or nobody was killed");
    log.consume(&places(&unread)).await?;
    all.0.lock().values_mut().filter(|said| matches!(said, Said::Kept(_))).for_each(|said| *said = Said::Read);
    all.compare(&last.takes("s").await?.2).context("when all is read")
}
