//! The fuzz target of the ids of pushes. How it runs, and where its inputs lie, says `sidecar/fuzz`.

use super::MessageId;

/// An id that is taken is read again as it is written, and every writing of its numbers is the same id.
#[test]
fn message_id() {
    fuzz::run("message-id", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let Ok(id) = text.parse::<MessageId>() else { return };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id), "{text}");
        assert!(text.len() < 128 || text.contains("00000000"), "only noughts make it long");
    });
}
