//! What people ask of a directory: records, searches, history, what changes, the whole log. Each is a call of the node's port.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Limited};
use hyper::{Response, body::Incoming};
use mesh_core::Body;
use mesh_directory::{
    Hash,
    entry::Leaf,
    front::PREFIX,
    log::{Checkpoint, Note, bundle},
    verifier,
};
use serde_json::{Value, json};

use super::super::{client, print_json, tunnel::path};
use crate::{
    args::{DirectoryCall, DirectoryGet, DirectoryHistory, DirectorySearch, DirectoryWatch, Form},
    exit::Exit,
};

/// Answers come from memory, files of the log from a disk.
const LIMIT: Duration = Duration::from_secs(60);

/// A full bundle of the longest entries has 16 MiB, a body 64.
const LARGEST: usize = 128 << 20;

/// How often a search begins again: a page takes milliseconds, and few directories change so often.
const TRIES: usize = 10;

/// Entries of a bundle (contract 5.2).
const BUNDLE: u64 = 256;

/// A refusal in the directory's words; where it said none, in those that came.
fn refused(body: &[u8]) -> Exit {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    match said["message"].as_str() {
        Some(message) => Exit::Refused(format!("{} {message}", said["code"])),
        None => Exit::Refused(String::from_utf8_lossy(body).into_owned()),
    }
}

/// A directory, as a caller with a token sees it.
struct Api<'a>(&'a DirectoryCall);

impl Api<'_> {
    async fn send(&self, request: http::request::Builder, body: Body) -> Result<Response<Incoming>, Exit> {
        let bearer = self.0.token.iter().map(|token| format!("Bearer {token}"));
        let request = bearer.fold(request, |request, bearer| request.header(AUTHORIZATION, bearer));
        let request = request.body(body).map_err(|e| Exit::local("the call cannot be sent", e))?;
        client::send(&self.0.address, crds::DATA_PORT, request, LIMIT).await
    }

    /// Status and bytes of an answer.
    async fn whole(&self, answer: Response<Incoming>) -> Result<(StatusCode, Vec<u8>), Exit> {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        Ok((status, body.map_err(|e| self.unreachable(&*e))?.to_bytes().to_vec()))
    }

    /// A file of the log.
    async fn file(&self, path: &str) -> Result<Vec<u8>, Exit> {
        let answer = self.send(Request::get(format!("{PREFIX}{path}")), Body::Empty).await?;
        match self.whole(answer).await? {
            (status, body) if status.is_success() => Ok(body),
            (_, body) => Err(refused(&body)),
        }
    }

    /// The answer of a message. Its code counts: with `httpStatus: AlwaysOk` HTTP says nothing of it.
    async fn said(&self, answer: Response<Incoming>) -> Result<Value, Exit> {
        let (_, body) = self.whole(answer).await?;
        match serde_json::from_slice::<Value>(&body) {
            Ok(said) if said["code"] == 200 => Ok(said),
            _ => Err(refused(&body)),
        }
    }

    async fn get(&self, path: &str) -> Result<Value, Exit> {
        self.said(self.send(Request::get(format!("{PREFIX}{path}")), Body::Empty).await?).await
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        let message = json!({"header": {"version": "datanet 1.0"}, "body": body}).to_string();
        let request = Request::post(format!("{PREFIX}{path}")).header(CONTENT_TYPE, "application/json");
        self.said(self.send(request, Body::from(message)).await?).await
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Exit {
        Exit::Unreachable(format!("{}: {error}", self.0.address))
    }

    /// The last checkpoint, as text and read.
    async fn checkpoint(&self) -> Result<(String, Checkpoint), Exit> {
        let text = self.file("/log/checkpoint").await?;
        let read = Note::parse(&text).ok().and_then(|note| Checkpoint::parse(note.text()));
        let text = String::from_utf8(text).ok();
        text.zip(read).ok_or_else(|| Exit::Refused("the directory's checkpoint is none".into()))
    }

    /// The entries of bundle `number` of a log of `size`.
    async fn bundle(&self, number: u64, size: u64) -> Result<Vec<String>, Exit> {
        let width = size.saturating_sub(number.saturating_mul(BUNDLE)).min(BUNDLE);
        let partial = if width == BUNDLE { String::new() } else { format!(".p/{width}") };
        let bytes = self.file(&format!("/log/tile/entries/{}{partial}", elements(number))).await?;
        let leaves = bundle::leaves(&bytes);
        let texts =
            leaves.and_then(|leaves| leaves.into_iter().map(|leaf| String::from_utf8(leaf.to_vec()).ok()).collect());
        texts.ok_or_else(|| Exit::Refused("the directory's entries are none".into()))
    }

    async fn body(&self, leaf: &Leaf) -> Result<String, Exit> {
        let body = self.file(&format!("/log/body/{}", leaf.entry.body)).await?;
        String::from_utf8(body).map_err(|e| Exit::Refused(format!("a body: {e}")))
    }
}

