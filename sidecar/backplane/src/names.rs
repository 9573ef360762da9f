//! Names within NATS. They are internal, and carry the version of what is said under them and the node's id, so that several nodes
//! and versions share an account.

use crate::session::Key;

/// The version of what is said under these names.
const VERSION: &str = "v1";

/// The names of one node's gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    node: String,
}

impl Names {
    /// Of the node with this id. What may not be in a name of a bucket is written as its number.
    pub(crate) fn of(node_id: &str) -> Self {
        let mut node = String::new();
        for byte in node_id.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' => node.push(byte.into()),
                other => node.push_str(&format!("_{other:02x}")),
            }
        }
        Self { node }
    }

    /// The bucket in which each gateway has its number.
    pub(crate) fn members(&self) -> String {
        format!("interconn-{VERSION}-{}-members", self.node)
    }

    /// The bucket that says who owns which session.
    pub(crate) fn sessions(&self) -> String {
        format!("interconn-{VERSION}-{}-sessions", self.node)
    }

    /// The stream with the logs of all sessions.
    pub(crate) fn logs(&self) -> String {
        format!("interconn-{VERSION}-{}-logs", self.node)
    }

    /// What the logs of all sessions stand under.
    pub(crate) fn all_of_logs(&self) -> String {
        format!("interconn.{VERSION}.{}.session.>", self.node)
    }

    /// All that is kept of a session.
    pub(crate) fn all_of_session(&self, session: &Key) -> String {
        format!("interconn.{VERSION}.{}.session.{session}.>", self.node)
    }

    /// Where a session's batches stand.
    pub(crate) fn log(&self, session: &Key) -> String {
        format!("interconn.{VERSION}.{}.session.{session}.log", self.node)
    }

    /// Where the pieces of a session's large records stand, by their names; `*` for all.
    pub(crate) fn pieces(&self, session: &Key, name: &str) -> String {
        format!("interconn.{VERSION}.{}.session.{session}.pieces.{name}", self.node)
    }

    /// Under what the servers' answers come: no other node of the account need hear them.
    pub(crate) fn answers(&self) -> String {
        format!("_INBOX.interconn-{VERSION}-{}", self.node)
    }

    /// Where a gateway hears the others, before it has a number too.
    pub(crate) fn inbox(&self, life: u64) -> String {
        format!("interconn.{VERSION}.{}.link.{life:016x}", self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_and_each_life_has_names_of_its_own() {
        let names = Names::of("LX0000010000280");
        assert_eq!(names.members(), "interconn-v1-LX0000010000280-members");
        assert_eq!(names.inbox(255), "interconn.v1.LX0000010000280.link.00000000000000ff");
        let session = Key::of("");
        let under = names.all_of_session(&session);
        let under = under.trim_end_matches('>');
        for name in [names.log(&session), names.pieces(&session, "1f")] {
            assert!(name.starts_with(under) && under.starts_with(names.all_of_logs().trim_end_matches('>')), "{name}");
        }
        // Nothing in an id reaches another node's names.
        assert_eq!(Names::of("a.b>*_ é").members(), "interconn-v1-a_2eb_3e_2a_5f_20_c3_a9-members");
        assert_ne!(Names::of("a_2e"), Names::of("a."));
    }
}
