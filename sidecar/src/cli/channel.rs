//! `mesh push|pop|peek|release`: calls of the data plane in its own wire form, protobuf over HTTP/1.1 (PTP section 3).

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crds::DATA_PORT;
use http::{
    Request,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use mesh_core::Body;
use prost::Message as _;
use proto::ptp::{PeekInbound, PopInbound, ReleaseInbound};
use serde_json::json;
use tokio::{fs, io::AsyncWriteExt as _};

use super::{
    block_on, client, message,
    outbound::{self, Outbound},
    print_json,
    progress::Progress,
};
use crate::{
    args::{Call, Form, Peek, Pop, Push, Release, Show},
    exit::Exit,
};

/// What an answer may take beside the time that the call itself may wait: a large body on a slow line.
const SLACK: Duration = Duration::from_secs(60);

/// `mesh push`.
pub(crate) fn push(args: &Push) -> Result<(), Exit> {
    block_on(async {
        let sized = message::push(&args.topic, args.file.as_deref(), Progress::new(args.progress.show)).await?;
        let payload = sized.payload;
        let mut request = request("push", &args.call, args.timeout)?;
        request.headers_mut().insert(CONTENT_LENGTH, sized.length.into());
        let (request, mut nowhere) = (request.map(|()| sized.body), tokio::io::sink());
        let answer = call(&args.call, request, args.timeout, &mut nowhere, Progress::none()).await?;
        say(&args.call, &answer, &format!("pushed {payload} bytes to {}", args.topic))
    })
}

/// `mesh pop`.
pub(crate) fn pop(args: &Pop) -> Result<(), Exit> {
    let timeout = i32::try_from(args.timeout.as_millis()).unwrap_or(i32::MAX);
    let inbound = PopInbound { topic: args.topic.clone(), timeout };
    let read =
        Read { op: "pop", call: &args.call, limit: args.timeout, to: args.to.as_deref(), show: args.progress.show };
    block_on(read.run(inbound.encode_to_vec()))
}

/// `mesh peek`.
pub(crate) fn peek(args: &Peek) -> Result<(), Exit> {
    let inbound = PeekInbound { topic: args.topic.clone() };
    let (to, show) = (args.to.as_deref(), args.progress.show);
    block_on(Read { op: "peek", call: &args.call, limit: Duration::ZERO, to, show }.run(inbound.encode_to_vec()))
}

/// `mesh release`.
pub(crate) fn release(args: &Release) -> Result<(), Exit> {
    let inbound = ReleaseInbound { topic: args.topic.clone().unwrap_or_default(), timeout: 0 };
    block_on(async {
        let request = request("release", &args.call, Duration::ZERO)?.map(|()| inbound.encode_to_vec().into());
        let answer = call(&args.call, request, Duration::ZERO, &mut tokio::io::sink(), Progress::none()).await?;
        let what =
            args.topic.as_ref().map_or_else(|| format!("session {}", args.call.session), |t| format!("topic {t}"));
        say(&args.call, &answer, &format!("released {what}"))
    })
}

/// A pop or peek: the message goes to a file, to standard output, or into the JSON.
struct Read<'a> {
    op: &'static str,
    call: &'a Call,
    limit: Duration,
    to: Option<&'a Path>,
    show: Show,
}

impl Read<'_> {
    async fn run(self, inbound: Vec<u8>) -> Result<(), Exit> {
        let Self { op, call: args, limit, to, show } = self;
        let (request, progress) = (request(op, args, limit)?.map(|()| inbound.into()), Progress::new(show));
        match (to, args.output.form) {
            (Some(path), _) => {
                let answer = into_file(args, request, limit, path, progress).await?;
                let length = answer.payload.ok_or(Exit::Empty)?;
                say(args, &answer, &format!("{length} bytes are in {}", path.display()))
            }
            (None, Form::Text) => {
                let answer = call(args, request, limit, &mut tokio::io::stdout(), progress).await?;
                answer.payload.map(drop).ok_or(Exit::Empty)
            }
            (None, Form::Json) => {
                let mut payload = Vec::new();
                let answer = call(args, request, limit, &mut payload, progress).await?;
                let payload = answer.payload.map(|_| STANDARD.encode(&payload));
                let empty = payload.is_none();
                print_json(&json!({"code": answer.code.as_str(), "message": answer.message, "payload": payload}))?;
                if empty { Err(Exit::Empty) } else { Ok(()) }
            }
        }
    }
}

/// The file has its name only once it is whole.
async fn into_file(
    args: &Call,
    request: Request<Body>,
    limit: Duration,
    path: &Path,
    progress: Progress,
) -> Result<Outbound, Exit> {
    let failed = |e| Exit::local(path.display(), e);
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let mut file = fs::File::create(&part).await.map_err(failed)?;
    let answer = call(args, request, limit, &mut file, progress).await;
    file.shutdown().await.map_err(failed)?;
    match &answer {
        Ok(Outbound { payload: Some(_), .. }) => fs::rename(&part, path).await.map_err(failed)?,
        _ => fs::remove_file(&part).await.map_err(failed)?,
    }
    answer
}

fn request(op: &str, args: &Call, limit: Duration) -> Result<Request<()>, Exit> {
    let mut request = Request::post(format!("/v1/interconn/chan/{op}"))
        .header(CONTENT_TYPE, "application/x-protobuf")
        .header("x-ptp-session-id", &args.session);
    if let Some(node) = &args.target_node {
        request = request.header("x-ptp-target-node-id", node);
    }
    if !limit.is_zero() {
        request = request.header("x-ptp-timeout", limit.as_millis().to_string());
    }
    request.body(()).map_err(|e| Exit::local("--session or --target-node cannot be sent", e))
}

async fn call(
    args: &Call,
    request: Request<Body>,
    limit: Duration,
    sink: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut progress: Progress,
) -> Result<Outbound, Exit> {
    let answer = client::send(&args.address, DATA_PORT, request, limit + SLACK).await?;
    let status = answer.status();
    if status != http::StatusCode::OK {
        let mut text = Vec::new();
        use http_body_util::{BodyExt as _, Limited};
        if let Ok(body) = Limited::new(answer.into_body(), 4096).collect().await {
            text.extend_from_slice(&body.to_bytes());
        }
        return Err(Exit::Refused(format!("HTTP {status}: {}", String::from_utf8_lossy(&text))));
    }
    let outbound = outbound::read(answer.into_body(), sink, &mut progress).await?;
    if outbound.code.is_success() { Ok(outbound) } else { Err(Exit::refused(outbound.code, &outbound.message)) }
}

fn say(args: &Call, answer: &Outbound, text: &str) -> Result<(), Exit> {
    match args.output.form {
        Form::Text => {
            println!("{text}");
            Ok(())
        }
        Form::Json => print_json(&json!({
            "code": answer.code.as_str(), "message": answer.message, "bytes": answer.payload,
        })),
    }
}
