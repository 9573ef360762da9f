//! Prints the CustomResourceDefinitions: `cargo run -p crds > crds/crds.yaml`.

use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::io::stdout().write_all(crds::definitions::yaml()?.as_bytes())?;
    Ok(())
}
