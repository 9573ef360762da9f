//! `mesh tunnel import`: reads what a LiteKube network controller left behind, and has the node on this machine take it over.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use http::Method;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use mesh_tunnel::{
    control::{Pem, Takeover},
    legacy::{self, AUTHORITY_FILES, LegacyConfig},
};
use serde_json::json;

use super::{
    Admin, asked,
    legacy::{document, pem, read},
    text,
};
use crate::{args::TunnelImport, exit::Exit};

/// What the original calls its database.
const DATABASE: &str = "litekube-nc.db";

/// Where everything is.
#[derive(Debug, Default)]
struct Places {
    database: Option<PathBuf>,
    register: Option<PathBuf>,
    join: Option<PathBuf>,
}

pub(super) fn import(args: &TunnelImport) -> Result<(), Exit> {
    let config = args.config.as_deref().map(read_config).transpose()?;
    if let Some(config) = &config {
        print_section(config)?;
    }
    let places = places(args, config.as_ref());
    let takeover = Takeover {
        register: places.register.as_deref().map(authority).transpose()?,
        join: places.join.as_deref().map(authority).transpose()?,
        legacy: places.database.as_deref().map(database).transpose()?.unwrap_or_default(),
    };
    tell(&takeover);
    if args.dry_run {
        return Ok(());
    }
    asked(async |admin| take_over(admin, &takeover, config.as_ref()).await)
}

async fn take_over(admin: &Admin, takeover: &Takeover, config: Option<&LegacyConfig>) -> Result<(), Exit> {
    let own = admin.get("/tunnel").await?;
    if let Some(config) = config
        && own["subnet"] != config.subnet.to_string()
    {
        let (theirs, ours) = (config.subnet, text(&own, "subnet"));
        note(format_args!("this node's network is {ours} and the configuration's {theirs}: nodes get other addresses"));
    }
    let done = admin.ask(Method::POST, "/tunnel/import", &json!(takeover)).await?;
    println!(
        "taken over: {} nodes, {} of them with another address when they come; {} tokens; {} were here already",
        done["nodes"], done["moved"], done["tokens"], done["known"]
    );
    Ok(())
}

/// A line beside the answer, which goes to standard output.
fn note(line: std::fmt::Arguments<'_>) {
    // Nothing is left to be told to whoever has closed it.
    let _ = writeln!(io::stderr(), "{line}");
}

/// What was found, without secrets, for who looks.
fn tell(takeover: &Takeover) {
    let legacy = &takeover.legacy;
    for (plane, authority) in [("gRPC", &takeover.register), ("tunnel", &takeover.join)] {
        if authority.is_some() {
            note(format_args!("found: the authority of the {plane} plane"));
        }
    }
    let (nodes, tokens, over) = (legacy.nodes.len(), legacy.tokens.len(), legacy.expired);
    note(format_args!("found: {nodes} nodes, {tokens} tokens, {over} tokens that are over"));
    for why in &legacy.broken {
        note(format_args!("passed over: {why}"));
    }
}

fn read_config(path: &Path) -> Result<LegacyConfig, Exit> {
    LegacyConfig::read(document(path)?).map_err(|e| Exit::Refused(format!("{}: {e}", path.display())))
}

/// The section of our file that says the same, and the variables for ports that are not the usual ones.
fn print_section(config: &LegacyConfig) -> Result<(), Exit> {
    let section = json!({"tunnel": {
        "advertise": config.advertise, "subnet": config.subnet.to_string(), "interconnection": config.interconnection,
        "mtu": config.mtu,
    }});
    print!("{}", crds::yaml::emit(&section).map_err(|e| Exit::local("the section", e))?);
    let names = ["MESH_TUNNEL_LISTEN", "MESH_TUNNEL_GRPC_LISTEN", "MESH_TUNNEL_BOOTSTRAP_LISTEN"];
    for ((name, port), usual) in names.into_iter().zip(config.ports).zip([6441, 6440, 6439]) {
        if port != usual {
            println!("# {name}={port}");
        }
    }
    Ok(())
}

/// What was said on the command line, and else what the configuration says, seen from its folder.
fn places(args: &TunnelImport, config: Option<&LegacyConfig>) -> Places {
    let base = args.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let named = |folder: fn(&LegacyConfig) -> &Option<String>| {
        config.and_then(|config| folder(config).as_deref()).filter(|name| !name.is_empty()).map(|name| base.join(name))
    };
    Places {
        database: args.database.clone().or_else(|| Some(named(|config| &config.work_folder)?.join(DATABASE))),
        register: args.register_ca.clone().or_else(|| named(|config| &config.register_folder)),
        join: args.join_ca.clone().or_else(|| named(|config| &config.join_folder)),
    }
}

fn authority(folder: &Path) -> Result<Pem, Exit> {
    let there = AUTHORITY_FILES.iter().find(|(certificate, _)| folder.join(certificate).exists());
    let Some((certificate, key)) = there else {
        let text = "it has no authority: neither ca.pem with ca-key.pem nor ca.crt with ca.key";
        return Err(Exit::local(folder.display(), text));
    };
    let pem = |name: &str| pem(&folder.join(name));
    Ok(Pem { certificate: pem(certificate)?, key: pem(key)? })
}

fn database(path: &Path) -> Result<legacy::Legacy, Exit> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-wal");
    // What was written last is in that file alone.
    if fs::metadata(&beside).is_ok_and(|file| file.len() > 0) {
        let text = "its last changes are in the file -wal beside it: stop the original, or run `sqlite3 FILE 'PRAGMA wal_checkpoint(TRUNCATE)'`";
        return Err(Exit::local(path.display(), text));
    }
    let now = Timestamp::now().as_second();
    legacy::read(&read(path)?, now, local).map_err(|e| Exit::local(path.display(), e))
}

/// The second of a time of this machine's zone, as the original writes it, or of one that names its zone.
fn local(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_second());
    }
    let at: DateTime = text.parse().ok()?;
    at.to_zoned(TimeZone::system()).ok().map(|at| at.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_a_zone_are_read_and_others_are_none() {
        assert_eq!(local("2022-04-16T06:55:00Z"), Some(1_650_092_100));
        assert_eq!(local("2022-04-16 06:55:00+00:00"), Some(1_650_092_100));
        let zone = TimeZone::system();
        let at = DateTime::constant(2022, 4, 16, 6, 55, 0, 0).to_zoned(zone).unwrap().timestamp().as_second();
        assert_eq!(local("2022-04-16 06:55:00"), Some(at));
        for none in ["", "tomorrow", "-1", "2022-13-01 00:00:00"] {
            assert_eq!(local(none), None, "{none}");
        }
    }
}
