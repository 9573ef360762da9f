//! Tests against real peers: two nodes, a real API server, a real kubelet.
