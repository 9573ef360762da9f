//! What is mounted: one projected volume with the whole configuration, and the room for state.
//!
//! The kubelet swaps a projected volume in one step, so that Secret, ConfigMaps and token are never of two versions. Parts
//! that a node may get later are in it from the start, as optional ones: a pod's volumes cannot change.

use crds::{
    ByteSize,
    intake::{AUDIENCE, TOKEN_FILE},
};
use k8s_openapi::{
    api::core::v1::{
        ConfigMapProjection, EmptyDirVolumeSource, ProjectedVolumeSource, SecretProjection,
        ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Mesh, Role, whole_mebibytes};
use crate::node::{
    build::PARTS_MAX,
    names::{leaf_name, main_name, member_name, part_name},
};

/// The projected volume.
pub(crate) const CONFIG_VOLUME: &str = "mesh-config";
/// Where state is kept.
pub(crate) const HOME_VOLUME: &str = "mesh-home";
/// Where the projected volume is mounted.
pub(super) const CONFIG_PATH: &str = "/etc/mesh";
/// Where state is kept, in the container.
pub(super) const HOME_PATH: &str = "/mesh";
/// The kubelet renews a token when 80 % of its life are over; an hour is its default.
const TOKEN_SECONDS: i64 = 3600;

/// A sidecar beside a gateway keeps its admin token, and nothing else.
const SIDECAR_HOME: ByteSize = ByteSize::mib(4);
/// A log holds as much again until it is written anew; and this for registrations, routes and what was dropped meanwhile.
const BESIDE_MESSAGES: ByteSize = ByteSize::gib(1);

/// The gateway's pod has a group of its own, by which the files are read.
const FOR_THE_GROUP: i32 = 0o440;
/// A pod of others has no group of ours, and giving it one would change its own volumes. Only our container mounts this one,
/// and on the machine it lies where root alone looks.
const FOR_THE_CONTAINER: i32 = 0o444;

impl Mesh<'_> {
    /// The pod's volumes. The gateway's state is not among them: it is a claim, or [`Mesh::scratch`].
    pub(crate) fn volumes(&self) -> Vec<Volume> {
        let home = (self.role != Role::Gateway).then(|| self.home());
        [self.config()].into_iter().chain(home).collect()
    }

    /// State of a gateway that goes with its pod.
    pub(crate) fn scratch() -> Volume {
        Self::empty(EmptyDirVolumeSource::default())
    }

    /// State in a pod of others, bounded: what fills a machine's disk evicts its neighbours. A sidecar's is in memory, because a
    /// volume on the machine's disk keeps cluster autoscalers from removing it.
    fn home(&self) -> Volume {
        let (medium, most) = match self.role {
            Role::Sidecar => (Some("Memory".into()), SIDECAR_HOME),
            Role::Gateway | Role::Lone => {
                (None, whole_mebibytes(self.queues.bytes().saturating_mul(2).saturating_add(BESIDE_MESSAGES.bytes())))
            }
        };
        Self::empty(EmptyDirVolumeSource { medium, size_limit: Some(Quantity(most.to_string())) })
    }

    fn empty(source: EmptyDirVolumeSource) -> Volume {
        Volume { name: HOME_VOLUME.into(), empty_dir: Some(source), ..Volume::default() }
    }

    fn config(&self) -> Volume {
        let (secret, mode) = match self.role {
            Role::Gateway => (leaf_name(self.node), FOR_THE_GROUP),
            Role::Lone => (leaf_name(self.node), FOR_THE_CONTAINER),
            Role::Sidecar => (member_name(self.node), FOR_THE_CONTAINER),
        };
        let parts = ["routes", "registrations"].into_iter().flat_map(|kind| {
            (0..PARTS_MAX).map(move |n| config_map(part_name(self.node, &format!("{kind}-{n}")), Some(true)))
        });
        // Without the manifest or the pair there is nothing to run on: the pod waits until they are there.
        let must = [self::secret(secret), config_map(main_name(self.node), None)];
        let projected = ProjectedVolumeSource {
            default_mode: Some(mode),
            sources: Some(must.into_iter().chain(parts).chain([token()]).collect()),
        };
        Volume { name: CONFIG_VOLUME.into(), projected: Some(projected), ..Volume::default() }
    }
}

/// What the container mounts.
pub(super) fn mounts() -> Vec<VolumeMount> {
    let mount =
        |name: &str, path: &str| VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() };
    vec![VolumeMount { read_only: Some(true), ..mount(CONFIG_VOLUME, CONFIG_PATH) }, mount(HOME_VOLUME, HOME_PATH)]
}

fn secret(name: String) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection { name, ..SecretProjection::default() }),
        ..VolumeProjection::default()
    }
}

fn config_map(name: String, optional: Option<bool>) -> VolumeProjection {
    let config_map = ConfigMapProjection { name, optional, ..ConfigMapProjection::default() };
    VolumeProjection { config_map: Some(config_map), ..VolumeProjection::default() }
}

fn token() -> VolumeProjection {
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.into()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: TOKEN_FILE.into(),
    };
    VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() }
}
