//! The registry's control calls: `POST /v1/interconn/registry/register` and the MPIs `mesh.registry.*`.
//!
//! Decodes, calls once, encodes. Keeps PTP sections 3.1 and 10.2.

use std::{net::IpAddr, sync::Arc};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use mesh_core::{
    Body, Caller, Code, Refusal,
    mpi::{Access, Answer, Call, Table},
};
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::{Kind, Registry, RegistryError, decode, permit::Registrant, proxy};

impl Registry {
    /// Answers `POST /v1/interconn/registry/register`: always HTTP 200 with a code (PTP section 13.2).
    pub async fn register(self: &Arc<Self>, request: Request<Body>, caller: &Caller, peer: IpAddr) -> Response<Body> {
        let refusal = match self.registered(request, caller, peer).await {
            Ok(()) => Refusal::of_caller(Code::SUCCESS, Code::SUCCESS.text()),
            Err(refusal) => refusal,
        };
        proxy::json(StatusCode::OK, &refusal)
    }

    async fn registered(
        self: &Arc<Self>,
        request: Request<Body>,
        caller: &Caller,
        peer: IpAddr,
    ) -> Result<(), Refusal> {
        let registrant = Registrant { caller, peer: Some(peer) };
        registrant.may_control()?;
        let bytes = read(request.into_body()).await?;
        self.put(decode::document(&bytes)?, &registrant).await?;
        Ok(())
    }

    /// Registers the MPIs of the registry.
    pub fn add_mpis(self: &Arc<Self>, table: &mut Table) {
        let registry = self.clone();
        table.register("mesh.registry.put", Access::Member, move |call| registry.clone().mpi_put(call));
        let registry = self.clone();
        table.register("mesh.registry.puts", Access::Member, move |call| registry.clone().mpi_puts(call));
        let registry = self.clone();
        table.register("mesh.registry.remove", Access::Member, move |call| registry.clone().mpi_remove(call));
        let registry = self.clone();
        table.register("mesh.registry.export", Access::Member, move |call| registry.clone().mpi_export(call));
    }

    async fn mpi_put(self: Arc<Self>, mut call: Call) -> Answer {
        let registration = decode::argument(argument(&mut call, "registration")?)?;
        self.put(registration, &registrant(&call)).await?;
        Ok(None)
    }

    /// All of them, or none.
    async fn mpi_puts(self: Arc<Self>, mut call: Call) -> Answer {
        let registrations = decode::arguments(argument(&mut call, "registrations")?)?;
        self.puts(registrations, &registrant(&call)).await?;
        Ok(None)
    }

    async fn mpi_remove(self: Arc<Self>, mut call: Call) -> Answer {
        let key = decode::key(argument(&mut call, "registration")?)?;
        self.remove(&key, &registrant(&call)).await?;
        Ok(None)
    }

    /// Written beside the thread of the connection, one at a time.
    async fn mpi_export(self: Arc<Self>, call: Call) -> Answer {
        let wrong = || RegistryError::invalid("kind", "must be one of complex, metadata, server and proxy");
        let kind = match call.arguments.get("kind") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) => Some(Kind::parse(text).ok_or_else(wrong)?),
            Some(_) => return Err(wrong().into()),
        };
        // It is never closed.
        let turn = Arc::clone(&self.exports).acquire_owned().await.ok();
        let written = spawn_blocking(move || {
            let written = serde_json::to_value(self.export(kind));
            drop(turn);
            written.map_err(|e| RegistryError::Unreadable(e.to_string()))
        });
        let ended = |_| RegistryError::Store("the node ends".into());
        Ok(Some(written.await.map_err(ended)??))
    }
}

fn registrant(call: &Call) -> Registrant<'_> {
    Registrant { caller: &call.caller, peer: None }
}

fn argument(call: &mut Call, name: &'static str) -> Result<Value, RegistryError> {
    call.arguments.remove(name).filter(|value| !value.is_null()).ok_or(RegistryError::Missing(name))
}

async fn read(body: Body) -> Result<bytes::Bytes, Refusal> {
    match Limited::new(body, decode::LONGEST_DOCUMENT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = format!("a registration is at most {} bytes", decode::LONGEST_DOCUMENT);
            Err(Refusal::of_caller(Code::TOO_LARGE, text))
        }
        Err(error) => Err(RegistryError::Unreadable(error.to_string()).into()),
    }
}
