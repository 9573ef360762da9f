//! What stands between the two nodes: how far it is, and what proxies on the way hold up, cut or refuse.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use mesh_core::Body;
use tokio::time::{sleep, timeout};

use super::{
    Depth, Subject, bandwidth,
    link::{Link, slow_body},
    meaning::server,
    proof,
    reach::{shake, tcp},
    report::Lines,
};
use crate::{
    Partners,
    question::{ENVIRON, question},
};

/// Round trips that are measured.
const TRIPS: usize = 5;
const LIMIT: Duration = Duration::from_secs(10);
/// A body of this size crosses a slow link within the limit, and is larger than what usual proxies let through (1 MiB).
const MEDIUM: usize = 2 << 20;
/// And this is sent where the link is quick: the split packets of real clients are smaller than that five times over.
const LARGE: usize = 16 << 20;
/// A link that takes longer for [`MEDIUM`] is not burdened with [`LARGE`].
const QUICK: Duration = Duration::from_secs(2);
/// What an upload may take.
const UPLOAD: Duration = Duration::from_secs(20);
/// The parts in which the limit of something in between is told.
const STEPS: [usize; 4] = [1 << 20, 512 << 10, 64 << 10, 1 << 10];
/// How long a buffering proxy is waited for, which waits for us.
const PARTIAL: Duration = Duration::from_secs(3);

/// Measures on a connection that holds, and on new ones.
pub(super) async fn on(partners: &Partners, subject: &Subject, mut link: Link, depth: Depth, lines: &mut Lines) {
    round_trip(&mut link, lines).await;
    // The idle connection rests while the others work.
    let resting = idle(link, depth);
    let working = async {
        let mut found = Lines::default();
        buffering(partners, subject, &mut found).await;
        body_limit(partners, subject, &mut found).await;
        found
    };
    let (rest, found) = tokio::join!(resting, working);
    lines.take(found);
    lines.take(rest);
}

async fn round_trip(link: &mut Link, lines: &mut Lines) {
    let mut trips = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        match link.stats(LIMIT).await {
            Ok(heard) => trips.push(heard.took),
            Err(reason) => {
                return lines.failed("round trip", reason, "the connection does not last: look at what is in between");
            }
        }
    }
    trips.sort_unstable();
    let middle = trips.get(TRIPS / 2).copied().unwrap_or_default();
    lines.ok("round trip", format!("{:.1} ms", middle.as_secs_f64() * 1e3));
}

/// A connection of its own, to whoever was proven a moment ago.
async fn fresh(partners: &Partners, subject: &Subject) -> Result<Link, String> {
    let Some(tcp) = tcp(partners, subject, &mut Lines::default()).await else { return Err("no connection".to_owned()) };
    let shaken = shake(subject, tcp, subject.asked_name()).await?;
    proof::is_the_partner(partners, subject, &shaken.chain)?;
    Link::over(shaken, subject).await
}

/// A node answers a POST of `/stats` without its body. Where that answer comes only when the body is whole, something in
/// between keeps the body until then.
async fn buffering(partners: &Partners, subject: &Subject, lines: &mut Lines) {
    const LENGTH: usize = 64 * 1024;
    let mut link = match fresh(partners, subject).await {
        Ok(link) => link,
        Err(reason) => return lines.warn("buffering", format!("not tried: {reason}"), "try again"),
    };
    let (body, parts, length) = slow_body(LENGTH);
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/stats");
    request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let first = parts.send(Bytes::from(vec![b' '; 1024]));
    let asking = link.ask(request, LIMIT);
    let mut asking = std::pin::pin!(asking);
    let (_, early) = tokio::join!(first, timeout(PARTIAL, &mut asking));
    match early {
        Ok(Ok(heard)) if heard.status == StatusCode::METHOD_NOT_ALLOWED => {
            lines.ok("buffering", "bodies go through as they come");
        }
        Ok(Ok(heard)) => lines.warn(
            "buffering",
            format!("not told: HTTP {} to a POST of /stats{}", heard.status.as_u16(), server(&heard)),
            "only nodes of our kind answer so that it can be told",
        ),
        Ok(Err(reason)) => lines.warn(
            "buffering",
            format!("not told: {reason}"),
            "only nodes of our kind answer so that it can be told",
        ),
        Err(_) => {
            let rest = parts.send(Bytes::from(vec![b' '; LENGTH - 1024]));
            let (_, late) = tokio::join!(rest, asking);
            let remedy = "switch it off where it is done (nginx: proxy_request_buffering off, proxy_buffering off), or pass TLS through";
            match late {
                Ok(heard) => {
                    let text = format!("something in between keeps a body until it is whole{}", server(&heard));
                    lines.failed("buffering", text, remedy);
                }
                Err(reason) => {
                    lines.failed("buffering", format!("a body that comes slowly is not answered: {reason}"), remedy);
                }
            }
        }
    }
}

/// What became of a body on its way.
enum Upload {
    /// It arrived: the node itself answered.
    Arrived(Duration),
    /// Something in between answered, or cut.
    Stopped(String),
    /// It took too long.
    Late,
}

