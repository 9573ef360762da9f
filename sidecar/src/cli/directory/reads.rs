//! What people ask of a directory one by one: a record, a history, what changes, the whole log. Each is a call of the node's port.

use std::io::{self, Write as _};

use http_body_util::BodyExt as _;
use mesh_directory::{Hash, entry::Leaf, verifier};
use serde_json::{Value, json};

use super::{
    super::{print_json, tunnel::path},
    api::{Api, BUNDLE},
};
use crate::{
    args::{DirectoryCall, DirectoryGet, DirectoryHistory, DirectoryWatch, Form},
    exit::Exit,
};

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
    let api = Api::new(&args.call);
    let mut answer = api.found(&path(at, &pairs), args.proof).await?;
    // The root that the proof leads to stands in the entry which made its revision: together they are verified without a network.
    if let Some(index) = answer["proof"]["revision"].as_u64().and_then(|revision| revision.checked_sub(1)) {
        let receipt = api.get(&path("/proof/receipt", &[("index", &index.to_string())])).await?;
        answer["receipt"] = receipt["receipt"].clone();
    }
    print_json(&answer)
}

/// `mesh directory history`: the entries of one central system.
pub(super) async fn history(args: &DirectoryHistory) -> Result<(), Exit> {
    let api = Api::new(&args.call);
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
                    println!("{}", json!({"index": index, "entry": entry, "signer": read.mark.as_str(), "body": body}));
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
    let api = Api::new(&args.call);
    let from = args.from.map(|from| from.to_string());
    let pairs = [("from", from.as_deref()), ("csid", args.csid.as_deref())];
    let pairs: Vec<(&str, &str)> = pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let answer = api.open(&path("/watch", &pairs)).await?;
    if !answer.status().is_success() {
        return Err(api.refusal(answer).await);
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
    let api = Api::new(call);
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
