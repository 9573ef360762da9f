//! A node whose disk is small, and can be filled.

use std::{fs, io::Write as _, path::PathBuf, process::Command};

use super::{Node, configure_as, free_port};

/// A node whose home is a file system of `size`, started with this file, in a mount namespace of its own that ends with it.
pub(crate) async fn on_a_small_disk(size: &str, yaml: &str) -> Node {
    Node::run(free_port(), &[], |home, mesh| {
        configure_as(home, yaml);
        let script = format!(r#"mount -t tmpfs -o size={size} tmpfs "$1" && shift && exec "$@""#);
        let mut command = Command::new("unshare");
        // With a user namespace it needs no root either.
        command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
        command.arg(home.join("mesh")).arg(mesh.get_program()).args(mesh.get_args());
        command
    })
    .await
}

/// Fills the disk of such a node; the file that takes all of it, as it is seen from here.
pub(crate) fn fill_disk(node: &Node) -> PathBuf {
    let home = PathBuf::from(format!("/proc/{}/root{}", node.pid(), node.home().display()));
    let filler = home.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    filler
}
