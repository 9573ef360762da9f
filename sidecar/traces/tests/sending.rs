//! What a collector gets, and what becomes of spans when there is none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod collector;

use std::{
    fs, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use collector::Collector;
use mesh_pki::{Algorithm, Identity, LeafRequest, Root};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::timeout,
};
use tonic::transport::{Server, ServerTlsConfig};
use traces::{Options, Parent, SpanKind, Traces, TracesError, child};
use tracing_subscriber::fmt::MakeWriter;

const SAMPLED: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
/// A machine under load gets so long.
const LONG: Duration = Duration::from_secs(60);

fn options(endpoint: &str) -> Options {
    Options { endpoint: Some(endpoint.to_owned()), ..Options::default() }
}

fn open(options: &Options) -> Result<Option<Traces>, TracesError> {
    Traces::open(options, "mesh", "1")
}

#[tokio::test]
async fn a_span_arrives_with_its_parent_and_what_was_said_of_it() {
    let mut collector = Collector::start().await;
    let traces = open(&options(&collector.endpoint())).unwrap().unwrap();
    let parent = Parent::read(SAMPLED).unwrap();
    let mut outer = traces.begin("chan/push", SpanKind::Server, Some(&parent));
    outer.set("http.response.status_code", 200);
    let mut inner = outer.around(async { child("partner", SpanKind::Client) }).await.unwrap();
    assert!(child("nobody's", SpanKind::Client).is_none(), "outside of it there is none");
    inner.failed("E0000000601");
    drop(inner);
    drop(outer);
    traces.end().await;
    collector.until(|spans| spans.len() == 2).await;
    let named = |name: &str| collector.spans.iter().find(|arrived| arrived.span.name == name).unwrap();
    let (outer, inner) = (named("chan/push"), named("partner"));
    assert_eq!((outer.trace(), outer.parent().as_str()), (parent.trace_id(), "00f067aa0ba902b7"));
    assert_eq!((inner.trace(), inner.parent()), (parent.trace_id(), outer.id()));
    assert_eq!(outer.said("http.response.status_code").as_deref(), Some("200"));
    assert_eq!(inner.span.status.as_ref().unwrap().message, "E0000000601");
    assert_eq!([outer.service.as_str(), &inner.service], ["mesh"; 2]);
}

/// Who asked not to be traced is not, and so are those whom it calls.
#[tokio::test]
async fn a_call_that_is_not_sampled_sends_nothing_and_says_so_further_on() {
    let mut collector = Collector::start().await;
    let traces = open(&options(&collector.endpoint())).unwrap().unwrap();
    let parent = Parent::read(UNSAMPLED).unwrap();
    let span = traces.begin("chan/pop", SpanKind::Server, Some(&parent));
    assert!(span.parent().header().ends_with("-00"), "{}", span.parent().header());
    drop(span);
    drop(traces.begin("chan/peek", SpanKind::Server, None));
    traces.end().await;
    collector.until(|spans| !spans.is_empty()).await;
    let names: Vec<_> = collector.spans.iter().map(|arrived| arrived.span.name.as_str()).collect();
    assert_eq!(names, ["chan/peek"]);
}

#[tokio::test]
async fn a_part_of_the_traces_is_sent_and_none_of_the_others() {
    let mut collector = Collector::start().await;
    let ratio = |part: &str| Options {
        sampler: Some("traceidratio".into()),
        sampler_arg: Some(part.into()),
        ..options(&collector.endpoint())
    };
    let (none, all) = (open(&ratio("0")).unwrap().unwrap(), open(&ratio("1")).unwrap().unwrap());
    for _ in 0..100 {
        drop(none.begin("left out", SpanKind::Server, None));
    }
    drop(all.begin("sent", SpanKind::Server, None));
    none.end().await;
    all.end().await;
    collector.until(|spans| !spans.is_empty()).await;
    assert_eq!(collector.spans.iter().map(|arrived| arrived.span.name.as_str()).collect::<Vec<_>>(), ["sent"]);
}

