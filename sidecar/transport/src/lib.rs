//! PTP channels: sessions, queues, and the HTTP and gRPC fronts.
