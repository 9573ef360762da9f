//! How the core's maps hash: with one random key for the whole process, so that a session does not carry its own.

use std::{
    hash::{BuildHasher, DefaultHasher, RandomState},
    sync::LazyLock,
};

/// Random, because whoever calls chooses the names: known keys would let a partner make them all collide.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The process's hasher; takes no memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keys;

impl BuildHasher for Keys {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        KEYS.build_hasher()
    }
}
