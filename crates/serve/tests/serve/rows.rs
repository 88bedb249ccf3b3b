//! `/predict` and `/batch_predict`.

use fidelio_backend::{AdapterId, FakeSession, RowStep, RowTo, Session, Wanted};
use fidelio_serve::{AnswerRows, InferenceLimits, RowsError, ServeOptions};
use serde_json::{Map, Value, json};

use crate::{
    place::Place,
    speaker::{Gated, SIZES},
};

/// Answers with the row's text and the session's room; refuses what is called `bad`, drops `drop`,
/// breaks at `broken`.
struct Echo(Vec<String>);

impl AnswerRows for Echo {
    fn features(&self) -> &[String] {
        &self.0
    }

    fn answer(
        &mut self,
        rows: Vec<Map<String, Value>>,
        session: &mut dyn Session,
        adapter: Option<AdapterId>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Option<Map<String, Value>>>, RowsError> {
        let room = session.capacity().tokens;
        let step = RowStep { row: RowTo::New, tokens: &[50], adapter, wanted: Wanted::Nothing };
        let failed = |error| RowsError::Failed(format!("{error:?}"));
        let row = session.extend(&[step]).map_err(failed)?[0].row;
        session.truncate(row, 0).map_err(failed)?;
        let answer = |row: Map<String, Value>| match row["text"].as_str() {
            _ if !go_on() => Err(RowsError::Stopped),
            Some("bad") => Err(RowsError::Refused("row 0 is bad".to_owned())),
            Some("broken") => Err(RowsError::Failed("a secret reason".to_owned())),
            Some("drop") => Ok(None),
            _ => Ok(Some(Map::from_iter([
                ("label_predictions".to_owned(), row["text"].clone()),
                ("room".to_owned(), room.into()),
            ]))),
        };
        rows.into_iter().map(answer).collect()
    }
}

fn place() -> Place {
    Place::with_rows(FakeSession::new(SIZES), Echo(vec!["text".to_owned()]))
}

#[test]
fn a_row_is_answered_by_the_names_of_its_features() {
    let place = place();
    let answer = place.post("/predict", &json!({ "text": "good" })).json(200);
    assert_eq!(answer, json!({ "label_predictions": "good", "room": SIZES.tokens }));
    assert_eq!(place.metric("fidelio_requests_finished_total{reason=\"rows\"}"), 1);
}

#[test]
fn many_rows_are_answered_as_a_table() {
    let place = place();
    let list = json!([{ "text": "good" }, { "text": "poor" }]);
    let answer = place.post("/batch_predict", &list).json(200);
    let data = json!([["good", SIZES.tokens], ["poor", SIZES.tokens]]);
    let table = json!({ "index": [0, 1], "columns": ["label_predictions", "room"], "data": data });
    assert_eq!(answer, table);
    let split = json!({ "columns": ["text"], "index": ["a", "b"], "data": [["good"], ["poor"]] });
    let answer = place.post("/batch_predict", &split).json(200);
    assert_eq!((&answer["index"], &answer["data"]), (&json!(["a", "b"]), &data));
}

#[test]
fn rows_that_cannot_be_answered_say_why() {
    let place = place();
    for (body, said) in [
        (json!({}), "row 0 lacks `text`"),
        (json!({ "text": "x", "more": 1 }), "row 0 has `more`, which the run does not read"),
        (json!([]), "the body must be an object of features"),
        (json!({ "text": "bad" }), "row 0 is bad"),
        (json!({ "text": "drop" }), "row 0 is dropped by the run's rule"),
    ] {
        let (message, ..) = place.post("/predict", &body).error(400);
        assert!(message.contains(said), "{message}");
    }
    let rows = json!([{ "text": "x" }, { "txt": "x" }]);
    let (message, ..) = place.post("/batch_predict", &rows).error(400);
    assert!(message.contains("row 1 lacks `text` and has `txt`"), "{message}");
    let (message, ..) = place.post("/predict", &json!({ "text": "broken" })).error(500);
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn a_model_without_a_run_answers_no_rows() {
    let place = Place::on(FakeSession::new(SIZES));
    for (path, body) in
        [("/predict", json!({ "text": "x" })), ("/batch_predict", json!([{ "text": "x" }]))]
    {
        let (message, ..) = place.post(path, &body).error(404);
        assert!(message.contains("only a run answers rows"), "{message}");
    }
}

#[test]
fn rows_wait_until_no_request_runs_and_find_the_session_empty() {
    let (session, gate) = Gated::new(FakeSession::new(SIZES));
    let place = Place::with_rows(session, Echo(vec!["text".to_owned()]));
    let shut = gate.shut();
    let body = json!({ "prompt": "Hi", "max_tokens": 20 });
    std::thread::scope(|scope| {
        let text = scope.spawn(|| place.post("/v1/completions", &body).json(200));
        gate.wait(0);
        let rows = scope.spawn(|| place.post("/predict", &json!({ "text": "x" })).json(200));
        drop(shut);
        assert_eq!(text.join().unwrap()["usage"]["completion_tokens"], 20);
        assert_eq!(rows.join().unwrap()["room"], SIZES.tokens);
    });
}

#[test]
fn late_rows_are_an_error() {
    let (session, gate) = Gated::new(FakeSession::new(SIZES));
    let deadline = std::time::Duration::from_millis(50);
    let options = ServeOptions { deadline, ..ServeOptions::default() };
    let rows = Echo(vec!["text".to_owned()]);
    let place = Place::serving(session, InferenceLimits::default(), options, Some(Box::new(rows)));
    let shut = gate.shut();
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        let rows = scope.spawn(|| place.post("/predict", &json!({ "text": "x" })));
        while begun.elapsed() < 4 * deadline {
            std::thread::yield_now();
        }
        drop(shut);
        assert_eq!(rows.join().unwrap().error(504).1, "deadline_exceeded");
    });
}
