//! Generic calls of strangers: the few MPIs that are open to anybody (design section 4, "Who may call what"), with bodies that
//! are small whatever they are called.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, Response};
use mesh_core::{
    Body, CallContext, Caller, Code, Refusal, Urn,
    grpc::is_grpc,
    mpi::{self, Call as MpiCall},
};
use mesh_network::route::{self, Target};

use super::{Carrier, Outcome};
use crate::{
    TransportError,
    front::{Front, aside::Side, encode::GRPC_PREFIX, generic::asked::Asked, intake, peers::Peers},
};

/// A route with its certificates.
const LONGEST: u64 = 128 * 1024;

impl<P: Peers> Front<P> {
    /// Serves an MPI that is open to anybody, for a caller that is nobody; he hears `refusal` where it is none.
    pub async fn for_stranger(&self, request: Request<Body>, context: CallContext, refusal: Refusal) -> Response<Body> {
        let carrier = if is_grpc(request.headers()) { Carrier::Grpc } else { Carrier::Http };
        let outcome = self.opened(request, context, carrier, refusal).await;
        self.said(outcome, carrier, Side::Partner).await
    }

    async fn opened(
        &self,
        request: Request<Body>,
        mut context: CallContext,
        carrier: Carrier,
        refusal: Refusal,
    ) -> Result<Outcome, Refusal> {
        // By the body alone nobody is let in: it is not read for that.
        let urn = context.urn.take().or_else(|| Urn::in_authority(request.uri()).map(ToOwned::to_owned));
        let name = urn.as_deref().map(mpi::name_of_urn).unwrap_or_default();
        context.urn = urn;
        if !self.mpis.is_open(&name) {
            return Err(refusal);
        }
        if let Target::Remote(_) = route::target(&self.exchange.live.load(), &context)? {
            return Err(refusal);
        }
        let too_large = || Refusal::from(TransportError::BodyTooLarge { limit: LONGEST });
        let body = intake::read_short(request.into_body(), LONGEST).await.map_err(|_| too_large())?;
        let message = match carrier {
            Carrier::Http => body,
            Carrier::Grpc => unframed(&body).ok_or_else(|| malformed("the body is no message of gRPC"))?,
        };
        let asked = Asked::by_urn(&message).map_err(|text| malformed(&text))?;
        let arguments = asked.members(&mut context).map_err(|text| malformed(&text))?;
        let call = MpiCall { context, caller: Caller::Stranger, arguments };
        self.mpis.call(&name, call).await.map(Outcome::Content)
    }
}

fn malformed(text: &str) -> Refusal {
    Refusal::of_caller(Code::BAD_REQUEST, text)
}

/// The one message of a call, opened if it is compressed.
fn unframed(body: &Bytes) -> Option<Bytes> {
    let (prefix, message) = (body.get(..GRPC_PREFIX)?, body.slice(GRPC_PREFIX..));
    let length = u32::from_be_bytes(prefix.get(1..)?.try_into().ok()?);
    if message.len() as u64 != u64::from(length) {
        return None;
    }
    if prefix.first() == Some(&0) {
        return Some(message);
    }
    let mut opened = Vec::new();
    GzDecoder::new(&message[..]).take(LONGEST + 1).read_to_end(&mut opened).ok()?;
    (opened.len() as u64 <= LONGEST).then(|| opened.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_message_is_opened_up_to_the_limit_and_no_further() {
        let framed = |flag: u8, message: &[u8]| {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            Bytes::from([&[flag][..], &length, message].concat())
        };
        let packed = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(unframed(&framed(0, b"{}")).as_deref(), Some(&b"{}"[..]));
        assert_eq!(unframed(&framed(1, &packed(b"{}"))).as_deref(), Some(&b"{}"[..]));
        assert_eq!(unframed(&framed(1, &packed(&vec![0; 64 << 20]))), None, "a bomb");
        for wrong in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x09{}", b"\x01\0\0\0\x02{}"] {
            assert_eq!(unframed(&Bytes::copy_from_slice(wrong)), None, "{wrong:?}");
        }
    }
}
