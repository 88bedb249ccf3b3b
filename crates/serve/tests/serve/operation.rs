//! Running a server: keys, origins, health, metrics, a full queue, deadlines, stopping.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use fidelio_backend::FakeSession;
use fidelio_generate::Limits;
use fidelio_serve::{Ended, InferenceLimits, Keys, ServeOptions};
use serde_json::{Value, json};

use crate::{
    client::{Reply, exchange},
    place::{Place, head},
    speaker::{Gate, Gated, SIZES},
};

const CHAT: &str = "/v1/chat/completions";
const JSON: (&str, &str) = ("content-type", "application/json");

fn hi() -> Value {
    json!({ "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3 })
}

fn place(options: ServeOptions) -> Place {
    Place::with(FakeSession::new(SIZES), InferenceLimits::default(), options)
}

fn gated(limits: InferenceLimits, options: ServeOptions) -> (Place, Gate) {
    let (session, gate) = Gated::new(FakeSession::new(SIZES));
    (Place::with(session, limits, options), gate)
}

/// Lets time pass that a deadline of the server's is made of.
fn pass(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::thread::yield_now();
    }
}

#[test]
fn who_has_no_key_gets_nothing_but_health() {
    let keys = Keys::default().with("alice", "sk-alice").with("bob", "sk-bob");
    let place = place(ServeOptions { keys, ..ServeOptions::default() });
    let ask = |path: &str, key: Option<&str>| {
        let authorization = key.map(|key| ("authorization", key));
        let headers: Vec<_> = authorization.into_iter().chain([JSON]).collect();
        let method = if path == CHAT || path == "/tokenize" { "POST" } else { "GET" };
        place.send(method, path, &headers, hi().to_string().as_bytes())
    };
    for path in [CHAT, "/tokenize", "/v1/models", "/v1/models/tiny/model", "/metrics"] {
        for key in [
            None,
            Some("Bearer sk-carol"),
            Some("Bearer "),
            Some("Bearer"),
            Some("Basic sk-alice"),
            Some("sk-alice"),
            Some("Bearer sk-alice sk-bob"),
            Some("Bearer SK-ALICE"),
        ] {
            let reply = ask(path, key);
            assert_eq!(reply.error(401).1, "invalid_api_key", "{path} {key:?}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
        }
    }
    assert_eq!(ask("/nowhere", None).status, 404);
    for key in ["Bearer sk-alice", "bearer sk-bob"] {
        ask(CHAT, Some(key)).json(200);
        assert_eq!(ask("/metrics", Some(key)).status, 200);
    }
    assert_eq!((ask("/healthz", None).status, ask("/readyz", None).status), (200, 200));
}

#[test]
fn pages_of_other_origins_are_refused_unless_they_are_allowed() {
    let origins = vec!["https://example.org".to_owned()];
    let [closed, open] = [Vec::new(), origins]
        .map(|origins| place(ServeOptions { origins, ..ServeOptions::default() }));
    let ask = |place: &Place, origin: &str| {
        place.send("POST", CHAT, &[JSON, ("origin", origin)], hi().to_string().as_bytes())
    };
    let preflight = |place: &Place, origin: &str| {
        let method = ("access-control-request-method", "POST");
        place.send("OPTIONS", CHAT, &[("origin", origin), method], b"")
    };
    let allowed = |reply: &Reply| reply.headers.get("access-control-allow-origin").cloned();
    for origin in ["https://example.org", "http://localhost.example.org", "null"] {
        let reply = ask(&closed, origin);
        assert_eq!(reply.error(403).1, "origin_not_allowed", "{origin}");
        assert_eq!(allowed(&reply), None);
        assert_eq!(allowed(&preflight(&closed, origin)), None);
    }
    assert_eq!(ask(&closed, "http://localhost:3000").status, 200);
    let reply = ask(&open, "https://example.org");
    assert_eq!((reply.status, allowed(&reply).as_deref()), (200, Some("https://example.org")));
    let reply = preflight(&open, "https://example.org");
    assert_eq!((reply.status, allowed(&reply).as_deref()), (200, Some("https://example.org")));
    assert_eq!(ask(&open, "https://example.com").status, 403);
}

#[test]
fn it_listens_on_loopback_unless_told_otherwise() {
    let place = place(ServeOptions::default());
    assert_eq!(place.address.ip(), Ipv4Addr::LOCALHOST);
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let limits =
        InferenceLimits { engine: Limits { max_rows: 1, ..Limits::default() }, max_waiting: 1 };
    let (place, gate) = gated(limits, ServeOptions::default());
    let mut two = hi();
    two["n"] = json!(2);
    let shut = gate.shut();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| place.post(CHAT, &two));
        gate.wait(0);
        let refused = place.post(CHAT, &hi());
        assert_eq!(refused.error(429).1, "queue_full");
        assert_eq!(refused.headers["retry-after"], "1");
        drop(shut);
        first.join().unwrap().json(200);
    });
    let mut three = hi();
    three["n"] = json!(3);
    assert_eq!(place.post(CHAT, &three).error(400).2.as_deref(), Some("n"), "it never fits");
    place.post(CHAT, &hi()).json(200);
}

