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
    /// A server with a device.
    fn start() -> Self {
        Self::run("ip link set lo up", &[], &["start", "--server"])
    }

    /// The program with these words, and `before` them. `setup`: what makes the namespace ready, by sh.
    fn run(setup: &str, before: &[&str], words: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let log = File::create(home.path().join("log")).unwrap();
        let script = format!("{setup} && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script, "sh"]).args(before).arg(env!("CARGO_BIN_EXE_mesh"));
        command.args(words).env("MESH_HOME", home.path()).env("MESH_TUNNEL_ADVERTISE", "127.0.0.1");
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

    /// Waits until the server's own address is on a device, and answers the line that describes that.
    async fn has_device(&mut self) -> String {
        until("the device", LONG, async || {
            assert_eq!(self.0.try_wait().unwrap(), None, "{}", self.log());
            self.device().is_some()
        })
        .await;
        self.device().unwrap()
    }

    fn device(&self) -> Option<String> {
        let shown =
            String::from_utf8_lossy(&self.inside(&["ip", "-o", "addr", "show", "to", "10.1.1.1"]).stdout).into_owned();
        let name = shown.split_whitespace().nth(1)?;
        let link = self.inside(&["ip", "-o", "link", "show", "dev", name]);
        Some(String::from_utf8_lossy(&link.stdout).into_owned()).filter(|link| link.contains("UP"))
    }

    /// Waits until it has ended, and answers the code.
    async fn ends(&mut self) -> Option<i32> {
        until("the end", LONG, async || self.0.try_wait().unwrap().is_some()).await;
        self.0.wait().unwrap().code()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes from a program the right to make devices.
const UNABLE: [&str; 5] = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_tun_the_machine_has_the_servers_own_address_on_a_device_which_is_made_again_when_it_is_lost() {
    let mut server = Alone::start();
    let device = server.has_device().await;
    assert!(device.contains("mesh0") && device.contains("mtu 1400"), "{device}");
    for lost in 1..=2 {
        assert!(server.inside(&["ip", "link", "del", "mesh0"]).status.success());
        let again = "the TUN device is there again";
        until("another device", LONG, async || server.log().matches(again).count() == lost).await;
        server.has_device().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interfaces_of_others_keep_their_names_and_where_no_name_is_left_it_says_so_and_ends() {
    let pairs = |count: usize| {
        let pair = |n| format!("ip link add mesh{} type veth peer name mesh{}", 2 * n, 2 * n + 1);
        (0..count).map(pair).collect::<Vec<_>>().join(" && ")
    };
    let start = ["start", "--server"];
    let mut server = Alone::run(&format!("ip link set lo up && {}", pairs(1)), &[], &start);
    let device = server.has_device().await;
    assert!(device.contains("mesh2"), "{device}");
    let mut server = Alone::run(&pairs(8), &[], &start);
    assert_eq!(server.ends().await, Some(5), "{}", server.log());
    assert!(server.log().contains("interfaces of others are called mesh0 to mesh15"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_make_a_device_server_and_node_say_so_and_end() {
    for words in [&["start", "--server"][..], &["tunnel", "join", "0000000000004000@127.0.0.1:1", "--tun"]] {
        let mut program = Alone::run("ip link set lo up", &UNABLE, words);
        assert_eq!(program.ends().await, Some(5), "{words:?}: {}", program.log());
        let log = program.log();
        assert!(log.contains("it wants CAP_NET_ADMIN") && log.contains("Operation not permitted"), "{words:?}: {log}");
    }
}
