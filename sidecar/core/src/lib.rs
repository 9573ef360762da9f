//! What every room of the sidecar stands on: configuration, identity, codes, drain, telemetry, the embedded store.
