//! The rules of a directory, as its configuration says them.

use mesh_directory::{
    Strictness,
    directory::{ProtocolNames, Reading, Rules, Search, Status, Witnesses},
    entry::PublicKey,
    log::{KeyName, Kind, Verifier},
    state::Policy,
    witness::Member,
};

/// The rules.
///
/// # Errors
/// Which key or name cannot be one.
pub(super) fn of(config: &crds::Directory) -> Result<Rules, String> {
    let recovery = config.recovery_keys.iter().map(|key| format!("ed25519:{key}").parse::<PublicKey>());
    Ok(Rules {
        strictness: if config.strict { Strictness::Strict } else { Strictness::Lenient },
        status: match config.http_status {
            crds::HttpStatus::Mirror => Status::Mirror,
            crds::HttpStatus::AlwaysOk => Status::AlwaysOk,
        },
        reading: match config.readers {
            crds::DirectoryReaders::Members => Reading::Members,
            crds::DirectoryReaders::Public => Reading::Public,
        },
        search: if config.fuzzy_search { Search::Near } else { Search::Exact },
        protocol_names: protocol_names(config),
        policy: Policy { pending: config.pending_classes, most_withdrawn: config.max_withdrawal, ..Policy::default() },
        recovery: recovery.collect::<Result<_, _>>().map_err(|e| format!("directory.recoveryKeys: {e}"))?,
        witnessed: witnessed(config)?,
        witnesses: config.witnesses.as_ref().map(|all| witnesses(all, config)).transpose()?,
    })
}

/// How answers write protocols.
pub(in crate::start) const fn protocol_names(config: &crds::Directory) -> ProtocolNames {
    match config.protocol_names {
        crds::ProtocolNames::AsRegistered => ProtocolNames::AsRegistered,
        crds::ProtocolNames::LowerCase => ProtocolNames::LowerCase,
    }
}

/// The logs that are signed for.
fn witnessed(config: &crds::Directory) -> Result<Vec<Verifier>, String> {
    let log = |log: &crds::WitnessedLog| verifier(&log.origin, Kind::Log, &log.public_key);
    config.witness_for.iter().map(log).collect::<Result<_, _>>().map_err(|e| format!("directory.witnessFor: {e}"))
}

/// The witnesses of the own log.
fn witnesses(all: &crds::Witnesses, config: &crds::Directory) -> Result<Witnesses, String> {
    let member = |witness: &crds::Witness| {
        let verifier = verifier(&witness.name, Kind::Witness, &witness.public_key)?;
        Ok(Member { verifier, url: witness.url.clone() })
    };
    let members = all.members.iter().map(member).collect::<Result<_, String>>();
    Ok(Witnesses {
        members: members.map_err(|e| format!("directory.witnesses: {e}"))?,
        quorum: usize::from(all.quorum),
        delay: u64::try_from(config.max_merge_delay.get().as_millis()).unwrap_or(u64::MAX),
    })
}

fn verifier(name: &str, kind: Kind, key: &str) -> Result<Verifier, String> {
    let name = KeyName::new(name).ok_or_else(|| format!("{name} is no name of a signer"))?;
    Verifier::of_public(name, kind, key).ok_or_else(|| format!("{key} is no Ed25519 key in base64"))
}
