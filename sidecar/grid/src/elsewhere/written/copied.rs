//! The copy of a message, as bytes: its version, its topic, and its event.

use bytes::Bytes;

use super::{
    octets::{Unread, Written},
    read_topic,
};
use crate::{Topic, envelope::Event};

/// The version of these bytes.
const VERSION: u8 = 1;

/// The copy of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) topic: Topic,
    pub(crate) event: Event,
}

impl Copied {
    pub(crate) fn write(&self) -> Bytes {
        let mut out = Written::default();
        out.byte(VERSION);
        out.bytes(self.topic.as_str().as_bytes());
        out.bytes(self.event.written().as_bytes());
        out.done()
    }

    /// `None`: these are no bytes of a version that is known here.
    pub(crate) fn read(bytes: Bytes) -> Option<Self> {
        let mut unread = Unread::new(bytes);
        if unread.byte()? != VERSION {
            return None;
        }
        let copied = Self { topic: read_topic(&mut unread)?, event: Event::from_written(unread.text()?) };
        unread.whole(copied)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_copy_is_read_as_it_was_written_and_any_bytes_are_read_or_refused(
            topic in "[a-z]{1,9}", text in ".{0,60}", mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let copied = Copied { topic: Topic::new(&topic).unwrap(), event: Event::from_written(text) };
            let written = copied.write();
            prop_assert_eq!(Copied::read(written.slice(..written.len() - 1)), None);
            prop_assert_eq!(Copied::read(written), Some(copied));
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Some(copied) = Copied::read(bytes.clone().into()) {
                prop_assert_eq!(copied.write(), bytes);
            }
        }
    }
}
