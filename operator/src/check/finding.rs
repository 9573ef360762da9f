//! What a check found: each line is all right, or says why not and what to do.

use std::fmt::Write as _;

use serde::Serialize;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It could not be looked at from here.
    Unknown,
    /// Works, and somebody should know. A partner that is away is no more than that.
    Warning,
    /// Does not work.
    Failed,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Which check: `kubernetes`, `definitions`, `rights`, ...
    pub(crate) check: &'static str,
    /// What it speaks of, such as `bank/route/partner`; empty: the installation.
    pub(crate) subject: String,
    /// How it is.
    pub(crate) state: State,
    /// What was found.
    pub(crate) said: String,
    /// What to do; empty where nothing is to be done.
    pub(crate) remedy: String,
}

impl Finding {
    /// All is well.
    pub(crate) fn ok(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, subject: String::new(), state: State::Ok, said: said.into(), remedy: String::new() }
    }

    /// Something is not, or not known to be.
    pub(crate) fn bad(check: &'static str, state: State, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, subject: String::new(), state, said: said.into(), remedy: remedy.into() }
    }

    /// The same, about one thing.
    pub(crate) fn of(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }
}

/// Whether anything does not work.
pub(crate) fn failed(findings: &[Finding]) -> bool {
    findings.iter().any(|f| f.state == State::Failed)
}

/// For people: a line each, the remedy below what needs one, the sum at the end.
pub(crate) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for f in findings {
        let word = match f.state {
            State::Ok => "ok",
            State::Unknown => "unknown",
            State::Warning => "warning",
            State::Failed => "FAILED",
        };
        let subject = if f.subject.is_empty() { String::new() } else { format!("{}: ", f.subject) };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{word:<8} {:<13} {subject}{}", f.check, f.said);
        if !f.remedy.is_empty() {
            let _ = writeln!(text, "{:<22} remedy: {}", "", f.remedy);
        }
    }
    let count = |state| findings.iter().filter(|f| f.state == state).count();
    let (failed, warnings) = (count(State::Failed), count(State::Warning));
    let _ = writeln!(text, "{} checks: {failed} failed, {warnings} warnings", findings.len());
    text
}

/// For programs.
///
/// # Errors
/// Never for these types; serde asks for it.
pub(crate) fn json(findings: &[Finding]) -> Result<String, serde_json::Error> {
    let healthy = !failed(findings);
    serde_json::to_string_pretty(&serde_json::json!({"healthy": healthy, "checks": findings}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_is_wrong_and_below_it_what_to_do() {
        let findings = [
            Finding::ok("kubernetes", "v1.36.2"),
            Finding::bad("route", State::Failed, "Accepted=False: BadRoot", "take the partner's present root")
                .of("a/r"),
            Finding::bad("route", State::Warning, "Reachable=False", "").of("a/s"),
        ];
        let expected = "\
ok       kubernetes    v1.36.2
FAILED   route         a/r: Accepted=False: BadRoot
                       remedy: take the partner's present root
warning  route         a/s: Reachable=False
3 checks: 1 failed, 1 warnings
";
        assert_eq!(text(&findings), expected);
    }

    #[test]
    fn programs_are_told_the_same_and_a_warning_is_no_failure() {
        let findings = [Finding::bad("route", State::Warning, "Reachable=False", "wait").of("a/s")];
        let value: serde_json::Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
        assert_eq!(value["healthy"], true);
        assert_eq!(value["checks"][0]["state"], "warning");
        assert_eq!(value["checks"][0]["subject"], "a/s");
    }
}
