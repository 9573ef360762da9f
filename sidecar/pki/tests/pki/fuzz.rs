//! Fuzz targets of PEM and certificates. How they run, and where their inputs lie, says `sidecar/fuzz`.

use mesh_pki::{
    CertificateDer, CertificateInfo, Role, TrustAnchors, check_pair, encode_certificate, parse_certificates, parse_key,
    require_name,
};

use crate::support::*;

/// Certificates that are read are written so that they are read again; a key is never one of them, and never quoted.
#[test]
fn pem() {
    fuzz::run("pem", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match parse_certificates(text) {
            Ok(certificates) => {
                let written: String = certificates.iter().map(|der| encode_certificate(der)).collect();
                assert_eq!(parse_certificates(&written).unwrap(), certificates);
            }
            Err(problem) => quotes_nothing(text, &problem.to_string()),
        }
        if let Err(problem) = parse_key(text) {
            quotes_nothing(text, &problem.to_string());
        }
        if let Err(problem) = check_pair(text, text) {
            quotes_nothing(text, &problem.to_string());
        }
        let _ = TrustAnchors::from_pems(&[text]);
    });
}

fn quotes_nothing(text: &str, said: &str) {
    for line in text.lines().map(str::trim).filter(|line| line.len() >= 48 && !line.contains(' ')) {
        assert!(!said.contains(line), "{said}");
    }
}

/// Whatever the certificate, it is trusted only if it is one of ours, byte for byte; and what it says is bounded.
#[test]
fn certificate() {
    let anchors = trusting(&[CORPORATE_ROOT, SAMPLE_ROOT]);
    let clients = include_str!("fixtures/client-only.crt");
    let ours = [CORPORATE_ROOT, SAMPLE_ROOT, INTERMEDIATE, LONE, clients].map(chain).concat();
    fuzz::run("certificate", |bytes| {
        let der = CertificateDer::from(bytes.to_vec());
        if let Ok(info) = CertificateInfo::from_der(&der) {
            assert!(
                [&info.subject, &info.issuer].iter().all(|name| name.chars().count() <= 512) && info.sha256.len() == 64
            );
            assert_eq!(info.names_node(NODE), require_name(&der, NODE, None).is_ok());
        }
        for role in [Role::Client, Role::Server] {
            let held = anchors.verify(std::slice::from_ref(&der), role, now()).is_ok();
            assert!(!held || ours.contains(&der), "nobody else can make one");
        }
    });
}
