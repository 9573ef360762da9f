//! What the environment says of the network controller (NC section 6): where it is dialled, its network, and its three ports.

use std::net::Ipv4Addr;

use crds::{BOOTSTRAP_PORT, MeshNodeSpec, REGISTER_PORT, TUNNEL_PORT, Tunnel, TunnelMode, TunnelRate};
use serde_json::json;

use super::{
    Listen,
    environment::Environment,
    settings::{listen, parse},
};
use crate::{ConfigProblem, Role};

const ADVERTISE: &str = "MESH_TUNNEL_ADVERTISE";
const SUBNET: &str = "MESH_TUNNEL_SUBNET";
const MODE: &str = "MESH_TUNNEL_MODE";
const JOIN_LIMIT: &str = "MESH_TUNNEL_JOIN_LIMIT";
const SOCKET_LIMIT: &str = "MESH_TUNNEL_SOCKET_LIMIT";
/// What says something of it beside the address.
const OTHERS: [&str; 7] = [
    SUBNET,
    MODE,
    JOIN_LIMIT,
    SOCKET_LIMIT,
    "MESH_TUNNEL_LISTEN",
    "MESH_TUNNEL_GRPC_LISTEN",
    "MESH_TUNNEL_BOOTSTRAP_LISTEN",
];
const ADDRESS_RULE: &str = "an IPv4 address such as 203.0.113.7; no name, because legacy clients refuse names";
const MODE_RULE: &str = "Userspace, or Tun for a device at the server, which wants CAP_NET_ADMIN";
const SUBNET_RULE: &str =
    "the server's own address and the length of the network's prefix, 8 to 29, such as 10.1.1.1/24";

const LIMIT_RULE: &str = "how many at once, and how many a second from then on, such as 100,10, each from 1 to 100000";

/// The network controller, as the environment has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelSettings {
    /// `MESH_TUNNEL_ADVERTISE`, which switches it on.
    advertise: Option<Ipv4Addr>,
    /// `MESH_TUNNEL_SUBNET`.
    subnet: Option<String>,
    /// `MESH_TUNNEL_MODE`.
    mode: Option<TunnelMode>,
    /// `MESH_TUNNEL_JOIN_LIMIT`.
    joins: Option<TunnelRate>,
    /// `MESH_TUNNEL_SOCKET_LIMIT`.
    sockets: Option<TunnelRate>,
    /// A variable that says something of it beside the address.
    other: Option<&'static str>,
    /// The tunnel's port: `MESH_TUNNEL_LISTEN`.
    pub listen: Listen,
    /// The register plane's port: `MESH_TUNNEL_GRPC_LISTEN`.
    pub grpc_listen: Listen,
    /// The bootstrap service's port: `MESH_TUNNEL_BOOTSTRAP_LISTEN`.
    pub bootstrap_listen: Listen,
}

impl TunnelSettings {
    pub(super) fn read(environment: &Environment, role: Role) -> Result<Self, ConfigProblem> {
        let advertise = parse(environment, ADVERTISE, ADDRESS_RULE, |text| text.parse::<Ipv4Addr>().ok())?;
        if role == Role::Sidecar && advertise.is_some() {
            let why = "is of a gateway, or of a node on bare metal";
            return Err(ConfigProblem::invalid(ADVERTISE, why));
        }
        let port = |name, usual| Ok(listen(environment, name)?.unwrap_or(Listen::Port(usual)));
        Ok(Self {
            advertise,
            subnet: environment.get(SUBNET).map(str::to_owned),
            mode: parse(environment, MODE, MODE_RULE, mode)?,
            joins: parse(environment, JOIN_LIMIT, LIMIT_RULE, rate)?,
            sockets: parse(environment, SOCKET_LIMIT, LIMIT_RULE, rate)?,
            other: OTHERS.into_iter().find(|name| environment.get(name).is_some()),
            listen: port("MESH_TUNNEL_LISTEN", TUNNEL_PORT)?,
            grpc_listen: port("MESH_TUNNEL_GRPC_LISTEN", REGISTER_PORT)?,
            bootstrap_listen: port("MESH_TUNNEL_BOOTSTRAP_LISTEN", BOOTSTRAP_PORT)?,
        })
    }

