//! Real `mesh` processes over loopback, each with a home and ports of its own.
//!
//! `harness` starts and ends them; every other module is one behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod across;
mod admin;
mod backplane;
mod configuration;
mod contract;
mod directory;
mod disk;
mod durable;
mod ending;
mod exchange;
mod gateway;
mod given_up;
mod grid;
mod handover;
mod harness;
mod hostile;
mod idle;
mod input;
mod partners;
mod persistence;
mod refusals;
mod registrations;
mod secrets;
mod services;
mod slow;
mod soak;
mod traces;
mod tunnel;
