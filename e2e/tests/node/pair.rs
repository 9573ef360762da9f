//! Two institutions under steady load, and the accounts of all their applications, those that are gone by now included.

use std::collections::BTreeMap;

use e2e::institution::{EPHEMERAL, Institution};
use e2e::kubectl::apply;
use e2e::ledger::{Failure, Ledger, now};
use e2e::{loss, wait};
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::*;

/// How long one look at a closed book may take; after one that was lost the program stays longer than this.
const LOOK: Duration = Duration::from_secs(5);

/// So many exchanges show that the work goes on.
const STRETCH: usize = 60;

/// One institution that pushes and one that pops.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) pushes: Institution,
    pub(crate) pops: Institution,
    /// Calls made from then on may not fail: before, the nodes did not know each other.
    from: u64,
    /// The books of pods that are gone.
    closed: Mutex<Vec<(&'static str, Ledger)>>,
}

/// The books of both sides.
pub(crate) struct Accounts {
    pub(crate) pushes: Vec<Ledger>,
    pub(crate) pops: Vec<Ledger>,
}

pub(crate) fn institution(bank: &'static str, id: &'static str, work: &'static str, replicas: u32) -> Institution {
    Institution { bank, id, institution: "JG0100002800000000", address: "", work, replicas, storage: EPHEMERAL }
}

impl Pair {
    /// Makes them, introduces them to each other, and waits until messages arrive.
    pub(crate) async fn start(pushes: Institution, pops: Institution) -> Result<Self> {
        Self::start_as(pushes, pops, |manifest| manifest).await
    }

    /// Does so with manifests that are written otherwise.
    pub(crate) async fn start_as(
        pushes: Institution,
        pops: Institution,
        written: impl Fn(String) -> String,
    ) -> Result<Self> {
        let client = installed().await?;
        for (us, partner) in [(pushes, pops), (pops, pushes)] {
            apply(&written(us.injected_manifest(&partner)))?;
        }
        for (us, partner) in [(pushes, pops), (pops, pushes)] {
            us.introduce(&partner, STARTED).await?;
        }
        for us in [pushes, pops] {
            rolled_out(us.bank, &format!("deployment/{}", us.bank))?;
            let ready = ["meshnode/node", "meshroute/partner", "--for=condition=Ready"];
            kubectl(&[["-n", us.bank, "wait"].as_slice(), &ready, &[&limit()]].concat(), "")?;
        }
        let mut pair = Self { client, pushes, pops, from: 0, closed: Mutex::default() };
        pair.progress("the start").await?;
        pair.from = now();
        Ok(pair)
    }

    pub(crate) fn both(&self) -> [Institution; 2] {
        [self.pushes, self.pops]
    }

    async fn books(&self, of: &Institution) -> Result<Vec<Ledger>> {
        let mut books = Vec::new();
        for pod in of.pods(&self.client).await? {
            books.push(serde_json::from_str(&of.get_from(&self.client, &pod, 8080, "ledger").await?)?);
        }
        books.extend(self.closed.lock().iter().filter(|(bank, _)| *bank == of.bank).map(|(_, ledger)| ledger.clone()));
        Ok(books)
    }

    pub(crate) async fn accounts(&self) -> Result<Accounts> {
        Ok(Accounts { pushes: self.books(&self.pushes).await?, pops: self.books(&self.pops).await? })
    }

    /// Waits until a stretch of messages more has arrived.
    pub(crate) async fn progress(&self, when: &str) -> Result<()> {
        let before = self.accounts().await.map_or(0, |a| a.arrived());
        wait::until(&format!("messages to arrive after {when}"), STARTED, || async {
            let accounts = self.accounts().await?;
            let arrived = accounts.arrived().saturating_sub(before);
            ensure!(arrived >= STRETCH, "{arrived} arrived; {}", accounts.failures(0));
            Ok(())
        })
        .await
    }

    /// Starts the pods of both sides anew, and keeps the books that each of them closes at its end.
    pub(crate) async fn restart_workloads(&self) -> Result<()> {
        for us in self.both() {
            let pods = us.pods(&self.client).await?;
            let what = format!("deployment/{}", us.bank);
            kubectl(&["-n", us.bank, "rollout", "restart", &what], "")?;
            let books = try_join_all(pods.iter().map(|pod| self.closed_book(us, pod))).await?;
            self.closed.lock().extend(books.into_iter().map(|book| (us.bank, book)));
            rolled_out(us.bank, &what)?;
        }
        Ok(())
    }

