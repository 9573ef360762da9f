//! The grid: end users' WebSocket connections, the channels they are subscribed to, the topics their messages go to, and the API
//! by which backends reach them (the Grid contract).

pub mod api;
pub mod auth;
pub mod backend;
pub mod clients;
mod context;
mod copies;
mod elsewhere;
pub mod envelope;
mod error;
#[cfg(test)]
mod fuzz;
mod grid;
mod ids;
mod link;
pub mod listen;
pub mod metrics;
mod names;
mod purse;
pub mod queue;
pub mod room;
pub mod rules;
mod shared;
mod stream;
pub mod topics;

use mesh_websocket as wire;

pub use context::{Context, Entries, Key, TooLarge};
pub use copies::{Adopted, Copies, Left};
pub use elsewhere::{Answer, Backplane, Notice, Question};
pub use error::{GridError, TOO_MANY_ERRORS, Unsent};
pub use grid::{Grid, Taken};
pub use ids::{ClientId, EPOCH_MS, Ids, Lease, Mint, NoClientId, NoIds, NodeNumber, NotReserved};
pub use link::now_ms;
pub use names::{Channel, MOST_OF_NAME, NoName, OF_DIRECTORY, Topic};
