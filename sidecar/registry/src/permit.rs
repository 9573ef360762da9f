//! Who may register what: everything standalone; in a managed node only the caller's own address (design section 3).

use std::net::IpAddr;

use mesh_core::{Caller, Origin};

use crate::{Address, Registration, RegistryError};

/// Who registers.
#[derive(Clone, Debug)]
pub struct Registrant<'c> {
    /// What was proven.
    pub caller: &'c Caller,
    /// Where the connection comes from; `None` where the front does not know, as for MPIs.
    pub peer: Option<IpAddr>,
}

impl Registrant<'_> {
    /// Whether it may use the registry's control calls at all.
    ///
    /// # Errors
    /// `E0000000614` for partners and strangers.
    pub(crate) fn may_control(&self) -> Result<(), RegistryError> {
        match self.caller {
            Caller::Local | Caller::Member { .. } => Ok(()),
            Caller::Gateway | Caller::Partner(_) | Caller::Stranger => Err(RegistryError::NotPermitted(
                "only this node's own applications and sidecars register services: call your own node".into(),
            )),
        }
    }

    /// Whether it may register or remove an entry with these addresses.
    ///
    /// # Errors
    /// `E0000000614` naming the address that is not the caller's own.
    pub(crate) fn may_name(
        &self,
        registration: &Registration,
        origin: &Origin,
        is_ours: impl Fn(IpAddr) -> bool,
    ) -> Result<(), RegistryError> {
        let Origin::Managed { resource } = origin else { return Ok(()) };
        let services = registration.content.services.iter().filter(|_| registration.kind.is_routed());
        let named = services.map(|service| service.address.as_str()).filter(|address| !address.is_empty());
        for address in std::iter::once(registration.address.as_str()).chain(named) {
            if !self.owns(address, &is_ours) {
                let own = match self.caller {
                    Caller::Member { from } => format!("the address {from} of the pod that registers"),
                    _ => "the caller's own address".to_owned(),
                };
                return Err(RegistryError::NotPermitted(format!(
                    "{address} is not {own}: node {resource} takes others only as a ServiceRegistration resource"
                )));
            }
        }
        Ok(())
    }

    /// A caller from this machine owns each of the machine's addresses: a pod's containers share them.
    fn owns(&self, address: &str, is_ours: impl Fn(IpAddr) -> bool) -> bool {
        let Some(ip) = Address::parse(address).and_then(|address| address.ip()).map(|ip| ip.to_canonical()) else {
            return false;
        };
        // A sidecar speaks for the applications of its pod, and for nobody beside them.
        if let Caller::Member { from } = self.caller {
            return ip == from.to_canonical();
        }
        match self.peer.map(|peer| peer.to_canonical()) {
            Some(peer) if !peer.is_loopback() => ip == peer,
            Some(_) => is_ours(ip),
            None => self.caller.is_local() && is_ours(ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Kind, Service};

    fn registration(address: &str, service: &str) -> Registration {
        Registration {
            instance_id: "i".into(),
            name: "n".into(),
            kind: Kind::Complex,
            address: address.into(),
            content: Content {
                services: vec![Service { urn: "/a".into(), address: service.into(), ..Service::default() }],
                references: Vec::new(),
            },
            timestamp: 0,
            attachments: Default::default(),
        }
    }

    #[test]
    fn a_managed_nodes_callers_register_their_own_address_only() {
        let managed = Origin::Managed { resource: "privacy/bank-a".into() };
        let is_ours = |ip: IpAddr| ip.is_loopback() || ip == IpAddr::from([10, 0, 0, 1]);
        for (peer, address, service, open) in [
            (Some("127.0.0.1"), "127.0.0.1:8000", "", true),
            (Some("::1"), "10.0.0.1:8000", "[::1]:9", true),
            (Some("::ffff:127.0.0.1"), "10.0.0.2:8000", "", false),
            (Some("10.0.0.7"), "10.0.0.7:8000", "10.0.0.7:9", true),
            (Some("10.0.0.7"), "10.0.0.7:8000", "10.0.0.8:9", false),
            (Some("10.0.0.7"), "127.0.0.1:8000", "", false),
            (Some("127.0.0.1"), "localhost:8000", "", false),
            (None, "10.0.0.1:8000", "", true),
            (None, "10.0.0.2:8000", "", false),
        ] {
            let peer = peer.map(|p| p.parse().unwrap());
            let registrant = Registrant { caller: &Caller::Local, peer };
            let verdict = registrant.may_name(&registration(address, service), &managed, is_ours);
            assert_eq!(verdict.is_ok(), open, "{peer:?} {address} {service}");
        }
    }

    #[test]
    fn a_sidecar_registers_the_address_of_its_pod_alone_also_by_mpi() {
        let managed = Origin::Managed { resource: "privacy/bank-a".into() };
        for (address, open) in [("10.0.0.7:8000", true), ("10.0.0.8:8000", false), ("127.0.0.1:8000", false)] {
            for peer in [None, Some([10, 0, 0, 7].into())] {
                let caller = Caller::Member { from: [10, 0, 0, 7].into() };
                let registrant = Registrant { caller: &caller, peer };
                let verdict = registrant.may_name(&registration(address, ""), &managed, |ip| ip.is_loopback());
                assert_eq!(verdict.is_ok(), open, "{peer:?} {address}");
            }
        }
    }

    #[test]
    fn standalone_an_application_registers_any_address() {
        let registrant = Registrant { caller: &Caller::Local, peer: None };
        assert_eq!(registrant.may_name(&registration("db.example:1", ""), &Origin::Standalone, |_| false), Ok(()));
    }

    #[test]
    fn strangers_register_nothing() {
        let stranger = Registrant { caller: &Caller::Stranger, peer: None };
        assert!(matches!(stranger.may_control(), Err(RegistryError::NotPermitted(_))));
    }
}
