//! A small collector: OTLP over gRPC with the standard's own messages. The tests of nodes have it too.

use std::{net::SocketAddr, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// A machine under load gets so long.
const LONG: Duration = Duration::from_secs(60);

/// What has arrived, span by span.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    hears: mpsc::UnboundedReceiver<ExportTraceServiceRequest>,
    pub(crate) spans: Vec<Arrived>,
}

/// A span, and which service sent it.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) service: String,
    pub(crate) span: Span,
}

struct Front(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Front {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        Self::by(tonic::transport::Server::builder(), listener)
    }

    /// As `server` says, which may speak TLS.
    pub(crate) fn by(mut server: tonic::transport::Server, listener: TcpListener) -> Self {
        let (address, (told, hears)) = (listener.local_addr().unwrap(), mpsc::unbounded_channel());
        let serving = server.add_service(TraceServiceServer::new(Front(told)));
        tokio::spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
        Self { address, hears, spans: Vec::new() }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until what has arrived will do.
    pub(crate) async fn until(&mut self, will_do: impl Fn(&[Arrived]) -> bool) {
        while !will_do(&self.spans) {
            let heard = timeout(LONG, self.hears.recv()).await;
            let request = heard.unwrap_or_else(|_| panic!("no more arrived than {:#?}", self.spans)).unwrap();
            for of in request.resource_spans {
                let service = said(&of.resource.unwrap().attributes, "service.name").unwrap();
                let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                self.spans.extend(spans.map(|span| Arrived { service: service.clone(), span }));
            }
        }
    }
}

impl Arrived {
    pub(crate) fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// An attribute, as text.
    pub(crate) fn said(&self, key: &str) -> Option<String> {
        said(&self.span.attributes, key)
    }
}

fn said(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
