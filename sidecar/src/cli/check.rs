//! `mesh config check`: reads a configuration as `start` would, and puts nothing in force.

use std::time::SystemTime;

use mesh_core::config::{Checked, check};

use super::print_json;
use crate::{
    args::{Config, ConfigCommand, Form},
    exit::Exit,
};

/// `mesh config`.
pub(crate) fn config(args: &Config) -> Result<(), Exit> {
    let ConfigCommand::Check { path, output } = &args.command;
    let checked = check(path, SystemTime::now()).map_err(|e| Exit::Refused(e.to_string()))?;
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
