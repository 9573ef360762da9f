//! What a network controller of LiteKube left behind, read for one of ours that takes its place: its tables, its configuration, and
//! the folders of its authorities (NC sections 3, 5 and 6). Pure: whoever asks brings the bytes and the clock.
//!
//! ```text
//! sqlite.rs     the tables of a SQLite file
//! columns.rs    what a table's columns are called
//! database.rs   nodes and bootstrap tokens
//! config.rs     a server's settings
//! client.rs     those of an edge node
//! ```

mod client;
mod columns;
mod config;
mod database;
#[cfg(test)]
mod fuzz;
mod sqlite;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use self::{
    client::LegacyClient,
    config::{LegacyConfig, NotAConfig},
    database::read,
    sqlite::Unreadable,
};

/// The files of an authority in a folder, in each spelling that the original has: certificate, then key (NC section 3).
pub const AUTHORITY_FILES: [(&str, &str); 2] = [("ca.pem", "ca-key.pem"), ("ca.crt", "ca.key")];

/// The files of an edge node in a folder, in each spelling: the authority that it trusts, its certificate, its key (NC sections 3 and 7).
pub const CLIENT_FILES: [[&str; 3]; 2] =
    [["ca.pem", "client.pem", "client-key.pem"], ["ca.crt", "client.crt", "client.key"]];

/// What its database holds.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// Nodes, without the server's own entry.
    pub nodes: Vec<LegacyNode>,
    /// Bootstrap tokens that are worth something still.
    pub tokens: Vec<LegacyToken>,
    /// How many bootstrap tokens were over.
    pub expired: usize,
    /// Rows that cannot be taken, each in a line for people, without secrets.
    pub broken: Vec<String>,
}

/// A node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyNode {
    /// Its token.
    pub token: String,
    /// Its address, if it has been there.
    pub address: Option<Ipv4Addr>,
    /// When it joined, in seconds since 1970, if that can be told.
    pub created: Option<i64>,
}

/// A bootstrap token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyToken {
    /// Its text.
    pub token: String,
    /// The second at which it ends, since 1970; absent: never.
    pub expires: Option<i64>,
}
