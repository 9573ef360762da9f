//! `mesh verify`: a log, a receipt, or a proof of the state, without a network.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Cursor, Read as _, stdin},
    path::Path,
    str::FromStr,
    time::SystemTime,
};

use mesh_directory::{
    identity::{self, Stated},
    log::Verifier,
    verifier::{self, Report, Trust},
};
use mesh_pki::TrustAnchors;

use crate::{args::Verify, exit::Exit};

/// What a receipt begins with.
const RECEIPT: &[u8] = b"c2sp.org/tlog-proof";

/// A checkpoint or a receipt with some cosignatures has some kilobytes.
const LONGEST_NOTE: u64 = 1 << 20;

/// `mesh verify`.
pub(crate) fn verify(args: &Verify) -> Result<(), Exit> {
    let mut file = opened(&args.file)?;
    let local = |e| Exit::local(args.file.display(), e);
    let start = file.fill_buf().map_err(local)?;
    let stated = stated(args)?;
    let trust = trust(args, stated.as_ref())?;
    let report = if start.starts_with(RECEIPT) {
        verifier::receipt(&whole(file, &args.file)?, &trust)
    } else {
        let mut first = Vec::new();
        file.by_ref().take(LONGEST_NOTE).read_until(b'\n', &mut first).map_err(local)?;
        if verifier::is_log(&first) {
            let remembered = args.remembered.as_deref().map(|path| whole(opened(path)?, path)).transpose()?;
            verifier::log(Cursor::new(first).chain(file), &trust, remembered.as_deref())
        } else {
            first.extend(whole(file, &args.file)?);
            verifier::state_proof(&first, &trust)
        }
    };
    if let Some(Stated { node, .. }) = &stated {
        println!("ok  the keys are those that node {node} signed under its certificate, which the given root leads to");
    }
    let Report { origin, size, witnesses, verified } =
        report.map_err(|e| Exit::Refused(format!("it does not hold: {e}")))?;
    verified.iter().for_each(|line| println!("ok  {line}"));
    println!("{origin} holds: {size} entries, cosigned by {witnesses}");
    Ok(())
}

/// What a node says of its directory's keys under its certificate.
fn stated(args: &Verify) -> Result<Option<Stated>, Exit> {
    let (Some(about), Some(root), Some(node)) = (&args.identity, &args.root, &args.node) else { return Ok(None) };
    let refused = |e: String| Exit::Refused(format!("the identity in {} does not hold: {e}", about.display()));
    let pem = whole(opened(root)?, root)?;
    let roots = TrustAnchors::from_pems(&[String::from_utf8_lossy(&pem)])
        .map_err(|e| Exit::Refused(format!("{}: {e}", root.display())))?;
    identity::verified(&whole(opened(about)?, about)?, node, &roots, SystemTime::now()).map(Some).map_err(refused)
}

fn trust(args: &Verify, stated: Option<&Stated>) -> Result<Trust, Exit> {
    let quorum = args.quorum;
    let log = known("log key", args.log_key.as_deref(), stated.map(|stated| &stated.log))?;
    Ok(Trust {
        log: log.ok_or_else(|| Exit::Refused("give --log-key, or --identity with --root".to_owned()))?,
        directory: known("directory key", args.directory_key.as_deref(), stated.map(|stated| &stated.directory))?,
        recovery: args.recovery_key.iter().map(|text| key(text)).collect::<Result<_, _>>()?,
        witnesses: args.witness.iter().map(|text| key::<Verifier>(text)).collect::<Result<_, _>>()?,
        quorum,
    })
}

/// The key that was given, or that the node signed; where there are both, they must be one.
fn known<K: FromStr + Clone + PartialEq>(
    what: &str,
    given: Option<&str>,
    stated: Option<&K>,
) -> Result<Option<K>, Exit> {
    let given = given.map(key::<K>).transpose()?;
    match (&given, stated) {
        (Some(given), Some(stated)) if given != stated => {
            Err(Exit::Refused(format!("the {what} that was given is not the one that the node signed")))
        }
        _ => Ok(given.or_else(|| stated.cloned())),
    }
}

pub(super) fn key<K: FromStr>(text: &str) -> Result<K, Exit> {
    text.parse().map_err(|_| Exit::Refused(format!("{text} is no key: those of a directory are at GET /datanet/v1")))
}

pub(super) fn opened(path: &Path) -> Result<BufReader<Box<dyn std::io::Read>>, Exit> {
    let file: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(stdin())
    } else {
        Box::new(File::open(path).map_err(|e| Exit::local(path.display(), e))?)
    };
    Ok(BufReader::new(file))
}

fn whole(file: BufReader<Box<dyn std::io::Read>>, path: &Path) -> Result<Vec<u8>, Exit> {
    let mut bytes = Vec::new();
    file.take(LONGEST_NOTE).read_to_end(&mut bytes).map_err(|e| Exit::local(path.display(), e))?;
    Ok(bytes)
}
