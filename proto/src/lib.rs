//! The wire messages of PTP/1.0, generated from the .proto files beside them.
