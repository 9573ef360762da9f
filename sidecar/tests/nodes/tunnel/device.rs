//! A server in a network namespace of its own, with a TUN device there, or without the right to make one.

use std::{
    fs::File,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use crate::harness::until;

/// A busy machine.
const LONG: Duration = Duration::from_secs(120);

/// A process in a namespace, which goes with it.
struct Alone(Child, tempfile::TempDir);

impl Alone {
    /// A server with a device. `before`: what stands before the program on the command line.
    fn start(before: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let log = File::create(home.path().join("log")).unwrap();
        let script = "ip link set lo up && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script, "sh"]).args(before).arg(env!("CARGO_BIN_EXE_mesh"));
        command.args(["start", "--server"]).env("MESH_HOME", home.path()).env("MESH_TUNNEL_ADVERTISE", "127.0.0.1");
        command.env("MESH_TUNNEL_MODE", "Tun").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap(), home)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.1.path().join("log")).unwrap()
    }

    /// A command in its namespace.
    fn inside(&self, args: &[&str]) -> Output {
        let target = self.0.id().to_string();
        Command::new("nsenter").args(["--target", &target, "--net"]).args(args).output().unwrap()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_tun_the_machine_has_the_servers_own_address_on_a_device() {
    let mut server = Alone::start(&[]);
    let shown = |server: &Alone| String::from_utf8_lossy(&server.inside(&["ip", "addr", "show"]).stdout).into_owned();
    until("the device", LONG, async || {
        assert_eq!(server.0.try_wait().unwrap(), None, "{}", server.log());
        shown(&server).contains("inet 10.1.1.1/24")
    })
    .await;
    let device = shown(&server).lines().find(|line| line.contains("mesh0")).unwrap_or_default().to_owned();
    assert!(device.contains("mtu 1400") && device.contains("UP"), "{device}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_tun_without_the_right_to_make_a_device_it_says_so_and_ends() {
    let mut server = Alone::start(&["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]);
    until("the end", LONG, async || server.0.try_wait().unwrap().is_some()).await;
    assert_eq!(server.0.wait().unwrap().code(), Some(5), "{}", server.log());
    assert!(server.log().contains("it wants CAP_NET_ADMIN"), "{}", server.log());
}