    /// Whether it says more than where the ports are.
    pub(super) fn says_what(&self) -> bool {
        self.advertise.is_some() || self.subnet.is_some() || self.mode.is_some() || self.limits_something()
    }

    fn limits_something(&self) -> bool {
        self.joins.is_some() || self.sockets.is_some()
    }

    /// Lays what the environment says over what the file says, by the rules of `MeshNode.spec.tunnel`; `None`: it is off.
    ///
    /// # Errors
    /// A variable, or the two together, break a rule.
    pub(super) fn over(&self, file: Option<Tunnel>) -> Result<Option<Tunnel>, ConfigProblem> {
        let mut tunnel = match (file, self.advertise, self.other) {
            (Some(tunnel), _, _) => tunnel,
            (None, Some(advertise), _) => of(advertise)?,
            (None, None, None) => return Ok(None),
            (None, None, Some(name)) => {
                return Err(ConfigProblem::invalid(ADVERTISE, format_args!("is missing, and {name} is there")));
            }
        };
        if let Some(advertise) = self.advertise {
            tunnel.advertise = advertise.to_string();
        }
        if tunnel.advertise.parse().is_ok_and(|ip: Ipv4Addr| ip.is_unspecified()) {
            let place = if self.advertise.is_some() { ADVERTISE } else { "tunnel.advertise" };
            return Err(ConfigProblem::invalid(place, format_args!("{} is not {ADDRESS_RULE}", tunnel.advertise)));
        }
        if let Some(taken) = tunnel.forwards.iter().find(|forward| forward.port == self.grpc_listen.port()) {
            let why = format_args!("port {} is the network controller's own (MESH_TUNNEL_GRPC_LISTEN)", taken.port);
            return Err(ConfigProblem::invalid("tunnel.forwards", why));
        }
        if let Some(mode) = self.mode {
            tunnel.mode = mode;
        }
        tunnel.limits.joins = self.joins.unwrap_or(tunnel.limits.joins);
        tunnel.limits.sockets = self.sockets.unwrap_or(tunnel.limits.sockets);
        if let Some(subnet) = &self.subnet {
            tunnel.subnet.clone_from(subnet);
            if !is_valid(&tunnel) {
                return Err(ConfigProblem::invalid(SUBNET, format_args!("{subnet} is not {SUBNET_RULE}")));
            }
        }
        Ok(Some(tunnel))
    }
}

fn mode(text: &str) -> Option<TunnelMode> {
    match text {
        "Userspace" => Some(TunnelMode::Userspace),
        "Tun" => Some(TunnelMode::Tun),
        _ => None,
    }
}

fn rate(text: &str) -> Option<TunnelRate> {
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| TunnelRate::BOUNDS.contains(number));
    let (burst, per_second) = text.split_once(',')?;
    Some(TunnelRate { burst: number(burst)?, per_second: number(per_second)? })
}

/// All of it at its default.
fn of(advertise: Ipv4Addr) -> Result<Tunnel, ConfigProblem> {
    let document = json!({"advertise": advertise.to_string()});
    serde_json::from_value(document).map_err(|e| ConfigProblem::invalid(ADVERTISE, e))
}

