//! Leader election: one operator acts, the others stand by.
//!
//! A Lease is written with its `resourceVersion`, so that of two candidates one gets a conflict. A leader that cannot renew
//! in time is no leader: what it does as one is dropped at once, and it stands by again. It never limps on.

mod decide;

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, timeout};

use decide::{Decision, Record, Seen, decide};

/// How long a lease lasts without a sign of life; the usual choice of Kubernetes' own controllers.
const LASTS: Duration = Duration::from_secs(15);
/// How often a leader renews and a candidate looks.
const PERIOD: Duration = Duration::from_secs(2);
/// A leader that did not renew for so long ends. Below [`LASTS`], so that it has ended before another one begins.
const PATIENCE: Duration = Duration::from_secs(10);
/// An orderly end gives the lease back within this time or not at all.
const FAREWELL: Duration = Duration::from_secs(2);

/// A candidate for one Lease object.
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    me: String,
}

/// Why leading ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// Another one holds the lease.
    #[error("{holder} took the lease {lease}")]
    Taken {
        /// The lease.
        lease: String,
        /// Who holds it.
        holder: String,
    },
    /// The API server did not take the renewal in time.
    #[error("the lease {lease} was not renewed for {} s: {last}", PATIENCE.as_secs())]
    NotRenewed {
        /// The lease.
        lease: String,
        /// The last error.
        last: String,
    },
}

impl Candidate {
    /// A candidate called `me` for the Lease `name` of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.into(), me: me.into() }
    }

    /// Waits until this candidate leads. Errors of the API server are logged and outlived. Answers from when on its lease counts:
    /// the moment of the question, because nobody knows how long ago the server acted on it when the answer comes.
    pub(crate) async fn lead(&self) -> Instant {
        let mut seen = None;
        loop {
            let asked = Instant::now();
            // A call that was lost must not make a standby sleep through its turn.
            match timeout(PATIENCE, self.step(&mut seen)).await {
                Ok(Ok(Step::Ours)) => return asked,
                Ok(Ok(Step::Others | Step::LookAgain)) => {}
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "cannot look at the lease; trying again"),
                Err(_) => tracing::warn!(lease = self.name, "no answer about the lease; trying again"),
            }
            sleep(PERIOD).await;
        }
    }

    /// Renews for as long as that works. `renewed` is what [`Self::lead`] answered.
    pub(crate) async fn keep(&self, mut renewed: Instant) -> Lost {
        let mut seen = None;
        let mut last = String::from("no answer");
        loop {
            sleep(PERIOD).await;
            let asked = Instant::now();
            let left = PATIENCE.saturating_sub(renewed.elapsed());
            match timeout(left, self.step(&mut seen)).await {
                Ok(Ok(Step::Ours)) => renewed = asked,
                Ok(Ok(Step::LookAgain)) => last = "somebody else wrote the Lease".into(),
                Ok(Ok(Step::Others)) => {
                    let holder = seen.map(|s| s.record.holder).unwrap_or_default();
                    return Lost::Taken { lease: self.name.clone(), holder };
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => {}
            }
            if renewed.elapsed() >= PATIENCE {
                return Lost::NotRenewed { lease: self.name.clone(), last };
            }
        }
    }

    /// Gives the lease back, so that a standby need not wait for its end.
    pub(crate) async fn release(&self) {
        let give_back = async {
            let lease = self.api.get(&self.name).await?;
            if record(&lease).holder == self.me {
                self.api.replace(&self.name, &PostParams::default(), &self.renewed(Some(lease), "")).await?;
            }
            Ok::<(), kube::Error>(())
        };
        match timeout(FAREWELL, give_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, %error, "the lease was not given back; it runs out by itself");
            }
            Err(_) => tracing::warn!(lease = self.name, "the lease was not given back in time; it runs out by itself"),
        }
    }

    /// One look and, where it is right, one write.
    async fn step(&self, seen: &mut Option<Seen>) -> Result<Step, kube::Error> {
        let lease = self.api.get_opt(&self.name).await?;
        let now = Instant::now().into_std();
        *seen = lease.as_ref().map(|lease| Seen::update(seen.take(), record(lease), now));
        if decide(seen.as_ref(), &self.me, now) == Decision::Wait {
            return Ok(Step::Others);
        }
        let is_new = lease.is_none();
        let wanted = self.renewed(lease, &self.me);
        let written = if is_new {
            self.api.create(&PostParams::default(), &wanted).await
        } else {
            self.api.replace(&self.name, &PostParams::default(), &wanted).await
        };
        match written {
            Ok(_) => Ok(Step::Ours),
            // Another candidate, or a person with kubectl, was faster; the next look tells.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Step::LookAgain),
            Err(error) => Err(error),
        }
    }

    /// The object as `holder` writes it, over what was there.
    fn renewed(&self, lease: Option<Lease>, holder: &str) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        let mut lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let old = lease.spec.take().unwrap_or_default();
        let is_same = old.holder_identity.as_deref() == Some(holder);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder.into()),
            acquire_time: if is_same { old.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            // A lease that was given back has changed hands once, not twice.
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!is_same && !holder.is_empty())),
            ..LeaseSpec::default()
        });
        lease
    }
}

/// What one look came to.
enum Step {
    /// This candidate holds the lease.
    Ours,
    /// Somebody else does.
    Others,
    /// The write met another one.
    LookAgain,
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        lasts: spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).map_or(LASTS, Duration::from_secs),
    }
}

#[cfg(test)]
mod tests;
