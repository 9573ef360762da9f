//! The operator: three controllers, render, and leader election.
#![allow(dead_code)]

mod admin;
mod cluster;
mod lease;
mod metrics;

mod node;

fn main() {}
