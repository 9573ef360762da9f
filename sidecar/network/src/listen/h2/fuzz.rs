//! The reader of passing frames says the same however their bytes are cut. How it runs, and where its inputs lie, says
//! `sidecar/fuzz`.

use super::frames::{Frames, Said};

fn said(mut frames: Frames, bytes: &[u8], size: usize) -> Vec<Said> {
    let mut all = Vec::new();
    bytes.chunks(size).for_each(|piece| frames.pass(piece, |said| all.push(said)));
    all
}

#[test]
fn h2_frames() {
    fuzz::run("h2-frames", |bytes| {
        for frames in [Frames::of_server, Frames::of_client] {
            let whole = said(frames(), bytes, bytes.len().max(1));
            // A byte, less than a head, a head, a head and a reason.
            for size in [1, 3, 9, 13] {
                assert_eq!(said(frames(), bytes, size), whole, "in pieces of {size}");
            }
            let of_bodies: usize =
                whole.iter().map(|said| if let Said::Data(_, bytes) = said { *bytes } else { 0 }).sum();
            assert!(of_bodies <= bytes.len(), "no more of bodies than has passed");
        }
    });
}
