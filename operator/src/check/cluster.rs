//! What the cluster is: its version, our definitions in it, and whether somebody leads.

use std::time::Duration;

use crds::definitions::definitions;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::Lease, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client};

use super::{
    finding::{Finding, State},
    served,
};

/// The minor versions that we stand for; the tests, or a part of them, ran on each (e2e/README.md).
const SUPPORTED: std::ops::RangeInclusive<u32> = 33..=37;
/// A leader renews every two seconds; a Lease older than this is nobody's.
const FRESH: Duration = Duration::from_secs(20);

/// What helps against definitions that are not there, or of another version.
const REMEDY: &str = "apply the definitions of this version: helm upgrade with crds.enabled, or the rendered file";
/// So many fields are named; the rest is a number.
const NAMED: usize = 5;

/// The API server's version.
pub(crate) async fn version(client: &Client) -> Finding {
    match client.apiserver_version().await {
        Ok(info) => judge_version(&info.git_version, &info.major, &info.minor),
        Err(error) => {
            Finding::bad("kubernetes", State::Failed, error.to_string(), "see that the API server is in reach")
        }
    }
}

fn judge_version(said: &str, major: &str, minor: &str) -> Finding {
    // Some providers write "33+".
    let minor: Option<u32> = minor.trim_end_matches('+').parse().ok();
    let (first, last) = (SUPPORTED.start(), SUPPORTED.end());
    let remedy = format!("1.{first} to 1.{last} are supported");
    match minor {
        Some(minor) if major == "1" && SUPPORTED.contains(&minor) => Finding::ok("kubernetes", said),
        // Native sidecars and the laws of our definitions need what older ones do not have.
        Some(minor) if major == "1" && minor < *first => {
            Finding::bad("kubernetes", State::Failed, format!("{said} is too old"), remedy)
        }
        _ => Finding::bad("kubernetes", State::Warning, format!("{said} was not tested"), remedy),
    }
}

/// Our definitions: there, served, and those of this version.
pub(crate) async fn installed(client: &Client, is_wanted: bool) -> Vec<Finding> {
    let ours = match definitions() {
        Ok(ours) => ours,
        Err(error) => return vec![Finding::bad("definitions", State::Failed, error.to_string(), "please report it")],
    };
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut findings = Vec::new();
    for definition in ours {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let finding = match api.get_opt(&name).await {
            Ok(found) => judge_definition(&definition, found.as_ref(), is_wanted),
            Err(kube::Error::Api(status)) if status.code == 403 => discovered(client, &definition, is_wanted).await,
            Err(error) => Finding::bad("definitions", State::Unknown, error.to_string(), ""),
        };
        findings.push(finding.of(name));
    }
    findings
}

fn judge_definition(
    ours: &CustomResourceDefinition,
    found: Option<&CustomResourceDefinition>,
    is_wanted: bool,
) -> Finding {
    let Some(found) = found else {
        return if is_wanted {
            Finding::bad("definitions", State::Failed, "not installed", REMEDY)
        } else {
            Finding::ok("definitions", "not installed yet")
        };
    };
    let conditions = found.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    if !conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
        return Finding::bad("definitions", State::Failed, "not served", "kubectl describe it: its conditions say why");
    }
    let schemas = |d: &CustomResourceDefinition| -> Vec<_> {
        d.spec.versions.iter().map(|v| (v.name.clone(), v.schema.clone())).collect()
    };
    if schemas(found) == schemas(ours) {
        return Finding::ok("definitions", format!("served: {}", crds::VERSION));
    }
    let said = "served, with the schema of another version";
    Finding::bad("definitions", if is_wanted { State::Failed } else { State::Warning }, said, REMEDY)
}

/// Whoever may not read definitions sees at least what is served of them.
async fn discovered(client: &Client, definition: &CustomResourceDefinition, is_wanted: bool) -> Finding {
    let plural = &definition.spec.names.plural;
    match client.list_api_group_resources(&format!("{}/{}", crds::GROUP, crds::VERSION)).await {
        Ok(served) if served.resources.iter().any(|r| &r.name == plural) => {}
        Ok(_) => return Finding::bad("definitions", State::Failed, "not served", "install the definitions"),
        Err(error) => return Finding::bad("definitions", State::Failed, error.to_string(), "install the definitions"),
    }
    let untold = |why: String| Finding::ok("definitions", format!("served (its fields are not compared: {why})"));
    let document = match served::document(client).await {
        Ok(document) => document,
        Err(error) => return untold(error.to_string()),
    };
    let Some(schema) = served::schema(&document, &definition.spec.names.kind) else {
        return untold("the API server does not describe it yet".to_owned());
    };
    match served::missing(definition, schema) {
        Ok(missing) => judge_fields(&missing, is_wanted),
        Err(error) => untold(error.to_string()),
    }
}

