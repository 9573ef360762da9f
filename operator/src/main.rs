//! The operator: three controllers, render, and leader election.

fn main() {}
