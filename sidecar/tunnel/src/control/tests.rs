//! The two ports as clients see them, over TLS on loopback (NC sections 2 and 9).

mod enrolled;
mod hostile;
mod roles;
mod shown;
mod stage;
mod verdicts;
