//! The environment as PTP section 14 names it: `MESH_X` may also be written `mesh.x`, `mesh_x` or `mesh-x`.

use std::collections::HashMap;

/// Variables that other programs of PTP/1.0 read, or that a room of a later version will; each with the reason why it
/// has no effect here. One that is set is named in the log, once.
const WITHOUT_EFFECT: [(&str, &str); 20] = [
    ("MESH_ADDRESS", "only the command line and the SDKs read it"),
    ("MESH_DIRECT", "routes name the addresses of partners"),
    ("MESH_SUBSET", "callers name it per call, in mesh-subset"),
    ("MESH_PROXY", "a route names its proxy"),
    ("MESH_SPA", "there is no panel"),
    ("MESH_SYSTEM_CLOCK", "the clock of the system is used"),
    ("MESH_NET_DOMAINS", "calls are routed by ids and paths"),
    ("MESH_REGISTER", "only the Python SDK reads it"),
    ("MESH_PACKET_SIZE", "only the Python SDK reads it"),
    ("MESH_GRPC_CHANNEL_MAX", "only the Python SDK reads it"),
    ("MESH_BFIA_PROTO", "only the Python SDK reads it"),
    ("PLUGIN_PROXY_TRANSPORT_A", "7304 takes every protocol"),
    ("PLUGIN_PROXY_TRANSPORT_B", "7304 takes every protocol"),
    ("PLUGIN_PROXY_TRANSPORT_C", "7304 takes every protocol"),
    ("PLUGIN_PROXY_TRANSPORT_D", "7304 takes every protocol"),
    ("PLUGIN_PROXY_STREAM_MAX", "the limits of the node's transport section apply"),
    ("PLUGIN_PROXY_INSECURE_ENABLE", "transport.plaintextFrom says who may speak plain text"),
    ("PLUGIN_REDIS_ADDRESS", "queues are kept by the node itself"),
    ("PLUGIN_REDIS_SERVERS", "queues are kept by the node itself"),
    ("DSN", "state is kept under MESH_HOME"),
];

/// The variables of the process, found by any of their spellings.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    exact: HashMap<String, String>,
    folded: HashMap<String, String>,
}

impl Environment {
    /// Takes variables as the system gives them; what is not UTF-8 is left out.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let exact: HashMap<String, String> = variables.into_iter().collect();
        let folded =
            exact.iter().filter(|(name, _)| is_alias(name)).map(|(name, value)| (fold(name), value.clone())).collect();
        Self { exact, folded }
    }

    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// The value of `name`; an empty one counts as absent. The spelling in capitals wins over its aliases.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.exact
            .get(name)
            .or_else(|| self.folded.get(name))
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// What is set and has no effect, with the reason.
    #[must_use]
    pub fn without_effect(&self) -> Vec<String> {
        WITHOUT_EFFECT
            .iter()
            .filter(|(name, _)| self.get(name).is_some())
            .map(|(name, reason)| format!("{name} has no effect: {reason}"))
            .collect()
    }
}

/// `mesh.x`, `mesh_x`, `mesh-x`.
fn is_alias(name: &str) -> bool {
    name.strip_prefix("mesh").is_some_and(|rest| rest.starts_with(['.', '_', '-']))
}

fn fold(name: &str) -> String {
    name.to_ascii_uppercase().replace(['.', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn four_spellings_name_one_variable() {
        for name in ["MESH_PLAINTEXT_FROM", "mesh.plaintext.from", "mesh_plaintext_from", "mesh-plaintext-from"] {
            assert_eq!(environment(&[(name, "x")]).get("MESH_PLAINTEXT_FROM"), Some("x"), "{name}");
        }
        let both = environment(&[("mesh.home", "b"), ("MESH_HOME", "a")]);
        assert_eq!(both.get("MESH_HOME"), Some("a"));
    }

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        assert_eq!(environment(&[("MESH_HOME", " ")]).get("MESH_HOME"), None);
    }

    #[test]
    fn known_variables_without_effect_are_named_and_unknown_ones_are_not() {
        let notes =
            environment(&[("DSN", "mysql://"), ("mesh.direct", "a=b"), ("MESH_PORT_7304_TCP", "x")]).without_effect();
        assert_eq!(notes.len(), 2);
        assert!(notes[0].starts_with("MESH_DIRECT has no effect: "), "{notes:?}");
        assert!(!notes[1].contains("mysql"), "values may be secrets: {notes:?}");
    }
}
