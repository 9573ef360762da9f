//! HTTP/2 windows and buffers, the same for those who call us and for those whom we call.

/// What may come on one stream before it is read. Leave for more is given when half of it was read, so that it holds twice what
/// is under way on a link of 1 Gbit/s and 60 ms.
pub(crate) const STREAM_WINDOW: u32 = 16 * 1024 * 1024;
/// The same for all streams of a connection; also the memory that one peer can claim here.
pub(crate) const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// Fewer, larger frames for large bodies.
pub(crate) const FRAME: u32 = 256 * 1024;
/// What waits for a slow reader on each stream.
pub(crate) const SEND_BUFFER: usize = 1024 * 1024;