fn is_valid(tunnel: &Tunnel) -> bool {
    let mut spec = MeshNodeSpec::with_ids("unnamed", "unnamed");
    spec.tunnel = Some(tunnel.clone());
    crds::validate::node(&spec).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<TunnelSettings, ConfigProblem> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        TunnelSettings::read(&Environment::new(variables), Role::Gateway)
    }

    fn read(variables: &[(&str, &str)], file: Option<Tunnel>) -> Result<Option<Tunnel>, String> {
        settings(variables).and_then(|settings| settings.over(file)).map_err(|e| e.to_string())
    }

    #[test]
    fn an_address_alone_switches_it_on_with_the_originals_ports_and_network() {
        let tunnel = read(&[(ADVERTISE, "203.0.113.7")], None).unwrap().unwrap();
        assert_eq!((tunnel.advertise.as_str(), tunnel.subnet.as_str()), ("203.0.113.7", "10.1.1.1/24"));
        let settings = settings(&[]).unwrap();
        let ports = [settings.listen, settings.grpc_listen, settings.bootstrap_listen];
        assert_eq!(ports, [Listen::Port(6441), Listen::Port(6440), Listen::Port(6439)]);
        assert_eq!(read(&[], None), Ok(None));
    }

    #[test]
    fn the_environment_beats_the_file_and_leaves_the_rest_of_it() {
        let file = Tunnel { interconnection: true, ..of([203, 0, 113, 7].into()).unwrap() };
        assert_eq!(read(&[], Some(file.clone())), Ok(Some(file.clone())));
        let both = read(&[(ADVERTISE, "203.0.113.8"), (SUBNET, "10.2.0.1/22")], Some(file)).unwrap().unwrap();
        assert_eq!((both.advertise.as_str(), both.subnet.as_str()), ("203.0.113.8", "10.2.0.1/22"));
        assert!(both.interconnection && both.mode == TunnelMode::Userspace);
        let device = read(&[(ADVERTISE, "203.0.113.8"), (MODE, "Tun")], None).unwrap().unwrap();
        assert_eq!(device.mode, TunnelMode::Tun);
    }

    #[test]
    fn a_limit_that_the_environment_says_leaves_the_other_one() {
        let limits = |said: &[(&str, &str)]| {
            let file = of([203, 0, 113, 7].into()).unwrap();
            read(said, Some(file)).unwrap().unwrap().limits
        };
        let usual = crds::TunnelLimits::default();
        assert_eq!(limits(&[]), usual);
        let joins = TunnelRate { burst: 500, per_second: 20 };
        assert_eq!(limits(&[(JOIN_LIMIT, "500, 20")]), crds::TunnelLimits { joins, ..usual });
        let sockets = TunnelRate { burst: 1, per_second: 100_000 };
        assert_eq!(limits(&[(SOCKET_LIMIT, "1,100000")]), crds::TunnelLimits { sockets, ..usual });
    }

    #[test]
    fn names_empty_addresses_and_networks_that_are_none_are_refused_by_variable() {
        for (variables, name) in [
            (vec![(ADVERTISE, "mesh.example")], ADVERTISE),
            (vec![(ADVERTISE, "::1")], ADVERTISE),
            (vec![(ADVERTISE, "0.0.0.0")], ADVERTISE),
            (vec![(SUBNET, "10.1.1.1/24")], ADVERTISE),
            (vec![("MESH_TUNNEL_LISTEN", "7000")], ADVERTISE),
            (vec![(ADVERTISE, "203.0.113.7"), (SUBNET, "10.1.1.1/30")], SUBNET),
            (vec![(ADVERTISE, "203.0.113.7"), (SUBNET, "10.1.1.1")], SUBNET),
            (vec![(ADVERTISE, "203.0.113.7"), (MODE, "tun0")], MODE),
            (vec![(MODE, "Tun")], ADVERTISE),
            (vec![(JOIN_LIMIT, "100,10")], ADVERTISE),
            (vec![(ADVERTISE, "203.0.113.7"), (JOIN_LIMIT, "100")], JOIN_LIMIT),
            (vec![(ADVERTISE, "203.0.113.7"), (JOIN_LIMIT, "0,10")], JOIN_LIMIT),
            (vec![(ADVERTISE, "203.0.113.7"), (SOCKET_LIMIT, "10,100001")], SOCKET_LIMIT),
            (vec![(ADVERTISE, "203.0.113.7"), ("MESH_TUNNEL_LISTEN", "x")], "MESH_TUNNEL_LISTEN"),
        ] {
            let problem = read(&variables, None).unwrap_err();
            assert!(problem.starts_with(name), "{problem}");
        }
        let forwards = vec![crds::Forward { port: 7440, address: "127.0.0.1:80".into() }];
        let file = Tunnel { forwards, ..of([203, 0, 113, 7].into()).unwrap() };
        let moved = read(&[("MESH_TUNNEL_GRPC_LISTEN", "127.0.0.1:7440")], Some(file)).unwrap_err();
        assert!(moved.starts_with("tunnel.forwards") && moved.contains("7440"), "{moved}");
        let file = of([0, 0, 0, 0].into()).unwrap();
        assert!(read(&[], Some(file)).unwrap_err().starts_with("tunnel.advertise"));
    }
}
