//! What the environment says about this process: where it keeps its state, where it listens, how it ends.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crds::{ADMIN_PORT, DATA_PORT, Span, snapshot::Role};

use super::{BackplaneSettings, TunnelSettings, environment::Environment, trick};
use crate::{
    ConfigProblem,
    snapshot::networks,
    telemetry::{LEVEL_RULE, levels},
};

/// PTP section 14: permits calls to circulate.
const MODE_CIRCULATE: u64 = 512;

/// Another process of the operator leads within this time where one died between two writes of a configuration, and finishes
/// them; the startup probe of a gateway gives twice as long.
const CONFIG_WAIT: Duration = Duration::from_secs(60);

/// How long a node keeps serving after it said that it is not ready: a load balancer that looks every second or two has
/// then taken it out.
const DRAIN_DELAY: Duration = Duration::from_secs(4);

/// More threads than the largest machine of today has CPUs are a slip of the pen.
const MOST_WORKERS: usize = 512;

const DATA_CENTRES_RULE: &str = "a list of addresses such as mesh-1.bank-a.example,mesh-2.bank-a.example:7304";

/// How long calls under way may take after that. With the delay it stays below the 30 s that Kubernetes gives a pod.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// What the environment says about this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What this process is for its node: `MESH_ROLE`.
    pub role: Role,
    /// Where state is kept: `MESH_HOME`, default `~/mesh`.
    pub home: PathBuf,
    /// What the operator mounted: `MESH_CONFIG_DIR`.
    pub directory: Option<PathBuf>,
    /// `MESH_CONFIG_WAIT`: how long a start waits until what a kubelet mounted there fits together.
    pub config_wait: Duration,
    /// The data plane's listener: `PLUGIN_PROXY_TRANSPORT_Y`.
    pub listen: Listen,
    /// The data plane's second listener: `PLUGIN_PROXY_TRANSPORT_X`.
    pub second_listen: Option<Listen>,
    /// The admin port: `MESH_ADMIN_LISTEN`.
    pub admin_listen: SocketAddr,
    /// `MESH_GRID_LISTEN`: where backends call the grid. Without a directory it also switches the grid on.
    pub grid_listen: Option<Listen>,
    /// `MESH_GRID_CLIENT_LISTEN`: where the listeners of the grid are that stand at port 6790.
    pub grid_client_listen: Option<Listen>,
    /// `MESH_TUNNEL_ADVERTISE` and what goes with it: the network controller, and where its ports are.
    pub tunnel: TunnelSettings,
    /// `MESH_BACKPLANE_NATS_URL` and what goes with it: what joins the gateways of a node that no configuration directory decides.
    pub backplane: BackplaneSettings,
    /// `MESH_DIRECTORY`: switches the Datanet directory on where no configuration directory decides.
    pub datanet: bool,
    /// `MESH_PLAINTEXT_FROM`; beats what file and directory say.
    pub plaintext_from: Option<Vec<String>>,
    /// `PLUGIN_PROXY_INSECURE_SKIP`: switches the check of names off, never that of chains (PTP section 12.4).
    pub skip_name_check: bool,
    /// `MESH_MODE` bit 512: permits calls to circulate (PTP section 11.5).
    pub permit_circulation: bool,
    /// `MESH_RUNTIME`: the `host:port` that partners dial (PTP section 14); beats what file and API say.
    pub address: Option<String>,
    /// `MESH_MDC`: the addresses of this node's data centres, in the order in which partners are to try them. Told to
    /// partners when this node weaves.
    pub data_centres: Option<String>,
    /// `MESH_WORKERS`: threads of the data plane; absent: two for each CPU that this process may use.
    pub workers: Option<usize>,
    /// `MESH_NAME`: what this instance calls itself in the loop guard.
    pub name: Option<String>,
    /// `MESH_TRICK`: static registrations.
    pub registrations: Vec<crds::snapshot::RegistrationConfig>,
    /// `MESH_LOG`: how much is logged, such as `info` or `info,mesh_network=debug`.
    pub log: Option<String>,
    /// `MESH_LOG_FORMAT`: `text` or `json`.
    pub log_format: LogFormat,
    /// `MESH_DRAIN_DELAY`: how long it keeps serving after SIGTERM, so that load balancers notice.
    pub drain_delay: Duration,
    /// `MESH_DRAIN_LIMIT`: how long calls under way may take after that.
    pub drain_limit: Duration,
    /// What is set and has no effect.
    pub notes: Vec<String>,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On every address, IPv6 and IPv4.
    Port(u16),
    /// On one address.
    Address(SocketAddr),
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Reads and checks the environment.
    ///
    /// # Errors
    /// The first variable that breaks a rule, by name.
    pub fn read(environment: &Environment) -> Result<Self, ConfigProblem> {
        let get = |name| environment.get(name);
        let mut notes = environment.without_effect();
        let mode = parse(environment, "MESH_MODE", "a number", |t| t.parse::<u64>().ok())?.unwrap_or(0);
        if mode & !MODE_CIRCULATE != 0 {
            notes.push(format!("of MESH_MODE only bit {MODE_CIRCULATE} has an effect"));
        }
        let plaintext_from = get("MESH_PLAINTEXT_FROM").map(list);
        networks("MESH_PLAINTEXT_FROM", plaintext_from.as_deref().unwrap_or_default())?;
        let directory = get("MESH_CONFIG_DIR").map(PathBuf::from);
        let role = role(environment, directory.is_some())?;
        if directory.is_some() && get("MESH_RUNTIME").is_some() {
            notes.push("MESH_RUNTIME has no effect: the MeshNode's spec.address is what partners dial".into());
        }
        if role == Role::Sidecar && get("MESH_TRICK").is_some() {
            notes.push("MESH_TRICK has no effect: services are registered at the gateway".into());
        }
        let tunnel = TunnelSettings::read(environment, role)?;
        if directory.is_some() && tunnel.says_what() {
            notes.push(
                "MESH_TUNNEL_ADVERTISE, _SUBNET, _MODE, _JOIN_LIMIT and _SOCKET_LIMIT have no effect: the MeshNode says it"
                    .into(),
            );
        }
        let backplane = BackplaneSettings::read(environment)?;
        if directory.is_some() && backplane.says_something() {
            notes.push("MESH_BACKPLANE_NATS_URL has no effect: the MeshNode's spec.backplane says it".into());
        }
        let bool_rule = "true or false";
        let datanet = parse(environment, "MESH_DIRECTORY", "on or off", boolean)?.unwrap_or(false);
        if directory.is_some() && datanet {
            notes.push("MESH_DIRECTORY has no effect: the MeshNode's spec.directory says whether there is one".into());
        }
        Ok(Self {
            role,
            home: home(environment)?,
            config_wait: span(environment, "MESH_CONFIG_WAIT")?.unwrap_or(CONFIG_WAIT),
            listen: listen(environment, "PLUGIN_PROXY_TRANSPORT_Y")?.unwrap_or(Listen::Port(DATA_PORT)),
            second_listen: listen(environment, "PLUGIN_PROXY_TRANSPORT_X")?,
            admin_listen: admin_listen(environment)?,
            grid_listen: listen(environment, "MESH_GRID_LISTEN")?,
            grid_client_listen: grid_client_listen(environment)?,
            tunnel,
            backplane,
            datanet,
            directory,
            plaintext_from,
            skip_name_check: parse(environment, "PLUGIN_PROXY_INSECURE_SKIP", bool_rule, boolean)?.unwrap_or(false),
            permit_circulation: mode & MODE_CIRCULATE != 0,
            address: parse(environment, "MESH_RUNTIME", "host:port such as mesh.bank-a.example:7304", address)?,
            data_centres: parse(environment, "MESH_MDC", DATA_CENTRES_RULE, data_centres)?,
            workers: parse(environment, "MESH_WORKERS", "a number from 1 to 512", workers)?,
            name: get("MESH_NAME").map(str::to_owned),
            registrations: get("MESH_TRICK").map(trick::registrations).transpose()?.unwrap_or_default(),
            log: parse(environment, "MESH_LOG", LEVEL_RULE, |text| levels(text).map(|_| text.to_owned()))?,
            log_format: parse(environment, "MESH_LOG_FORMAT", "text or json", LogFormat::parse)?.unwrap_or_default(),
            drain_delay: span(environment, "MESH_DRAIN_DELAY")?.unwrap_or(DRAIN_DELAY),
            drain_limit: span(environment, "MESH_DRAIN_LIMIT")?.unwrap_or(DRAIN_LIMIT),
            notes,
        })
    }
}

