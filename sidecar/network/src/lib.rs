//! Partners: routes, mutual TLS, admission, connection pools, failover.
