//! A Kubernetes for tests, started and ended by us: control plane alone ([`control_plane`]) or with a node ([`node`]).
//!
//! One process, the bin `cluster`, starts the programs and stays. When it is told to end, or whoever started it is gone,
//! it takes everything down ([`teardown`]). Should it be killed itself, the next start clears what it left
//! ([`teardown::leftovers`]): all that a cluster is lies in one folder ([`state`]) that names its supervisor.

pub mod control_plane;
pub mod files;
pub mod launch;
pub mod node;
pub mod pki;
pub mod policies;
pub mod process;
pub mod state;
pub mod teardown;
