//! `make install`, the first of the two commands of the README: what it does to which cluster, with programs that only tell what they
//! were called with. What the chart then does is proven on a cluster (`node_chart.rs`).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A machine with some programs, and what was done on it.
struct Machine {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Machine {
    /// With kubectl, helm and these; `kubectl` knows a cluster of one node.
    fn with(programs: &[&str], context: &'static str, node: &'static str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for program in ["kubectl", "helm"].iter().chain(programs) {
            let path = folder.path().join(program);
            let says = "case \"$0 $*\" in *architecture*) printf %s \"$PROCESSORS\";; *images*) echo \"${0##*/} $*\" >>\"$TOLD\"; [ -z \"$IS_USER\" ];; *current-context) echo \"$CONTEXT\";; *'get nodes'*) printf %s \"$NODE\";; *) echo \"${0##*/} $*\" >>\"$TOLD\";; esac";
            fs::write(&path, format!("#!/bin/sh\n{says}\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        for tool in ["bash", "dirname", "uname"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output()?.stdout;
            symlink(String::from_utf8(found)?.trim(), folder.path().join(tool))?;
        }
        for image in ["mesh", "mesh-operator"] {
            fs::write(folder.path().join(format!("{image}.tar")), "")?;
        }
        Ok(Self { folder, variables: vec![("CONTEXT", context), ("NODE", node)] })
    }

    /// Whether it went well, what it called, and what it said. The folder is called `I`.
    fn install(&self, variables: &[(&str, &str)]) -> Result<(bool, Vec<String>, String)> {
        let (folder, told) = (self.folder.path(), self.folder.path().join("told"));
        let done = Command::new(root().join("charts/install.sh"))
            .arg(folder)
            .arg("0.1.0")
            .env_clear()
            .envs([("PATH", folder), ("TOLD", &told)])
            .envs(self.variables.iter().chain(variables).copied())
            .output()?;
        let short = |text: &str| text.replace(&folder.display().to_string(), "I");
        let called = fs::read_to_string(&told).unwrap_or_default();
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        Ok((done.status.success(), short(&called).lines().map(str::to_owned).collect(), short(&said)))
    }
}

const HELM: &str = "helm upgrade --install interconn charts/interconn --namespace interconn-system --create-namespace --wait --set image.tag=0.1.0,sidecar.image.tag=0.1.0";
const FROM_REGISTRY: &str = " --set global.imageRegistry=r.example/team";
const REGISTRY: [(&str, &str); 1] = [("REGISTRY", "r.example/team/")];

/// The machine's programs, the context, the variables, and what is called.
type Case = (&'static [&'static str], &'static str, &'static [(&'static str, &'static str)], Vec<String>);

/// What is done for each of the two images, and then.
fn both(lines: &[&str], helm: String) -> Vec<String> {
    let of = |image: &'static str| lines.iter().map(move |line| line.replace("IMAGE", image));
    of("mesh").chain(of("mesh-operator")).chain([helm]).collect()
}

#[test]
fn each_kind_of_cluster_gets_the_images_its_own_way_and_then_the_chart() -> Result<()> {
    let here = String::from_utf8(Command::new("uname").arg("-n").output()?.stdout)?.trim().to_owned();
    let here: &'static str = here.leak();
    let (helm, pulls) = (HELM.to_owned(), format!("{HELM}{FROM_REGISTRY}"));
    let docker = [
        "docker load --input I/IMAGE.tar",
        "docker tag localhost/IMAGE:0.1.0 r.example/team/IMAGE:0.1.0",
        "docker push r.example/team/IMAGE:0.1.0",
    ];
    let podman = docker.map(|line| line.replace("docker", "podman"));
    let podman = podman.each_ref().map(String::as_str);
    let cases: [Case; 7] = [
        (&["kind"], "kind-a", &[], both(&["kind load image-archive I/IMAGE.tar --name a"], helm.clone())),
        (&["ctr"], "one", &[], both(&["ctr --namespace k8s.io images import I/IMAGE.tar"], helm.clone())),
        (
            &["ctr", "k3s"],
            "default",
            &[],
            both(&["k3s ctr --namespace k8s.io images import I/IMAGE.tar"], helm.clone()),
        ),
        (
            &["skopeo", "docker"],
            "far",
            &REGISTRY,
            both(&["skopeo copy docker-archive:I/IMAGE.tar docker://r.example/team/IMAGE:0.1.0"], pulls.clone()),
        ),
        (&["crane"], "far", &REGISTRY, both(&["crane push I/IMAGE.tar r.example/team/IMAGE:0.1.0"], pulls.clone())),
        (&["docker"], "kind-a", &REGISTRY, both(&docker, pulls.clone())),
        (&["podman"], "far", &REGISTRY, both(&podman, pulls)),
    ];
    for (programs, context, variables, wanted) in cases {
        let (is_done, called, said) = Machine::with(programs, context, here)?.install(variables)?;
        ensure!(is_done && called == wanted, "{programs:?}, {context}: {called:#?}\n{said}");
        let shown: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("+ ")).collect();
        ensure!(shown == wanted, "what is shown is not what is done: {shown:#?}");
    }
    let flags = [("HELM_FLAGS", "--set replicas=1 -f my.yaml")];
    let (_, called, said) = Machine::with(&["kind"], "kind-a", here)?.install(&flags)?;
    ensure!(called.last() == Some(&format!("{HELM} --set replicas=1 -f my.yaml")), "{called:?} {said}");
    Ok(())
}

#[test]
fn a_cluster_that_cannot_get_the_images_gets_no_chart_and_is_told_what_to_say() -> Result<()> {
    let (is_done, called, said) = Machine::with(&["ctr", "docker"], "far", "another-machine")?.install(&[])?;
    ensure!(!is_done && called.is_empty() && said.contains("make install REGISTRY="), "{called:?} {said}");
    let (is_done, called, said) = Machine::with(&[], "far", "n")?.install(&REGISTRY)?;
    ensure!(!is_done && called.is_empty() && said.contains("one of skopeo"), "{called:?} {said}");
    let machine = Machine::with(&["kind"], "kind-a", "n")?;
    fs::remove_file(machine.folder.path().join("mesh-operator.tar"))?;
    let (is_done, called, said) = machine.install(&[])?;
    ensure!(!is_done && called.is_empty() && said.contains("make image TAG=0.1.0"), "{called:?} {said}");
    Ok(())
}

#[test]
fn images_that_the_cluster_cannot_run_or_containerd_does_not_take_are_told_before_the_chart() -> Result<()> {
    let ours = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let (mixed, same) = (format!("{ours} s390x {ours}"), format!("{ours} {ours}"));
    for (processors, is_done, is_said) in
        [("s390x s390x", false, true), (&mixed, true, true), (&same, true, false), ("", true, false)]
    {
        let machine = Machine::with(&["kind"], "kind-a", "n")?;
        let (done, called, said) = machine.install(&[("PROCESSORS", processors)])?;
        ensure!(done == is_done && called.is_empty() != is_done, "{processors}: {called:?} {said}");
        ensure!(said.contains(&format!("the images are for {ours}")) == is_said, "{processors}: {said}");
        ensure!(said.contains("docker buildx") == is_said, "{processors}: {said}");
    }
    let here = String::from_utf8(Command::new("uname").arg("-n").output()?.stdout)?.trim().to_owned();
    let machine = Machine::with(&["ctr"], "one", here.leak())?;
    let (is_done, called, said) = machine.install(&[("IS_USER", "yes")])?;
    ensure!(!is_done && called == ["ctr --namespace k8s.io images import I/mesh.tar"], "{called:?} {said}");
    ensure!(said.contains("sudo --preserve-env") && said.contains("install.sh I 0.1.0"), "{said}");
    Ok(())
}

#[test]
fn the_two_commands_of_the_readme_are_that_and_the_test_of_the_release_that_it_makes() -> Result<()> {
    for file in ["README.md", "README_CN.md", "docs/install.md"] {
        let text = fs::read_to_string(root().join(file))?;
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
        let commands = |block: &str| -> Vec<String> {
            let lines = block.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        let two =
            blocks.map(|(block, _)| commands(block)).find(|all| all.iter().any(|c| c.starts_with("make install")));
        let two = two.with_context(|| format!("{file} has no make install"))?;
        ensure!(two == ["make install", "helm test interconn -n interconn-system"], "{file}: {two:?}");
    }
    // The tests themselves are run by `make test`, whose settings would make this one say which folder it enters.
    let mut make = Command::new("make");
    make.env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("MAKELEVEL");
    let made = make.args(["-n", "install", "CARGO=cargo"]).current_dir(root()).output()?;
    let (made, version) = (String::from_utf8(made.stdout)?, env!("CARGO_PKG_VERSION"));
    let last = made.lines().last().unwrap_or_default();
    ensure!(last.starts_with("charts/install.sh ") && last.contains(&format!("/images {version}-")), "{made}");
    // What is built anew must run: nodes pull no tag twice.
    let tag = last.rsplit(' ').next().unwrap_or_default();
    let sum = tag.strip_prefix(&format!("{version}-")).unwrap_or_default();
    ensure!(sum.len() == 12 && sum.bytes().all(|b| b.is_ascii_hexdigit()), "{tag}");
    for image in ["mesh", "mesh-operator"] {
        ensure!(made.contains(&format!(" localhost/{image}:{tag} ")), "{made}");
    }
    Ok(())
}
