//! Services that are registered with one gateway are called at the others.

use http::Request;
use serde_json::json;

use super::{PATIENCE, again, gateway, sees, server::Server};
use crate::{
    grid::Stage,
    harness::until,
    services::{self, Sides, by_name},
};

async fn answers(stage: &Stage) -> bool {
    let answer = stage.node.send(Request::get("/served/x").body(Default::default()).unwrap()).await;
    answer.status == 200 && answer.json()["content"] == "served"
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_at_one_gateway_is_called_at_the_others_also_after_its_death() {
    let server = Server::start("").unwrap();
    let (a, mut b) = (gateway(&server).await, gateway(&server).await);
    let at = by_name("served").await.to_string();
    let service = json!({"urn": "/served", "kind": "Restful", "proto": "http"});
    let served = json!({"instance_id": at, "name": "served", "kind": "complex", "address": at, "timestamp": 1_500_000,
        "content": {"services": [service]}});
    assert_eq!(a.node.post("/v1/interconn/registry/register", &[], &served).await.code(), "E0000000000");
    until("the other gateway to call it", PATIENCE, async || answers(&b).await).await;
    // It is on the disk of the first alone, which tells whoever comes.
    b.node.signal("KILL");
    again(&mut b, &server).await;
    until("the gateway that came again to call it", PATIENCE, async || answers(&b).await).await;
    a.node.signal("KILL");
    assert!(answers(&b).await, "its time is not over");
}

/// The tables of a lone node: registered at one gateway, listed, called and taken over at the other. The first leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn services_mean_the_same_where_they_are_registered_at_another_gateway() {
    let server = Server::start("").unwrap();
    let (a, b) = (gateway(&server).await, gateway(&server).await);
    for stage in [&a, &b] {
        sees(stage, 1).await;
    }
    let sides = Sides { registers: &a.node, calls: &b.node };
    services::the_command_line_registers_lists_and_removes_at(sides).await;
    services::programs_that_register_one_communal_service_share_its_calls_at(sides).await;
    services::services_by_name_are_called_and_none_of_the_nodes_own_is_taken_over_at(sides).await;
    services::a_service_of_tonic_takes_each_kind_of_call_at(sides).await;
}
