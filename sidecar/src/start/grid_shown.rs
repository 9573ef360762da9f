//! What the admin port shows of the grid: how much is in it, its topics, its clients. No context and no message.

use serde_json::{Value, json};

use super::grid::{GridPlace, Standing};
use crate::admin::GridPage;

/// Clients of a page where the question names no number, and at most: each may have 32 KiB of channel names.
const LISTED: usize = 200;
/// So that an answer has no more than the admin port's callers take.
const MOST: usize = 400;

impl GridPlace {
    /// How much is in it; null where it is off.
    pub(super) fn levels(&self) -> Value {
        match (self.standing(), self.room()) {
            (Standing::Passed, _) => json!({"at": "gateway"}),
            (Standing::Served, Some(room)) => {
                let (grid, rows) = (&room.grid, room.grid.topics.rows());
                json!({
                    "at": "here",
                    "node": grid.node().get(),
                    "ports": room.ports(),
                    "clients": grid.clients.count(),
                    "backends": grid.topics.sessions(),
                    "topics": rows.len(),
                    "messages": rows.iter().map(|row| row.depth).sum::<usize>(),
                    "unacked": rows.iter().map(|row| row.unacked).sum::<usize>(),
                })
            }
            _ => Value::Null,
        }
    }

    /// Its topics, and a page of its clients in the order of their ids; or why there are none here.
    pub(super) fn page(&self, ask: &GridPage) -> Result<Value, &'static str> {
        let room = match (self.standing(), self.room()) {
            (Standing::Served, Some(room)) => room,
            (Standing::Passed, _) => return Err("clients are connected to the node's gateway: ask there"),
            _ => return Err("this node has no grid: see spec.grid of the MeshNode, or MESH_GRID_LISTEN"),
        };
        let after = match ask.after.as_deref().map(str::parse) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Err("`after` is the id of a client"),
        };
        let limit = ask.limit.unwrap_or(LISTED).clamp(1, MOST);
        let grid = &room.grid;
        let clients = grid.clients.list(after, limit);
        let next = clients.last().filter(|_| clients.len() == limit).map(|last| last.id.to_string());
        let topics = grid.topics.rows().into_iter().map(|row| {
            json!({"topic": row.topic.as_str(), "depth": row.depth, "unacked": row.unacked, "consumers": row.consumers})
        });
        Ok(json!({
            "topics": topics.collect::<Vec<_>>(),
            "total": grid.clients.count(),
            "clients": clients.iter().map(|client| grid.info(client)).collect::<Vec<_>>(),
            "next": next,
        }))
    }
}
