//! What a server on a network meets: each ends in a clear answer or a closed connection, and the next
//! request is served.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use fidelio_backend::FakeSession;
use fidelio_serve::{InferenceLimits, ServeOptions};
use serde_json::json;

use crate::{
    client::{connect, exchange, read},
    place::{Place, head},
    speaker::{Gated, SIZES},
};

const CHAT: &str = "/v1/chat/completions";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A server that lets nobody wait long.
fn impatient() -> Place {
    let options = ServeOptions {
        max_body: 10_000,
        patience: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        ..ServeOptions::default()
    };
    Place::with(FakeSession::new(SIZES), InferenceLimits::default(), options)
}

/// A small request is answered.
fn is_well(place: &Place) {
    let body = json!({ "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2 });
    place.post(CHAT, &body).json(200);
}

#[test]
fn bodies_that_are_no_json_object_are_refused() {
    let place = impatient();
    let nested = "[".repeat(5000);
    for (body, code) in [
        (&b""[..], "invalid_json"),
        (b"{", "invalid_json"),
        (b"[1]", "invalid_json"),
        (b"{\"messages\": [}", "invalid_json"),
        (b"{\"a\": 1} trailing", "invalid_json"),
        (b"{\"a\": NaN}", "invalid_json"),
        (b"{\"a\": \"\\ud800\"}", "invalid_json"),
        (nested.as_bytes(), "invalid_json"),
        (b"{\"a\": \"\xff\xfe\"}", "invalid_utf8"),
        (b"\x00\x01\x02", "invalid_json"),
    ] {
        let (_, said, _) = place.send("POST", CHAT, &[JSON], body).error(400);
        assert_eq!(said, code, "{}", String::from_utf8_lossy(body));
    }
    is_well(&place);
}

#[test]
fn only_json_is_read() {
    let place = impatient();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let reply = place.send("POST", CHAT, &[("content-type", kind)], b"{}");
        assert_eq!(reply.error(415).1, "unsupported_media_type");
    }
    assert_eq!(place.send("POST", CHAT, &[], b"{}").error(415).1, "unsupported_media_type");
    let kind = ("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(place.send("POST", CHAT, &[kind], b"{}").error(400).2.as_deref(), Some("messages"));
}

#[test]
fn large_bodies_are_refused_before_they_are_read() {
    let place = impatient();
    // A hundred megabytes are announced, and not sent.
    let reply = exchange(place.address, &head("POST", CHAT, &[JSON], 100 << 20), b"{");
    assert_eq!(reply.error(413).1, "body_too_large");
    // What does not say how long it is ends where it is too long.
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"2710\r\n", &[b' '; 10_000][..], b"\r\n"].concat();
    let reply = exchange(place.address, head, &[&chunk[..], &chunk, b"0\r\n\r\n"].concat());
    assert_eq!(reply.error(413).1, "body_too_large");
    is_well(&place);
}

#[test]
fn heads_are_bounded_in_size_and_number() {
    let place = impatient();
    let long = "x".repeat(200_000);
    let reply = exchange(place.address, &head("GET", "/healthz", &[("x-long", &long)], 0), b"");
    assert_eq!(reply.status, 431, "{reply}");
    let many = "x-many: 1\r\n".repeat(500);
    let reply =
        exchange(place.address, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n"), b"");
    assert_eq!(reply.status, 431, "{reply}");
    let reply = exchange(place.address, "what is this\r\n\r\n", b"");
    assert_eq!(reply.status, 400, "{reply}");
    is_well(&place);
}

#[test]
fn who_sends_slowly_is_not_waited_for() {
    let place = impatient();
    let begun = Instant::now();
    // A head that never ends: the connection is closed.
    let mut half = connect(place.address);
    half.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut rest = Vec::new();
    drop(half.read_to_end(&mut rest));
    // A body that never comes.
    let mut stream = connect(place.address);
    stream.write_all(head("POST", CHAT, &[JSON], 100).as_bytes()).unwrap();
    assert_eq!(read(stream).error(408).1, "request_timeout");
    // A connection on which nothing is asked.
    let mut idle = connect(place.address);
    drop(idle.read_to_end(&mut rest));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    is_well(&place);
}

#[test]
fn paths_lead_nowhere_but_to_routes() {
    let place = impatient();
    for path in [
        "/v1",
        "/v1/",
        "/v1/chat/completions/",
        "//v1/chat/completions",
        "/v1/../healthz",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/chat%2fcompletions",
        "/healthz%00",
        "/V1/MODELS",
    ] {
        let (message, code, _) = place.get(path).error(404);
        assert_eq!(code, "not_found", "{message}");
    }
    for path in ["/v1/models/../../etc/passwd", "/v1/models/%2e%2e%2fetc", "/v1/models/a%00b"] {
        assert_eq!(place.get(path).error(404).1, "model_not_found", "{path}");
    }
    assert_eq!(place.get("/v1/models/%ff").status, 400);
    let reply = place.send("DELETE", "/v1/models", &[], b"");
    assert_eq!(reply.error(405).1, "method_not_allowed");
    assert_eq!(reply.headers["allow"], "GET,HEAD");
    assert_eq!(place.get(CHAT).error(405).1, "method_not_allowed");
    is_well(&place);
}

#[test]
fn a_client_that_leaves_frees_its_place() {
    let (session, gate) = Gated::new(FakeSession::new(SIZES));
    let place = Place::on(session);
    for stream in [true, false] {
        let cancelled = place.metric("fidelio_requests_finished_total{reason=\"cancelled\"}");
        let body = json!({ "messages": [{"role": "user", "content": "Hi"}], "stream": stream });
        let body = body.to_string();
        let shut = gate.shut();
        let before = gate.entered();
        let mut client = connect(place.address);
        client.write_all(head("POST", CHAT, &[JSON], body.len()).as_bytes()).unwrap();
        client.write_all(body.as_bytes()).unwrap();
        gate.wait(before);
        drop(client);
        // The server hears of it while the model is still busy with a round.
        drop(shut);
        while place.metric("fidelio_requests_finished_total{reason=\"cancelled\"}") == cancelled {
            std::thread::yield_now();
        }
    }
    is_well(&place);
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_and_holds_nobody_up() {
    let options = ServeOptions { stall: Duration::from_millis(300), ..ServeOptions::default() };
    let sizes = fidelio_backend::FakeLimits { context: 200_000, tokens: 400_000, ..SIZES };
    let place = Place::with(FakeSession::new(sizes), InferenceLimits::default(), options);
    // Far more events than the buffers on the way hold.
    let body = json!({ "messages": [{"role": "user", "content": "Hi"}], "stream": true,
        "max_tokens": 100_000, "logit_bias": { "3": -100 }, "logprobs": true, "top_logprobs": 20 });
    let body = body.to_string();
    let mut client = connect(place.address);
    client.write_all(head("POST", CHAT, &[JSON], body.len()).as_bytes()).unwrap();
    client.write_all(body.as_bytes()).unwrap();
    while place.metric("fidelio_requests_finished_total{reason=\"cancelled\"}") == 0 {
        is_well(&place);
    }
    drop(client);
}
