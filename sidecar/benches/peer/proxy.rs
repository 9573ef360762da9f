//! The reverse proxies that people know, each at its best with one thread: keep-alive on both sides, no access log.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::Result;

use super::install::{envoy, packaged};
use crate::{
    process::{Probe, Server, free_port},
    work::folder,
};

/// A reverse proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    Nginx,
    Haproxy,
    Envoy,
}

/// What it passes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Http1,
    Grpc,
}

impl Proxy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
        }
    }

    /// One that passes on to `to`.
    pub(crate) fn start(self, to: SocketAddr, way: Way) -> Result<Server> {
        let (home, port) = (folder("proxy")?, free_port()?);
        let config = home.join("config");
        let (program, text) = match self {
            Self::Nginx => (packaged("nginx", "nginx-light")?, nginx(&home, port, to, way)),
            Self::Haproxy => (packaged("haproxy", "haproxy")?, haproxy(port, to, way)),
            Self::Envoy => (envoy()?, envoys(port, to, way)),
        };
        fs::write(&config, text)?;
        let set = |command: &mut Command| {
            match self {
                Self::Nginx => {
                    command.arg("-c").arg(&config).arg("-p").arg(&home).arg("-e").arg(home.join("error.log"))
                }
                Self::Haproxy => command.arg("-db").arg("-f").arg(&config),
                Self::Envoy => command
                    .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error", "-c"])
                    .arg(&config),
            };
        };
        Server::start(&program, set, port, Probe::Accepts)
    }
}

fn nginx(home: &Path, port: u16, to: SocketAddr, way: Way) -> String {
    let home = home.display();
    let (listen, pass) = match way {
        Way::Http1 => {
            ("", "proxy_http_version 1.1; proxy_set_header Connection \"\"; location / { proxy_pass http://next; }")
        }
        Way::Grpc => ("http2", "location / { grpc_pass grpc://next; }"),
    };
    format!(
        "daemon off; worker_processes 1; pid {home}/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 0;\n\
         client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n\
         proxy_max_temp_file_size 0; proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k;\n\
         upstream next {{ server {to}; keepalive 128; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port} {listen}; {pass} }} }}\n"
    )
}

fn haproxy(port: u16, to: SocketAddr, way: Way) -> String {
    let proto = if way == Way::Grpc { "proto h2" } else { "" };
    format!(
        "global\n  nbthread 1\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n  http-reuse always\n\
         listen it\n  bind 127.0.0.1:{port} {proto}\n  server next {to} {proto}\n"
    )
}

fn envoys(port: u16, to: SocketAddr, way: Way) -> String {
    let typed = |kind: &str| format!("type.googleapis.com/envoy.extensions.{kind}");
    let place =
        |address: &str, port: u16| serde_json::json!({"socket_address": {"address": address, "port_value": port}});
    let router = serde_json::json!({"@type": typed("filters.http.router.v3.Router")});
    let manager = serde_json::json!({
        "@type": typed("filters.network.http_connection_manager.v3.HttpConnectionManager"), "stat_prefix": "in",

        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "next", "timeout": "0s"}}]}]},
        "http_filters": [{"name": "router", "typed_config": router}], "generate_request_id": false,
    });
    let mut cluster = serde_json::json!({
        "name": "next", "type": "STATIC", "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_requests": 4096, "max_pending_requests": 4096}]},
        "load_assignment": {"cluster_name": "next",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place("127.0.0.1", to.port())}}]}]},
    });
    if way == Way::Grpc {
        cluster["typed_extension_protocol_options"] = serde_json::json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": typed("upstreams.http.v3.HttpProtocolOptions"), "explicit_http_config": {"http2_protocol_options": {}}},
        });
    }
    let filters = serde_json::json!([{"filters": [{"name": "in", "typed_config": manager}]}]);
    let listener = serde_json::json!({"name": "in", "address": place("127.0.0.1", port), "filter_chains": filters});
    // It reads JSON as the YAML that it is.
    serde_json::json!({"static_resources": {"listeners": [listener], "clusters": [cluster]}}).to_string()
}
