//! Handshakes with a token that ES256 signed, over 32 connections at a time, against Bun with its own WebCrypto.

use std::fs;

use anyhow::{Result, anyhow};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING as ES256, EcdsaKeyPair, KeyPair},
};
use serde_json::json;
use socket2::SockRef;

use super::from;
use crate::{
    Effort,
    client::{Http, WebSocket},
    load::{Exchange, Load, Pace},
    peer::{Hub, bun_publish, ours},
    report::{Goal, Report, Unit},
    stats::{RATE, Rounds},
    work::folder,
};

const CALLERS: usize = 32;

pub(in crate::measure) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let (key, token) = signed()?;
    let secrets = folder("secrets")?;
    fs::create_dir(secrets.join("keys"))?;
    fs::write(secrets.join("keys/jwks.json"), format!(r#"{{"keys":[{key}]}}"#))?;
    let auth = ", auth: {jwt: {jwks: {secretRef: {name: keys}}, algorithms: [ES256]}}";
    let ours = ours(auth, Some(&secrets))?;
    let bun = match bun_publish(Some(&key)) {
        Ok(bun) => bun,
        Err(why) => {
            report.left_out("a storm of handshakes, against Bun", &why);
            return Ok(());
        }
    };
    let header = format!("authorization: Bearer {token}\r\n");
    let round = |hub: &Hub, path: &'static str| {
        let open = |n: usize| {
            let (to, header) = (hub.clients, header.clone());
            Ok(Box::new(Caller { to, path, header, n }) as Box<dyn Exchange>)
        };
        Load { connections: CALLERS, open: &open }.round(&[&hub.server], Pace::Closed, effort.round)
    };
    let rounds = Rounds::take(effort.rounds, || round(&ours, "/"), || round(&bun, "/login"))?;
    rounds.show("handshakes with an ES256 token", "Bun");
    let what = ("grid: handshakes with an ES256 token".to_owned(), "Bun");
    rounds.line(report, what, Unit::PerSecond, RATE, Goal::RatioAtLeast(1.5));
    Ok(())
}

/// A public key as a JWK, and a token of an hour.
fn signed() -> Result<(String, String)> {
    let (random, wrong) = (SystemRandom::new(), |_| anyhow!("no key"));
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ES256, &random).map_err(wrong)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ES256, pkcs8.as_ref(), &random).map_err(|e| anyhow!("{e}"))?;
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let point = pair.public_key().as_ref();
    let key = json!({"kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])});
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let claims = json!({"sub": "u1", "exp": now + 3600}).to_string();
    let signed = format!("{}.{}", base64(br#"{"alg":"ES256"}"#), base64(claims.as_bytes()));
    let tag = pair.sign(&random, signed.as_bytes()).map_err(wrong)?;
    Ok((key.to_string(), format!("{signed}.{}", base64(tag.as_ref()))))
}

struct Caller {
    to: std::net::SocketAddr,
    path: &'static str,
    header: String,
    n: usize,
}

impl Exchange for Caller {
    /// A connection that is let in, and reset: waiting for the last packet would use up the ports.
    fn once(&mut self) -> Result<()> {
        let socket = WebSocket::over(Http::open_from(from(self.n), self.to)?.into_socket(), self.path, &self.header)?;
        Ok(SockRef::from(socket.socket()).set_linger(Some(std::time::Duration::ZERO))?)
    }
}
