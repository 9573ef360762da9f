//! Whether the operator may do what it does: each right of its list, asked of the API server.
//!
//! The lists are those of `main.rs`, which the chart grants and docs/install.md shows: what every installation needs, and what its
//! webhook and its intake need, which it may do without.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};

use super::finding::{Finding, State};

/// A group, a resource with its part, and the verbs.
type Right = (&'static str, &'static str, &'static [&'static str]);

/// In each namespace that is looked after.
pub(crate) const WATCHED: &[Right] = &[
    ("interconn.dev", "meshnodes", &["get", "list", "watch", "patch"]),
    ("interconn.dev", "meshroutes", &["get", "list", "watch"]),
    ("interconn.dev", "serviceregistrations", &["get", "list", "watch"]),
    ("interconn.dev", "meshnodes/status", &["patch"]),
    ("interconn.dev", "meshroutes/status", &["patch"]),
    ("interconn.dev", "serviceregistrations/status", &["patch"]),
    ("interconn.dev", "meshnodes/finalizers", &["update"]),
    ("", "secrets", &["get", "list", "watch", "create", "patch"]),
    ("", "configmaps", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "services", &["get", "list", "watch", "create", "patch"]),
    ("apps", "statefulsets", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "serviceaccounts", &["get", "list", "watch", "create", "patch", "delete"]),
    ("networking.k8s.io", "networkpolicies", &["get", "list", "watch", "create", "patch", "delete"]),
    ("policy", "poddisruptionbudgets", &["get", "list", "watch", "create", "patch", "delete"]),
    ("cert-manager.io", "certificaterequests", &["get", "list", "create", "patch", "delete"]),
    ("gateway.networking.k8s.io", "tlsroutes", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "persistentvolumeclaims", &["list"]),
    ("", "pods", &["get", "list", "watch", "patch"]),
    ("events.k8s.io", "events", &["create", "patch"]),
];

/// In its own namespace.
pub(crate) const OWN: &[Right] = &[
    ("coordination.k8s.io", "leases", &["get", "create", "update"]),
    ("", "secrets", &["get", "create", "patch", "delete"]),
];

/// In each namespace that is looked after, for the intake.
pub(crate) const INTAKE: &[Right] = &[("interconn.dev", "meshroutes", &["create", "patch", "delete"])];

/// Of the cluster as a whole, for the intake.
pub(crate) const CLUSTER: &[Right] = &[
    ("authentication.k8s.io", "tokenreviews", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
];

/// What the rights to single objects name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    /// The webhook's configuration, of the cluster.
    pub(crate) configuration: &'a str,
    /// The Secret with the certificate of webhook and intake, of the operator's namespace, as are the Services.
    pub(crate) secret: &'a str,
    /// The webhook's Service.
    pub(crate) webhook: &'a str,
    /// The intake's Service.
    pub(crate) intake: &'a str,
}

/// One right to one object: whether it is of the operator's namespace, group, resource, name, verbs.
type ToOne<'a> = (bool, &'static str, &'static str, &'a str, &'static [&'static str]);

impl<'a> Named<'a> {
    fn of_webhook(self) -> [ToOne<'a>; 3] {
        let group = "admissionregistration.k8s.io";
        let verbs = &["get", "list", "watch", "patch"];
        [
            (false, group, "mutatingwebhookconfigurations", self.configuration, verbs),
            self.certificate(),
            (true, "", "services", self.webhook, &["get"]),
        ]
    }

    fn of_intake(self) -> [ToOne<'a>; 2] {
        [self.certificate(), (true, "", "services", self.intake, &["get"])]
    }

    fn certificate(self) -> ToOne<'a> {
        (true, "", "secrets", self.secret, &["list", "watch"])
    }
}

/// Whose rights are looked at.
#[derive(Clone, Debug)]
pub(crate) enum Whose {
    /// Of whoever runs this: in the operator's pod, the operator's.
    Mine,
    /// Of this service account: `system:serviceaccount:NAMESPACE:NAME`.
    Account(String),
}

/// All rights, with what is missing by namespace.
pub(crate) async fn check(
    client: &Client,
    whose: &Whose,
    (own, named): (&str, Named<'_>),
    scopes: &[Option<&str>],
) -> Vec<Finding> {
    let mut findings = vec![place(client, whose, Some(own), OWN, "its own namespace").await];
    for scope in scopes {
        findings.push(place(client, whose, *scope, WATCHED, "the namespaces that are looked after").await);
    }
    findings.push(intake(place(client, whose, None, CLUSTER, "the intake").await));
    for scope in scopes {
        findings.push(intake(place(client, whose, *scope, INTAKE, "the intake").await));
    }
    findings.push(intake(objects(client, whose, own, &named.of_intake(), "the intake").await));
    findings.push(webhook(objects(client, whose, own, &named.of_webhook(), "the webhook").await));
    findings
}

fn intake(finding: Finding) -> Finding {
    optional(finding, "the intake", "intake.enabled")
}

fn webhook(finding: Finding) -> Finding {
    optional(finding, "the webhook", "webhook.enabled")
}

/// An installation may do without.
fn optional(finding: Finding, part: &str, value: &str) -> Finding {
    let subject = format!("{part}, {}", finding.subject);
    if finding.state != State::Failed {
        return finding.of(subject);
    }
    let remedy = format!("unless {value} is false, install the chart's roles (rbac.create), or grant what is missing");
    Finding::bad("rights", State::Warning, finding.said, remedy).of(subject)
}

/// One question each: where, group, resource, the object's name where it is one, and the verb.
pub(super) type Question<'a> = (Option<&'a str>, &'a str, &'a str, Option<&'a str>, &'a str);

