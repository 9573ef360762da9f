//! Ten thousand idle connections are cheap.

use std::net::SocketAddr;

use futures::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::testing::{A, Plain, Running, institution};

/// The size of the process in memory, from the kernel.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Both ends are in this process: two descriptors for each connection, and some for the tests beside this one.
fn as_many_as_descriptors_allow() -> usize {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
    10_000.min(usize::try_from(hard.unwrap_or(u64::MAX) / 20 * 9).unwrap_or(usize::MAX))
}

/// What both ends of a connection may take.
const MOST: u64 = 8 * 1024;

async fn connections(address: SocketAddr, wanted: usize) -> Vec<Plain> {
    let open = stream::iter(0..wanted).map(|_| async move {
        let mut plain = Plain::to(address).await;
        // Ends by a reset: so many ports that wait for a minute would be missed by the tests behind this one.
        socket2::SockRef::from(&plain.tcp).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        plain.get("host: localhost\r\n").await;
        plain
    });
    open.buffer_unordered(64).collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_are_cheap_and_hurt_nobody() {
    let node = Running::start(institution(A).parts(Vec::new()));
    let wanted = as_many_as_descriptors_allow();
    println!("{wanted} connections");
    // 4 KiB measured. What other tests of this process take in the meantime counts too, so the least of a few is what it is.
    let (mut idle, mut each) = (Vec::new(), u64::MAX);
    for _ in 0..3 {
        drop(idle);
        let before = resident_kib();
        idle = connections(node.address, wanted).await;
        each = each.min(resident_kib().saturating_sub(before) * 1024 / wanted as u64);
        println!("{each} bytes for both ends of an idle connection");
        if each < MOST {
            break;
        }
    }
    assert!(each < MOST, "{each} bytes each, client's end included");
    assert_eq!(Plain::to(node.address).await.get("host: localhost\r\n").await["who"], "local");
    drop(idle);
}

#[tokio::test]
async fn the_task_of_a_connection_is_small() {
    let node = Running::start(institution(A).parts(Vec::new()));
    let plain = Plain::to(node.address).await;
    let admission = crate::listen::accept::Admission::for_test(&node.gate, node.address);
    let task = crate::listen::drive::connection(
        plain.tcp.into_std().unwrap(),
        node.address,
        std::sync::Arc::clone(&node.seen),
        std::sync::Arc::clone(&node.gate),
        node.drain.handle(),
        admission,
    );
    let size = size_of_val(&task);
    println!("{size} bytes");
    // What waits for the next request, mostly; TLS, hyper's parts, handlers and unfinished answers are in boxes.
    assert!(size <= 2176, "{size} bytes");
}
