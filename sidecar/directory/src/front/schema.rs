//! The messages as JSON Schema, in a corrected form (contract section 3, leniency 11): a file that the program carries. What it refuses
//! a strict directory refuses too; what it allows is taken by every one.

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

/// The schemas.
pub(super) const SCHEMA: &str = include_str!("../schema/datanet-1.0.json");

/// Another version of the program may have another one.
const CACHED: &str = "public, max-age=3600";

/// The file.
pub(super) fn answer() -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(SCHEMA.as_bytes()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/schema+json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(CACHED));
    answer
}
