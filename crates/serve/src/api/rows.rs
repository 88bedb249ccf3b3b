//! `POST /predict` and `POST /batch_predict`: rows by the names of their features, as Ludwig has them.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use axum::{
    Json,
    extract::{FromRequestParts, Query, State},
    http::{StatusCode, request::Parts},
};
use fidelio_backend::Session;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc::unbounded_channel, oneshot};

use super::{
    App,
    answering::failed,
    body::JsonBody,
    clients::{Client, Places},
    problem::Problem,
};
use crate::{Event, Listener, RowsError};

type Row = Map<String, Value>;

/// The run that is asked, where the address ends with `?model=NAME`: a row's own names are columns.
pub(crate) struct AskedModel(Option<String>);

impl FromRequestParts<Arc<App>> for AskedModel {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let wrong = |message: String| Problem::invalid("invalid_query", message).about("model");
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, app).await;
        let query = query.map_err(|error| wrong(error.body_text()))?.0;
        let mut name = None;
        for (key, value) in query {
            if key != "model" || name.is_some() {
                let key: String = key.chars().take(100).collect();
                return Err(wrong(format!("the address may end with one `model`, not `{key}`")));
            }
            name = Some(value);
        }
        Ok(Self(name))
    }
}

/// One row, an object of its features; the answer is one too.
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    client: Client,
    asked: AskedModel,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, Problem> {
    let Value::Object(row) = body else {
        return Err(Problem::invalid("invalid_json", "the body must be an object of features"));
    };
    let answers = answer(&app, client, asked, vec![row]).await?;
    Ok(Json(answers.into_iter().map(Value::Object).collect::<Vec<_>>().swap_remove(0)))
}

