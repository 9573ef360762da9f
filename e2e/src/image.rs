//! Writes container images without a container engine: a docker-archive with one layer, which `ctr images import`, `docker
//! load`, `kind load image-archive` and `skopeo copy` take.
//!
//! The same files give the same bytes: no times, no names of builders, entries in the order given.

use std::io::Read;

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// The user of all our images: `nonroot` of the images that people know.
pub const USER: u64 = 65_532;

/// What goes into an image.
pub struct Image<'a> {
    /// The name and tag that it gets on import.
    pub reference: &'a str,
    /// The program that it runs.
    pub entrypoint: &'a [String],
    /// What the program is told where whoever runs the image says nothing.
    pub command: &'a [String],
    /// `NAME=VALUE`.
    pub environment: &'a [String],
    /// Folders that the user owns.
    pub folders: &'a [String],
    /// Programs: the path in the image, and the content.
    pub programs: Vec<(String, Vec<u8>)>,
}

impl Image<'_> {
    /// The archive's bytes.
    ///
    /// # Errors
    /// When a path does not fit into an archive.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let sum: String = Sha256::digest(&layer).iter().map(|b| format!("{b:02x}")).collect();
        let config = json!({
            "architecture": architecture(std::env::consts::ARCH)?, "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "Cmd": self.command, "Env": self.environment, "User": format!("{USER}:{USER}")},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
        });
        let manifest = json!([{"Config": "config.json", "RepoTags": [self.reference], "Layers": ["layer.tar"]}]);
        let mut tar = Builder::new(Vec::new());
        file(&mut tar, "config.json", config.to_string().as_bytes(), 0o644)?;
        file(&mut tar, "layer.tar", layer.as_slice(), 0o644)?;
        file(&mut tar, "manifest.json", manifest.to_string().as_bytes(), 0o644)?;
        Ok(tar.into_inner()?)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for folder in self.folders {
            let mut header = header(EntryType::Directory, 0, 0o755);
            header.set_uid(USER);
            header.set_gid(USER);
            tar.append_data(&mut header, relative(folder)?, std::io::empty())?;
        }
        for (path, content) in &self.programs {
            file(&mut tar, relative(path)?, content.as_slice(), 0o755)?;
        }
        Ok(tar.into_inner()?)
    }
}

fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let size = u64::try_from(content.len())?;
    tar.append_data(&mut header(EntryType::Regular, size, mode), path, content.take(size)).context(path.to_owned())
}

fn relative(path: &str) -> Result<&str> {
    path.strip_prefix('/').with_context(|| format!("{path}: a path in an image begins with a slash"))
}

/// Rust's name of a processor in the words of image indexes.
fn architecture(rust: &str) -> Result<&'static str> {
    Ok(match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "riscv64" => "riscv64",
        "s390x" => "s390x",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => bail!("no image architecture is known for {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let entrypoint = ["/mesh".to_owned()];
        let folders = ["/home/mesh".to_owned()];
        let programs = vec![("/mesh".to_owned(), b"program".to_vec())];
        let image = Image {
            reference: "localhost/x:1",
            entrypoint: &entrypoint,
            command: &["start".to_owned()],
            environment: &[],
            folders: &folders,
            programs,
        };
        image.archive().unwrap()
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        assert_eq!(archive(), archive());
    }

    #[test]
    fn the_user_owns_the_folders_and_root_the_programs() {
        let bytes = archive();
        let mut outer = tar::Archive::new(bytes.as_slice());
        let layer =
            outer.entries().unwrap().map(Result::unwrap).find(|e| e.path().unwrap().ends_with("layer.tar")).unwrap();
        let mut inner = tar::Archive::new(layer);
        let owners: Vec<(String, u64, u32)> = inner
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .map(|e| (e.path().unwrap().display().to_string(), e.header().uid().unwrap(), e.header().mode().unwrap()))
            .collect();
        assert_eq!(owners, [("home/mesh".into(), USER, 0o755), ("mesh".into(), 0, 0o755)]);
    }

    #[test]
    fn an_image_that_is_told_nothing_has_its_own_command() {
        let bytes = archive();
        let mut outer = tar::Archive::new(bytes.as_slice());
        let mut file =
            outer.entries().unwrap().map(Result::unwrap).find(|e| e.path().unwrap().ends_with("config.json")).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/mesh"]));
        assert_eq!(config["config"]["Cmd"], json!(["start"]));
    }
}