async fn body_limit(partners: &Partners, subject: &Subject, lines: &mut Lines) {
    let (size, took) = match upload(partners, subject, MEDIUM).await {
        Upload::Arrived(took) if took < QUICK => match upload(partners, subject, LARGE).await {
            Upload::Arrived(took) => (LARGE, took),
            other => return limited(partners, subject, LARGE, other, lines).await,
        },
        Upload::Arrived(took) => (MEDIUM, took),
        other => return limited(partners, subject, MEDIUM, other, lines).await,
    };
    lines.ok("body limit", format!("a body of {} arrives whole", bytes(size)));
    bandwidth::judge(rate(size, took), &bytes(size), &subject.snapshot.transport, lines);
}

/// How much does go through, where something did not.
async fn limited(partners: &Partners, subject: &Subject, refused: usize, ended: Upload, lines: &mut Lines) {
    let mut passes = None;
    for size in [MEDIUM].into_iter().chain(STEPS).filter(|size| *size < refused) {
        if let Upload::Arrived(took) = upload(partners, subject, size).await {
            passes = Some((size, rate(size, took)));
            break;
        }
    }
    let limit = passes.map_or_else(|| "not even 1 KiB does".to_owned(), |(size, _)| format!("{} does", bytes(size)));
    // What is slow for the small ones too refuses nothing.
    let takes = passes.map_or(0.0, |(_, rate)| refused as f64 / rate);
    let why = match ended {
        Upload::Late if takes > UPLOAD.as_secs_f64() / 2.0 => {
            let text = format!("not told: a body of {} takes {takes:.0} s; {limit} arrive", bytes(refused));
            lines.warn("body limit", text, "mend the bandwidth, and try again");
            String::new()
        }
        Upload::Stopped(why) => why,
        Upload::Late | Upload::Arrived(_) => format!("no answer within {} s", UPLOAD.as_secs()),
    };
    if !why.is_empty() {
        let remedy = "raise the limit where it is set (nginx: client_max_body_size 0), or pass TLS through";
        lines.failed("body limit", format!("a body of {} does not arrive ({why}); {limit}", bytes(refused)), remedy);
    }
    if let Some((size, rate)) = passes {
        bandwidth::judge(rate, &bytes(size), &subject.snapshot.transport, lines);
    }
}

/// Bytes in a second.
fn rate(size: usize, took: Duration) -> f64 {
    size as f64 / took.as_secs_f64().max(1e-6)
}

/// Sends a call whose arguments are `size` bytes of nothing. The node reads them whole before it says a word of them.
async fn upload(partners: &Partners, subject: &Subject, size: usize) -> Upload {
    let body = Body::from([&b"{"[..], &vec![b' '; size - 2], b"}"].concat());
    let sent = async {
        let mut link = fresh(partners, subject).await?;
        let request = question(&subject.snapshot.node.node_id, &subject.route.node_id, ENVIRON, body)
            .map_err(|e| e.to_string())?;
        let start = Instant::now();
        let asked = link.ask(request, UPLOAD + LIMIT);
        Ok(timeout(UPLOAD, asked).await.map(|heard| heard.map(|heard| (heard, start.elapsed()))))
    };
    match sent.await.unwrap_or_else(|reason: String| Ok(Err(reason))) {
        Err(_) => Upload::Late,
        Ok(Ok((heard, took))) if is_the_nodes(&heard.body) => Upload::Arrived(took),
        Ok(Ok((heard, _))) => Upload::Stopped(format!("HTTP {}{}", heard.status.as_u16(), server(&heard))),
        Ok(Err(reason)) => Upload::Stopped(reason),
    }
}

/// A node answers with a code, also when the body is above its own limit for such calls.
fn is_the_nodes(body: &[u8]) -> bool {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    said.and_then(|said| said["code"].as_str().map(|code| mesh_core::Code::parse(code).is_some())).unwrap_or(false)
}

fn bytes(size: usize) -> String {
    if size >= 1 << 20 { format!("{} MiB", size >> 20) } else { format!("{} KiB", size >> 10) }
}

/// Leaves a connection alone and looks when it is cut.
async fn idle(mut link: Link, depth: Depth) -> Lines {
    let mut lines = Lines::default();
    let start = Instant::now();
    let remedy = "raise the idle timeout of what is in between above 120 s (nginx: proxy_timeout, keepalive_timeout): a pop waits \
                  that long";
    let cut = tokio::select! {
        _ = &mut link.running => true,
        () = sleep(depth.idle) => false,
    };
    let after = start.elapsed().as_secs_f64();
    if cut {
        lines.failed("idle timeout", format!("an idle connection is cut after {after:.0} s"), remedy);
        return lines;
    }
    match link.stats(LIMIT).await {
        Ok(_) => lines.ok("idle timeout", format!("a connection that was idle for {after:.0} s still works")),
        Err(reason) => {
            lines.failed(
                "idle timeout",
                format!("a connection that was idle for {after:.0} s is dead: {reason}"),
                remedy,
            );
        }
    }
    lines
}
