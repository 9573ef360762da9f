//! `mesh config check`: reads a configuration as `start` would, and puts nothing in force.

use std::time::SystemTime;

use mesh_core::{
    Role,
    config::{Checked, Environment, check},
};

use super::print_json;
use crate::{
    args::{Config, ConfigCommand, Form},
    exit::Exit,
};

/// `mesh config`.
pub(crate) fn config(args: &Config) -> Result<(), Exit> {
    let ConfigCommand::Check { path, output } = &args.command;
    // As the process in whose place it is asked would read it.
    let role = Environment::of_process().get("MESH_ROLE").and_then(Role::parse).unwrap_or_default();
    let checked = check(path, role, SystemTime::now()).map_err(|e| Exit::Refused(e.to_string()))?;
    match output.form {
        Form::Json => print_json(&checked),
        Form::Text => {
            print(&checked);
            Ok(())
        }
    }
}

fn print(checked: &Checked) {
    let of = checked.resource.as_ref().map_or_else(String::new, |resource| format!(" (MeshNode {resource})"));
    println!("good: node {}{of}, {} routes, {} registrations", checked.node_id, checked.routes, checked.registrations);
    if checked.unknown_members > 0 {
        println!("{} members are not known to this version and are ignored", checked.unknown_members);
    }
    for note in &checked.notes {
        println!("note: {note}");
    }
}
