//! Bodies that are read whole, up to a limit.

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mesh_core::{Body, Code, Refusal};

/// Reads a body of at most `limit` bytes. One that announces more is refused without being read (PTP section 13.2).
pub(super) async fn whole(body: Body, limit: u64) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limit {
        return Err(too_large(limit));
    }
    match Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(error) => Err(Refusal::of_caller(Code::BAD_REQUEST, format_args!("the body broke off: {error}"))),
    }
}

/// A refusal of what is too large, said before the rest is read.
fn too_large(limit: u64) -> Refusal {
    Refusal::of_caller(Code::TOO_LARGE, format_args!("the body is larger than the limit of {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused() {
        assert_eq!(whole(Body::from("1234"), 4).await.unwrap(), "1234");
        assert_eq!(whole(Body::from("12345"), 4).await.unwrap_err().code, Code::TOO_LARGE);
    }
}
