//! Registrations and the reverse proxy that routes to them.
