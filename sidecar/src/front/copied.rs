//! The directory as a sidecar serves it: its gateway's, and lookups by the verified copy beside it where the caller allows that, or
//! where the directory is away (Datanet section 7 and D-8).

use std::{sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, header::CONTENT_ENCODING};
use http_body::Body as _;
use mesh_core::{Body, CallContext, Caller};
use mesh_directory::{front::Lookup, read_json};
use mesh_network::WaitUntil;
use tokio::time::Instant;

use super::{
    Front, answers,
    body::{self, Paced},
};
use crate::start::Because;

/// How long a directory may take for a lookup until it counts as away. From its memory it answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same where the copy could not follow it last time: it may be back, and answer in milliseconds.
const SHORT_PATIENCE: Duration = Duration::from_millis(200);

/// Bytes of the longest lookup.
const LONGEST: u64 = Lookup::LONGEST as u64;

/// Bytes of an answer that says that something is not there, or is amiss.
const REFUSAL: u64 = 64 << 10;

impl Front {
    /// A call of the directory that came to a sidecar.
    pub(super) async fn of_the_gateway(
        &self,
        request: Request<Body>,
        context: &CallContext,
        caller: &Caller,
    ) -> Response<Body> {
        let Some(manners) = self.replica.manners().filter(|_| matches!(caller, Caller::Local)) else {
            return self.registered(request, context, caller).await;
        };
        let (head, body) = request.into_parts();
        // What is longer, or does not say how long it is, is no lookup.
        let is_short = body.size_hint().upper().is_some_and(|bytes| bytes <= LONGEST);
        if !is_short || !Lookup::may_be(&head) {
            return self.registered(Request::from_parts(head, body), context, caller).await;
        }
        let body = match body::whole(Paced::new(body), LONGEST).await {
            Ok(body) => body,
            Err(refusal) => return answers::text(StatusCode::BAD_REQUEST, format!("{}\n", refusal.message)),
        };
        let lookup = Lookup::read(&head, &body, manners).map(Arc::new);
        let body = if body.is_empty() { Body::Empty } else { Body::from(body) };
        let request = Request::from_parts(head, body);
        match lookup {
            Some(lookup) => self.looked_up(&lookup, request, context, caller).await,
            None => self.registered(request, context, caller).await,
        }
    }

    /// A lookup: the copy's where the caller allows that, else the directory's; and where that is away the copy's again.
    async fn looked_up(
        &self,
        lookup: &Arc<Lookup>,
        mut request: Request<Body>,
        context: &CallContext,
        caller: &Caller,
    ) -> Response<Body> {
        if let Some(answer) = self.replica.answer(lookup, Because::Allowed).await {
            return answer;
        }
        if !self.replica.stands_in(lookup) {
            return self.registered(request, context, caller).await;
        }
        // For nobody else's answer a gateway that is away is waited for.
        request.extensions_mut().insert(WaitUntil(Instant::now()));
        let patience = if self.replica.is_cut_off() { SHORT_PATIENCE } else { PATIENCE };
        // A refusal is read whole before it is known whose it is: that has its time, too.
        let asked = async { said(self.registered(request, context, caller).await).await };
        let others = match tokio::time::timeout(patience, asked).await {
            Ok(Said::ByTheDirectory(answer)) => return answer,
            Ok(Said::ByOthers(answer)) => answer,
            Err(_) => answers::text(StatusCode::GATEWAY_TIMEOUT, "the directory does not answer\n"),
        };
        self.replica.answer(lookup, Because::Away).await.unwrap_or(others)
    }
}

/// Whose an answer is.
enum Said {
    ByTheDirectory(Response<Body>),
    /// By somebody on the way to it, which is as good as none.
    ByOthers(Response<Body>),
}

async fn said(answer: Response<Body>) -> Said {
    let is_there = answer.status() != StatusCode::NOT_FOUND && !answer.status().is_server_error();
    if is_there || answer.headers().contains_key(CONTENT_ENCODING) {
        return Said::ByTheDirectory(answer);
    }
    let (head, body) = answer.into_parts();
    let body = body::whole(body, REFUSAL).await.unwrap_or_default();
    // The directory's codes are numbers, those of gateways and sidecars are texts.
    let is_own = read_json(&body).is_ok_and(|said| said["code"].is_number());
    let answer = Response::from_parts(head, Body::from(body));
    if is_own { Said::ByTheDirectory(answer) } else { Said::ByOthers(answer) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_the_directorys_own_or_it_is_away() {
        let own = |code: serde_json::Value| json!({"code": code, "message": "m"}).to_string();
        for (status, body, expected) in [
            (200, "anything".to_owned(), true),
            (403, "no".to_owned(), true),
            (404, own(json!(7310)), true),
            (404, own(json!("E0000000404")), false),
            (500, own(json!(7314)), true),
            (503, own(json!("E0000000602")), false),
            (502, String::new(), false),
            (504, "x".repeat(100_000), false),
        ] {
            let mut answer = Response::new(Body::from(body.clone()));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            let (is_own, answer) = match said(answer).await {
                Said::ByTheDirectory(answer) => (true, answer),
                Said::ByOthers(answer) => (false, answer),
            };
            assert_eq!((is_own, answer.status().as_u16()), (expected, status), "{body}");
            if body.len() < 1000 {
                assert_eq!(body::whole(answer.into_body(), 1000).await.unwrap(), body, "it is passed on as it came");
            }
        }
    }
}
