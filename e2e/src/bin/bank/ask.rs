//! One call from within the pod, for a test that stands outside: `bank ask GET http://127.0.0.1:7304/who`.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

/// Longer than anything that a test asks for.
const PATIENCE: u64 = 60;

#[derive(Args)]
pub(crate) struct Ask {
    method: http::Method,
    url: http::Uri,
    /// The body, JSON.
    #[arg(default_value = "")]
    body: String,
    /// Seconds that it may take.
    #[arg(long, default_value_t = PATIENCE)]
    within: u64,
}

impl Ask {
    /// Prints the status, and then the body as it comes.
    pub(crate) async fn run(self) -> Result<()> {
        let http = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
        let request = http::Request::builder()
            .method(self.method)
            .uri(self.url)
            .header("content-type", "application/json")
            .body(Full::from(self.body))?;
        timeout(Duration::from_secs(self.within), async {
            let answer = http.request(request).await?;
            let mut out = std::io::stdout();
            writeln!(out, "{}", answer.status().as_u16())?;
            let mut body = answer.into_body();
            while let Some(frame) = body.frame().await {
                if let Some(data) = frame.context("the answer broke off")?.data_ref() {
                    out.write_all(data)?;
                    out.flush()?;
                }
            }
            Ok(())
        })
        .await
        .context("no answer in time")?
    }
}
