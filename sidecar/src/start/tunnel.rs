//! The network controller of this process: its ports, and what the admin port asks of it.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
    time::SystemTime,
};

use mesh_core::{Drained, Live, Workers, config::Settings, store::Store};
use mesh_network::listen::OwnAddresses;
use mesh_tunnel::{
    authority::{self, Places},
    control::{Certificates, Control, FrontDesk, Metrics, Port, Ports, Roles, Setup},
    hub::Hub,
    inside::{self, Doors},
    listen,
    seam::{Desk, Sessions},
    tun,
};
use prometheus_client::registry::Registry;

use super::bind;
use crate::exit::Exit;

/// The network controller, with its ports bound.
pub(crate) struct TunnelPlace {
    control: Arc<Control>,
    register: TcpListener,
    bootstrap: TcpListener,
    nodes: TcpListener,
    config: Arc<crds::Tunnel>,
    /// Whether this machine is in the network by a TUN device.
    has_device: bool,
    live: Arc<Live>,
    workers: Workers,
    own: OwnAddresses,
}

impl TunnelPlace {
    /// Binds its ports and opens its state; `None` where it is off.
    pub(super) fn build(
        settings: &Settings,
        (live, store): (&Arc<Live>, &Arc<Store>),
        (own, workers): (OwnAddresses, Workers),
        metrics: &mut Registry,
    ) -> Result<Option<Self>, Exit> {
        let snapshot = live.snapshot();
        let Some(config) = snapshot.tunnel.clone() else { return Ok(None) };
        let wants_device = config.mode == crds::TunnelMode::Tun;
        let has_device = wants_device && settings.directory.is_none();
        if wants_device && !has_device {
            tracing::warn!(
                "tunnel.mode: Tun has no effect with MESH_CONFIG_DIR: the pod of a gateway has no right to make devices"
            );
        }
        let tunnel = &settings.tunnel;
        let open =
            |listen| bind::open(listen).map_err(|e| Exit::local(format_args!("the tunnel's port {listen:?}"), e));
        let (register, bootstrap) = (open(tunnel.grpc_listen)?, open(tunnel.bootstrap_listen)?);
        let nodes = open(tunnel.listen)?;
        for listener in [&register, &bootstrap, &nodes] {
            own.add(listener.local_addr().map_err(|e| Exit::local("the tunnel's port", e))?);
        }
        let setup = setup(settings, &config, [&register, &bootstrap])?;
        if let Some(keys) = &snapshot.room_keys.tunnel {
            authority::give(store, keys, SystemTime::now()).map_err(|e| Exit::Local(e.to_string()))?;
        }
        let control = Arc::new(Control::open(setup, store).map_err(|e| Exit::Local(e.to_string()))?);
        Metrics::register(&control, metrics);
        let live = Arc::clone(live);
        Ok(Some(Self { control, register, bootstrap, nodes, config, has_device, live, workers, own }))
    }

    /// Serves until `drained` is asked. What the admin port asks it is asked from now on.
    pub(super) fn serve(&self, drained: &Drained) -> Result<(), Exit> {
        let failed = |e: &dyn std::fmt::Display| Exit::Local(e.to_string());
        for (port, listener) in [(Port::Register, &self.register), (Port::Bootstrap, &self.bootstrap)] {
            let listener = listener.try_clone().map_err(|e| failed(&e))?;
            self.control.serve(port, listener, drained).map_err(|e| failed(&e))?;
        }
        drained.spawn(Arc::clone(&self.control).tend(drained.clone()));
        drained.spawn(Arc::clone(&self.control).watch_absent(drained.clone()));
        self.carry(drained)
    }

    /// Serves the tunnel itself.
    fn carry(&self, drained: &Drained) -> Result<(), Exit> {
        let nodes = self.nodes.try_clone().and_then(|nodes| {
            nodes.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(nodes)
        });
        let nodes = nodes.map_err(|e| Exit::local("the tunnel's port", e))?;
        let desk = FrontDesk::new(Arc::clone(&self.control), drained.clone());
        let desk: Arc<dyn Desk> = Arc::new(desk.map_err(|e| Exit::Local(e.to_string()))?);
        let hub = Hub::new(Arc::clone(&desk), &self.config);
        self.control.set_sessions(Arc::clone(&hub) as Arc<dyn Sessions>);
        if self.has_device {
            let subnet = self.control.setup().places.subnet;
            let device = tun::serve(Arc::clone(&hub), self.config.mtu);
            let device = device.map_err(|e| Exit::Local(format!("the tunnel's mode Tun: {e}")))?;
            tracing::info!(device, %subnet, "this machine is in the tunnel's network");
        }
        let own = self.own.clone();
        let doors = Doors::new(desk, &self.config, move || own.all());
        // Not among those who are asked to finish: it ends with the process, and connections in it with their nodes.
        tokio::spawn(inside::serve(Arc::clone(&hub), Arc::clone(&doors), self.config.mtu));
        drained.spawn(follow(
            Arc::clone(&self.live),
            (Arc::clone(&self.control), Arc::clone(&hub), doors),
            drained.clone(),
        ));
        drained.spawn(listen::serve(nodes, hub, self.workers.clone(), drained.clone()));
        Ok(())
    }

    /// The control plane.
    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

/// Puts other rules, forwards and limits in force as the snapshot brings them. Its network, its address and its ports stay as they were
/// at the start: nodes have them in their certificates and tokens.
async fn follow(live: Arc<Live>, (control, hub, doors): (Arc<Control>, Arc<Hub>, Arc<Doors>), drained: Drained) {
    let mut changes = live.changes();
    loop {
        tokio::select! {
            () = drained.asked() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        if let Some(tunnel) = live.snapshot().tunnel.clone() {
            control.limit(tunnel.limits);
            hub.configure(&tunnel);
            doors.configure(&tunnel);
        }
    }
}

fn setup(settings: &Settings, config: &crds::Tunnel, [register, bootstrap]: [&TcpListener; 2]) -> Result<Setup, Exit> {
    let unfit = |e: &dyn std::fmt::Display| Exit::Refused(format!("the tunnel's configuration: {e}"));
    let at = |listener: &TcpListener| listener.local_addr().map_err(|e| Exit::local("the tunnel's port", e));
    let (register, bootstrap) = (at(register)?, at(bootstrap)?);
    let advertise: Ipv4Addr = config.advertise.parse().map_err(|e| unfit(&e))?;
    Ok(Setup {
        home: settings.home.clone(),
        places: Places {
            advertise,
            subnet: config.subnet.parse().map_err(|e| unfit(&e))?,
            bound: vec![register.ip(), bootstrap.ip()],
        },
        ports: Ports { tunnel: settings.tunnel.listen.port(), register: register.port(), bootstrap: bootstrap.port() },
        roles: if config.role_split { Roles::Split } else { Roles::Joint },
        certificates: match config.client_certificate {
            crds::TunnelCertificate::Optional => Certificates::Optional,
            crds::TunnelCertificate::Required => Certificates::Required,
        },
        address_lease: config.address_lease.map(crds::Span::get),
        limits: config.limits,
    })
}
