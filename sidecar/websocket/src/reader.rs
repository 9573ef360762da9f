//! Bytes of a client to frames or whole messages. What breaks the protocol ends the connection with the code that says so.
//!
//! A pure structure: it knows no socket and no clock. It holds bytes only while a frame or a message is not whole, so an idle
//! client costs the structure alone.

use bytes::{Bytes, BytesMut};

use super::{
    Close, CloseCode, Opcode,
    deflate::{self, Inflated},
    frame::{Head, unmask},
    utf8::Cut,
};

/// How a connection's messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The largest message, its fragments together, compressed or not.
    pub message_bytes: usize,
    /// Whether fragments are put together. Without it each is given out as it came; a compressed message is put together always.
    pub assembles: bool,
    /// Whether permessage-deflate was agreed on.
    pub deflates: bool,
    /// What a text is.
    pub texts: Texts,
    /// Whose frames these are.
    pub sender: Sender,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// UTF-8, and nothing else.
    Checked,
    /// Any bytes, against RFC 6455 section 8.1: such a text's data is [`Data::Binary`]. Some peers send binary data so.
    Bytes,
}

/// Whose frames are read (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client masks each frame.
    Client,
    /// A server masks none.
    Server,
}

impl Reading {
    /// Whole messages of a client, not compressed, of at most so many bytes.
    #[must_use]
    pub const fn messages(message_bytes: usize) -> Self {
        Self { message_bytes, assembles: true, deflates: false, texts: Texts::Checked, sender: Sender::Client }
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A message, or a fragment of one.
    Part(Part),
    /// To be answered by a pong with the same bytes.
    Ping(Bytes),
    /// The answer to a ping.
    Pong(Bytes),
    /// The peer ends the connection.
    Close(Close),
}

/// A message, or a fragment of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `Text`, `Binary` or `Continuation`.
    pub opcode: Opcode,
    /// Its data.
    pub data: Data,
    /// Whether the message ends here.
    pub fin: bool,
}

/// The data of a message: a text's is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Text. A character that a fragment's end cuts comes with the next one.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl Data {
    /// Its bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Turns bytes into frames.
#[derive(Debug, Default)]
pub struct Reader {
    rest: BytesMut,
    /// The message of which a fragment has come, and not the last.
    open: Option<Box<Message>>,
    has_closed: bool,
}

/// A message that is not whole.
#[derive(Debug)]
struct Message {
    is_text: bool,
    /// Whether it is a text that must be one.
    checked: bool,
    compressed: bool,
    cut: Cut,
    /// Bytes that have come.
    size: usize,
    /// The same, where it is put together.
    whole: BytesMut,
}

impl Reader {
    /// Takes bytes in; [`next`](Self::next) gives out what they make.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// Whether a close frame came, be it one that may not be sent: the peer sends nothing more.
    #[must_use]
    pub fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.rest.len() + self.open.as_ref().map_or(0, |open| open.whole.len())
    }

    /// The next frame or message; `None` where more bytes are needed.
    ///
    /// # Errors
    /// The close for bytes that break the protocol or a bound. Nothing is read after that.
    pub fn next(&mut self, reading: Reading) -> Result<Option<Read>, Close> {
        loop {
            let Some((head, payload)) = self.frame(reading)? else { return Ok(None) };
            let read = match head.opcode {
                Opcode::Ping => Some(Read::Ping(payload.freeze())),
                Opcode::Pong => Some(Read::Pong(payload.freeze())),
                Opcode::Close => {
                    self.has_closed = true;
                    Some(Read::Close(Close::read(&payload)?))
                }
                Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                    self.data(head, payload, reading)?.map(Read::Part)
                }
            };
            if read.is_some() {
                return Ok(read);
            }
        }
    }

    fn frame(&mut self, reading: Reading) -> Result<Option<(Head, BytesMut)>, Close> {
        let Some(head) = Head::read(&self.rest)? else { return Ok(None) };
        match (reading.sender, head.mask) {
            (Sender::Client, None) => return Err(Close::protocol("a client's frame is masked")),
            (Sender::Server, Some(_)) => return Err(Close::protocol("a server's frame is not masked")),
            (Sender::Client, Some(_)) | (Sender::Server, None) => {}
        }
        let length = usize::try_from(head.length).ok().filter(|length| *length <= reading.message_bytes.max(125));
        let length = length.ok_or_else(|| too_large(reading))?;
        if self.rest.len() < head.size + length {
            return Ok(None);
        }
        let mut payload = self.rest.split_to(head.size + length).split_off(head.size);
        if self.rest.is_empty() {
            // The memory goes with the payload.
            self.rest = BytesMut::new();
        }
        if let Some(mask) = head.mask {
            unmask(&mut payload, mask);
        }
        Ok(Some((head, payload)))
    }

    fn data(&mut self, head: Head, payload: BytesMut, reading: Reading) -> Result<Option<Part>, Close> {
        if head.rsv1 && (!reading.deflates || head.opcode == Opcode::Continuation) {
            return Err(Close::protocol("a reserved bit is set"));
        }
        let mut message = match (self.open.take(), head.opcode) {
            (None, Opcode::Continuation) => return Err(Close::protocol("a continuation of nothing")),
            (Some(_), Opcode::Text | Opcode::Binary) => {
                return Err(Close::protocol("a message within another one"));
            }
            (None, _) if head.fin && !head.rsv1 => return Ok(Some(whole(head.opcode, payload, reading)?)),
            (None, opcode) => Box::new(Message::new(opcode, head.rsv1, reading.texts)),
            (Some(open), _) => open,
        };
        message.size += payload.len();
        if message.size > reading.message_bytes {
            return Err(too_large(reading));
        }
        let part = message.take(head, payload, reading)?;
        if !head.fin {
            self.open = Some(message);
        }
        Ok(part)
    }
}

