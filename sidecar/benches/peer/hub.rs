//! What tells many at once what one says: ours, and what people use for it, all over WebSocket.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};

use super::install::{bun, nats_server, packaged};
use crate::{
    client::{Http, WebSocket},
    process::{Probe, Server, free_port},
    work::folder,
};

/// No ping comes into a round, and nobody is given up for silence.
const LISTENER: &str = "limits: {pingInterval: 500s, readTimeout: 600s}";

/// Its first ping comes after two seconds and a fifth of them at most.
const FIRST_PING: Duration = Duration::from_secs(3);

/// A server, and how one speaks to it.
pub(crate) struct Hub {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    /// Where clients connect, and backends.
    pub(crate) clients: SocketAddr,
    pub(crate) backends: SocketAddr,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Nats,
    Mosquitto,
    Bun,
}

/// Who tells.
pub(crate) struct Publisher {
    socket: WebSocket,
    frame: Vec<u8>,
    /// Ours answers each.
    is_answered: bool,
}

/// A node with a grid. `listener` is what its one listener has beside a name and a path of `/`.
pub(crate) fn ours(listener: &str, secrets: Option<&Path>) -> Result<Hub> {
    let secrets = secrets.map(|secrets| format!("secretsDirectory: {}\n", secrets.display()));
    ours_with(listener, &secrets.unwrap_or_default())
}

/// One of the gateways of a node that this NATS joins.
pub(crate) fn ours_among(listener: &str, nats: SocketAddr) -> Result<Hub> {
    let more = format!(
        "nodeId: LX0000010000280\ninstId: JG0100002800000000\nbackplane: {{nats: {{url: 'nats://{nats}', storage: Memory}}}}\n"
    );
    ours_with(listener, &more)
}

fn ours_with(listener: &str, more: &str) -> Result<Hub> {
    let (home, backends, clients) = (folder("mesh")?, free_port()?, free_port()?);
    let config = format!("grid: {{listeners: [{{name: bench, path: /, {LISTENER}{listener}}}]}}\n{more}");
    let at = |port: u16| format!("127.0.0.1:{port}");
    let server = Server::mesh_with(
        &home,
        Some(&config),
        &[("MESH_GRID_LISTEN", at(backends)), ("MESH_GRID_CLIENT_LISTEN", at(clients))],
    )?;
    Ok(Hub { name: "ours", clients: at(clients).parse()?, backends: at(backends).parse()?, server, kind: Kind::Ours })
}

/// NATS. Its own pings are text within the stream, and are put off.
pub(crate) fn nats_over_websocket() -> Result<Hub> {
    let (program, home, port, clients) = (nats_server()?, folder("nats")?, free_port()?, free_port()?);
    let config = home.join("nats.conf");
    let text = format!(
        "listen: 127.0.0.1:{port}\nping_interval: \"1h\"\nwebsocket {{ listen: \"127.0.0.1:{clients}\", no_tls: true, compression: false }}\n"
    );
    hub("NATS", &program, &config, &text, (port, clients), Kind::Nats, |command| {
        command.arg("-c").arg(&config).arg("-l").arg(home.join("log"));
    })
}

/// Mosquitto. It ends where it has no other listener than one for WebSocket (2.0.11), so it has one.
pub(crate) fn mosquitto() -> Result<Hub> {
    let (program, home) = (packaged("mosquitto", "mosquitto")?, folder("mosquitto")?);
    let (port, clients) = (free_port()?, free_port()?);
    let config = home.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nlistener {clients} 127.0.0.1\nprotocol websockets\nallow_anonymous true\npersistence false\nlog_dest none\nset_tcp_nodelay true\nuser root\n"
    );
    hub("Mosquitto", &program, &config, &text, (clients, clients), Kind::Mosquitto, |command| {
        command.arg("-c").arg(&config);
    })
}

/// Bun's own publish. `key`: the JWK that tokens are signed by.
pub(crate) fn bun_publish(key: Option<&str>) -> Result<Hub> {
    let (program, home, port) = (bun()?, folder("bun")?, free_port()?);
    let script = home.join("bun.js");
    hub("Bun", &program, &script, include_str!("bun.js"), (port, port), Kind::Bun, |command| {
        command.arg("run").arg(&script).arg(port.to_string()).args(key);
    })
}

fn hub(
    name: &'static str,
    program: &Path,
    file: &Path,
    text: &str,
    (ready, clients): (u16, u16),
    kind: Kind,
    set: impl FnOnce(&mut Command),
) -> Result<Hub> {
    fs::write(file, text)?;
    let probe = if kind == Kind::Bun { Probe::Get("/stats") } else { Probe::Accepts };
    let server = Server::start(program, set, ready, probe)?;
    let clients = SocketAddr::new(server.address.ip(), clients);
    Ok(Hub { name, server, clients, backends: clients, kind })
}