async fn place(client: &Client, whose: &Whose, namespace: Option<&str>, rights: &[Right], what: &str) -> Finding {
    let mut questions = Vec::new();
    for (group, resource, verbs) in rights {
        questions.extend(verbs.iter().map(|verb| (namespace, *group, *resource, None, *verb)));
    }
    ask(client, whose, &questions, what).await.of(namespace.unwrap_or("all namespaces"))
}

async fn objects(client: &Client, whose: &Whose, own: &str, rights: &[ToOne<'_>], what: &str) -> Finding {
    let mut questions = Vec::new();
    for (is_own, group, resource, name, verbs) in rights {
        questions.extend(verbs.iter().map(|verb| (is_own.then_some(own), *group, *resource, Some(*name), *verb)));
    }
    ask(client, whose, &questions, what).await.of("its own objects")
}

async fn ask(client: &Client, whose: &Whose, questions: &[Question<'_>], what: &str) -> Finding {
    let mut missing = Vec::new();
    for question in questions {
        let (_, _, resource, name, verb) = question;
        match may(client, whose, *question).await {
            Ok(true) => {}
            Ok(false) => {
                let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                missing.push(format!("{verb} {resource}{name}"));
            }
            Err(error) => {
                let remedy = "give whoever runs this the right to make access reviews";
                return Finding::bad("rights", State::Unknown, error.to_string(), remedy);
            }
        }
    }
    judge(&missing, questions.len(), what)
}

fn judge(missing: &[String], asked: usize, what: &str) -> Finding {
    if missing.is_empty() {
        return Finding::ok("rights", format!("all {asked} for {what}"));
    }
    let said = format!("missing: {}", missing.join(", "));
    Finding::bad("rights", State::Failed, said, "install the chart's roles (rbac.create), or grant what is missing")
}

/// Whether one thing may be done.
pub(super) async fn may(client: &Client, whose: &Whose, question: Question<'_>) -> kube::Result<bool> {
    let (namespace, group, resource, name, verb) = question;
    let (resource, part) = resource.split_once('/').map_or((resource, None), |(r, part)| (r, Some(part)));
    let resource_attributes = Some(ResourceAttributes {
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: part.map(Into::into),
        verb: Some(verb.into()),
        namespace: namespace.map(Into::into),
        name: name.map(Into::into),
        ..ResourceAttributes::default()
    });
    let params = PostParams::default();
    let status = match whose {
        Whose::Mine => {
            let spec = SelfSubjectAccessReviewSpec { resource_attributes, ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..Default::default() };
            Api::<SelfSubjectAccessReview>::all(client.clone()).create(&params, &review).await?.status
        }
        Whose::Account(user) => {
            let groups = Some(groups(user));
            let spec =
                SubjectAccessReviewSpec { resource_attributes, user: Some(user.clone()), groups, ..Default::default() };
            let review = SubjectAccessReview { spec, ..Default::default() };
            Api::<SubjectAccessReview>::all(client.clone()).create(&params, &review).await?.status
        }
    };
    Ok(status.is_some_and(|s| s.allowed))
}

/// The groups of a service account: rights may be bound to them too.
fn groups(user: &str) -> Vec<String> {
    let namespace = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split(':').next());
    let mut groups = vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()];
    groups.extend(namespace.map(|n| format!("system:serviceaccounts:{n}")));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let finding = judge(&["patch meshnodes".into(), "list pods".into()], 30, "x");
        assert_eq!((finding.state, finding.said.as_str()), (State::Failed, "missing: patch meshnodes, list pods"));
        assert_eq!(judge(&[], 2, "x").state, State::Ok);
    }

    #[test]
    fn an_installation_without_an_intake_is_well() {
        let missing = intake(judge(&["create tokenreviews".into()], 2, "x").of("all namespaces"));
        assert_eq!((missing.state, missing.subject.as_str()), (State::Warning, "the intake, all namespaces"));
        assert_eq!(intake(judge(&[], 2, "x")).state, State::Ok);
        let missing = webhook(judge(&["patch x".into()], 2, "x").of("its own objects"));
        assert!(missing.state == State::Warning && missing.remedy.contains("webhook.enabled"), "{missing:?}");
    }

    #[test]
    fn a_service_account_has_the_groups_of_its_namespace() {
        assert!(groups("system:serviceaccount:a:b").contains(&"system:serviceaccounts:a".to_owned()));
    }
}
