//! The forward path: a registered service behind 7304, against nginx as reverse proxy of the same service.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    connection::Connection,
    load::{Load, Pace},
    origin,
    pairs::rounds,
    server::{Server, free_port},
    stats,
};

/// Compares ours with nginx, each with one worker's worth of work on two cores.
pub(crate) fn run() -> Result<()> {
    let home = tempfile::tempdir()?;
    let service = Server::own("origin")?;
    let ours = Server::mesh(home.path())?;
    register(&ours, &service)?;
    let nginx = nginx(home.path(), &service).context("nginx (apt-get install nginx)")?;
    stats::head("forwarding to a registered service, HTTP/1.1, 1 KiB", "nginx");
    let load = Load { connections: 32, requests: get, size: 0, least_answer: origin::SIZE };
    let closed = rounds(&load, &ours, &nginx, Pace::Closed)?;
    stats::row("x32, closed loop", &closed.0, &closed.1);
    let open = rounds(&load, &ours, &nginx, Pace::Open(5000.0))?;
    stats::row("x32, open loop at 5000/s", &open.0, &open.1);
    Ok(())
}

fn get(_: usize, _: usize) -> Vec<Vec<u8>> {
    vec![b"GET /serving/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".to_vec()]
}

/// For 25 minutes: from 1 800 000 on, a number is a point in time (PTP section 10.3).
fn register(ours: &Server, service: &Server) -> Result<()> {
    let body = format!(
        r#"{{"instance_id":"{0}","name":"origin","kind":"complex","address":"{0}","timestamp":1500000,"content":{{"services":[{{"urn":"/serving","kind":"Restful","proto":"http"}}]}}}}"#,
        service.address
    );
    let request = format!(
        "POST /v1/interconn/registry/register HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = String::from_utf8_lossy(Connection::open(ours.address)?.exchange(request.as_bytes())?).into_owned();
    ensure!(answer.contains("E0000000000"), "register: {answer}");
    Ok(())
}

/// One worker, keep-alive to the client and to the service, no access log: nginx at its best for this.
fn nginx(home: &Path, service: &Server) -> Result<Server> {
    let port = free_port()?;
    let config = home.join("nginx.conf");
    fs::write(
        &config,
        format!(
            "daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_requests 100000000;\n\
             client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n\
             upstream origin {{ server {service}; keepalive 64; keepalive_requests 100000000; }}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n",
            home = home.display(),
            service = service.address,
        ),
    )?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&config).arg("-p").arg(home);
    Server::start(command, port, "/serving/x")
}