/// What an older definition lacks cannot be set by anybody, and is not taken in a status.
fn judge_fields(missing: &[String], is_wanted: bool) -> Finding {
    if missing.is_empty() {
        return Finding::ok("definitions", format!("served, with every field of this version: {}", crds::VERSION));
    }
    let more = missing.len().saturating_sub(NAMED);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = missing.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let state = if is_wanted { State::Failed } else { State::Warning };
    Finding::bad("definitions", state, format!("served without fields of this version: {named}{tail}"), REMEDY)
}

/// Whether a process of the operator leads.
pub(crate) async fn leader(client: &Client, namespace: &str, lease: &str) -> Finding {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    match api.get_opt(lease).await {
        Ok(found) => judge_lease(found.as_ref(), Timestamp::now()),
        Err(error) => {
            Finding::bad("operator", State::Unknown, error.to_string(), "it needs the right to read the Lease")
        }
    }
    .of(format!("{namespace}/{lease}"))
}

fn judge_lease(lease: Option<&Lease>, now: Timestamp) -> Finding {
    const REMEDY: &str = "look at the operator's pods: kubectl -n NAMESPACE get pods, and their log";
    let Some(spec) = lease.and_then(|l| l.spec.as_ref()) else {
        let remedy = "is the operator installed, and in this namespace (--namespace, --lease-name)?";
        return Finding::bad("operator", State::Failed, "there is no Lease", remedy);
    };
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() {
        return Finding::bad("operator", State::Failed, "nobody leads", REMEDY);
    }
    let age = spec.renew_time.as_ref().map(|at| now.duration_since(at.0).unsigned_abs());
    match age {
        Some(age) if age <= FRESH => Finding::ok("operator", format!("{holder} leads")),
        Some(age) => {
            let said = format!("{holder} led, and was last seen {} s ago", age.as_secs());
            Finding::bad("operator", State::Failed, said, REMEDY)
        }
        None => Finding::bad("operator", State::Failed, format!("{holder} never renewed its Lease"), REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};

    use super::*;

    #[test]
    fn versions_that_the_tests_do_not_run_on_are_named() {
        for minor in ["33+", "34+", "35", "36", "37"] {
            let finding = judge_version("v1.35.4", "1", minor);
            assert_eq!((finding.state, finding.said.as_str()), (State::Ok, "v1.35.4"), "{minor}");
        }
        assert_eq!(judge_version("v1.29.0", "1", "29").state, State::Failed);
        assert_eq!(judge_version("v1.32.9", "1", "32+").state, State::Failed);
        let newer = judge_version("v1.38.0", "1", "38");
        assert_eq!((newer.state, newer.said.contains("not tested")), (State::Warning, true), "{}", newer.said);
        assert_eq!(judge_version("v1.x", "1", "x").state, State::Warning);
    }

    #[test]
    fn a_lease_that_nobody_renews_is_nobodys() {
        let now = Timestamp::now();
        let held = |holder: &str, ago: i64| Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                renew_time: Some(MicroTime(now - jiff::SignedDuration::from_secs(ago))),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        assert_eq!(judge_lease(Some(&held("a", 3)), now).state, State::Ok);
        for lease in [None, Some(held("a", 60)), Some(held("", 1))] {
            assert_eq!(judge_lease(lease.as_ref(), now).state, State::Failed, "{lease:?}");
        }
    }

    #[test]
    fn a_definition_that_is_missing_fails_an_installation_and_not_a_preflight() {
        let ours = definitions().unwrap().remove(0);
        assert_eq!(judge_definition(&ours, None, true).state, State::Failed);
        assert_eq!(judge_definition(&ours, None, false).state, State::Ok);
        assert!(judge_definition(&ours, Some(&ours), true).said.contains("not served"));
    }

    #[test]
    fn fields_that_are_not_served_fail_with_the_first_of_them_and_the_remedy() {
        assert_eq!(judge_fields(&[], true).state, State::Ok);
        let fields: Vec<String> = (1..8).map(|n| format!("status.f{n}")).collect();
        assert_eq!(judge_fields(&fields, false).state, State::Warning, "an upgrade brings them");
        let told = judge_fields(&fields, true);
        let said =
            "served without fields of this version: status.f1, status.f2, status.f3, status.f4, status.f5 and 2 more";
        assert_eq!((told.state, told.said.as_str(), told.remedy.as_str()), (State::Failed, said, REMEDY));
    }
}
