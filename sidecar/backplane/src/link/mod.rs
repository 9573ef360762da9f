//! What gateways say to each other, numbered, so that a loss is noticed. Pure.
//!
//! ```text
//! packet.rs     the bytes of one message
//! pair.rs       the link to one other gateway
//! exchange.rs   all links of this one, and the questions that are open
//! ```

mod exchange;
mod packet;
mod pair;

pub(crate) use self::{exchange::Exchange, packet::Packet, pair::LARGEST};
