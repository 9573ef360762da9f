//! The configuration of one of the original's edge nodes (NC section 6), and what of it makes a node of ours.

use std::fmt;

use serde_json::{Map, Value};

use super::config::NotAConfig;
use crate::tokens::presented;

/// The tunnel's port, where the configuration names none.
const TUNNEL: u64 = 6441;
/// What else a configuration may name is shown so far: it is somebody else's text.
const MOST_SHOWN: usize = 32;

/// The keys that say who a node is.
const USED: [&str; 4] = ["serverAddr", "port", "token", "networkCertDir"];

/// Those that have no counterpart, with what to do instead. `mut` is what the original's parser looks for in place of `mtu`.
const WITHOUT: [(&str, &str); 7] = [
    ("redirectGateway", "routes of this machine are its administrator's: join with --tun and add them"),
    ("mtu", "the server says it, or it is 1400"),
    ("mut", "the server says it, or it is 1400"),
    ("logDir", "the log goes to standard error"),
    ("debug", "MESH_LOG=debug says more"),
    ("workDir", "--folder names where the node is kept"),
    ("mode", ""),
];

/// An edge node's settings.
#[derive(Clone, PartialEq, Eq)]
pub struct LegacyClient {
    /// Its token.
    pub token: String,
    /// `host:port` of the tunnel.
    pub tunnel: String,
    /// The folder with its certificate, the key, and the authority of the tunnel.
    pub folder: String,
    /// What has no counterpart, each in a line for people that names the key and not what stands there.
    pub without: Vec<String>,
}

impl fmt::Debug for LegacyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegacyClient({})", self.tunnel)
    }
}

impl LegacyClient {
    /// Reads what its YAML holds; the keys of a client stand below `client`, or beside `mode`.
    ///
    /// # Errors
    /// See [`NotAConfig`]. None shows the token.
    pub fn read(document: &Value) -> Result<Self, NotAConfig> {
        let written = document.as_object().ok_or_else(|| form("it is no table of keys"))?;
        if written.get("mode").is_some_and(|mode| mode != "client") {
            return Err(NotAConfig::Server);
        }
        let own = written.get("client").and_then(Value::as_object).unwrap_or(written);
        let port = match own.get("port") {
            None | Some(Value::Null) => TUNNEL,
            Some(port) => {
                port.as_u64().filter(|port| (1..=65535).contains(port)).ok_or_else(|| form("its port is none"))?
            }
        };
        let server = text(own, "serverAddr")?;
        // The original dials an IPv4 address and nothing else; a name does no harm.
        let is_host = server.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        if !is_host {
            return Err(form("its serverAddr is no address"));
        }
        Ok(Self {
            token: token(own)?,
            tunnel: format!("{server}:{port}"),
            folder: text(own, "networkCertDir")?.to_owned(),
            without: without(own),
        })
    }
}

/// 16 hexadecimal digits, in quotes or without them: then YAML takes some for a number.
fn token(own: &Map<String, Value>) -> Result<String, NotAConfig> {
    let token = own.get("token").and_then(Value::as_u64).map(|number| number.to_string());
    let token = token.map_or_else(|| text(own, "token").map(str::to_owned), Ok)?;
    let is_one = token.len() == 16 && presented(&token).is_some();
    if is_one { Ok(token) } else { Err(form("its token is not that of a node: 16 hexadecimal digits, best in quotes")) }
}

fn text<'t>(own: &'t Map<String, Value>, key: &str) -> Result<&'t str, NotAConfig> {
    let text = own.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    text.ok_or_else(|| form(&format!("it has no {key}, as a text")))
}

fn form(why: &str) -> NotAConfig {
    NotAConfig::Form(why.to_owned())
}

/// What is set and means nothing to us.
fn without(own: &Map<String, Value>) -> Vec<String> {
    let says_nothing = |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || value == "" || value == 0;
    let unused = own.iter().filter(|(key, value)| !USED.contains(&key.as_str()) && !says_nothing(value));
    let line = |(key, _): (&String, &Value)| match WITHOUT.iter().find(|(known, _)| known == key) {
        Some((_, "")) => None,
        Some((known, instead)) => Some(format!("{known}: {instead}")),
        None => {
            let shown: String = key.chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect();
            Some(format!("{shown}: nothing is known of it"))
        }
    };
    unused.take(MOST_SHOWN).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own() -> Value {
        json!({"networkCertDir": "certs", "serverAddr": "203.0.113.7", "port": 7441, "token": "b52f93d3f0ec4be7"})
    }

    #[test]
    fn a_clients_settings_are_read_below_their_key_and_beside_it() {
        let mut flat = own();
        flat["mode"] = json!("client");
        for document in [own(), flat, json!({"mode": "client", "client": own(), "server": {"ip": "x"}})] {
            let client = LegacyClient::read(&document).unwrap();
            assert_eq!((client.tunnel.as_str(), client.folder.as_str()), ("203.0.113.7:7441", "certs"));
            assert_eq!((client.token.as_str(), client.without.len()), ("b52f93d3f0ec4be7", 0));
            assert!(!format!("{client:?}").contains("b52f"), "a token is shown");
        }
        let mut least = own();
        least.as_object_mut().unwrap().remove("port");
        least["token"] = json!(1_234_567_890_123_456_u64);
        let least = LegacyClient::read(&least).unwrap();
        assert_eq!((least.tunnel.as_str(), least.token.as_str()), ("203.0.113.7:6441", "1234567890123456"));
    }

    #[test]
    fn what_means_nothing_to_us_is_named_where_it_is_set() {
        let mut all = own();
        for key in ["mtu", "mut", "logDir", "workDir", "more"] {
            all[key] = json!("set");
        }
        (all["redirectGateway"], all["debug"]) = (json!(true), json!(false));
        let without = LegacyClient::read(&all).unwrap().without;
        let mut keys: Vec<_> = without.iter().filter_map(|line| line.split(':').next()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["logDir", "more", "mtu", "mut", "redirectGateway", "workDir"]);
        assert!(without.iter().any(|line| line.contains("--tun")) && !without.iter().any(|line| line.contains("set")));
    }

    #[test]
    fn what_is_no_clients_says_why_without_its_token() {
        let with = |key: &str, value: Value| {
            let mut document = own();
            document[key] = value;
            LegacyClient::read(&document).unwrap_err().to_string()
        };
        assert!(with("mode", json!("server")).contains("mesh tunnel import"));
        for (key, value) in [
            ("serverAddr", json!("")),
            ("serverAddr", json!("a b\r\nX: y")),
            ("port", json!(0)),
            ("port", json!(65536)),
            ("port", json!("6441")),
            ("token", json!(["b52f93d3f0ec4be7"])),
            ("token", json!("b52f93d3f0ec4be7\r\nX: y")),
            ("token", json!("reserverd")),
            ("token", json!(1234)),
            ("networkCertDir", Value::Null),
        ] {
            let why = with(key, value);
            assert!(why.contains(key) && !why.contains("b52f"), "{key}: {why}");
        }
        assert!(LegacyClient::read(&json!([1])).is_err());
    }
}
