//! nginx as a reverse proxy at its best: keep-alive on both sides, a worker per core, no access log.

use std::{fmt::Write as _, fs, net::SocketAddr, path::Path, process::Command};

use anyhow::Result;

use super::{NAME, install::packaged};
use crate::{
    process::{Probe, Server, free_port},
    work::folder,
};

/// How one nginx is set up.
#[derive(Clone, Copy)]
pub(crate) struct Nginx<'n> {
    /// Where it passes requests on to.
    pub(crate) to: SocketAddr,
    /// TLS towards its callers, with a certificate asked for.
    pub(crate) tls_in: bool,
    /// TLS towards where it passes on, with a certificate shown.
    pub(crate) tls_out: bool,
    /// Whether a request is taken in whole before it is passed on.
    pub(crate) buffers: bool,
    /// Holds `root.pem`, `chain.pem` and `key.pem` where there is TLS.
    pub(crate) pair: Option<&'n Path>,
}

impl Nginx<'_> {
    pub(crate) fn start(self) -> Result<Server> {
        let (program, home, port) = (packaged("nginx", "nginx-light")?, folder("nginx")?, free_port()?);
        let config = home.join("nginx.conf");
        fs::write(&config, self.config(&home, port)?)?;
        let set = |command: &mut Command| {
            command.arg("-c").arg(&config).arg("-p").arg(&home).arg("-e").arg(home.join("error.log"));
        };
        Server::start(&program, set, port, if self.tls_in { Probe::Accepts } else { Probe::Get("/stats") })
    }

    fn config(self, home: &Path, port: u16) -> Result<String> {
        let home = home.display();
        let (tls, scheme) = (if self.tls_in { "ssl" } else { "" }, if self.tls_out { "https" } else { "http" });
        let mut server = format!(
            "listen 127.0.0.1:{port} {tls}; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             client_max_body_size 0; client_body_buffer_size 2m; proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k;\n\
             proxy_request_buffering {}; location / {{ proxy_pass {scheme}://next; }}\n",
            if self.buffers { "on" } else { "off" },
        );
        if let Some(pair) = self.pair {
            let pair = pair.display();
            if self.tls_in {
                writeln!(
                    server,
                    "ssl_certificate {pair}/chain.pem; ssl_certificate_key {pair}/key.pem; ssl_verify_client on; ssl_client_certificate {pair}/root.pem;"
                )?;
            }
            if self.tls_out {
                writeln!(
                    server,
                    "proxy_ssl_certificate {pair}/chain.pem; proxy_ssl_certificate_key {pair}/key.pem; proxy_ssl_trusted_certificate {pair}/root.pem; proxy_ssl_verify on; proxy_ssl_name {NAME}; proxy_ssl_session_reuse on;"
                )?;
            }
        }
        Ok(format!(
            "daemon off; worker_processes auto; pid {home}/nginx.pid;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600;\n\
             client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n\
             upstream next {{ server {}; keepalive 128; keepalive_requests 100000000; }}\n\
             server {{ {server} }} }}\n",
            self.to,
        ))
    }
}
