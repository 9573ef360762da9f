//! The proof of a key in a handshake. It is the same whoever judges the chain that the key belongs to.

use std::fmt::Debug;

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// What keys may sign with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signatures(WebPkiSupportedAlgorithms);

impl Signatures {
    pub(crate) fn of(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }

    pub(crate) fn tls12(
        self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    pub(crate) fn tls13(
        self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    pub(crate) fn schemes(self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// A chain that a server shows.
#[derive(Debug)]
pub struct Shown<'s> {
    /// The server's own certificate.
    pub leaf: &'s CertificateDer<'s>,
    /// What it sent behind it.
    pub above: &'s [CertificateDer<'s>],
    /// What was asked for.
    pub name: &'s ServerName<'s>,
    /// When.
    pub now: UnixTime,
}

/// Who judges the chains of servers.
pub trait Judge: Debug + Send + Sync {
    /// Whether it is one that we speak with.
    ///
    /// # Errors
    /// Why not.
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error>;
}

/// A server whose chain `judge` judges, and whose key is proven as always.
#[derive(Debug)]
pub struct ByChain<J> {
    judge: J,
    signatures: Signatures,
}

impl<J: Judge> ByChain<J> {
    /// A verifier that asks `judge`.
    pub fn new(judge: J, provider: &CryptoProvider) -> Self {
        Self { judge, signatures: Signatures::of(provider) }
    }
}

impl<J: Judge> ServerCertVerifier for ByChain<J> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge(&Shown { leaf, above, name, now })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}
