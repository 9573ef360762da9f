//! One call to one of a group's instances: choose, connect, send, wait for the head of the answer.
//!
//! Goes to another instance only while not one byte has left (PTP section 10.4, point 3).

use std::{
    future::{Future, poll_fn},
    task::{Poll, ready},
    time::Duration,
};

use crds::{Balance, ServiceProto};
use http::{Request, Response, StatusCode};
use mesh_core::{Body, Caller, Drained, NodeId};
use tokio::time::{Instant, sleep, timeout};

use super::{
    alarm::Alarm,
    body::{Answered, Outgoing, Progress},
    h1::{Age, Whose},
    headers::{self, Named},
    pace::Pace,
    pool::{Answer, Sent, Wanted},
    spare::Again,
    upgrade::{self, Switch},
};
use crate::{
    RegistryError,
    balance::{Group, Member, Wish},
    instance::{Instance, Load},
};

/// The first pause of a retry when no instance is ready; it doubles. Shorter than a restart, longer than a lost SYN on
/// the same machine.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The pause does not grow beyond this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// More instances in a row that refuse than this are an outage, not bad luck.
const MOST_TRIES: usize = 16;

/// Connections in a row that end as soon as they are made: a service that is just ending does that once; where it goes on, something
/// in front of the service accepts for it.
const MOST_STILLBORN: usize = 3;

/// Services in a row that did not begin with the call: where a third one has enough too, the caller had better come later.
const MOST_REFUSED: usize = 3;

/// How a call is made.
#[derive(Debug)]
pub(crate) struct How<'c> {
    pub(crate) proto: ServiceProto,
    pub(crate) balance: Balance,
    pub(crate) wish: Wish<'c>,
    /// How fast the caller's body must come.
    pub(crate) pace: Option<Pace>,
    pub(crate) websocket: bool,
    /// Whether the caller reads trailers.
    pub(crate) trailers: bool,
    /// When the caller gives up, where it says so.
    pub(crate) deadline: Option<Instant>,
    pub(crate) drained: &'c Drained,
}

enum Attempt {
    Answered(Response<Body>),
    /// Nothing has left; the request may go elsewhere.
    Back(Box<Request<Outgoing>>, String),
    /// The same, on a connection that ended as soon as it was made.
    Stillborn(Box<Request<Outgoing>>, String),
    /// The service did not begin with it.
    Refused(Box<Request<Outgoing>>, String),
    Failed(RegistryError),
}

/// The partner that calls, if one does.
pub(crate) fn partner(caller: &Caller) -> Option<&NodeId> {
    caller.partner().map(|route| &route.node_id)
}

/// Makes the call; the answer is the service's own.
///
/// # Errors
/// No instance, no answer in time, or a call that broke off before the head of the answer.
pub(crate) async fn make(
    group: &Group,
    request: Request<Body>,
    how: &How<'_>,
) -> Result<Response<Body>, RegistryError> {
    let progress = Progress::new();
    let mut request = Box::new(request.map(|body| Outgoing::new(body, progress.clone())));
    let named = Named::of(&request);
    let mut upgrade = how.websocket.then(|| Switch::of(&mut request));
    let mut reason = None;
    let (mut retries, mut stillborn, mut refused) = (0, 0, 0);
    for _ in 0..MOST_TRIES {
        let (member, load) = match ready(group, how) {
            Some(found) => found,
            None => unready(group, how, &mut retries, reason.take()).await?,
        };
        if progress.age() > member.timeout {
            break;
        }
        addressed(&mut request, &named, &member.instance, how)?;
        match attempt(group, member, load, request, &mut upgrade, &progress, how).await {
            Attempt::Answered(answer) => return Ok(answer),
            Attempt::Failed(error) => return Err(error),
            Attempt::Back(back, why) => {
                request = back;
                reason = Some(why);
            }
            Attempt::Stillborn(_, why) if stillborn == MOST_STILLBORN => {
                return Err(broken(group, &member.instance, why));
            }
            Attempt::Stillborn(back, why) => {
                (request, stillborn) = (back, stillborn + 1);
                reason = Some(why);
            }
            Attempt::Refused(_, why) if refused == MOST_REFUSED => {
                return Err(broken(group, &member.instance, why));
            }
            Attempt::Refused(back, why) => {
                (request, refused) = (back, refused + 1);
                reason = Some(why);
            }
        }
    }
    Err(no_instance(group, reason.unwrap_or_else(|| "all that were tried refused".into())))
}

fn ready<'g>(group: &'g Group, how: &How<'_>) -> Option<(&'g Member, Load)> {
    let member = group.pick(how.balance, how.wish)?;
    Some((member, member.instance.enter(how.wish.partner)?))
}

