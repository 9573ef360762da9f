//! nginx between two nodes: Debian's package, with its stream module (`apt-get install nginx libnginx-mod-stream`).

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use mesh_pki::Pair;
use serde_json::json;

use super::{OK, diagnose};
use crate::harness::{B, base64, free_port, until};

/// A running nginx; ended when dropped.
pub(super) struct Nginx {
    child: Child,
    pub(super) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// TLS passed through to `to`; an idle connection is cut after `idle`.
    pub(super) async fn passing_through(to: SocketAddr, idle: &str) -> Self {
        Self::start(|port, _| {
            format!("stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass {to}; proxy_timeout {idle}; }} }}\n")
        })
        .await
    }

    /// TLS passed through to `to` where it asks for `name`; whoever asks for something else, or for nothing, is passed on to
    /// `otherwise`.
    pub(super) async fn by_name(name: &str, to: SocketAddr, otherwise: SocketAddr) -> Self {
        Self::start(|port, _| {
            format!(
                "stream {{ map $ssl_preread_server_name $next {{ {name} {to}; default {otherwise}; }} server {{ listen \
                 127.0.0.1:{port}; ssl_preread on; proxy_pass $next; }} }}\n"
            )
        })
        .await
    }

    /// TLS ended here with the pair `shown`, and spoken anew to `to` with the pair `as_client`, if there is one.
    pub(super) async fn ending_tls(to: SocketAddr, shown: &Pair, as_client: Option<&Pair>, settings: &str) -> Self {
        Self::start(|port, folder| {
            let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
            put("shown.crt", &shown.chain_pem);
            put("shown.key", shown.key.expose());
            let client = as_client.map_or_else(String::new, |pair| {
                put("client.crt", &pair.chain_pem);
                put("client.key", pair.key.expose());
                "proxy_ssl_certificate client.crt; proxy_ssl_certificate_key client.key;".to_owned()
            });
            format!(
                "http {{ access_log off; client_body_temp_path body; proxy_temp_path proxied; fastcgi_temp_path f; \
                 uwsgi_temp_path u; scgi_temp_path s; server {{ listen 127.0.0.1:{port} ssl; ssl_certificate shown.crt; \
                 ssl_certificate_key shown.key; {settings} location / {{ proxy_pass https://{to}; proxy_http_version 1.1; \
                 proxy_set_header Host $http_host; {client} }} }} }}\n"
            )
        })
        .await
    }

    async fn start(config: impl FnOnce(u16, &Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
        let load = if Path::new(module).exists() { format!("load_module {module};\n") } else { String::new() };
        let head = format!(
            "{load}user root; daemon off; pid nginx.pid; error_log error.log; worker_processes 1; events {{}}\n"
        );
        // Relative names are of this folder.
        fs::write(folder.path().join("nginx.conf"), head + &config(port, folder.path())).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        let spawned = nginx.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = spawned.expect("nginx is there: apt-get install nginx libnginx-mod-stream");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let nginx = Self { child, address, _folder: folder };
        let log = nginx._folder.path().join("error.log");
        until("nginx to listen", Duration::from_secs(90), async || {
            let listens = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            assert!(listens || !fs::read_to_string(&log).unwrap_or_default().contains("[emerg]"), "see {log:?}");
            listens
        })
        .await;
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked, so that its worker goes too.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_both_ways_whether_nginx_passes_tls_on_or_ends_it_with_our_pair() {
    let pair = diagnose::Pair::set(None).await;
    let settings = "client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;";
    let through = Nginx::passing_through(pair.b.data, "10m").await;
    let ending = Nginx::ending_tls(pair.b.data, &pair.bank_b.leaf, Some(&pair.bank_a.leaf), settings).await;
    let large = "7".repeat(3 << 20);
    // A topic for each: the route changes in between, and with it the way of a commit that is still to be said.
    for (nginx, back) in [(through, "back by tcp"), (ending, "back by http")] {
        pair.dial(nginx.address).await;
        for (topic, payload) in [("small", "x"), ("large", large.as_str())] {
            assert_eq!(pair.a.push(Some(B), topic, payload).await, OK);
            assert_eq!(pair.b.pop(topic).await.as_deref(), Some(payload));
            assert_eq!(pair.b.push(None, back, payload).await, OK);
            let headers = [("x-ptp-session-id", "s"), ("x-ptp-target-node-id", B)];
            let body = json!({"topic": back, "timeout": 20_000});
            // nginx cuts its connection behind an answer, often by a reset: nothing comes twice for that.
            let popped = pair.a.post("/v1/interconn/chan/pop", &headers, &body).await.json();
            let came = popped["payload"].as_str().unwrap_or_default();
            assert!(came == base64(payload), "{topic}, {back}: {popped:.300}");
        }
    }
    until("all leases to be settled", Duration::from_secs(90), async || pair.b.leased().await == 0.0).await;
    assert_eq!(pair.b.metric("mesh_transport_lease_hand_backs_total").await, 0.0);
}
