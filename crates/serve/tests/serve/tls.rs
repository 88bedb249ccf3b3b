//! Encrypted connections. The certificate and its key were made for these tests, by
//! `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500`.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fidelio_backend::FakeSession;
use fidelio_serve::{InferenceLimits, ServeError, ServeOptions, Tls};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::{
    client::connect,
    place::{Place, head},
    speaker::SIZES,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/fixtures").join(name)
}

fn place() -> Place {
    let tls = Tls::of_files(&fixture("certificate.pem"), &fixture("key.pem")).unwrap();
    let patience = Duration::from_millis(500);
    let options = ServeOptions { tls: Some(tls), patience, ..ServeOptions::default() };
    Place::with(FakeSession::new(SIZES), InferenceLimits::default(), options)
}

fn answer(place: &Place, roots: RootCertStore) -> std::io::Result<String> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let config = builder.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, connect(place.address));
    stream.write_all(head("GET", "/readyz", &[], 0).as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_client_that_knows_the_certificate_is_answered() {
    let place = place();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("certificate.pem")).unwrap()).unwrap();
    let text = answer(&place, roots).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ready\n"), "{text}");
    answer(&place, RootCertStore::empty()).unwrap_err();
}

/// Who speaks in the clear, or says nothing, is cut off; the others are answered.
#[test]
fn who_does_not_encrypt_gets_nothing() {
    let place = place();
    let mut plain = connect(place.address);
    plain.write_all(head("GET", "/readyz", &[], 0).as_bytes()).unwrap();
    let mut said = Vec::new();
    drop(plain.read_to_end(&mut said));
    assert!(!String::from_utf8_lossy(&said).contains("HTTP"), "{said:?}");
    let mut idle = connect(place.address);
    let mut rest = Vec::new();
    drop(idle.read_to_end(&mut rest));
    a_client_that_knows_the_certificate_is_answered();
}

#[test]
fn files_that_are_no_certificate_or_no_key_are_refused_by_name() {
    let (certificate, key) = (fixture("certificate.pem"), fixture("key.pem"));
    for (first, second, named) in [
        (&key, &key, &key),
        (&certificate, &certificate, &certificate),
        (&fixture("gone.pem"), &key, &fixture("gone.pem")),
    ] {
        let error = Tls::of_files(first, second).unwrap_err();
        assert!(matches!(&error, ServeError::Tls { path, .. } if path == named), "{error}");
        assert!(error.hint().unwrap().contains("PEM"));
    }
}
