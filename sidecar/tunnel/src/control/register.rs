//! `pb.LiteKubeNCService` on 6440: decode, one call, encode. Whatever happens, gRPC says OK (NC section 1.2).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proto::nc::{
    CheckConnResponse, CheckConnStateRequest, GetBootStrapTokenRequest, GetBootStrapTokenResponse,
    GetRegistedIpRequest, GetRegistedIpResponse, GetTokenRequest, GetTokenResponse, HealthCheckRequest,
    HealthCheckResponse, HelloWorldRequest, HelloWorldResponse, UnRegisterRequest, UnRegisterResponse,
    lite_kube_nc_service_server::LiteKubeNcService,
};
use tonic::{Request, Response, Status};

use super::{
    Control,
    caller::Caller,
    service::Welcome,
    verdict::{OK, Verdict},
};
use crate::seam::ConnState;

/// Whoever greets is greeted.
const GREETING: &str = "hello, this is the network controller";

/// The register plane.
#[derive(Clone)]
pub(super) struct RegisterPlane(pub(super) Arc<Control>);

/// Who calls; the listener put it there.
pub(super) fn caller<T>(control: &Control, request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Status::internal("the connection of the call is not known"))?;
    if caller.is_denied(control) {
        return Err(Status::unauthenticated("the certificate was denied, or its authority forgotten"));
    }
    Ok(caller)
}

/// Runs what may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Status::internal("the call was given up"))
}

/// The answer to GetToken. The endpoints are told also with a failure (NC section 2).
pub(super) fn token_answer(control: &Control, done: Result<Welcome, Verdict>) -> GetTokenResponse {
    let setup = &control.setup;
    let endpoints = GetTokenResponse {
        network_server_ip: setup.places.advertise.to_string(),
        network_server_port: setup.ports.tunnel.to_string(),
        grpc_server_ip: control.server().to_string(),
        grpc_server_port: setup.ports.register.to_string(),
        ..GetTokenResponse::default()
    };
    let (verdict, welcome) = split(done);
    control.metrics.called("GetToken", verdict.code);
    let Some(Welcome { token, register, join }) = welcome else {
        return GetTokenResponse { code: verdict.code.into(), message: verdict.message, ..endpoints };
    };
    GetTokenResponse {
        code: verdict.code.into(),
        message: verdict.message,
        token: token.expose().into(),
        grpc_ca_cert: STANDARD.encode(&register.authority),
        grpc_client_key: STANDARD.encode(register.key.expose()),
        grpc_client_cert: STANDARD.encode(&register.certificate),
        network_ca_cert: STANDARD.encode(&join.authority),
        network_client_key: STANDARD.encode(join.key.expose()),
        network_client_cert: STANDARD.encode(&join.certificate),
        ..endpoints
    }
}

fn split<T>(done: Result<T, Verdict>) -> (Verdict, Option<T>) {
    match done {
        Ok(value) => (Verdict::ok(), Some(value)),
        Err(verdict) => (verdict, None),
    }
}

#[tonic::async_trait]
impl LiteKubeNcService for RegisterPlane {
    async fn hello_world(&self, _: Request<HelloWorldRequest>) -> Result<Response<HelloWorldResponse>, Status> {
        Ok(Response::new(HelloWorldResponse { thanks_text: GREETING.into() }))
    }

    async fn health_check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { code: OK.into() }))
    }

    async fn get_boot_strap_token(
        &self,
        request: Request<GetBootStrapTokenRequest>,
    ) -> Result<Response<GetBootStrapTokenResponse>, Status> {
        let caller = caller(&self.0, &request)?;
        let (control, minutes) = (Arc::clone(&self.0), request.into_inner().expire_time);
        let done = blocking(move || control.mint_legacy(&caller, minutes)).await?;
        let (verdict, secret) = split(done);
        self.0.metrics.called("GetBootStrapToken", verdict.code);
        Ok(Response::new(GetBootStrapTokenResponse {
            code: verdict.code.into(),
            message: verdict.message,
            boot_strap_token: secret.flatten().map(|secret| secret.expose().to_owned()).unwrap_or_default(),
            cloud_ip: self.0.setup.places.advertise.to_string(),
            port: self.0.setup.ports.bootstrap.to_string(),
        }))
    }

    async fn check_conn_state(
        &self,
        request: Request<CheckConnStateRequest>,
    ) -> Result<Response<CheckConnResponse>, Status> {
        let caller = caller(&self.0, &request)?;
        let (verdict, found) = split(self.0.find(&caller, &request.get_ref().token));
        self.0.metrics.called("CheckConnState", verdict.code);
        let state = found.as_ref().map_or(ConnState::Idle, |found| found.state);
        // Until the handshake the address is only set aside.
        let address = found.and_then(|found| found.address);
        Ok(Response::new(CheckConnResponse {
            code: verdict.code.into(),
            message: verdict.message,
            conn_state: state.wire(),
            bind_ip: address.map(|ip| ip.to_string()).unwrap_or_default(),
        }))
    }

    async fn un_register(&self, request: Request<UnRegisterRequest>) -> Result<Response<UnRegisterResponse>, Status> {
        let caller = caller(&self.0, &request)?;
        let (control, token) = (Arc::clone(&self.0), request.into_inner().token);
        let (verdict, done) = split(blocking(move || control.unregister_by(&caller, &token)).await?);
        self.0.metrics.called("UnRegister", verdict.code);
        let result = done.is_some();
        Ok(Response::new(UnRegisterResponse { code: verdict.code.into(), message: verdict.message, result }))
    }

    async fn get_registed_ip(
        &self,
        request: Request<GetRegistedIpRequest>,
    ) -> Result<Response<GetRegistedIpResponse>, Status> {
        let caller = caller(&self.0, &request)?;
        let (verdict, found) = split(self.0.find(&caller, &request.get_ref().token));
        self.0.metrics.called("GetRegistedIp", verdict.code);
        let ip = found.and_then(|found| found.address).map(|ip| ip.to_string()).unwrap_or_default();
        Ok(Response::new(GetRegistedIpResponse { code: verdict.code.into(), message: verdict.message, ip }))
    }

    async fn get_token(&self, request: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        join(&self.0, request).await
    }
}

/// GetToken, which is the same on both ports.
pub(super) async fn join(
    control: &Arc<Control>,
    request: Request<GetTokenRequest>,
) -> Result<Response<GetTokenResponse>, Status> {
    let caller = caller(control, &request)?;
    let (ours, bootstrap) = (Arc::clone(control), request.into_inner().boot_strap_token);
    let done = blocking(move || ours.join_legacy(&caller, &bootstrap)).await?;
    Ok(Response::new(token_answer(control, done)))
}