#[test]
fn a_client_has_its_share_and_no_more() {
    let keys = Keys::default().with("alice", "sk-alice").with("bob", "sk-bob");
    let options = ServeOptions { keys, max_per_client: Some(2), ..ServeOptions::default() };
    let (place, gate) = gated(InferenceLimits::default(), options);
    let ask = |key: &str, n: usize| {
        let mut body = hi();
        body["n"] = json!(n);
        let key = format!("Bearer {key}");
        place.send("POST", CHAT, &[JSON, ("authorization", &key)], body.to_string().as_bytes())
    };
    assert_eq!(ask("sk-alice", 3).error(429).1, "too_many_requests");
    let shut = gate.shut();
    std::thread::scope(|scope| {
        let alice = scope.spawn(|| ask("sk-alice", 2));
        gate.wait(0);
        let (message, code, _) = ask("sk-alice", 1).error(429);
        assert_eq!(code, "too_many_requests");
        assert!(message.contains("a client may have 2 requests at a time"), "{message}");
        let bob = scope.spawn(|| ask("sk-bob", 1));
        drop(shut);
        alice.join().unwrap().json(200);
        bob.join().unwrap().json(200);
    });
    ask("sk-alice", 2).json(200);
}

#[test]
fn a_late_answer_is_an_error_whole_or_streamed() {
    let (place, gate) = gated(InferenceLimits::default(), ServeOptions::default());
    let mut body = hi();
    body["timeout"] = json!(0.05);
    let late = |body: &Value| {
        let shut = gate.shut();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| place.post(CHAT, body));
            // The gate opens after the deadline.
            pass(Duration::from_millis(200));
            drop(shut);
            asked.join().unwrap()
        })
    };
    assert_eq!(late(&body).error(504).1, "deadline_exceeded");
    body["stream"] = json!(true);
    let events = late(&body).events();
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "deadline_exceeded", "{events:?}");
    place.post(CHAT, &hi()).json(200);
}

#[test]
fn a_model_that_cannot_be_run_is_told_and_shows_in_readiness() {
    let (place, gate) = gated(InferenceLimits::default(), ServeOptions::default());
    assert_eq!(place.get("/readyz").status, 200);
    gate.fail();
    let (message, code, _) = place.post(CHAT, &hi()).error(500);
    assert_eq!(code, "inference_failed");
    assert!(!message.contains("the test asked"), "what failed is for the log: {message}");
    assert_eq!((place.get("/readyz").status, place.get("/healthz").status), (503, 200));
    gate.panic();
    assert_eq!(place.post(CHAT, &hi()).error(503).1, "inference_stopped");
    while place.get("/healthz").status != 500 {
        std::thread::yield_now();
    }
    assert_eq!(place.post(CHAT, &hi()).error(503).1, "inference_stopped");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let place = place(ServeOptions::default());
    place.post(CHAT, &hi()).json(200);
    place.post(CHAT, &json!({})).error(400);
    place.get("/secret/sk-123").error(404);
    let reply = place.get("/metrics");
    assert!(reply.headers["content-type"].starts_with("application/openmetrics-text"), "{reply}");
    for line in [
        "fidelio_http_requests_total{endpoint=\"/v1/chat/completions\",status=\"200\"} 1",
        "fidelio_http_requests_total{endpoint=\"/v1/chat/completions\",status=\"400\"} 1",
        "fidelio_http_requests_total{endpoint=\"none\",status=\"404\"} 1",
        "fidelio_requests_finished_total{reason=\"length\"} 1",
        "fidelio_generated_tokens_total 3",
        "fidelio_first_token_seconds_count 1",
        "fidelio_inter_token_seconds_count 2",
        "# TYPE fidelio_queue_requests gauge",
    ] {
        assert!(reply.body.lines().any(|it| it == line), "`{line}` is missing in\n{reply}");
    }
    assert!(!reply.body.contains("sk-123"), "a path may hold what nobody should read");
}

#[test]
fn stopping_answers_what_is_under_way_and_takes_nothing_new() {
    let (mut place, gate) = gated(InferenceLimits::default(), ServeOptions::default());
    let shut = gate.shut();
    let address = place.address;
    let asked = std::thread::spawn(move || {
        let body = hi().to_string();
        exchange(address, &head("POST", CHAT, &[JSON], body.len()), body.as_bytes())
    });
    gate.wait(0);
    place.stop();
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    drop(shut);
    asked.join().unwrap().json(200);
    assert_eq!(place.ended(), Ended::Drained);
    // The port is free again.
    drop(TcpListener::bind(address).unwrap());
}

#[test]
fn what_takes_too_long_to_end_is_cut_off() {
    let options = ServeOptions { drain: Duration::from_millis(100), ..ServeOptions::default() };
    let (mut place, gate) = gated(InferenceLimits::default(), options);
    let shut = gate.shut();
    let address = place.address;
    let asked = std::thread::spawn(move || {
        let body = hi().to_string();
        let mut stream = crate::client::connect(address);
        let head = head("POST", CHAT, &[JSON], body.len());
        std::io::Write::write_all(&mut stream, (head + &body).as_bytes()).unwrap();
        let mut rest = Vec::new();
        drop(std::io::Read::read_to_end(&mut stream, &mut rest));
        rest
    });
    gate.wait(0);
    let begun = Instant::now();
    place.stop();
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    pass(Duration::from_millis(300));
    drop(shut);
    assert_eq!(place.ended(), Ended::CutOff);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(asked.join().unwrap().is_empty(), "nothing is answered by halves");
}