/// The number of a tile in its path (c2sp.org/tlog-tiles).
fn elements(number: u64) -> String {
    let last = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    let mut parts = vec![last];
    while rest > 0 {
        parts.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    parts.reverse();
    parts.join("/")
}

/// `mesh directory get`.
pub(super) async fn get(args: &DirectoryGet) -> Result<(), Exit> {
    let (at, key) = match (args.class, args.name.contains('.')) {
        (true, _) => ("/adapter-classes/retrieve", "className"),
        (false, true) => ("/data-systems/retrieve", "dataAddress"),
        (false, false) => ("/central-systems/retrieve", "csid"),
    };
    let mut pairs = vec![(key, args.name.as_str())];
    if args.proof {
        pairs.push(("proof", "true"));
    }
    print_json(&Api(&args.call).get(&path(at, &pairs)).await?)
}

/// `mesh directory search`: all pages.
pub(super) async fn search(args: &DirectorySearch) -> Result<(), Exit> {
    let (api, mut ask) = (Api(&args.call), json!({"limit": 1000}));
    let (at, list) = match &args.class {
        Some(class) => {
            ask["className"] = class.as_str().into();
            ("/central-systems/search", "centralsystems")
        }
        None => {
            for (key, value) in [("protocolName", &args.protocol), ("protocolVersion", &args.protocol_version)] {
                value.iter().for_each(|value| ask[key] = value.as_str().into());
            }
            ("/adapter-classes/search", "adapterClassNames")
        }
    };
    for row in pages(&api, at, ask, list).await? {
        match &row {
            Value::String(name) => println!("{name}"),
            system => println!("{:<34} {}", text(system, "id"), text(system, "endpoint")),
        }
    }
    Ok(())
}

/// All rows of a search. A cursor holds for its revision alone: where somebody wrote meanwhile, it begins again.
async fn pages(api: &Api<'_>, at: &str, first: Value, list: &str) -> Result<Vec<Value>, Exit> {
    for _ in 0..TRIES {
        let (mut ask, mut rows) = (first.clone(), Vec::new());
        loop {
            let answer = match api.ask(at, &ask).await {
                Ok(answer) => answer,
                Err(Exit::Refused(_)) if ask["cursor"].is_string() => break,
                Err(error) => return Err(error),
            };
            rows.extend(answer[list].as_array().into_iter().flatten().cloned());
            match &answer["cursor"] {
                Value::Null => return Ok(rows),
                cursor => ask["cursor"] = cursor.clone(),
            }
        }
    }
    Err(Exit::Refused(format!("the directory changed {TRIES} times between two pages: come again")))
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_default()
}

/// `mesh directory history`: the entries of one central system.
pub(super) async fn history(args: &DirectoryHistory) -> Result<(), Exit> {
    let api = Api(&args.call);
    let (_, checkpoint) = api.checkpoint().await?;
    for number in 0..checkpoint.size.div_ceil(BUNDLE) {
        for (index, leaf) in (number * BUNDLE..).zip(api.bundle(number, checkpoint.size).await?) {
            let read = Leaf::read(leaf.as_bytes()).map_err(|e| Exit::Refused(format!("entry {index}: {e}")))?;
            if !read.entry.csid.eq_ignore_ascii_case(&args.csid) {
                continue;
            }
            let entry = &read.entry;
            match args.output.form {
                Form::Json => {
                    let body = api.body(&read).await?;
                    let body: Value = serde_json::from_str(&body).unwrap_or_default();
                    println!(
                        "{}",
                        json!({"index": index, "entry": entry.value(), "signer": read.mark.as_str(), "body": body})
                    );
                }
                Form::Text => {
                    let at = i64::try_from(entry.time).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
                    let at = at.map_or_else(String::new, |at| at.to_string());
                    println!("{index:>8}  {at:<26} {:<20} by {}", entry.operation.as_str(), read.mark.as_str());
                }
            }
        }
    }
    Ok(())
}

/// `mesh directory watch`: a line for each entry.
pub(super) async fn watch(args: &DirectoryWatch) -> Result<(), Exit> {
    let api = Api(&args.call);
    let from = args.from.map(|from| from.to_string());
    let pairs = [("from", from.as_deref()), ("csid", args.csid.as_deref())];
    let pairs: Vec<(&str, &str)> = pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let answer = api.send(Request::get(format!("{PREFIX}{}", path("/watch", &pairs))), Body::Empty).await?;
    if !answer.status().is_success() {
        return Err(refused(&api.whole(answer).await?.1));
    }
    let (mut body, mut rest) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| api.unreachable(&e))?;
        rest.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data: ") {
                io::stdout().write_all(data).map_err(|e| Exit::local("standard output", e))?;
            }
        }
    }
    Err(Exit::Unreachable(format!("{} ended the watch: it may be restarting", args.call.address)))
}

/// `mesh directory export`: the whole log, as `mesh verify` reads it.
pub(super) async fn export(call: &DirectoryCall) -> Result<(), Exit> {
    let api = Api(call);
    let (text, checkpoint) = api.checkpoint().await?;
    let write = |line: &Value| writeln!(io::stdout(), "{line}").map_err(|e| Exit::local("standard output", e));
    write(&verifier::first_line(&text))?;
    // Bodies repeat: leases are prolonged by the same words.
    let mut last: Option<(Hash, String)> = None;
    for number in 0..checkpoint.size.div_ceil(BUNDLE) {
        for leaf in api.bundle(number, checkpoint.size).await? {
            let read = Leaf::read(leaf.as_bytes()).map_err(|e| Exit::Refused(format!("an entry: {e}")))?;
            let body = match last.take() {
                Some((hash, body)) if hash == read.entry.body => body,
                _ => api.body(&read).await?,
            };
            write(&verifier::line(&leaf, &body))?;
            last = Some((read.entry.body, body));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_the_path_of_the_specification() {
        for (number, path) in [(0, "000"), (999, "999"), (1000, "x001/000"), (1_234_067, "x001/x234/067")] {
            assert_eq!(elements(number), path);
        }
    }
}