/// No instance is ready: after a pause any one is tried again, as often as the service allows.
async fn unready<'g>(
    group: &'g Group,
    how: &How<'_>,
    retries: &mut u8,
    reason: Option<String>,
) -> Result<(&'g Member, Load), RegistryError> {
    let found = group.pick_any(how.wish);
    let partner = how.wish.partner;
    let complaint = || found.map_or_else(|| unmatched(group, how), |member| member.instance.complaint(partner));
    let reason = || reason.unwrap_or_else(complaint);
    let Some(member) = found.filter(|member| *retries < member.retries) else {
        return Err(no_instance(group, reason()));
    };
    sleep((FIRST_PAUSE * (1 << (*retries).min(8))).min(LONGEST_PAUSE)).await;
    *retries += 1;
    let load = member.instance.enter(partner);
    let load = load.ok_or_else(|| no_instance(group, member.instance.complaint(partner)))?;
    Ok((member, load))
}

fn unmatched(group: &Group, how: &How<'_>) -> String {
    match how.wish.subset {
        Some(_) if group.has_subsets() => {
            format!("none of its {} instances is of the caller's mesh-subset", group.members.len())
        }
        _ => format!("all of its {} instances are drained: their weight is 0", group.members.len()),
    }
}

fn no_instance(group: &Group, reason: String) -> RegistryError {
    RegistryError::NoInstance { service: group.name.to_string(), reason }
}

async fn attempt(
    group: &Group,
    member: &Member,
    load: Load,
    mut request: Box<Request<Outgoing>>,
    upgrade: &mut Option<Switch>,
    progress: &Progress,
    how: &How<'_>,
) -> Attempt {
    let instance = &member.instance;
    let wanted = if how.websocket { Wanted::Upgrade } else { Wanted::Call(how.proto) };
    // A caller in a hurry says nothing of the instance.
    let patience = how.deadline.map_or(member.timeout, |end| end.saturating_duration_since(Instant::now()));
    let limit = member.timeout.min(patience);
    let late = || {
        if patience >= member.timeout {
            answers_badly(group, instance);
        }
        let (service, address) = (group.name.to_string(), instance.address().to_string());
        Attempt::Failed(RegistryError::Timeout { service, address, millis: limit.as_millis() })
    };
    let left = patience.min(member.timeout.saturating_sub(progress.age()));
    let connection = match instance.pool.waiting(wanted) {
        Some(connection) => Ok(Ok(connection)),
        // In a box: it is rare, and a call's task has room for it otherwise.
        None => Box::pin(timeout(left, instance.pool.take(wanted))).await,
    };
    let connection = match connection {
        Err(_) => return late(),
        Ok(Ok(connection)) => connection,
        Ok(Err(problem)) => {
            let reason = problem.to_string();
            if instance.mark_not_ready(reason.clone()) {
                tracing::warn!(service = %group.name, instance = %instance.address(), %reason, "an instance is not ready");
            }
            return Attempt::Back(request, reason);
        }
    };
    // Over HTTP/1.1 nobody says that he did not begin.
    let again = (how.proto == ServiceProto::Grpc).then(|| Again::of(&mut request));
    match in_time(instance.pool.send(connection, *request), progress, limit, how.pace).await {
        Err(Late::Service) => late(),
        Err(Late::Caller(pace)) => {
            let (least, seconds) = (pace.least, pace.window.as_secs());
            Attempt::Failed(RegistryError::TooSlow { least, seconds })
        }
        // The next one is fresh.
        Ok(Sent::Back(back, Age::Used)) => Attempt::Back(back, format!("{} closed the connection", instance.address())),
        Ok(Sent::Back(back, Age::Fresh)) => {
            answers_badly(group, instance);
            Attempt::Stillborn(back, "it closed the connection before it was asked anything".into())
        }
        Ok(Sent::Lost(whose, reason)) => {
            if whose == Whose::Service {
                answers_badly(group, instance);
            }
            Attempt::Failed(broken(group, instance, reason))
        }
        // A server that ends, or has enough: no fault of what it answers, and surely nothing was done (RFC 9113 section 8.7).
        Ok(Sent::Refused(reason)) => match Box::pin(async move { again?.request().await }).await {
            Some(back) => Attempt::Refused(back, reason),
            None => Attempt::Failed(broken(group, instance, reason)),
        },
        Ok(Sent::Answered(answer)) => {
            if instance.note_success() {
                tracing::info!(service = %group.name, instance = %instance.address(), "an instance answers again");
            }
            answered(group, answer, load, upgrade.take(), how)
        }
    }
}

/// Notes a call that failed at an instance, and says so in the log when the instance is left out for it.
fn answers_badly(group: &Group, instance: &Instance) {
    if let Some(ejected) = instance.note_failure().filter(|ejected| ejected.is_news) {
        let secs = ejected.span.as_secs();
        tracing::warn!(service = %group.name, instance = %instance.address(), secs, "an instance answers badly and is left out for a while");
    }
}

