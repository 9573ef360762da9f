//! Protocol 2: packets in batches, and a session that goes on (NC section 8).

use mesh_websocket::{Data, Opcode, Part, Read};
use tokio::time::{Duration, Instant, sleep};

use super::{
    joins::until,
    world::{Node, World, request},
};
use crate::{
    packet::made,
    seam::ConnState::{Connected, Idle, Init},
};

const SERVER: [u8; 4] = [10, 1, 1, 1];

impl World {
    /// Asks for protocol 2, and answers what the session is called.
    async fn second(&self, token: &str, more: &str) -> (String, Node) {
        let (answer, node) = self.request(&request(&format!("Node-Token: {token}\r\nX-NC-Proto: 2\r\n{more}"))).await;
        let header = |name: &str| {
            let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned()
        };
        assert_eq!((header("x-nc-proto").as_str(), header("x-nc-mtu").as_str()), ("2", "1400"));
        (header("x-nc-session"), node)
    }
}

/// The packets of the next binary message.
async fn batch(node: &mut Node) -> Vec<u8> {
    match node.next().await {
        Some(Read::Part(Part { opcode: Opcode::Binary, data: Data::Binary(packets), fin: true })) => packets.to_vec(),
        other => panic!("no batch: {other:?}"),
    }
}

#[tokio::test]
async fn packets_go_in_batches_to_who_asked_for_them_and_each_alone_to_everybody_else() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let (_, mut ours) = world.second(&token, "").await;
    let own = ours.greet().await.octets();
    let (address, mut legacy) = world.newcomer(2).await;
    let theirs = address.octets();
    let packets: Vec<_> = (0..3).map(|n| made::udp(own, theirs, (1, n), &[n.to_be_bytes()[1]; 300])).collect();
    ours.frame(Opcode::Binary, &packets.concat()).await;
    for packet in &packets {
        assert_eq!(&legacy.packet().await, packet);
    }
    // One that lies about its length ends its batch, and nothing else.
    ours.frame(Opcode::Binary, &[&packets[0][..], b"E\0\xff\xff"].concat()).await;
    assert_eq!(legacy.packet().await, packets[0]);
    // Texts are taken still. What comes to it comes as binary.
    ours.text(&made::echo(own, SERVER, 8, b"ping")).await;
    assert!(batch(&mut ours).await.ends_with(b"ping"));
    let back: Vec<_> = (0..50).map(|n| made::udp(theirs, own, (1, n), &[7; 100])).collect();
    for packet in &back {
        legacy.text(packet).await;
    }
    let (mut come, all) = (Vec::new(), back.concat());
    while come.len() < all.len() {
        come.extend(batch(&mut ours).await);
    }
    assert_eq!(come, all);
}

#[tokio::test]
async fn legacy_nodes_send_no_batches() {
    let world = World::new().await;
    let (address, mut legacy) = world.newcomer(1).await;
    legacy.frame(Opcode::Binary, &made::echo(address.octets(), SERVER, 8, b"ignored")).await;
    legacy.text(&made::echo(address.octets(), SERVER, 8, b"heard")).await;
    assert!(legacy.packet().await.ends_with(b"heard"));
}

/// The clock stands but for waits: a take-over that asks the old socket takes five seconds of it.
#[tokio::test(start_paused = true)]
async fn whoever_knows_the_name_of_its_old_session_has_the_new_one_at_once() {
    let world = World::new().await;
    let token = world.office.issue(1);
    let (name, mut old) = world.second(&token, "").await;
    let address = old.greet().await;
    for (resumes, waits) in [("0".repeat(32), true), (name, false)] {
        let start = Instant::now();
        let (_, mut new) = world.second(&token, &format!("X-NC-Resume: {resumes}\r\n")).await;
        // The old one is there, and answers nothing where it is asked.
        if !waits {
            assert_eq!(new.greet().await, address);
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            until(|| world.office.told().len() == 4).await;
            assert_eq!(world.office.told(), [(1, Init), (1, Connected), (1, Idle), (1, Connected)]);
        } else {
            sleep(Duration::from_millis(100)).await;
            assert_eq!(world.office.told(), [(1, Init), (1, Connected)], "a wrong name takes nothing over");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_server_ends_nodes_of_protocol_2_are_sent_away_before_legacy_ones() {
    let world = World::new().await;
    let (_, mut ours) = world.second(&world.office.issue(1), "").await;
    ours.greet().await;
    let (_, mut legacy) = world.newcomer(2).await;
    let (drain, start) = (world.drain.clone(), Instant::now());
    let ended = tokio::spawn(async move { drain.run(Duration::from_secs(60)).await });
    assert_eq!(ours.farewell().await.0, 1012);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(legacy.farewell().await.0, 1001);
    assert_eq!(ended.await.unwrap(), 0);
}
