//! What the environment says of the backplane: where the servers of NATS are, and which file has the credentials for them. What
//! else there is to say stands in a file, in the section `backplane`. And where the node's other gateways reach this one.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crds::{Backplane, MeshNodeSpec, Nats};

use super::{Listen, bounded, environment::Environment, file::FileConfig};
use crate::ConfigProblem;

const URL: &str = "MESH_BACKPLANE_NATS_URL";
const CREDENTIALS: &str = "MESH_BACKPLANE_NATS_CREDENTIALS";
const ADDRESS: &str = "MESH_BACKPLANE_ADDRESS";
/// A credentials file is of some 1 KiB.
const LARGEST_FILE: u64 = 64 << 10;

/// The backplane, as the environment has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackplaneSettings {
    /// `MESH_BACKPLANE_NATS_URL`: one server or several, with commas between.
    url: Option<String>,
    /// `MESH_BACKPLANE_NATS_CREDENTIALS`: the file with what is shown to them.
    credentials: Option<PathBuf>,
    /// `MESH_BACKPLANE_ADDRESS`: where the other gateways reach this one.
    address: Option<Reached>,
}

/// Where something is reached: an IP address or a name, and the port unless it is the data plane's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reached {
    host: String,
    port: Option<u16>,
}

impl BackplaneSettings {
    pub(super) fn read(environment: &Environment) -> Result<Self, ConfigProblem> {
        let url = environment.get(URL).map(str::to_owned);
        if url.as_deref().is_some_and(|url| !is_url(url)) {
            // What breaks the rule may have a password in it.
            let rule =
                "is no list of servers such as nats://a:4222,nats://b:4222, or tls://; credentials stand in a file";
            return Err(ConfigProblem::invalid(URL, rule));
        }
        let address = environment.get(ADDRESS).map(|text| {
            let rule = format_args!("{text} is no IP address or name, with or without a port");
            Reached::parse(text).ok_or_else(|| ConfigProblem::invalid(ADDRESS, rule))
        });
        let credentials = environment.get(CREDENTIALS).map(PathBuf::from);
        Ok(Self { url, credentials, address: address.transpose()? })
    }

    /// Where the other gateways of the node reach one that listens at `listen`, as `host:port`: as is said, or there, unless it is every
    /// address of the machine; empty: nowhere.
    #[must_use]
    pub fn address(&self, listen: Listen) -> String {
        match (&self.address, listen) {
            (Some(Reached { host, port }), listen) => format!("{host}:{}", port.unwrap_or(listen.port())),
            (None, Listen::Address(address)) if !address.ip().is_unspecified() => address.to_string(),
            (None, Listen::Address(_) | Listen::Port(_)) => String::new(),
        }
    }

    pub(super) fn says_something(&self) -> bool {
        self.url.is_some() || self.credentials.is_some()
    }

    /// Lays it over what the file says.
    ///
    /// # Errors
    /// There are credentials for no servers, or the file with them cannot be read.
    pub(super) fn lay_over(&self, file: &mut FileConfig) -> Result<(), ConfigProblem> {
        if let Some(url) = &self.url {
            let nats =
                file.backplane.take().map_or_else(|| Nats::at(url), |found| Nats { url: url.clone(), ..found.nats });
            file.backplane = Some(Backplane { nats });
        }
        let Some(path) = &self.credentials else { return Ok(()) };
        if file.backplane.is_none() {
            return Err(ConfigProblem::invalid(URL, format_args!("is missing, and {CREDENTIALS} is there")));
        }
        let wrong =
            |e: &dyn std::fmt::Display| ConfigProblem::invalid(CREDENTIALS, format_args!("{}: {e}", path.display()));
        let bytes = bounded::read(path, LARGEST_FILE).map_err(|e| wrong(&e))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong(&"is no text"))?;
        file.backplane_secrets.credentials = Some(text);
        Ok(())
    }
}

