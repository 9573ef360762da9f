//! Fuzz targets of what the log reads back from a disk. How they run, and where their inputs lie, says `sidecar/fuzz`.

use bytes::Bytes;

use super::{
    entry::Entry,
    record::{self, HEAD, Head, Kind, tests::life},
    scan::{Damage, Known, scan},
    title::{TITLE, Title},
};

/// The life that the corpus was written in.
const LIFE: u64 = 9;

/// The records of a segment stand one behind the other within it, each as its head says; nobody wants what is gone.
#[test]
fn log_segment() {
    fuzz::run("log-segment", |bytes| {
        let known = |end, gone: &dyn Fn(u32) -> bool| scan(bytes, &Known { life: life(LIFE), end, gone });
        if let Ok(scanned) = known(None, &|_| false) {
            let mut end = 0;
            for (slot, (head, at)) in scanned.records.iter().enumerate() {
                assert_eq!((*at, head.slot as usize), (end, slot), "in a row");
                assert_eq!(Head::decode(&bytes[*at..], life(LIFE)).as_ref(), Some(head));
                let body = &bytes[at + HEAD..][..usize::try_from(head.length).unwrap()];
                assert_eq!(crc32fast::hash(body), head.body, "a body that does not hold");
                end += usize::try_from(record::size(head.length)).unwrap();
                let _ = Entry::decode(head.kind, Bytes::copy_from_slice(body));
            }
            assert!(scanned.end == end && end <= bytes.len());
            // What is known of the end only takes away, or says that something is missing.
            assert_eq!(known(Some(end as u64), &|_| false), Ok(scanned));
            assert!(end == bytes.len() || known(Some(bytes.len() as u64), &|_| false) == Err(Damage { at: end }));
        }
        if let (Ok(all), Ok(some)) = (known(None, &|_| true), known(None, &|_| false)) {
            assert!(some.records.iter().zip(&all.records).all(|(some, all)| some == all));
        }
        if let Some(page) = bytes.first_chunk::<TITLE>()
            && let Ok(title) = Title::decode(page)
        {
            assert_eq!(Title::decode(&title.encode()), Ok(title));
        }
    });
}

/// What a record says is written again as it was read.
#[test]
fn log_entry() {
    fuzz::run("log-entry", |bytes| {
        for kind in [Kind::Message, Kind::Tombstone, Kind::Involved, Kind::Pushed] {
            let Some(entry) = Entry::decode(kind, Bytes::copy_from_slice(bytes)) else { continue };
            let mut record = entry.record(1);
            record.place(life(LIFE), 1, 0, 0);
            let mut slices = Vec::new();
            record.slices(&mut slices);
            let written = slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
            let head = Head::decode(&written, life(LIFE)).unwrap();
            let body = written[HEAD..][..usize::try_from(head.length).unwrap()].to_vec();
            assert_eq!((head.kind, Entry::decode(kind, body.into())), (kind, Some(entry)));
        }
    });
}