fn addressed(
    request: &mut Request<Outgoing>,
    named: &Named,
    instance: &Instance,
    how: &How<'_>,
) -> Result<(), RegistryError> {
    match how.proto {
        ServiceProto::Http => {
            headers::for_http1(request, named, instance.address())?;
            if how.websocket {
                upgrade::mark(request.headers_mut());
            } else if how.trailers {
                headers::ask_for_trailers(request.headers_mut());
            }
            Ok(())
        }
        ServiceProto::Grpc => headers::for_http2(request, named, instance.address()),
    }
}

fn broken(group: &Group, instance: &Instance, reason: String) -> RegistryError {
    RegistryError::Broken { service: group.name.to_string(), address: instance.address().to_string(), reason }
}

fn answered(group: &Group, mut answer: Response<Answer>, load: Load, caller: Option<Switch>, how: &How<'_>) -> Attempt {
    headers::strip_hop_by_hop(answer.headers_mut());
    // The listener's connection decides how the answer is written.
    *answer.version_mut() = http::Version::HTTP_11;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Attempt::Answered(answer.map(|body| Body::Piped(Box::pin(Answered::new(body, load)))));
    }
    let Some(caller) = caller else {
        return Attempt::Failed(broken(group, load.instance(), "it switched protocols without being asked".into()));
    };
    upgrade::mark(answer.headers_mut());
    upgrade::join(caller, hyper::upgrade::on(&mut answer), load, how.drained);
    Attempt::Answered(answer.map(|_| Body::Empty))
}

/// Why there is no head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Service,
    /// The caller's body came slower than this.
    Caller(Pace),
}

/// Waits for the head of the answer, `limit` from the last byte of the request that went up. While the caller owes the
/// next byte the service's time does not run out, but the caller's does where it has to keep a pace.
async fn in_time<F: Future>(
    future: F,
    progress: &Progress,
    limit: Duration,
    pace: Option<Pace>,
) -> Result<F::Output, Late> {
    let mut future = std::pin::pin!(future);
    let mut last = Instant::now();
    let mut kept = pace.map(|pace| pace.begin(last));
    let mut alarm = Alarm::default();
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            let (end, due) = (last + limit, kept.map(|kept| kept.due()));
            ready!(alarm.poll(cx, due.map_or(end, |due| due.min(end))));
            let now = Instant::now();
            match (progress.last(), &mut kept) {
                (None, None) => last = now,
                (None, Some(kept)) => {
                    last = now;
                    if let Some(pace) = pace.filter(|_| !kept.is_kept(progress.came(), now)) {
                        return Poll::Ready(Err(Late::Caller(pace)));
                    }
                }
                (Some(moved), kept) => {
                    last = last.max(moved);
                    if now >= last + limit {
                        return Poll::Ready(Err(Late::Service));
                    }
                    if let Some(kept) = kept {
                        kept.begin_again(progress.came(), now);
                    }
                }
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use futures::StreamExt as _;
    use http_body::{Body as _, Frame};

    use super::*;

    const PACE: Pace = Pace { window: Duration::from_secs(60), least: 100 };

    /// What becomes of a call whose caller sends so many bytes each second, for a service that takes them as they come.
    async fn sending(bytes: usize, pace: Option<Pace>) -> Option<Result<(), Late>> {
        let progress = Progress::new();
        let pieces = futures::stream::unfold((), move |()| async move {
            match bytes {
                0 => pending().await,
                _ => sleep(Duration::from_secs(1)).await,
            }
            Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(vec![0; bytes]))), ()))
        });
        let mut body = Outgoing::new(Body::boxed(http_body_util::StreamBody::new(pieces.boxed())), progress.clone());
        let upload = async { while poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await.is_some() {} };
        timeout(Duration::from_secs(600), in_time(upload, &progress, Duration::from_secs(10), pace)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_hardly_comes_is_given_up_where_it_has_to_keep_a_pace() {
        assert_eq!(sending(0, Some(PACE)).await, Some(Err(Late::Caller(PACE))));
        assert_eq!(sending(1, Some(PACE)).await, Some(Err(Late::Caller(PACE))));
        assert_eq!(sending(2, Some(PACE)).await, None, "it keeps the pace and goes on");
        assert_eq!(sending(0, None).await, None, "nobody is in a hurry");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_takes_nothing_is_late_and_not_its_caller() {
        let progress = Progress::new();
        let silent = in_time(pending::<()>(), &progress, Duration::from_secs(10), Some(PACE));
        assert_eq!(silent.await, Err(Late::Service));
    }
}