impl Reached {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
            return Some(Self { host, port: None });
        }
        let (host, port) = match text.parse::<SocketAddr>() {
            Ok(_) => text.rsplit_once(':').map(|(host, port)| (host, Some(port)))?,
            Err(_) => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        if host.is_empty() || !(is_name(host) || text.parse::<SocketAddr>().is_ok()) {
            return None;
        }
        let port = port.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or(())).transpose().ok()?;
        Some(Self { host: host.to_owned(), port })
    }
}

/// By the rule of `MeshNode.spec.backplane.nats.url`.
fn is_url(text: &str) -> bool {
    let mut spec = MeshNodeSpec::with_ids("unnamed", "unnamed");
    spec.backplane = Some(Backplane { nats: Nats::at(text) });
    crds::validate::node(&spec).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<BackplaneSettings, ConfigProblem> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        BackplaneSettings::read(&Environment::new(variables))
    }

    #[test]
    fn servers_are_named_by_urls_without_credentials() {
        for url in ["nats://n:4222", "tls://n1:4222,tls://[::1]:4223", "nats://nats.example", "nats://127.0.0.1:4222/"]
        {
            assert!(read(&[(URL, url)]).unwrap().says_something(), "{url}");
        }
        for url in ["n:4222", "http://n:4222", "ws://n:80", "nats://me:hunter2@n:4222", "nats://n:4222,", "nats://n:0"]
        {
            let said = read(&[(URL, url)]).unwrap_err().to_string();
            assert!(said.starts_with(URL) && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn other_gateways_reach_this_one_where_is_said_or_where_it_listens() {
        let listens = |text: &str| Listen::Address(text.parse().unwrap());
        for (said, listen, address) in [
            (Some("10.0.0.7"), Listen::Port(7304), "10.0.0.7:7304"),
            (Some("fd00::7"), Listen::Port(7304), "[fd00::7]:7304"),
            (Some("10.0.0.7:17304"), Listen::Port(7304), "10.0.0.7:17304"),
            (Some("[fd00::7]:17304"), Listen::Port(7304), "[fd00::7]:17304"),
            (Some("gw-0.bank"), listens("127.0.0.1:9"), "gw-0.bank:9"),
            (Some("gw-0.bank:17304"), Listen::Port(7304), "gw-0.bank:17304"),
            (None, listens("127.0.0.1:9"), "127.0.0.1:9"),
            (None, listens("0.0.0.0:9"), ""),
            (None, Listen::Port(7304), ""),
        ] {
            let variables: Vec<_> = said.map(|said| (ADDRESS, said)).into_iter().collect();
            assert_eq!(read(&variables).unwrap().address(listen), address, "{said:?} {listen:?}");
        }
        for wrong in [":7304", "a b", "10.0.0.7:0", "10.0.0.7:x", "gw:", "https://gw"] {
            assert!(read(&[(ADDRESS, wrong)]).unwrap_err().to_string().starts_with(ADDRESS), "{wrong:?}");
        }
    }

    #[test]
    fn the_environment_beats_the_file_and_leaves_what_it_does_not_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats.creds");
        std::fs::write(&path, "mesh:hunter2").unwrap();
        let path = path.to_str().unwrap();
        let nats = Nats { replicas: 3, ..Nats::at("nats://a:4222") };
        let mut file = FileConfig { backplane: Some(Backplane { nats }), ..FileConfig::default() };
        read(&[(URL, "nats://b:4222"), (CREDENTIALS, path)]).unwrap().lay_over(&mut file).unwrap();
        let nats = file.backplane.unwrap().nats;
        assert_eq!((nats.url.as_str(), nats.replicas), ("nats://b:4222", 3));
        assert_eq!(file.backplane_secrets.credentials.as_deref(), Some("mesh:hunter2"));
        let mut none = FileConfig::default();
        let said = read(&[(CREDENTIALS, path)]).unwrap().lay_over(&mut none).unwrap_err().to_string();
        assert!(said.starts_with(URL), "{said}");
        let gone = read(&[(URL, "nats://b:4222"), (CREDENTIALS, "/nowhere/at/all")]).unwrap();
        assert!(gone.lay_over(&mut none).unwrap_err().to_string().starts_with(CREDENTIALS));
    }
}
