//! The page, as a browser gets it.

use std::collections::BTreeSet;

use fidelio_backend::FakeSession;
use fidelio_serve::{InferenceLimits, Keys, ServeOptions};
use regex::Regex;

use crate::{place::Place, speaker::SIZES};

fn all(pattern: &str, text: &str) -> Vec<String> {
    let found = Regex::new(pattern).unwrap();
    found.captures_iter(text).map(|it| it[1].to_owned()).collect()
}

#[test]
fn the_page_is_served_to_all_and_asks_nobody_else() {
    let options =
        ServeOptions { keys: Keys::default().with("a", "sk-a"), ..ServeOptions::default() };
    let place = Place::with(FakeSession::new(SIZES), InferenceLimits::default(), options);
    for (path, kind) in
        [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
    {
        let reply = place.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.headers["content-type"].starts_with(kind), "{reply}");
        assert!(reply.headers["content-security-policy"].starts_with("default-src 'none'"));
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert!(!reply.body.contains("://"), "{path} names an address");
    }
    let page = place.get("/").body;
    let linked = all(r##"(?:href|src)="([^"#][^"]*)""##, &page);
    assert_eq!(linked, ["data:,", "page.css", "page.js"]);
    assert!(!page.contains("style=") && !page.contains("onclick"), "the policy forbids them");
}

/// What a screen reader and a keyboard need.
#[test]
fn every_field_of_the_page_has_a_label() {
    let page = Place::on(FakeSession::new(SIZES)).get("/").body;
    let labels: BTreeSet<String> = all(r#"<label for="([^"]+)""#, &page).into_iter().collect();
    let fields = all(r#"<(?:input|select|textarea) id="([^"]+)""#, &page);
    assert_eq!(fields.len(), 10);
    assert_eq!(fields.into_iter().collect::<BTreeSet<_>>(), labels);
    for wanted in [
        "<html lang=",
        "role=\"log\"",
        "aria-live=",
        "role=\"status\"",
        "class=\"skip\"",
        "name=\"viewport\"",
        "name=\"color-scheme\"",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    let ids = all(r#" id="([^"]+)""#, &page);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids are different");
}

/// Everything that the script reaches for is on the page, and every endpoint that it asks is there.
#[test]
fn the_script_fits_the_page_and_the_server() {
    let place = Place::on(FakeSession::new(SIZES));
    let (page, script) = (place.get("/").body, place.get("/page.js").body);
    let ids: BTreeSet<String> = all(r#" id="([^"]+)""#, &page).into_iter().collect();
    for id in all(r#"by\("([^"]+)"\)"#, &script) {
        assert!(ids.contains(&id), "#{id}");
    }
    for path in
        ["v1/models", "tokenizer_info", "detokenize", "v1/chat/completions", "v1/completions"]
    {
        assert!(script.contains(&format!("\"{path}\"")), "{path}");
        assert_ne!(place.get(&format!("/{path}")).status, 404, "{path}");
    }
    let contrast = place.get("/page.css").body;
    assert!(
        contrast.contains("prefers-color-scheme: dark") && contrast.contains("max-width: 50rem")
    );
}
