//! The fuzz target of TCP at an address of ours. How it runs, and where its inputs lie, says `sidecar/fuzz`.
//!
//! An input is a conversation, not a packet: steps of six bytes, each a segment of one of four nodes. Its numbers are told as distances
//! from those that TCP expects, and its sums hold, so that a change of a byte is one of meaning.

use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    task::{Context, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf},
    runtime::Builder,
    time::advance,
};

use super::{Carrier, Key, Stack};
use crate::packet::{Ipv4, made};

const SERVER: [u8; 4] = [10, 1, 1, 1];
const PORT: u16 = 6440;
const MTU: u16 = 1400;
/// Connections at a time; there are four nodes, so that one gives way.
const MOST: usize = 3;
/// The number of a node's first segment: far from both ends, as bytes of data are told apart by their number.
const FIRST: u32 = 1 << 20;
/// Another prime than any size of a buffer.
const PATTERN: u32 = 251;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// What each node would say next: the number of its next byte, and of the next byte that it expects.
type Numbers = BTreeMap<u16, (u32, u32)>;

/// Packets that left, and streams that were opened.
#[derive(Default)]
struct World {
    numbers: Numbers,
    open: Vec<(DuplexStream, Option<u8>)>,
    /// How many were, and how many bytes came by them.
    opened: usize,
    heard: usize,
}

impl Carrier<u8> for World {
    fn has_room(&self) -> bool {
        true
    }

    /// Whatever leaves is a whole packet to somebody who sent one.
    fn send(&mut self, packet: &[u8]) {
        let read = Ipv4::read(packet).expect("a packet leaves");
        assert!(packet.len() <= usize::from(MTU) && made::holds(packet), "{packet:02x?}");
        if packet[9] != 6 || read.source.octets() != SERVER {
            return;
        }
        let number = |at: usize| u32::from_be_bytes(read.payload[at..at + 4].try_into().unwrap());
        let to = u16::from_be_bytes(read.payload[2..4].try_into().unwrap());
        let flags = read.payload[13];
        let data = read.payload.len() - usize::from(read.payload[12] >> 4) * 4;
        let next = number(4).wrapping_add(u32::try_from(data).unwrap() + u32::from(flags & 3 != 0));
        let own = self.numbers.entry(to).or_insert((FIRST, 0));
        *own = (if flags & ACK != 0 { number(8) } else { own.0 }, next);
    }

    fn sent(&mut self) {}

    fn open(&mut self, _: &Key, _: &mut u8, stream: DuplexStream) {
        self.opened += 1;
        self.open.push((stream, None));
    }
}

impl World {
    /// Says back what came, which are bytes in their order, each once; closes what the other end has closed.
    fn answer(&mut self, cx: &mut Context<'_>) {
        let heard = &mut self.heard;
        self.open.retain_mut(|(stream, last)| {
            let mut room = [0; 512];
            let mut room = ReadBuf::new(&mut room);
            while std::pin::Pin::new(&mut *stream).poll_read(cx, &mut room).is_ready() {
                if room.filled().is_empty() {
                    return false;
                }
                *heard += room.filled().len();
                for byte in room.filled() {
                    let follows = last.is_none_or(|last| u32::from(*byte) == (u32::from(last) + 1) % PATTERN);
                    assert!(follows, "{byte} follows {last:?}");
                    *last = Some(*byte);
                }
                // What finds no room is lost to whoever asked.
                let _ = std::pin::Pin::new(&mut *stream).poll_write(cx, room.filled());
                room.clear();
            }
            true
        });
    }

    /// The segment of a step.
    fn segment(&self, [flags, who, sequence, acknowledged, window, length]: [u8; 6]) -> Vec<u8> {
        let port = u16::from(who & 3) + 1;
        let (own, theirs) = self.numbers.get(&port).copied().unwrap_or((FIRST, 0));
        let distance = |byte: u8| i32::from(byte.cast_signed()) * if who & 0x40 == 0 { 1 } else { 300 };
        let own = own.wrapping_add_signed(distance(sequence));
        let begins = own.wrapping_add(u32::from(flags & SYN != 0));
        let data: Vec<u8> = (0..u32::from(length)).map(|n| (begins.wrapping_add(n) % PATTERN) as u8).collect();
        let numbers = (own, theirs.wrapping_add_signed(distance(acknowledged)));
        made::segment(
            [10, 1, 1, 3 + 2 * (who & 3)],
            SERVER,
            (port, PORT),
            (numbers, flags, u16::from(window) * 257),
            &data,
        )
    }
}

/// What four nodes say to one address. Bytes arrive in order, no more connections are there than may be, and where all fall silent none
/// is left.
#[test]
fn tunnel_tcp() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    fuzz::run("tunnel-tcp", |bytes| drop(runtime.block_on(converse(bytes))));
}

/// The target is worth something only if its steps come to something.
#[tokio::test(start_paused = true)]
async fn steps_make_a_connection_that_carries_what_they_say_and_ends() {
    let step = |flags, length| [flags, 0, 0, 0, 255, length];
    let whole =
        [step(SYN, 0), step(ACK, 0), step(ACK, 200), step(ACK, 0), step(ACK, 55), step(ACK | 1, 0), step(ACK, 0)];
    let world = converse(&whole.concat()).await;
    assert_eq!((world.opened, world.heard), (1, 255));
    // What comes too early waits, or comes again; what comes twice is heard once.
    let torn = [step(SYN, 0), step(ACK, 0), [ACK, 0, 100, 0, 255, 50], step(ACK, 100), [ACK, 0, 226, 0, 255, 60]];
    let world = converse(&torn.concat()).await;
    assert_eq!((world.opened, world.heard), (1, 180));
}

async fn converse(mut bytes: &[u8]) -> World {
    let mut stack: Stack<u8> = Stack::new((SERVER.into(), 24), MTU, 2048);
    let (mut world, mut cx) = (World::default(), Context::from_waker(Waker::noop()));
    while let Some((step, rest)) = bytes.split_first_chunk::<6>() {
        bytes = rest;
        let packet = if step[1] & 0x80 == 0 {
            world.segment(*step)
        } else {
            // Whatever it is.
            let (packet, rest) = bytes.split_at(usize::from(step[5]).min(bytes.len()));
            bytes = rest;
            packet.to_vec()
        };
        stack.arrive(packet, admit);
        assert!(stack.shares().all() <= MOST);
        advance(Duration::from_secs([0, 1, 20, 70][usize::from(step[1] >> 4 & 3)])).await;
        stack.poll(&mut cx, &mut world);
        world.answer(&mut cx);
        stack.poll(&mut cx, &mut world);
    }
    for _ in 0..20 {
        advance(Duration::from_secs(31)).await;
        stack.poll(&mut cx, &mut world);
        world.answer(&mut cx);
    }
    assert_eq!(stack.shares().all(), 0, "nobody is there any more");
    world
}

/// As at the server's own address: who has fewer takes the place of who has the most.
fn admit(stack: &mut Stack<u8>, key: &Key) -> Option<u8> {
    let from: SocketAddrV4 = key.from;
    let node = from.ip().octets()[3];
    let has_place =
        key.to == SocketAddrV4::new(SERVER.into(), PORT) && (stack.shares().all() < MOST || stack.give_way_to(&node));
    has_place.then_some(node)
}
