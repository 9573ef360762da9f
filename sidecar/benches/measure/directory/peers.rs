//! How etcd and NATS JetStream KV are asked for a record, and given one.

use anyhow::{Result, ensure};

use crate::{
    client::{Expect, Grpc, Nats, find, varint},
    load::Exchange,
    process::Server,
};

/// A record: its key and what is there.
pub(super) type Record = (String, Vec<u8>);

/// An answer of etcd has at least its header.
const HEADER: usize = 5;

/// A connection whose exchange is one call of etcd after another.
pub(super) struct Etcd(Grpc);

impl Etcd {
    /// Linearizable gets of these, in turn.
    pub(super) fn gets(etcd: &Server, records: &[Record]) -> Result<Self> {
        let get = |(key, value): &Record| {
            ("/etcdserverpb.KV/Range", field(1, key.as_bytes()), Expect::AtLeast(key.len() + value.len()))
        };
        Self::open(etcd, &records.iter().map(get).collect::<Vec<_>>())
    }

    /// Puts of these, in turn.
    pub(super) fn puts(etcd: &Server, records: &[Record]) -> Result<Self> {
        let put = |record: &Record| ("/etcdserverpb.KV/Put", put(record), Expect::AtLeast(HEADER));
        Self::open(etcd, &records.iter().map(put).collect::<Vec<_>>())
    }

    /// Transactions, each of so many puts.
    pub(super) fn transactions(etcd: &Server, records: &[Record], each: usize) -> Result<Self> {
        let transaction = |some: &[Record]| {
            // A transaction without conditions: `success` is its field 2, `request_put` field 2 of what it holds.
            let puts = some.iter().map(|record| field(2, &field(2, &put(record)))).collect::<Vec<_>>();
            ("/etcdserverpb.KV/Txn", puts.concat(), Expect::AtLeast(HEADER))
        };
        Self::open(etcd, &records.chunks(each).map(transaction).collect::<Vec<_>>())
    }

    fn open(etcd: &Server, calls: &[(&str, Vec<u8>, Expect)]) -> Result<Self> {
        Grpc::open(etcd.address, "", calls).map(Self)
    }

    /// All of its calls.
    pub(super) fn all(&mut self) -> Result<()> {
        self.0.once()
    }
}

impl Exchange for Etcd {
    fn once(&mut self) -> Result<()> {
        self.0.turn()
    }
}

fn put((key, value): &Record) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, value)].concat()
}

/// A field of bytes in protobuf.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, bytes.len());
    out.extend_from_slice(bytes);
    out
}

/// A connection whose exchange is one request of a bucket after another.
pub(super) struct Bucket {
    nats: Nats,
    requests: Vec<Vec<u8>>,
    /// What is in every good answer.
    expect: &'static [u8],
    turn: usize,
}

impl Bucket {
    /// Direct gets of these, in turn.
    pub(super) fn gets(server: &Server, n: usize, records: &[Record]) -> Result<Self> {
        let nats = Nats::open(server.address, n)?;
        let get = |(key, _): &Record| nats.publication(&format!("$JS.API.DIRECT.GET.KV_bench.$KV.bench.{key}"), b"");
        let requests = records.iter().map(get).collect();
        Ok(Self { nats, requests, expect: b"dataAddress", turn: 0 })
    }

    /// Puts of these, in turn.
    pub(super) fn puts(server: &Server, n: usize, records: &[Record]) -> Result<Self> {
        let nats = Nats::open(server.address, n)?;
        let put = |(key, value): &Record| nats.publication(&format!("$KV.bench.{key}"), value);
        let requests = records.iter().map(put).collect();
        Ok(Self { nats, requests, expect: b"\"seq\"", turn: 0 })
    }
}

impl Exchange for Bucket {
    fn once(&mut self) -> Result<()> {
        let answer = self.nats.exchange(&self.requests[self.turn])?;
        self.turn = (self.turn + 1) % self.requests.len();
        ensure!(find(&answer, self.expect).is_some(), "NATS said {}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}
