//! Large packets (PTP sections 1 and 15): clients that do not split send them whole.

use bytes::Bytes;
use prost::Message as _;
use proto::ptp::{Outbound, PopInbound, PushInbound};

use super::{
    OK,
    wire::{Ask, Transport, Wire, frame},
};
use crate::harness::{A, Bank, Node};

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_of_64_mib_and_more_passes_in_one_grpc_message() {
    let (node, bank) = (Node::start().await, Bank::new(A));
    let mut wire = Wire::open(Transport::H2c, node.data, &bank.leaf).await;
    let payload = Bytes::from(vec![7; (64 << 20) + 1024]);
    let message = PushInbound { topic: "t".into(), payload: payload.clone(), ..Default::default() }.encode_to_vec();
    let call = |op: &str, message: &[u8]| {
        Ask::post(format!("/org.ppc.ptp.PrivateTransferTransport/{op}"), frame(message))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
    };
    let pushed = wire.send(node.data, call("push", &message)).await.message();
    assert_eq!(Outbound::decode(pushed).unwrap().code, OK);
    let pop = PopInbound { topic: "t".into(), timeout: 5000 }.encode_to_vec();
    let popped = Outbound::decode(wire.send(node.data, call("pop", &pop)).await.message()).unwrap();
    assert_eq!((popped.code.as_str(), popped.payload == payload), (OK, true));
}
