//! Whether whoever answers proves to be the partner: by the name that is asked for, the chain, the name in it, and the time.

use std::time::SystemTime;

use mesh_pki::{CertificateDer, CertificateInfo, ChainProblem, Role, node_dns_name, require_name};

use super::{
    Subject,
    reach::{Shaken, shake, tcp},
    report::Lines,
};
use crate::{NameCheck, Partners};

/// Judges what was shown; `false` where nothing more may be said to the other end.
pub(super) async fn holds(partners: &Partners, subject: &Subject, shaken: &Shaken, lines: &mut Lines) -> bool {
    let (asked, now) = (subject.asked_name(), SystemTime::now());
    let verdict = subject.route.anchors.verify(&shaken.chain, Role::Server, now);
    if let Err(problem) = verdict {
        // Something that chooses its certificate by name shows another to another name.
        let node_name = node_dns_name(subject.route.node_id.as_str());
        if asked != node_name && is_right_by(partners, subject, &node_name).await {
            let remedy =
                format!("set serverName of the address to {node_name}, or have {asked} lead to the partner there");
            lines.failed("sni", format!("asked for {asked} it shows a certificate of somebody else"), remedy);
        } else {
            lines.ok("sni", format!("asked for {asked}"));
        }
        bad_chain(&shaken.chain, &problem, lines);
        return false;
    }
    lines.ok("sni", format!("asked for {asked}"));
    lines.ok("chain", "ends in a root of the route");
    let Some(leaf) = shaken.chain.first() else { return false };
    match require_name(leaf, subject.route.node_id.as_str(), host_that_counts(partners, subject)) {
        Ok(()) => lines.ok("name", format!("speaks for {}", subject.route.node_id)),
        Err(problem) if partners.names() == NameCheck::Skipped => {
            lines.warn(
                "name",
                format!("not looked at (PLUGIN_PROXY_INSECURE_SKIP): {problem}"),
                "switch the check on again",
            );
        }
        Err(problem) => {
            let remedy = "under the right root, another node's certificate: dial the right address, or ask the partner for a leaf \
                          that names it";
            lines.failed("name", problem.to_string(), remedy);
            return false;
        }
    }
    true
}

/// What [`holds`] asks, in short: for a further connection to whoever proved it a moment ago.
pub(super) fn is_the_partner(
    partners: &Partners,
    subject: &Subject,
    chain: &[CertificateDer<'_>],
) -> Result<(), String> {
    subject.route.anchors.verify(chain, Role::Server, SystemTime::now()).map_err(|e| e.to_string())?;
    let leaf = chain.first().ok_or("nothing was shown")?;
    match require_name(leaf, subject.route.node_id.as_str(), host_that_counts(partners, subject)) {
        Err(problem) if partners.names() == NameCheck::Required => Err(problem.to_string()),
        _ => Ok(()),
    }
}

/// The host that the certificate may name instead of the node: none where another party has the same root.
fn host_that_counts<'s>(partners: &Partners, subject: &'s Subject) -> Option<&'s str> {
    (!partners.shares_root(&subject.route)).then(|| subject.asked_name())
}

async fn is_right_by(partners: &Partners, subject: &Subject, name: &str) -> bool {
    let Some(tcp) = tcp(partners, subject, &mut Lines::default()).await else { return false };
    match shake(subject, tcp, name).await {
        Ok(again) => subject.route.anchors.verify(&again.chain, Role::Server, SystemTime::now()).is_ok(),
        Err(_) => false,
    }
}

/// What is wrong with a chain: its time is the clocks' business, its root the route's.
fn bad_chain(chain: &[CertificateDer<'_>], problem: &ChainProblem, lines: &mut Lines) {
    let shown = chain.first().and_then(|leaf| CertificateInfo::from_der(leaf).ok());
    let shown = shown.map_or_else(String::new, |info| format!(" (shown: {} by {})", info.subject, info.issuer));
    let detail = format!("{problem}{shown}");
    let remedy = match problem {
        ChainProblem::Expired { .. } | ChainProblem::RootExpired { .. } => {
            "compare the clocks of both machines; if they are right, the partner must renew"
        }
        ChainProblem::NotYetValid { .. } | ChainProblem::RootNotYetValid { .. } => {
            "compare the clocks of both machines (NTP): one of them is wrong, or the partner's was when it issued this"
        }
        ChainProblem::UnknownIssuer { .. } | ChainProblem::BadSignature => {
            "compare the partner's root with the route's by sha256; where the certificate is a proxy's, something in between ends \
             TLS: have it pass TLS through"
        }
        _ => "have the partner issue its certificate again",
    };
    let check = match problem {
        ChainProblem::Expired { .. }
        | ChainProblem::RootExpired { .. }
        | ChainProblem::NotYetValid { .. }
        | ChainProblem::RootNotYetValid { .. } => "clock",
        _ => "chain",
    };
    lines.failed(check, detail, remedy);
}
