//! What ours is compared with: servers of our own that do the least, and programs that people know.

mod echo;
mod etcd;
mod fan;
mod floor;
mod grouped;
mod hub;
mod install;
mod legacy;
mod link;
mod nats;
mod nginx;
mod origin;
mod pair;
mod pipe;
mod proxy;
mod redis;
mod relay;
mod sink;
mod wss;

use anyhow::Result;

pub(crate) use self::{
    etcd::etcd,
    fan::SUBJECT as FAN_SUBJECT,
    hub::{Hub, Publisher, bun_publish, mosquitto, nats_over_websocket, ours, ours_among},
    legacy::{bytes_alone, go_hub, go_tokens},
    nats::{
        OBJECT, SUBJECT, WORK, nats, nats_bucket, nats_for_gateways, nats_for_objects, nats_in_memory, nats_to_fetch,
    },
    nginx::Nginx,
    origin::SIZE as ORIGIN_SIZE,
    pair::{NAME, pair},
    proxy::{Proxy, Way},
    redis::redis,
    sink::BUFFER as SINK_BUFFER,
};
use crate::process::guard;

/// If the words name one of our own servers: runs it until it is killed.
pub(crate) fn serve(words: &[&str]) -> Option<Result<()>> {
    Some(match words {
        ["guard", command @ ..] => guard(command),
        ["floor", port] => floor::serve(port),
        ["origin", port] => origin::serve(port, origin::SIZE),
        ["origin", port, size] => size.parse().map_err(Into::into).and_then(|size| origin::serve(port, size)),
        ["echo", port] => echo::serve(port),
        ["fan", port, nats] => fan::serve(port, nats),
        ["grouped", port, file] => grouped::serve(port, file),
        ["link", port, to] => link::serve(port, to),
        ["pipe", port, to] => pipe::serve(port, to),
        ["sink", port] => sink::serve(port),
        ["wss", port, folder] => wss::serve(port, folder),
        ["relay", port, side, to, folder] => relay::serve(port, side, to, folder),
        _ => return None,
    })
}