    /// The book of a pod that is about to end, as soon as nothing is added to it any more.
    async fn closed_book(&self, us: Institution, pod: &str) -> Result<Ledger> {
        wait::until(&format!("the book of {pod} to be closed"), STARTED, || async move {
            // A look that hangs must not outlast the program, which waits for its reader.
            let book = timeout(LOOK, us.get_from(&self.client, pod, 8080, "book")).await.context("no answer")??;
            serde_json::from_str(&book).context("the book is no book")
        })
        .await
    }

    /// No call has failed, and what was answered with success is at the partner's applications, once.
    pub(crate) async fn nothing_failed_and_nothing_is_lost(&self) -> Result<()> {
        self.nothing_is_lost().await?;
        let failures = self.accounts().await?.failures(self.from);
        loss::none_unless(failures.is_empty(), || format!("calls failed: {failures}"))
    }

    /// What was answered with success is at the partner's applications, once.
    pub(crate) async fn nothing_is_lost(&self) -> Result<()> {
        let pushed: Vec<u64> = self.accounts().await?.pushes.iter().flat_map(|l| l.seen.iter().copied()).collect();
        wait::until("every message to arrive", STARTED, || async {
            let accounts = self.accounts().await?;
            let times = accounts.times();
            let missing: Vec<_> = pushed.iter().filter(|number| !times.contains_key(*number)).take(10).collect();
            loss::none_unless(missing.is_empty(), || format!("of {} these are missing: {missing:?}", pushed.len()))
        })
        .await?;
        let accounts = self.accounts().await?;
        let twice: Vec<_> = accounts.times().into_iter().filter(|(_, times)| *times > 1).take(10).collect();
        loss::none_unless(twice.is_empty(), || format!("messages that came to more than one: {twice:?}"))?;
        let again: u64 = accounts.pops.iter().map(|book| book.again).sum();
        loss::none_unless(again == 0, || format!("{again} messages came again"))
    }

    /// Waits until calls are refused with `code`; nothing else may have failed.
    pub(crate) async fn only_that_failed(&self, code: &str) -> Result<()> {
        wait::until(&format!("calls to be refused with {code}"), STARTED, || async {
            let accounts = self.accounts().await?;
            let all = accounts.pushes.iter().chain(&accounts.pops).flat_map(|book| &book.failures);
            let (refused, others): (Vec<_>, Vec<_>) =
                all.filter(|f| f.begun >= self.from).partition(|failure| failure.said.contains(code));
            // Not to be waited away: once it is there, it stays.
            if !others.is_empty() {
                return Ok(Err(anyhow::anyhow!("calls failed: {:?}", &others[..others.len().min(5)])));
            }
            ensure!(!refused.is_empty(), "none is");
            Ok(Ok(()))
        })
        .await?
    }

    pub(crate) fn end(&self) -> Result<()> {
        self.both().iter().try_for_each(|us| end(us.bank))
    }
}

impl Accounts {
    fn arrived(&self) -> usize {
        self.times().len()
    }

    /// How often each message came.
    fn times(&self) -> BTreeMap<u64, u64> {
        let mut times = BTreeMap::new();
        for book in &self.pops {
            book.seen.iter().for_each(|number| *times.entry(*number).or_default() += 1);
        }
        times
    }

    /// What failed of the calls made since then, in words; nothing, if nothing did.
    pub(crate) fn failures(&self, from: u64) -> String {
        let late: Vec<&Failure> =
            self.pushes.iter().chain(&self.pops).flat_map(|book| book.failed_since(from)).collect();
        let took = |f: &Failure| format!("{} at {} after {} ms", f.said, f.at, f.at.saturating_sub(f.begun));
        let shown: Vec<String> = late.iter().take(5).map(|failure| took(failure)).collect();
        if late.is_empty() { String::new() } else { format!("{} failures: {}", late.len(), shown.join(", ")) }
    }
}