/// A collector that speaks TLS, and the root that it is known by.
async fn secure() -> (Collector, String, String) {
    let identity = Identity { node_id: "LX1".into(), name: "collector".into() };
    let now = SystemTime::now();
    let root = Root::generate(&identity, Algorithm::EcdsaP256, 10 * 24 * LONG * 60, now).unwrap();
    let request = LeafRequest {
        identity,
        algorithm: Algorithm::EcdsaP256,
        lifetime: 24 * LONG * 60,
        extra_dns: vec!["localhost".into()],
        extra_ips: Vec::new(),
    };
    let pair = root.issue(&request, now).unwrap();
    let shown = tonic::transport::Identity::from_pem(&pair.chain_pem, pair.key.expose());
    let server = Server::builder().tls_config(ServerTlsConfig::new().identity(shown)).unwrap();
    let collector = Collector::by(server, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let endpoint = format!("https://localhost:{}", collector.address.port());
    (collector, endpoint, root.certificate_pem().to_owned())
}

#[tokio::test]
async fn a_collector_behind_tls_is_known_by_the_roots_that_are_named() {
    let (mut collector, endpoint, root) = secure().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, &root).unwrap();
    let certificate = Some(file.path().display().to_string());
    let (_, _, another) = secure().await;
    for (name, options) in [
        ("stranger", Options { root: Some(another), ..options(&endpoint) }),
        ("root", Options { root: Some(root), ..options(&endpoint) }),
        ("file", Options { certificate, ..options(&endpoint) }),
    ] {
        let traces = open(&options).unwrap().unwrap();
        drop(traces.begin(name, SpanKind::Server, None));
        traces.end().await;
    }
    collector.until(|spans| spans.len() == 2).await;
    let mut names: Vec<_> = collector.spans.iter().map(|arrived| arrived.span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["file", "root"], "nothing was told to one that is known by another root");
}

#[tokio::test]
async fn roots_that_are_none_are_told_with_where_they_stand() {
    let to = options("https://collector:4317");
    for (options, whence, reason) in [
        (Options { root: Some("no PEM".into()), ..to.clone() }, "MESH_COLLECTOR_ROOT", "no certificate in it"),
        (Options { certificate: Some("/no/such.crt".into()), ..to.clone() }, "/no/such.crt", "No such file"),
    ] {
        let told = open(&options).unwrap_err().to_string();
        assert!(told.contains(whence) && told.contains(reason), "{told}");
    }
}

/// More than the queue takes: what does not fit is dropped, and nobody waits.
#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up_and_is_told_of_once() {
    // Bound and not listening: nobody else is given the port.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let collector = format!("http://{}", closed.local_addr().unwrap());
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    // For all threads: the exporter has its own.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let traces = open(&options(&collector)).unwrap().unwrap();
    for _ in 0..10_000 {
        drop(traces.begin("chan/push", SpanKind::Server, None));
    }
    timeout(LONG, traces.end()).await.unwrap();
    // Other tests of the process have collectors of their own.
    let told = format!("does not take traces: they are dropped until it does collector={collector} ");
    timeout(LONG, log.shows(&told)).await.unwrap();
    let text = log.text();
    assert_eq!(text.matches(&told).count(), 1, "{text}");
    assert!(!text.contains("ERROR"), "{text}");
}

#[tokio::test]
async fn without_a_collector_there_is_nothing_and_what_is_none_is_told() {
    assert!(open(&Options::default()).unwrap().is_none());
    for bad in ["no url", "collector:4317", "grpc://collector:4317", "http://", "http://a b"] {
        let told = open(&options(bad)).unwrap_err().to_string();
        assert!(told.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && told.contains(bad), "{told}");
    }
    let sampler = Options { sampler: Some("xray".into()), ..options("http://127.0.0.1:1") };
    assert!(open(&sampler).unwrap_err().to_string().starts_with("OTEL_TRACES_SAMPLER is \"xray\""));
}

/// What was logged by the whole process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    async fn shows(&self, text: &str) {
        while !self.text().contains(text) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
