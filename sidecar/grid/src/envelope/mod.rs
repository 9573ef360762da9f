//! What backends and the grid say to each other: requests, answers and events (Grid sections 3 to 6).
//!
//! ```text
//! id.rs        the id of a request, echoed to the digit
//! request.rs   the envelope of a WebSocket request, and the body of an HTTP one
//! call.rs      a method and its parameters, checked
//! function.rs  what conn.call may do with a connection
//! data.rs      the message of mesh.send and mesh.publish
//! answer.rs    answers
//! event.rs     what a consumer gets
//! ```
//! Pure: text in, plain types out, and the other way.

mod answer;
mod call;
mod data;
mod event;
mod function;
mod id;
mod request;

pub use answer::{Outcome, answer, answer_over_http};
pub use call::{Call, Method, Window};
pub use data::Message;
pub use event::{Event, Happened, Origin};
pub use function::Function;
pub use id::RequestId;
pub use request::Request;
