//! Messages that go out together, each in its one or two forms (G-8). What is for a thousand clients is encoded once, and what one
//! publisher says in a row is one piece of bytes for each of them.

use bytes::{Bytes, BytesMut};

use crate::{
    envelope::Message,
    wire::{Deflate, Opcode},
};

/// Messages in a row.
#[derive(Debug)]
pub(super) struct Run {
    messages: Vec<One>,
    /// The largest payload.
    largest: usize,
    /// All frames, one behind the other.
    plain: Bytes,
    /// The same for those who may be sent compressed ones, where there are any.
    packed: Option<Bytes>,
}

/// A message.
#[derive(Debug)]
pub(super) struct One {
    frames: Deflate,
    pub(super) payload: usize,
}

impl Run {
    /// `deflates`: whether some client may be sent compressed messages. `counted` counts bytes as long as they wait for anybody.
    pub(super) fn of(messages: &[Message], deflates: bool, counted: &impl Fn(Bytes) -> Bytes) -> Self {
        let messages = messages.iter().map(|message| One::new(message.opcode, &message.payload, deflates, counted));
        let messages: Vec<One> = messages.collect();
        let largest = messages.iter().map(|one| one.payload).max().unwrap_or_default();
        let (plain, packed) = (joined(&messages, false, counted), deflates.then(|| joined(&messages, true, counted)));
        Self { messages, largest, plain, packed }
    }

    /// The messages one by one.
    pub(super) fn messages(&self) -> &[One] {
        &self.messages
    }

    /// Bytes of the largest message.
    pub(super) fn largest(&self) -> usize {
        self.largest
    }

    /// All of them for a client.
    pub(super) fn whole(&self, deflates: bool) -> &Bytes {
        self.packed.as_ref().filter(|_| deflates).unwrap_or(&self.plain)
    }
}

impl One {
    pub(super) fn new(opcode: Opcode, payload: &[u8], deflates: bool, counted: &impl Fn(Bytes) -> Bytes) -> Self {
        Self { frames: Deflate::frames(opcode, payload, deflates).map(counted), payload: payload.len() }
    }

    /// Its frame for a client.
    pub(super) fn form(&self, deflates: bool) -> &Bytes {
        self.frames.form(deflates)
    }
}

/// The frames of all in one piece; of one alone, its own.
fn joined(messages: &[One], deflates: bool, counted: &impl Fn(Bytes) -> Bytes) -> Bytes {
    if let [one] = messages {
        return one.form(deflates).clone();
    }
    let mut whole = BytesMut::with_capacity(messages.iter().map(|one| one.form(deflates).len()).sum());
    messages.iter().for_each(|one| whole.extend_from_slice(one.form(deflates)));
    counted(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_its_frames_one_behind_the_other_in_both_forms() {
        let messages = [b"short".to_vec(), vec![b'a'; 1000]]
            .map(|payload| Message { opcode: Opcode::Text, payload: payload.into() });
        let run = Run::of(&messages, true, &|frame| frame);
        for deflates in [false, true] {
            let each = run.messages().iter().flat_map(|one| one.form(deflates).to_vec());
            assert_eq!(run.whole(deflates).to_vec(), each.collect::<Vec<_>>());
        }
        assert!(run.whole(true).len() < 100 && run.whole(false).len() > 1000);
        assert_eq!(run.largest(), 1000);
    }
}
