//! `mesh ready`: waits until the node on this machine is ready, by the answer that its probes get.
//!
//! A kubelet runs it in the sidecar's container before it starts the applications of the pod (`postStart`): it goes on as soon as
//! this ends, where a startup probe is asked once a second at most.

use std::time::{Duration, Instant};

use crds::ADMIN_PORT;
use http::{Request, StatusCode};
use mesh_core::{
    Body,
    config::{Environment, Settings},
};

use super::{admin, block_on, client};
use crate::{args::Ready, exit::Exit};

/// Between two looks. A node is ready some ten milliseconds after its start, and who waits here waits with a whole pod.
const PAUSE: Duration = Duration::from_millis(10);
/// The admin port answers from memory, on a thread of its own.
const LIMIT: Duration = Duration::from_secs(5);

/// `mesh ready`.
pub(crate) fn ready(args: &Ready) -> Result<(), Exit> {
    let settings = Settings::read(&Environment::of_process()).map_err(|e| Exit::Refused(e.to_string()))?;
    let address = admin::address(&settings);
    block_on(async {
        let begun = Instant::now();
        loop {
            let Err(why) = ask(&address).await else { return Ok(()) };
            if begun.elapsed() >= args.within {
                return Err(Exit::Unreachable(format!("not ready within {:?}: {why}", args.within)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// Whether the node is ready now, or why not.
async fn ask(address: &str) -> Result<(), Exit> {
    let request = Request::get("/readyz").body(Body::Empty);
    let request = request.map_err(|e| Exit::local("the question cannot be sent", e))?;
    let status = client::send(address, ADMIN_PORT, request, LIMIT).await?.status();
    if status == StatusCode::OK { Ok(()) } else { Err(Exit::Unreachable(format!("{address} answers HTTP {status}"))) }
}
