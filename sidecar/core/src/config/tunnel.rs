//! What the environment says of the network controller (NC section 6): where it is dialled, its network, and its three ports.

use std::net::Ipv4Addr;

use crds::{MeshNodeSpec, Tunnel};
use serde_json::json;

use super::{
    Listen,
    environment::Environment,
    settings::{listen, parse},
};
use crate::{ConfigProblem, Role};

/// The original's ports (NC, the table of ports).
const TUNNEL_PORT: u16 = 6441;
const REGISTER_PORT: u16 = 6440;
const BOOTSTRAP_PORT: u16 = 6439;

const ADVERTISE: &str = "MESH_TUNNEL_ADVERTISE";
const SUBNET: &str = "MESH_TUNNEL_SUBNET";
const ALL: [&str; 4] = [SUBNET, "MESH_TUNNEL_LISTEN", "MESH_TUNNEL_GRPC_LISTEN", "MESH_TUNNEL_BOOTSTRAP_LISTEN"];

/// The network controller, as the environment has it.
#[derive(Clone, Debug, PartialEq)]
pub struct TunnelSettings {
    /// What it is; `advertise` is an IPv4 address, and `subnet` one of the form that `MeshNode.spec.tunnel` has.
    pub config: Tunnel,
    /// The tunnel's port: `MESH_TUNNEL_LISTEN`.
    pub listen: Listen,
    /// The register plane's port: `MESH_TUNNEL_GRPC_LISTEN`.
    pub grpc_listen: Listen,
    /// The bootstrap service's port: `MESH_TUNNEL_BOOTSTRAP_LISTEN`.
    pub bootstrap_listen: Listen,
}

impl TunnelSettings {
    /// `None` where nothing is said of it.
    pub(super) fn read(environment: &Environment, role: Role) -> Result<Option<Self>, ConfigProblem> {
        let rule = "an IPv4 address such as 203.0.113.7; no name, because legacy clients refuse names";
        let Some(advertise) = parse(environment, ADVERTISE, rule, |text| text.parse::<Ipv4Addr>().ok())? else {
            return match ALL.into_iter().find(|name| environment.get(name).is_some()) {
                Some(name) => Err(ConfigProblem::invalid(ADVERTISE, format_args!("is missing, and {name} is there"))),
                None => Ok(None),
            };
        };
        if advertise.is_unspecified() || role == Role::Sidecar {
            let why = if advertise.is_unspecified() { rule } else { "of a gateway, or of a node on bare metal" };
            return Err(ConfigProblem::invalid(ADVERTISE, format_args!("{advertise} is not {why}")));
        }
        let rule = "the server's own address and the length of the network's prefix, 8 to 29, such as 10.1.1.1/24";
        let subnet = environment.get(SUBNET);
        let config = config(advertise, subnet);
        let Some(config) = config else {
            return Err(ConfigProblem::invalid(SUBNET, format_args!("{} is not {rule}", subnet.unwrap_or_default())));
        };
        let port = |name, usual| Ok(listen(environment, name)?.unwrap_or(Listen::Port(usual)));
        Ok(Some(Self {
            config,
            listen: port("MESH_TUNNEL_LISTEN", TUNNEL_PORT)?,
            grpc_listen: port("MESH_TUNNEL_GRPC_LISTEN", REGISTER_PORT)?,
            bootstrap_listen: port("MESH_TUNNEL_BOOTSTRAP_LISTEN", BOOTSTRAP_PORT)?,
        }))
    }
}

/// By the rules of `MeshNode.spec.tunnel`.
fn config(advertise: Ipv4Addr, subnet: Option<&str>) -> Option<Tunnel> {
    let mut document = json!({"advertise": advertise.to_string()});
    if let Some(subnet) = subnet {
        document["subnet"] = subnet.into();
    }
    let config: Tunnel = serde_json::from_value(document).ok()?;
    let mut spec = MeshNodeSpec::with_ids("unnamed", "unnamed");
    spec.tunnel = Some(config.clone());
    crds::validate::node(&spec).is_ok().then_some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TunnelSettings>, String> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        TunnelSettings::read(&Environment::new(variables), Role::Gateway).map_err(|e| e.to_string())
    }

    #[test]
    fn an_address_alone_switches_it_on_with_the_originals_ports_and_network() {
        let settings = read(&[(ADVERTISE, "203.0.113.7")]).unwrap().unwrap();
        assert_eq!(
            (settings.config.advertise.as_str(), settings.config.subnet.as_str()),
            ("203.0.113.7", "10.1.1.1/24")
        );
        let ports = [settings.listen, settings.grpc_listen, settings.bootstrap_listen];
        assert_eq!(ports, [Listen::Port(6441), Listen::Port(6440), Listen::Port(6439)]);
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn names_empty_addresses_and_networks_that_are_none_are_refused_by_variable() {
        for (variables, name) in [
            (vec![(ADVERTISE, "mesh.example")], ADVERTISE),
            (vec![(ADVERTISE, "::1")], ADVERTISE),
            (vec![(ADVERTISE, "0.0.0.0")], ADVERTISE),
            (vec![(SUBNET, "10.1.1.1/24")], ADVERTISE),
            (vec![(ADVERTISE, "203.0.113.7"), (SUBNET, "10.1.1.1/30")], SUBNET),
            (vec![(ADVERTISE, "203.0.113.7"), (SUBNET, "10.1.1.1")], SUBNET),
            (vec![(ADVERTISE, "203.0.113.7"), ("MESH_TUNNEL_LISTEN", "x")], "MESH_TUNNEL_LISTEN"),
        ] {
            let problem = read(&variables).unwrap_err();
            assert!(problem.starts_with(name), "{problem}");
        }
    }
}