/// Many rows: a list of objects, or a table as `{columns, index, data}`; the answer is such a table.
pub(crate) async fn batch_predict(
    State(app): State<Arc<App>>,
    client: Client,
    asked: AskedModel,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, Problem> {
    let Table { index, rows } = Table::read(body)?;
    let answers = answer(&app, client, asked, rows).await?;
    let mut columns: Vec<&String> = Vec::new();
    for name in answers.iter().flat_map(Map::keys) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let cell = |row: &Row, name: &String| row.get(name).cloned().unwrap_or_default();
    let data: Vec<Vec<Value>> =
        answers.iter().map(|row| columns.iter().map(|name| cell(row, name)).collect()).collect();
    Ok(Json(json!({ "index": index, "columns": columns, "data": data })))
}

/// Rows, and what they are called.
#[derive(Debug, PartialEq)]
struct Table {
    index: Vec<Value>,
    rows: Vec<Row>,
}

impl Table {
    fn read(body: Value) -> Result<Self, Problem> {
        let wrong = |message: &str| Problem::invalid("invalid_rows", message);
        let (index, rows) = match body {
            Value::Array(rows) => (None, rows),
            Value::Object(mut map) => {
                let columns: Option<Vec<String>> = take(&mut map, "columns");
                let data: Option<Vec<Vec<Value>>> = take(&mut map, "data");
                let index: Option<Vec<Value>> = take(&mut map, "index");
                let (Some(columns), Some(data), true) = (columns, data, map.is_empty()) else {
                    return Err(wrong("a table is `columns`, `data` and perhaps `index`"));
                };
                let mut rows = Vec::with_capacity(data.len());
                for (i, cells) in data.into_iter().enumerate() {
                    if cells.len() != columns.len() {
                        let (have, want) = (cells.len(), columns.len());
                        let message =
                            format!("row {i} has {have} cells, and there are {want} columns");
                        return Err(wrong(&message));
                    }
                    rows.push(Value::Object(columns.iter().cloned().zip(cells).collect()));
                }
                (index, rows)
            }
            _ => return Err(wrong("the body must be a list of rows, or a table")),
        };
        if rows.is_empty() {
            return Err(wrong("there are no rows"));
        }
        let index = index.unwrap_or_else(|| (0..rows.len()).map(Value::from).collect());
        if index.len() != rows.len() {
            return Err(wrong("`index` must name every row"));
        }
        let rows: Option<Vec<Row>> = rows
            .into_iter()
            .map(|row| match row {
                Value::Object(row) => Some(row),
                _ => None,
            })
            .collect();
        Ok(Self { index, rows: rows.ok_or_else(|| wrong("every row must be an object"))? })
    }
}

fn take<T: serde::de::DeserializeOwned>(map: &mut Row, key: &str) -> Option<T> {
    serde_json::from_value(map.shift_remove(key)?).ok()
}

/// Answers rows between the rounds of others, when none of those has a place.
async fn answer(
    app: &Arc<App>,
    client: Client,
    AskedModel(name): AskedModel,
    rows: Vec<Row>,
) -> Result<Vec<Row>, Problem> {
    let voice = app.voice_of(name.as_deref())?;
    let Some(answerer) = voice.rows().cloned() else {
        let message = "only a run answers rows; this server has a model, or a run whose prompts \
                       show rows or passages";
        return Err(Problem::refused(StatusCode::NOT_FOUND, "not_found", message));
    };
    check(voice.features(), &rows)?;
    let Places { mut places, share: _share } = app.places(client, 1)?;
    let place = places.swap_remove(0);
    let (events, mut heard) = unbounded_channel();
    let (tell, mut told) = oneshot::channel();
    let adapter = voice.adapter();
    let work = Box::new(move |session: &mut dyn Session, go_on: &dyn Fn() -> bool| {
        let mut answerer = answerer.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever asked may have gone.
        drop(tell.send(answerer.answer(rows, session, adapter, go_on)));
    });
    let until = Instant::now() + app.options.deadline;
    app.inference.alone(work, adapter, Listener { number: 0, events }, place, until);
    while let Some((_, event)) = heard.recv().await {
        if matches!(event, Event::Late) {
            return Err(Problem::late());
        }
    }
    let answers = match told.try_recv() {
        Ok(Ok(answers)) => answers,
        Ok(Err(RowsError::Refused(why))) => return Err(Problem::invalid("invalid_rows", why)),
        Ok(Err(RowsError::Failed(why))) => return Err(failed(&why)),
        Ok(Err(RowsError::Stopped)) => return Err(Problem::late()),
        Err(_) => return Err(Problem::dead()),
    };
    let dropped =
        |i| Problem::invalid("invalid_rows", format!("row {i} is dropped by the run's rule"));
    let all = answers.into_iter().enumerate().map(|(i, answer)| answer.ok_or_else(|| dropped(i)));
    all.collect()
}

/// Every row has every feature, and nothing else.
fn check(features: &[String], rows: &[Row]) -> Result<(), Problem> {
    let named = |names: Vec<&String>| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    for (i, row) in rows.iter().enumerate() {
        let missing: Vec<&String> = features.iter().filter(|it| !row.contains_key(*it)).collect();
        let other: Vec<&String> = row.keys().filter(|it| !features.contains(it)).collect();
        let Some(first) = missing.first().or(other.first()) else { continue };
        let message = match (missing.is_empty(), other.is_empty()) {
            (false, true) => format!("row {i} lacks {}", named(missing.clone())),
            (true, _) => {
                format!("row {i} has {}, which the run does not read", named(other.clone()))
            }
            (false, false) => format!(
                "row {i} lacks {} and has {}, which the run does not read",
                named(missing.clone()),
                named(other.clone())
            ),
        };
        return Err(Problem::invalid("invalid_rows", message).about(*first));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_a_table_are_the_same_rows() {
        let list = Table::read(json!([{ "a": 1, "b": "x" }, { "a": 2, "b": "y" }])).unwrap();
        let table = json!({ "columns": ["a", "b"], "data": [[1, "x"], [2, "y"]] });
        assert_eq!(Table::read(table).unwrap(), list);
        let named = json!({ "columns": ["a"], "index": ["p"], "data": [[1]] });
        assert_eq!(Table::read(named).unwrap().index, ["p"]);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (body, said) in [
            (json!("x"), "a list of rows, or a table"),
            (json!([]), "there are no rows"),
            (json!([1]), "every row must be an object"),
            (json!({ "a": 1 }), "a table is `columns`, `data`"),
            (json!({ "columns": ["a"], "data": [[1]], "x": 1 }), "a table is `columns`, `data`"),
            (json!({ "columns": ["a"], "data": [[1, 2]] }), "row 0 has 2 cells"),
            (json!({ "columns": ["a"], "data": [[1]], "index": [] }), "must name every row"),
        ] {
            let problem = Table::read(body).unwrap_err().json().to_string();
            assert!(problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn features_are_named_where_they_are_missing_or_too_many() {
        let features = ["a".to_owned(), "b".to_owned()];
        let rows = |value: Value| Table::read(value).unwrap().rows;
        check(&features, &rows(json!([{ "b": 1, "a": 2 }]))).unwrap();
        for (row, said) in [
            (json!({ "a": 1 }), "row 0 lacks `b`"),
            (json!({ "a": 1, "b": 2, "c": 3 }), "row 0 has `c`, which the run does not read"),
            (json!({ "A": 1, "b": 2 }), "row 0 lacks `a` and has `A`, which"),
        ] {
            let problem = check(&features, &rows(json!([row]))).unwrap_err().json().to_string();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
