//! A fuzz target of the bundle. How it runs, and where its inputs lie, says `sidecar/fuzz`.

use super::{
    frame::{self, Frame, Kind},
    head,
};

/// Frames and heads: whatever can be read is written again as it was, or shorter.
#[test]
fn bundle_frames() {
    fuzz::run("bundle-frames", |bytes| {
        let mut rest = bytes;
        while let Ok(Some((Frame { kind, call, content }, used))) = frame::first(rest) {
            let mut again = Vec::new();
            frame::put(&mut again, kind, call, |out| out.extend_from_slice(content));
            assert_eq!(again, &rest[..used]);
            rest = &rest[used..];
            match kind {
                Kind::Call => called(content),
                _ => answered(content),
            }
        }
    });
}

fn called(content: &[u8]) {
    let Ok((request, body)) = head::call(content) else { return };
    let mut again = Vec::new();
    head::put_call(&mut again, &request);
    assert!(again.len() <= content.len() - body.len(), "a name in the table is shorter");
    let (read, _) = head::call(&again).unwrap();
    assert_eq!((read.uri(), read.headers()), (request.uri(), request.headers()));
}

fn answered(content: &[u8]) {
    let Ok((answer, _)) = head::answer(content) else { return };
    let mut again = Vec::new();
    head::put_answer(&mut again, answer.status(), answer.headers());
    let (read, _) = head::answer(&again).unwrap();
    assert_eq!((read.status(), read.headers()), (answer.status(), answer.headers()));
}