impl Hub {
    /// Somebody who listens to the room, and does from now on.
    pub(crate) fn listener(&self, from: IpAddr) -> Result<WebSocket> {
        let stream = Http::open_from(from, self.clients)?.into_socket();
        let mut socket = self.connect(stream)?;
        match self.kind {
            // It answers nothing; the next call finds it subscribed, for it is read after this.
            Kind::Ours => {
                socket.text(r#"{"op":"sub","ch":"room"}"#)?;
                socket.text("ping")?;
                ensure!(socket.read()? == b"pong", "not subscribed");
            }
            Kind::Nats => {
                socket.write(&WebSocket::frame(2, b"SUB room 1\r\nPING\r\n")?)?;
                ensure!(socket.read()?.ends_with(b"PONG\r\n"), "not subscribed");
            }
            Kind::Mosquitto => {
                socket.write(&WebSocket::frame(2, b"\x82\x09\x00\x01\x00\x04room\x00")?)?;
                ensure!(socket.read()? == b"\x90\x03\x00\x01\x00", "not subscribed");
            }
            Kind::Bun => {}
        }
        Ok(socket)
    }

    /// Somebody who tells the room `size` bytes at a time.
    pub(crate) fn publisher(&self, size: usize) -> Result<Publisher> {
        let (stream, data) = (Http::open(self.backends)?.into_socket(), "x".repeat(size));
        let (socket, payload, opcode) = match self.kind {
            Kind::Ours => {
                let call = format!(r#"{{"m":"mesh.publish","p":{{"c":"room","d":"{data}"}},"i":1}}"#);
                (WebSocket::over(stream, "/ws/v1", "")?, call.into_bytes(), 1)
            }
            Kind::Nats => (self.connect(stream)?, format!("PUB room {size}\r\n{data}\r\n").into_bytes(), 2),
            Kind::Mosquitto => {
                let mut packet = vec![0x30];
                let length = size + 6;
                packet.extend([u8::try_from(length % 128)? | 0x80, u8::try_from(length / 128)?]);
                packet.extend(b"\x00\x04room");
                packet.extend(data.as_bytes());
                (self.connect(stream)?, packet, 2)
            }
            Kind::Bun => (WebSocket::over(stream, "/tell", "")?, data.into_bytes(), 1),
        };
        Ok(Publisher { socket, frame: WebSocket::frame(opcode, &payload)?, is_answered: self.kind == Kind::Ours })
    }

    /// How long after a client has come something comes that is no message: NATS measures the way to it by one ping.
    pub(crate) fn greets_for(&self) -> Duration {
        if self.kind == Kind::Nats { FIRST_PING } else { Duration::ZERO }
    }

    /// What a listener gets of a message of `size` bytes: the payload of its frame.
    pub(crate) fn payload(&self, size: usize) -> usize {
        match self.kind {
            Kind::Ours | Kind::Bun => size,
            Kind::Nats => format!("MSG room 1 {size}\r\n").len() + size + 2,
            // Type, two bytes of length, and the topic.
            Kind::Mosquitto => 3 + 6 + size,
        }
    }

    /// Somebody who is connected, and no more.
    pub(crate) fn connect(&self, stream: TcpStream) -> Result<WebSocket> {
        match self.kind {
            Kind::Ours => WebSocket::over(stream, "/", ""),
            Kind::Bun => WebSocket::over(stream, "/room", ""),
            Kind::Nats => {
                let mut socket = WebSocket::over(stream, "/", "")?;
                ensure!(socket.read()?.starts_with(b"INFO "), "not NATS");
                socket.write(&WebSocket::frame(2, b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?)?;
                Ok(socket)
            }
            Kind::Mosquitto => {
                let mut socket = WebSocket::over(stream, "/", "sec-websocket-protocol: mqtt\r\n")?;
                // A clean session without a name and without a keep-alive.
                socket.write(&WebSocket::frame(2, b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00")?)?;
                ensure!(socket.read()? == b"\x20\x02\x00\x00", "not taken");
                Ok(socket)
            }
        }
    }
}

impl Publisher {
    /// Says it so many times.
    pub(crate) fn publish(&mut self, times: usize) -> Result<()> {
        self.socket.write(&self.frame.repeat(times))
    }

    /// Reads the answers, where there are any: each says that `listeners` have it.
    pub(crate) fn settle(&mut self, times: usize, listeners: usize) -> Result<()> {
        let expected = format!(r#""s":{listeners}"#);
        for _ in 0..if self.is_answered { times } else { 0 } {
            let answer = self.socket.read()?;
            let text = String::from_utf8_lossy(&answer);
            ensure!(text.contains(&expected) && text.contains(r#""f":0"#), "{text}");
        }
        Ok(())
    }
}
