//! What is kept at the servers and was made when the settings were others: it is brought in step with them as far as it can be.

use async_nats::jetstream::{
    Context,
    stream::{Config, Info, StorageType},
};
use crds::NatsStorage;
use tokio::time::timeout;

use super::{ANSWER, Settings};

/// Where a new stream is kept.
pub(crate) fn storage(settings: &Settings) -> StorageType {
    match settings.storage {
        NatsStorage::File => StorageType::File,
        NatsStorage::Memory => StorageType::Memory,
    }
}

/// Gives a stream that is there this bound, and as many replicas as the settings say. Where it cannot be done, that is said, and the
/// stream is used as it is.
pub(crate) async fn bring_in_step(jetstream: &Context, info: &Info, max_bytes: i64, settings: &Settings) {
    let mut config = info.config.clone();
    if config.max_bytes != max_bytes {
        config.max_bytes = max_bytes;
        update(jetstream, &config, "bound").await;
    }
    if config.num_replicas != settings.replicas {
        config.num_replicas = settings.replicas;
        update(jetstream, &config, "number of replicas").await;
    }
    if config.storage != storage(settings) {
        tracing::warn!(
            stream = config.name,
            "it is not kept where nats.storage says, which no server changes: remove the stream while no gateway runs, and it is made anew"
        );
    }
}

async fn update(jetstream: &Context, config: &Config, what: &str) {
    let stream = &config.name;
    let updated = timeout(ANSWER, jetstream.update_stream(config)).await;
    match updated.map_err(|e| e.to_string()).and_then(|updated| updated.map_err(|e| e.to_string())) {
        Ok(_) => tracing::info!(stream, "it has the {what} now that the configuration says"),
        Err(why) => tracing::warn!(stream, "it keeps its {what}, whatever the configuration says: {why}"),
    }
}
