//! Writes an image archive from programs that are there: `image localhost/mesh:dev OUT.tar target/release/mesh`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use e2e::image::Image;

#[derive(Parser)]
#[command(about = "Writes an image archive without a container engine")]
struct Args {
    /// The name and tag that the image gets on import.
    reference: String,
    /// The archive.
    out: PathBuf,
    /// The program that the image runs; it gets its own name at the image's root folder `/bin`.
    program: PathBuf,
    /// What the program is told where whoever runs the image says nothing; may be given again.
    #[arg(long, allow_hyphen_values = true)]
    command: Vec<String>,
    /// A folder that the image's user owns; may be given again.
    #[arg(long)]
    folder: Vec<String>,
    /// A file that the image has where this machine has it, such as a library; may be given again.
    #[arg(long)]
    with: Vec<PathBuf>,
    /// NAME=VALUE for its environment; may be given again.
    #[arg(long)]
    env: Vec<String>,
    /// Fail when the archive gets larger.
    #[arg(long, value_name = "MIB")]
    at_most: Option<usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let name = args.program.file_name().context("the program has no name")?.to_string_lossy().into_owned();
    let path = format!("/bin/{name}");
    let entrypoint = [path.clone()];
    let mut programs = vec![(path, read(&args.program)?)];
    for file in &args.with {
        programs.push((file.display().to_string(), read(file)?));
    }
    let image = Image {
        reference: &args.reference,
        entrypoint: &entrypoint,
        command: &args.command,
        environment: &args.env,
        folders: &args.folder,
        programs,
    };
    let archive = image.archive()?;
    if let Some(limit) = args.at_most {
        ensure!(
            archive.len() <= limit << 20,
            "{} is {} bytes, and at most {limit} MiB are wanted",
            args.reference,
            archive.len()
        );
    }
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&args.out, &archive).with_context(|| format!("cannot write {}", args.out.display()))?;
    println!("{} {} ({:.1} MiB)", args.out.display(), args.reference, archive.len() as f64 / f64::from(1 << 20));
    Ok(())
}