impl Listen {
    /// The port of either.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Port(port) => port,
            Self::Address(address) => address.port(),
        }
    }

    /// A port, or `address:port`.
    fn parse(text: &str) -> Option<Self> {
        match text.parse::<u16>() {
            Ok(port) => Some(Self::Port(port)),
            Err(_) => text.parse().ok().map(Self::Address),
        }
    }
}

impl LogFormat {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

pub(super) fn parse<T>(
    environment: &Environment,
    name: &str,
    rule: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ConfigProblem> {
    let wrong = |text| ConfigProblem::invalid(name, format_args!("{text} is not {rule}"));
    environment.get(name).map(|text| read(text).ok_or_else(|| wrong(text))).transpose()
}

pub(super) fn listen(environment: &Environment, name: &str) -> Result<Option<Listen>, ConfigProblem> {
    parse(environment, name, "a port such as 17304, or address:port such as 10.0.0.1:7304", Listen::parse)
}

/// End users never find themselves at the port that backends know (Grid section 1).
fn grid_client_listen(environment: &Environment) -> Result<Option<Listen>, ConfigProblem> {
    let name = "MESH_GRID_CLIENT_LISTEN";
    let listen = listen(environment, name)?;
    if listen.is_some_and(|listen| listen.port() == crds::GRID_PORT) {
        let rule = format!("{} is the port of the backends' API: end users connect to another one", crds::GRID_PORT);
        return Err(ConfigProblem::invalid(name, rule));
    }
    Ok(listen)
}

/// Loopback unless told otherwise: what stands behind the token is nobody else's business.
fn admin_listen(environment: &Environment) -> Result<SocketAddr, ConfigProblem> {
    let listen = listen(environment, "MESH_ADMIN_LISTEN")?.unwrap_or(Listen::Port(ADMIN_PORT));
    Ok(match listen {
        Listen::Port(port) => (IpAddr::V4(Ipv4Addr::LOCALHOST), port).into(),
        Listen::Address(address) => address,
    })
}

fn span(environment: &Environment, name: &str) -> Result<Option<Duration>, ConfigProblem> {
    parse(environment, name, "a duration such as 4s", |text| text.parse().ok().map(Span::get))
}

fn home(environment: &Environment) -> Result<PathBuf, ConfigProblem> {
    let given = environment.get("MESH_HOME").map(PathBuf::from);
    given.or_else(|| environment.get("HOME").map(|home| PathBuf::from(home).join("mesh"))).ok_or_else(|| {
        ConfigProblem::invalid("MESH_HOME", "neither it nor HOME is set: name the directory that keeps the state")
    })
}

/// What a sidecar shows to its gateway is written by the operator alone.
fn role(environment: &Environment, has_directory: bool) -> Result<Role, ConfigProblem> {
    let role = parse(environment, "MESH_ROLE", "gateway or sidecar", Role::parse)?.unwrap_or_default();
    if role == Role::Sidecar && !has_directory {
        let rule =
            "is sidecar, which needs the directory of a node with a gateway: set MESH_CONFIG_DIR, or leave it out";
        return Err(ConfigProblem::invalid("MESH_ROLE", rule));
    }
    Ok(role)
}

/// An address by the rule of `MeshNode.spec.address`.
fn address(text: &str) -> Option<String> {
    let mut spec = crds::MeshNodeSpec::with_ids("unnamed", "unnamed");
    spec.address = text.to_owned();
    crds::validate::node(&spec).is_ok().then_some(spec.address)
}

/// As addresses of a route (PTP section 11.4): a member without a port takes the port of the last one.
fn data_centres(text: &str) -> Option<String> {
    let members = list(text);
    let split = |member: &str| match member.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host.to_owned(), port.parse::<u16>().ok()),
        _ => (member.to_owned(), None),
    };
    let port = split(members.last()?).1.filter(|port| *port != 0)?;
    let full = members.iter().map(|member| {
        let (host, own) = split(member);
        let full = format!("{host}:{}", own.unwrap_or(port));
        address(&full)
    });
    full.collect::<Option<Vec<_>>>().map(|all| all.join(","))
}

