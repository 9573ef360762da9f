//! The roots that a route trusts: read, held against the time, one certificate in each text.

use std::{collections::BTreeMap, time::SystemTime};

use crds::Trust;
use mesh_pki::{CertificateInfo, TrustAnchors, encode_certificate, parse_certificates};

use super::Turns;
use crate::node::{Object, Problem};

/// What a route may trust, as `rootPEMs` bounds it: the present root and the next one of each of two partners' authorities.
const MOST_ROOTS: usize = 4;

/// Roots that can be used.
pub(super) struct Roots {
    /// One PEM certificate in each.
    pub(super) pems: Vec<String>,
    /// What they say.
    pub(super) infos: Vec<CertificateInfo>,
    /// Whether there is one that is not valid now, beside one that is.
    pub(super) remark: Option<Problem>,
}

/// Reads the roots, from the spec or from the ConfigMap that it names.
pub(super) fn of(
    trust: &Trust,
    config_maps: &BTreeMap<String, BTreeMap<String, String>>,
    turns: &mut Turns,
) -> Result<Roots, Problem> {
    let texts = match &trust.config_map_ref {
        None => trust.root_pems.iter().enumerate().map(|(n, pem)| (format!("spec.trust.rootPEMs[{n}]"), pem)).collect(),
        Some(reference) => {
            let missing = |key| Problem::MissingReference {
                field: "spec.trust.configMapRef",
                object: Object::ConfigMap,
                name: reference.name.clone(),
                key,
            };
            let map = config_maps.get(&reference.name).ok_or_else(|| missing(None))?;
            let text = map.get(&reference.key).filter(|text| !text.trim().is_empty());
            let text = text.ok_or_else(|| missing(Some(reference.key.clone())))?;
            vec![(format!("spec.trust.configMapRef: {}/{}", reference.name, reference.key), text)]
        }
    };
    read(&texts, turns)
}

fn read(texts: &[(String, &String)], turns: &mut Turns) -> Result<Roots, Problem> {
    let mut pems = Vec::new();
    for (field, text) in texts {
        // TrustAnchors knows what a certificate must be to verify against; the split is by what it was read from.
        TrustAnchors::from_pems(&[text]).map_err(|e| bad(field, e.to_string()))?;
        let ders = parse_certificates(text).map_err(|e| bad(field, e.to_string()))?;
        pems.extend(ders.iter().map(|der| encode_certificate(der)));
    }
    let field = texts.first().map_or("spec.trust", |(field, _)| field);
    pems.dedup();
    if pems.len() > MOST_ROOTS {
        let why =
            format!("{} roots are more than {MOST_ROOTS}: leave out those that the partner no longer uses", pems.len());
        return Err(bad(field, why));
    }
    let anchors = TrustAnchors::from_pems(&pems).map_err(|e| bad(field, e.to_string()))?;
    let infos: Vec<_> = anchors.roots().cloned().collect();
    let good = in_force(infos.iter(), turns);
    let stale = infos.iter().find(|info| !is_in_force(info, turns.now)).map(|info| bad(field, life(info)));
    match (good, stale) {
        (0, Some(problem)) => Err(problem),
        (_, remark) => Ok(Roots { pems, infos, remark }),
    }
}

/// How many are valid now; notes when that changes.
pub(super) fn in_force<'i>(infos: impl Iterator<Item = &'i CertificateInfo>, turns: &mut Turns) -> usize {
    let mut good = 0;
    for info in infos {
        turns.at(info.not_before);
        // The last second of a life still counts.
        turns.at(info.not_after + std::time::Duration::from_secs(1));
        good += usize::from(is_in_force(info, turns.now));
    }
    good
}

fn is_in_force(info: &CertificateInfo, now: SystemTime) -> bool {
    info.not_before <= now && now <= info.not_after
}

fn life(info: &CertificateInfo) -> String {
    format!(
        "{} is valid from {} to {}: ask the partner for its present root",
        info.subject,
        moment(info.not_before),
        moment(info.not_after)
    )
}

fn bad(field: &str, why: String) -> Problem {
    Problem::BadRoot { field: field.into(), why }
}

/// A moment as RFC 3339 has it, in whole seconds.
pub(crate) fn moment(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| "a time beyond the calendar".into(), |time| format!("{time:.0}"))
}
