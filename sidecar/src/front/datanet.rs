//! The Datanet directory behind the data plane: who is calling is decided there, by token or certificate, so that strangers come in
//! too.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::stream::{self, Stream};
use http::{Request, Response, Version};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use mesh_core::{Body, Caller, Code, grpc::is_grpc};
use mesh_directory::front::{Admission, Content, Events, Shown};
use mesh_network::listen::{Abandon, Connection};

use super::{
    Front, answers,
    body::{self, Paced},
};

impl Front {
    /// A call of the directory.
    pub(super) async fn datanet(
        &self,
        request: Request<Body>,
        caller: &Caller,
        connection: &Arc<Connection>,
    ) -> Response<Body> {
        let Some(front) = self.directory.front() else {
            return answers::not_found(request.uri().path(), is_grpc(request.headers()));
        };
        let shown = shown(caller, connection);
        let (head, body) = request.into_parts();
        let Admission { known, longest, place } = front.admits(&head, &shown, body.size_hint().exact());
        if known {
            connection.know();
        }
        let (path, version) = (head.uri.path().to_owned(), head.version);
        let answer = match place {
            // Kept until the answer is there.
            Ok(_place) => match body::whole(Paced::new(body), u64::try_from(longest).unwrap_or(u64::MAX)).await {
                Ok(body) => front.answer(Request::from_parts(head, body), &shown).await,
                Err(refusal) if refusal.code == Code::TOO_LARGE => front.too_large(&path),
                Err(refusal) if refusal.code == Code::TIMEOUT => front.too_slow(&path),
                Err(_) => front.broken_off(&path),
            },
            Err(refused) => *refused,
        };
        let (mut head, content) = answer.into_parts();
        let body = match content {
            Content::Whole(bytes) => Body::from(bytes),
            Content::Events(mut events) => {
                let abandon = Abandon::default();
                head.extensions.insert(abandon.clone());
                tokio::spawn(ended(events.let_go(), version, abandon, Arc::clone(connection)));
                Body::boxed(StreamBody::new(framed(events)))
            }
        };
        Response::from_parts(head, body)
    }
}

/// Ends the answer of a watcher that takes nothing: of many on its connection alone, or with it.
async fn ended(let_go: impl Future<Output = bool>, version: Version, abandon: Abandon, connection: Arc<Connection>) {
    if !let_go.await {
        return;
    }
    if version == Version::HTTP_2 {
        abandon.give_up();
    } else {
        connection.cut();
    }
}

/// Events as they come, for as long as the directory says some.
fn framed(events: Events) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        Some((Ok(Frame::data(event)), events))
    })
}

/// A partner that proved with its certificate who it is. One whose route asks for none only says so.
fn shown(caller: &Caller, connection: &Connection) -> Shown {
    let proven = caller.partner().filter(|route| route.config.client_certificate == crds::ClientCertificate::Required);
    Shown { certificate: proven.map(|route| route.node_id.to_string()), address: Some(connection.peer.ip()) }
}
