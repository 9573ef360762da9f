//! The original's configuration (NC section 6), and what of it stands in ours.

use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::addresses::Subnet;

/// What the original takes where it is told 0, or nothing.
const MTU: u16 = 1400;

/// Why a configuration is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAConfig {
    /// That of an edge node.
    #[error("it is the configuration of a client (mode: client): `mesh tunnel join --legacy` goes on as this node")]
    Client,
    /// That of a server, where an edge node's is wanted.
    #[error("it is not the configuration of a client (mode: client): `mesh tunnel import` takes that of a server")]
    Server,
    /// The public address.
    #[error("its ip {0:?} is no IPv4 address: say which one edge nodes dial")]
    Ip(String),
    /// The network.
    #[error("its networkAddr {0:?} is no network: {1}")]
    Network(String, String),
    /// Something else.
    #[error("{0}")]
    Form(String),
}

/// A server's settings. What it has beside these has no counterpart: its logs, its folder of work beside the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyConfig {
    /// The address that edge nodes dial.
    pub advertise: Ipv4Addr,
    /// The server's own address and its network.
    pub subnet: Subnet,
    /// Whether nodes reach each other.
    pub interconnection: bool,
    /// The largest packet.
    pub mtu: u16,
    /// The ports of the tunnel, the register plane and the bootstrap service.
    pub ports: [u16; 3],
    /// The folder with the authority of the register plane.
    pub register_folder: Option<String>,
    /// The folder with the authority of the tunnel.
    pub join_folder: Option<String>,
    /// The folder with the database.
    pub work_folder: Option<String>,
}

/// As it is written; the keys of a server stand below `server`, or beside `mode`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    mode: Option<String>,
    server: Option<Box<Written>>,
    ip: String,
    port: Option<u16>,
    bootstrap_port: Option<u16>,
    grpc_port: Option<u16>,
    network_cert_dir: Option<String>,
    grpc_cert_dir: Option<String>,
    network_addr: String,
    work_dir: Option<String>,
    mtu: u16,
    interconnection: bool,
}

impl LegacyConfig {
    /// Reads what its YAML holds.
    ///
    /// # Errors
    /// See [`NotAConfig`].
    pub fn read(document: serde_json::Value) -> Result<Self, NotAConfig> {
        let mut written: Written = serde_json::from_value(document).map_err(|e| NotAConfig::Form(e.to_string()))?;
        if written.mode.as_deref() == Some("client") {
            return Err(NotAConfig::Client);
        }
        let own = written.server.take().map_or(written, |server| *server);
        let Written { ip, network_addr, .. } = &own;
        let advertise = ip.parse().map_err(|_| NotAConfig::Ip(ip.clone()))?;
        let subnet = network_addr.parse::<Subnet>();
        let subnet = subnet.map_err(|e| NotAConfig::Network(network_addr.clone(), e.to_string()))?;
        Ok(Self {
            advertise,
            subnet,
            interconnection: own.interconnection,
            mtu: if own.mtu == 0 { MTU } else { own.mtu },
            ports: [own.port.unwrap_or(6441), own.grpc_port.unwrap_or(6440), own.bootstrap_port.unwrap_or(6439)],
            register_folder: own.grpc_cert_dir,
            join_folder: own.network_cert_dir,
            work_folder: own.work_dir,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_servers_settings_are_read_below_their_key_and_beside_it() {
        let own = json!({
            "ip": "203.0.113.7", "port": 7441, "bootstrapPort": 7439, "grpcPort": 7440, "networkAddr": "10.8.0.1/22",
            "networkCertDir": "certs/network", "grpcCertDir": "certs/grpc", "workDir": "/srv/nc", "logDir": "log",
            "tlsDir": "tls", "debug": true, "mtu": 0, "interconnection": true,
        });
        let mut flat = own.clone();
        flat["mode"] = json!("server");
        for document in [flat, json!({"mode": "server", "server": own, "client": {"serverAddr": "x"}})] {
            let config = LegacyConfig::read(document).unwrap();
            assert_eq!((config.advertise, config.mtu), (Ipv4Addr::new(203, 0, 113, 7), 1400));
            assert_eq!((config.subnet.to_string().as_str(), config.ports), ("10.8.0.1/22", [7441, 7440, 7439]));
            assert!(config.interconnection);
            let folders = [&config.join_folder, &config.register_folder, &config.work_folder];
            assert_eq!(folders.map(Option::as_deref), [Some("certs/network"), Some("certs/grpc"), Some("/srv/nc")]);
        }
        let least = LegacyConfig::read(json!({"ip": "203.0.113.7", "networkAddr": "10.1.1.1/24"})).unwrap();
        assert_eq!((least.ports, least.interconnection), ([6441, 6440, 6439], false));
    }

    #[test]
    fn what_is_no_servers_says_why() {
        let read = |document| LegacyConfig::read(document).unwrap_err().to_string();
        assert!(read(json!({"mode": "client", "serverAddr": "203.0.113.7"})).contains("mesh tunnel join"));
        assert!(read(json!({"networkAddr": "10.1.1.1/24"})).contains("ip"));
        assert!(read(json!({"ip": "nc.example", "networkAddr": "10.1.1.1/24"})).contains("nc.example"));
        assert!(read(json!({"ip": "203.0.113.7", "networkAddr": "10.1.1.1/31"})).contains("networkAddr"));
        assert!(read(json!({"ip": "203.0.113.7", "port": "many"})).contains("many"));
        assert!(!read(json!([1])).is_empty());
    }
}
