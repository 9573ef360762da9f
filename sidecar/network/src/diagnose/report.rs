//! What a diagnosis says: one line for each check, in the order in which they build on each other.

use serde::Serialize;

/// The checks of an address, in order. What could not be tried because of an earlier fault is said to be so.
const CHECKS: [&str; 15] = [
    "dns",
    "tcp",
    "tls",
    "sni",
    "chain",
    "name",
    "http",
    "clock",
    "authorisation",
    "identity",
    "round trip",
    "buffering",
    "body limit",
    "bandwidth",
    "idle timeout",
];

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it must be.
    Ok,
    /// It works, and may not for long.
    Warning,
    /// It does not work.
    Failed,
    /// Not tried: something before it failed.
    Skipped,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name.
    pub check: String,
    /// What it found.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What to do; empty where nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// All checks of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressReport {
    /// As the route has it.
    pub address: String,
    /// In order.
    pub lines: Vec<Line>,
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The address that it concerns; the route itself where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The check, with its remedy.
    #[serde(flatten)]
    pub line: Line,
}

/// A whole diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The partner.
    pub node_id: String,
    /// Whether nothing failed.
    pub ok: bool,
    /// What concerns this node and its route.
    pub lines: Vec<Line>,
    /// What concerns each address.
    pub addresses: Vec<AddressReport>,
}

/// Lines as they are found.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<Line>);

impl Report {
    pub(super) fn new(node_id: String, own: Lines, addresses: Vec<AddressReport>) -> Self {
        let lines: Vec<Line> = own.into();
        let all = lines.iter().chain(addresses.iter().flat_map(|address| &address.lines));
        let ok = !all.into_iter().any(|line| line.state == State::Failed);
        Self { node_id, ok, lines, addresses }
    }

    /// What failed, with the address that it concerns; `None` where it concerns the route.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let own = self.lines.iter().map(|line| (None, line));
        let of = |address: &AddressReport| Some(address.address.clone());
        let addresses = self.addresses.iter().flat_map(|one| one.lines.iter().map(move |line| (of(one), line)));
        let failed = own.chain(addresses).filter(|(_, line)| line.state == State::Failed);
        failed.map(|(address, line)| Fault { address, line: line.clone() }).collect()
    }
}

impl Lines {
    pub(super) fn ok(&mut self, check: &str, detail: impl Into<String>) {
        self.say(check, State::Ok, detail.into(), String::new());
    }

    pub(super) fn warn(&mut self, check: &str, detail: impl Into<String>, remedy: impl Into<String>) {
        self.say(check, State::Warning, detail.into(), remedy.into());
    }

    /// What was fine until then is not.
    pub(super) fn failed(&mut self, check: &str, detail: impl Into<String>, remedy: impl Into<String>) {
        self.0.retain(|line| line.check != check || line.state != State::Ok);
        self.say(check, State::Failed, detail.into(), remedy.into());
    }

    /// What was found elsewhere.
    pub(super) fn take(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether nothing failed so far.
    pub(super) fn are_fine(&self) -> bool {
        !self.0.iter().any(|line| line.state == State::Failed)
    }

    /// What is left says that it was not tried, and because of what.
    pub(super) fn skip_the_rest(&mut self) {
        let because = self.0.iter().find(|line| line.state == State::Failed).map(|line| line.check.clone());
        let because = because.map_or_else(|| "not tried".to_owned(), |check| format!("not tried: {check} failed"));
        for check in CHECKS {
            if !self.0.iter().any(|line| line.check == check) {
                self.say(check, State::Skipped, because.clone(), String::new());
            }
        }
        self.0.sort_by_key(|line| CHECKS.iter().position(|check| *check == line.check));
    }

    fn say(&mut self, check: &str, state: State, detail: String, remedy: String) {
        // What comes from the other side may hold anything.
        let clean = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(600).collect();
        self.0.push(Line { check: check.to_owned(), state, detail: clean(detail), remedy: clean(remedy) });
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}