/// A message in one frame, which is how nearly all come.
fn whole(opcode: Opcode, payload: BytesMut, reading: Reading) -> Result<Part, Close> {
    if payload.len() > reading.message_bytes {
        return Err(too_large(reading));
    }
    let data = match opcode {
        Opcode::Text if reading.texts == Texts::Checked => {
            Data::Text(String::from_utf8(payload.into()).map_err(|_| Close::invalid_text())?)
        }
        _ => Data::Binary(payload.freeze()),
    };
    Ok(Part { opcode, data, fin: true })
}

fn too_large(reading: Reading) -> Close {
    Close::new(CloseCode::TOO_LARGE, format!("a message is at most {} bytes", reading.message_bytes))
}

impl Message {
    fn new(opcode: Opcode, compressed: bool, texts: Texts) -> Self {
        let is_text = opcode == Opcode::Text;
        let checked = is_text && texts == Texts::Checked;
        Self { is_text, checked, compressed, cut: Cut::default(), size: 0, whole: BytesMut::new() }
    }

    fn take(&mut self, head: Head, payload: BytesMut, reading: Reading) -> Result<Option<Part>, Close> {
        if !self.compressed && !reading.assembles {
            let data = if self.checked { self.text(head.fin, payload.into())? } else { Data::Binary(payload.freeze()) };
            return Ok(Some(Part { opcode: head.opcode, data, fin: head.fin }));
        }
        self.whole.unsplit(payload);
        if !head.fin {
            return Ok(None);
        }
        let mut whole = std::mem::take(&mut self.whole);
        if self.compressed {
            whole = match deflate::inflated(&whole, reading.message_bytes) {
                Inflated::Whole(bytes) => bytes.as_slice().into(),
                Inflated::TooLarge => return Err(too_large(reading)),
                Inflated::Broken => return Err(Close::protocol("a compressed message that cannot be opened")),
            };
        }
        let data = if self.checked { self.text(true, whole.into())? } else { Data::Binary(whole.freeze()) };
        let opcode = if self.is_text { Opcode::Text } else { Opcode::Binary };
        Ok(Some(Part { opcode, data, fin: true }))
    }