fn workers(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n| (1..=MOST_WORKERS).contains(n))
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Some(true),
        "false" | "0" | "off" | "no" => Some(false),
        _ => None,
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, ConfigProblem> {
        let home = [("MESH_HOME", "/var/mesh")];
        Settings::read(&Environment::new(home.iter().chain(variables).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))))
    }

    #[test]
    fn every_setting_has_a_default() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.listen, Listen::Port(7304));
        assert_eq!(settings.second_listen, None);
        assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:7305");
        assert_eq!((settings.directory, settings.plaintext_from), (None, None));
        assert!(!settings.skip_name_check && !settings.permit_circulation);
        assert!(settings.notes.is_empty());
    }

    #[test]
    fn the_directory_is_switched_on_by_a_word() {
        for (text, expected) in [("on", true), ("ON", true), ("true", true), ("off", false), ("0", false)] {
            assert_eq!(read(&[("MESH_DIRECTORY", text)]).unwrap().datanet, expected, "{text}");
        }
        assert!(read(&[("MESH_DIRECTORY", "perhaps")]).unwrap_err().to_string().starts_with("MESH_DIRECTORY"));
        let managed = read(&[("MESH_DIRECTORY", "on"), ("MESH_CONFIG_DIR", "/c")]).unwrap();
        assert!(managed.notes[0].starts_with("MESH_DIRECTORY has no effect: "), "{:?}", managed.notes);
    }

    #[test]
    fn state_is_kept_under_the_users_home_where_nobody_says_another() {
        let read = |variables: &[(&str, &str)]| {
            Settings::read(&Environment::new(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))))
        };
        assert_eq!(read(&[("HOME", "/h")]).unwrap().home, PathBuf::from("/h/mesh"));
        assert_eq!(read(&[("HOME", "/h"), ("mesh.home", "/state")]).unwrap().home, PathBuf::from("/state"));
        assert!(read(&[]).unwrap_err().to_string().starts_with("MESH_HOME"));
    }

    #[test]
    fn end_users_are_not_put_at_the_port_of_the_backends() {
        for text in ["6789", "10.0.0.1:6789", "[::]:6789"] {
            let variables = [("MESH_GRID_LISTEN", "16789"), ("MESH_GRID_CLIENT_LISTEN", text)];
            assert!(read(&variables).unwrap_err().to_string().starts_with("MESH_GRID_CLIENT_LISTEN"), "{text}");
        }
        let elsewhere = read(&[("MESH_GRID_CLIENT_LISTEN", "16790")]).unwrap().grid_client_listen;
        assert_eq!(elsewhere, Some(Listen::Port(16790)));
    }

    #[test]
    fn the_data_plane_takes_a_port_or_an_address() {
        let listen = |text| read(&[("PLUGIN_PROXY_TRANSPORT_Y", text)]).unwrap().listen;
        assert_eq!(listen("17304"), Listen::Port(17304));
        assert_eq!(listen("10.0.0.1:7304"), Listen::Address("10.0.0.1:7304".parse().unwrap()));
        assert_eq!(listen("[::1]:7304"), Listen::Address("[::1]:7304".parse().unwrap()));
    }

    #[test]
    fn a_variable_that_breaks_its_rule_is_named() {
        for (name, value) in [
            ("PLUGIN_PROXY_TRANSPORT_Y", "seven"),
            ("PLUGIN_PROXY_TRANSPORT_X", "570000"),
            ("MESH_ADMIN_LISTEN", "localhost:1"),
            ("MESH_GRID_LISTEN", "localhost"),
            ("MESH_GRID_CLIENT_LISTEN", "67900"),
            ("MESH_PLAINTEXT_FROM", "10.0.0.0/8,anywhere"),
            ("MESH_MODE", "fast"),
            ("MESH_ROLE", "sidecar"),
            ("MESH_ROLE", "node"),
            ("MESH_LOG_FORMAT", "xml"),
            ("MESH_LOG", "verbose"),
            ("MESH_LOG", "info,mesh_network=loud"),
            ("MESH_RUNTIME", "10.0.0.1"),
            ("MESH_RUNTIME", "https://mesh.bank-a.example:7304"),
            ("MESH_MDC", "mesh.bank-a.example"),
            ("MESH_MDC", "http://a:1,b:2"),
            ("MESH_WORKERS", "0"),
            ("MESH_WORKERS", "all"),
            ("MESH_DRAIN_DELAY", "soon"),
            ("MESH_CONFIG_WAIT", "long"),
            ("PLUGIN_PROXY_INSECURE_SKIP", "maybe"),
            ("MESH_TRICK", "nonsense"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn an_own_address_is_taken_where_no_resource_says_another() {
        let settings = read(&[("mesh.runtime", "mesh.bank-a.example:7304"), ("MESH_WORKERS", "3")]).unwrap();
        assert_eq!(settings.address.as_deref(), Some("mesh.bank-a.example:7304"));
        assert_eq!((settings.workers, settings.notes.len()), (Some(3), 0));
        let managed = read(&[("MESH_RUNTIME", "h:1"), ("MESH_CONFIG_DIR", "/etc/mesh")]).unwrap();
        assert!(managed.notes[0].starts_with("MESH_RUNTIME has no effect: "), "{:?}", managed.notes);
    }

    #[test]
    fn data_centres_are_a_list_whose_last_port_counts_for_those_without() {
        let read = |text| read(&[("MESH_MDC", text)]).unwrap().data_centres.unwrap();
        assert_eq!(read("a.example, b.example:1, 10.0.0.1:7304"), "a.example:7304,b.example:1,10.0.0.1:7304");
        assert_eq!(read("[::1]:7304"), "[::1]:7304");
    }

    #[test]
    fn the_mode_of_the_reference_is_read_for_one_bit() {
        let settings = read(&[("MESH_MODE", "520")]).unwrap();
        assert!(settings.permit_circulation);
        assert_eq!(settings.notes, ["of MESH_MODE only bit 512 has an effect"]);
    }
}
