//! `mesh verify`: a log or a receipt, without a network.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, stdin},
    path::Path,
    str::FromStr,
};

use mesh_directory::{
    log::Verifier,
    verifier::{self, Report, Trust},
};

use crate::{args::Verify, exit::Exit};

/// What a receipt begins with.
const RECEIPT: &[u8] = b"c2sp.org/tlog-proof";

/// A checkpoint or a receipt with some cosignatures has some kilobytes.
const LONGEST_NOTE: u64 = 1 << 20;

/// `mesh verify`.
pub(crate) fn verify(args: &Verify) -> Result<(), Exit> {
    let mut file = opened(&args.file)?;
    let start = file.fill_buf().map_err(|e| Exit::local(args.file.display(), e))?;
    let report = if start.starts_with(RECEIPT) {
        let text = whole(file, &args.file)?;
        verifier::receipt(&text, &trust(args, args.directory_key.as_deref().unwrap_or(NOBODY))?)
    } else {
        let directory = args.directory_key.as_deref();
        let directory = directory.ok_or_else(|| Exit::Refused("a log is verified with --directory-key".into()))?;
        let remembered = args.remembered.as_deref().map(|path| whole(opened(path)?, path)).transpose()?;
        verifier::log(file, &trust(args, directory)?, remembered.as_deref())
    };
    let Report { origin, size, witnesses, verified } =
        report.map_err(|e| Exit::Refused(format!("it does not hold: {e}")))?;
    verified.iter().for_each(|line| println!("ok  {line}"));
    println!("{origin} holds: {size} entries, cosigned by {witnesses}");
    Ok(())
}

/// A receipt names who signed its entry; the directory's key is not asked for.
const NOBODY: &str = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn trust(args: &Verify, directory: &str) -> Result<Trust, Exit> {
    let quorum = args.quorum;
    Ok(Trust {
        log: key(&args.log_key)?,
        directory: key(directory)?,
        recovery: args.recovery_key.iter().map(|text| key(text)).collect::<Result<_, _>>()?,
        witnesses: args.witness.iter().map(|text| key::<Verifier>(text)).collect::<Result<_, _>>()?,
        quorum,
    })
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