    fn text(&mut self, fin: bool, piece: Vec<u8>) -> Result<Data, Close> {
        let text = self.cut.joined(piece).map_err(|_| Close::invalid_text())?;
        if fin && !self.cut.is_empty() {
            return Err(Close::invalid_text());
        }
        Ok(Data::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{deflated, encode},
        *,
    };

    const MESSAGES: Reading = Reading::messages(1000);
    const FRAMES: Reading = Reading { assembles: false, ..MESSAGES };
    const DEFLATED: Reading = Reading { deflates: true, ..FRAMES };

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let plain = encode(Opcode::Binary, payload, false);
        let size = plain.len() - payload.len();
        let mut frame = plain[..size].to_vec();
        (frame[0], frame[1]) = (first, frame[1] | 0x80);
        frame.extend(mask);
        frame.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]));
        frame
    }

    fn read(bytes: &[u8], reading: Reading) -> Result<Vec<Read>, Close> {
        let mut reader = Reader::default();
        reader.extend(bytes);
        let mut all = Vec::new();
        while let Some(read) = reader.next(reading)? {
            all.push(read);
        }
        Ok(all)
    }

    fn text(opcode: Opcode, text: &str, fin: bool) -> Read {
        Read::Part(Part { opcode, data: Data::Text(text.into()), fin })
    }

    fn code(bytes: &[u8], reading: Reading) -> u16 {
        read(bytes, reading).unwrap_err().code.unwrap().get()
    }

    #[test]
    fn fragments_come_as_they_are_or_as_one_with_control_frames_between() {
        let euro = "€".as_bytes();
        let bytes = [
            frame(0x01, &[b"a", &euro[..1]].concat()),
            frame(0x89, b"now"),
            frame(0x00, &euro[1..2]),
            frame(0x80, &[&euro[2..], b"b"].concat()),
            frame(0x82, b"x"),
        ]
        .concat();
        let ping = Read::Ping(Bytes::from_static(b"now"));
        let binary =
            Read::Part(Part { opcode: Opcode::Binary, data: Data::Binary(Bytes::from_static(b"x")), fin: true });
        let frames = [
            text(Opcode::Text, "a", false),
            ping.clone(),
            text(Opcode::Continuation, "", false),
            text(Opcode::Continuation, "€b", true),
            binary.clone(),
        ];
        assert_eq!(read(&bytes, FRAMES).unwrap(), frames);
        assert_eq!(read(&bytes, MESSAGES).unwrap(), [ping, text(Opcode::Text, "a€b", true), binary]);
    }

    #[test]
    fn a_compressed_message_is_opened_in_one_piece_within_the_limit() {
        let packed = deflated(b"hello hello hello");
        let (first, second) = packed.split_at(4);
        let bytes = [frame(0x41, first), frame(0x80, second), frame(0x81, b"plain")].concat();
        let expected = [text(Opcode::Text, "hello hello hello", true), text(Opcode::Text, "plain", true)];
        assert_eq!(read(&bytes, DEFLATED).unwrap(), expected);
        assert_eq!(code(&frame(0xc1, &deflated(&[b'a'; 1001])), DEFLATED), 1009, "a bomb");
        assert_eq!(code(&frame(0xc1, b"\xff\xff\xff"), DEFLATED), 1002);
        assert_eq!(code(&frame(0xc1, &packed), FRAMES), 1002, "not agreed on");
        assert_eq!(code(&[frame(0x41, first), frame(0xc0, second)].concat(), DEFLATED), 1002, "marked twice");
    }

    #[test]
    fn what_breaks_the_protocol_has_its_code() {
        let unmasked = encode(Opcode::Text, b"hi", false);
        let table: [(&[u8], u16); 9] = [
            (&unmasked, 1002),
            (&frame(0x80, b"x"), 1002),
            (&[frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
            (&frame(0x81, b"\xff"), 1007),
            (&[frame(0x01, b"\xe2\x82"), frame(0x80, b"x")].concat(), 1007),
            (&[frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(), 1007),
            (&frame(0x82, &[0; 1001])[..20], 1009),
            (&[frame(0x02, &[0; 600]), frame(0x80, &[0; 600])].concat(), 1009),
            (&frame(0x88, b"\x03"), 1002),
        ];
        for (n, (bytes, expected)) in table.into_iter().enumerate() {
            assert_eq!(code(bytes, FRAMES), expected, "row {n}");
            assert_eq!(code(bytes, MESSAGES), expected, "row {n}, assembled");
        }
        assert_eq!(read(&frame(0x88, &[3, 232]), FRAMES).unwrap().len(), 1);
    }

    #[test]
    fn texts_may_be_bytes_where_that_was_chosen_whole_or_in_fragments() {
        let raw = Reading { texts: Texts::Bytes, ..MESSAGES };
        let packet = b"\x45\x00\xff\xfe";
        let cut = [frame(0x01, &packet[..3]), frame(0x80, &packet[3..])].concat();
        let expected = Part { opcode: Opcode::Text, data: Data::Binary(Bytes::from_static(packet)), fin: true };
        for bytes in [frame(0x81, packet), cut] {
            assert_eq!(read(&bytes, raw).unwrap(), [Read::Part(expected.clone())]);
            assert_eq!(code(&bytes, MESSAGES), 1007);
        }
    }

    #[test]
    fn a_server_masks_nothing() {
        let server = Reading { sender: Sender::Server, ..MESSAGES };
        assert_eq!(read(&encode(Opcode::Text, b"hi", false), server).unwrap(), [text(Opcode::Text, "hi", true)]);
        assert_eq!(code(&frame(0x81, b"hi"), server), 1002);
    }

    #[test]
    fn nothing_is_held_between_whole_messages() {
        let mut reader = Reader::default();
        reader.extend(&frame(0x81, b"hello"));
        reader.next(FRAMES).unwrap();
        assert_eq!((reader.held(), reader.rest.capacity()), (0, 0));
    }

    proptest! {
        #[test]
        fn bytes_may_come_in_any_pieces(sizes in proptest::collection::vec(0..300usize, 1..5), cut in 1..50usize) {
            let bytes: Vec<u8> = sizes.iter().flat_map(|size| frame(0x82, &vec![7; *size])).collect();
            let mut reader = Reader::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(cut) {
                reader.extend(piece);
                while let Some(Read::Part(part)) = reader.next(FRAMES).unwrap() {
                    let Data::Binary(data) = part.data else { panic!("{part:?}") };
                    read.push(data.len());
                }
            }
            prop_assert_eq!(read, sizes);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for reading in [FRAMES, MESSAGES, DEFLATED] {
                let _ = read(&bytes, reading);
            }
        }
    }
}
