//! The form that a run's answers are held to.

use fidelio_config::{Document, Kind, OutputFeature, Problem, Problems, TextDecoder, TextParser};
use fidelio_generate::{Grammar, GrammarError, write_json};
use serde_json::{Map, Value};

/// Where the form stands in a run file.
const DECODER: &str = "output_features.0.decoder";

/// What a predictions table says of a text beside its fields, behind the output's name.
const OTHER_COLUMNS: [&str; 7] = [
    "predictions",
    "response",
    "finish_reason",
    "probabilities",
    "probability",
    "examples",
    "passages",
];

/// The form of a run's answers: a JSON schema, a regular expression or a grammar.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerForm {
    grammar: Grammar,
    /// The key that says it.
    key: &'static str,
    /// The properties of a schema's objects: columns of the predictions.
    fields: Vec<String>,
}

impl AnswerForm {
    /// The form that a run file asks for. Mistakes in it point into the file.
    pub(crate) fn of(document: &Document) -> Result<Option<Self>, Problems> {
        let OutputFeature::Text(text) = document.config.output() else { return Ok(None) };
        let TextDecoder::TextParser(parser) = &text.decoder else { return Ok(None) };
        let (key, made) = match parser {
            TextParser { json_schema: Some(schema), .. } => {
                ("json_schema", Grammar::json_schema(schema))
            }
            TextParser { regex: Some(pattern), .. } => ("regex", Grammar::regex(pattern)),
            TextParser { grammar: Some(text), .. } => ("grammar", Grammar::parse(text)),
            _ => return Ok(None),
        };
        let grammar = made.map_err(|error| {
            let text = parser.grammar.as_deref().unwrap_or_default();
            document.problems(vec![placed(document, key, text, &error)])
        })?;
        let properties = parser.json_schema.as_ref().map(|schema| &schema["properties"]);
        let properties = properties.and_then(Value::as_object);
        let fields: Vec<String> =
            properties.map(|them| them.keys().cloned().collect()).unwrap_or_default();
        let clashes = clashes(document, &text.name, &fields);
        if clashes.is_empty() {
            return Ok(Some(Self { grammar, key, fields }));
        }
        Err(document.problems(clashes))
    }

    /// What answers are held to.
    pub fn grammar(&self) -> &Grammar {
        &self.grammar
    }

    /// The key of the run file that says it.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The properties whose values are columns of the predictions; none where the form is no schema
    /// of objects.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// What is wrong with an expected answer, as the end of a sentence.
    pub(crate) fn misfit(&self, label: &str) -> Option<String> {
        const SHOWN: usize = 40;
        let at = self.grammar.misfit(label)?;
        let rewritten = || {
            let value = serde_json::from_str::<Value>(label).ok()?;
            Some(write_json(&value)).filter(|text| self.grammar.accepts(text))
        };
        let key = self.key;
        if let Some(text) = rewritten().filter(|_| key == "json_schema") {
            return Some(format!("is not written as answers are: `{text}`"));
        }
        if at == label.len() {
            return Some(format!("does not fit `{key}`: it ends too early"));
        }
        let before = String::from_utf8_lossy(&label.as_bytes()[..at]);
        let begins = before.chars().count().saturating_sub(SHOWN);
        let before: String = before.chars().skip(begins).collect();
        Some(format!("does not fit `{key}`: it departs from it behind `{before}`"))
    }
}

/// The values of `fields` in an answer; null for those that it does not have, and for all where it
/// is no object.
pub(crate) fn field_cells(fields: &[String], response: &str) -> Vec<Value> {
    let values: Map<String, Value> = serde_json::from_str(response).unwrap_or_default();
    fields.iter().map(|field| values.get(field).cloned().unwrap_or(Value::Null)).collect()
}

/// A mistake in a form, where it stands; `grammar` is the text of one.
fn placed(document: &Document, key: &str, grammar: &str, error: &GrammarError) -> Problem {
    let path = format!("{DECODER}.{key}");
    let message = error.to_string();
    let below = |steps: &[String]| steps.iter().fold(path.clone(), |at, step| at + "." + step);
    match error {
        GrammarError::Keyword { path: steps, keyword, .. } => {
            let at = below(&steps.0) + "." + keyword;
            document.problem(Kind::NotAllowed, &at, message)
        }
        GrammarError::Schema { path: steps, .. } => {
            document.problem(Kind::NotAllowed, &below(&steps.0), message)
        }
        GrammarError::Grammar { line, column, .. } => {
            let at = offset(grammar, *line, *column);
            document.problem_within(Kind::NotAllowed, &path, at..at + 1, message)
        }
        _ => document.problem(Kind::NotAllowed, &path, message),
    }
}

/// The byte of a line and column, both counted from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = text[start..].char_indices().nth(column - 1);
    start + rest.map_or(0, |(at, _)| at)
}

/// Properties whose columns would have the name of another.
fn clashes(document: &Document, output: &str, fields: &[String]) -> Vec<Problem> {
    let clash = |field: &String| {
        let path = format!("{DECODER}.json_schema.properties.{field}");
        let message = format!("the property `{field}` would be a second column `{output}_{field}`");
        document
            .problem(Kind::Contradiction, &path, message)
            .because("the predictions have a column of that name for every text")
            .hint("give the property another name")
    };
    fields.iter().filter(|field| OTHER_COLUMNS.contains(&field.as_str())).map(clash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(decoder: &str) -> Result<Option<AnswerForm>, String> {
        let head = "model_type: llm\nbase_model: m\ninput_features: [{name: mail}]\n\
                    output_features:\n  - name: facts\n    type: text\n    decoder:\n      \
                    type: text_parser\n";
        let document = fidelio_config::parse("run.yaml", &format!("{head}{decoder}"), &[]).unwrap();
        AnswerForm::of(&document).map_err(|problems| problems.to_string())
    }

    #[test]
    fn mistakes_point_to_their_line() {
        let cases = [
            (
                "      json_schema:\n        type: object\n        properties:\n          \
                 a: {type: string, minLenght: 3}\n",
                "run.yaml:12:40",
            ),
            (
                "      json_schema:\n        anyOf:\n          - {type: string}\n          \
                 - {type: text}\n",
                "run.yaml:12:13",
            ),
            ("      json_schema: {properties: {response: {type: 'null'}}}\n", "run.yaml:9:44"),
            ("      grammar: |\n        start: word\n        word: WORD+\n", "run.yaml:11"),
        ];
        for (decoder, place) in cases {
            let problems = form(decoder).unwrap_err();
            assert!(problems.contains(place), "{place}: {problems}");
        }
    }

    #[test]
    fn properties_are_fields_and_labels_are_held_to_the_form() {
        let schema = "      json_schema:\n        type: object\n        properties:\n          \
                      kind: {enum: [invoice, offer]}\n          amount: {type: integer}\n        \
                      required: [kind, amount]\n        additionalProperties: false\n";
        let form = form(schema).unwrap().unwrap();
        assert_eq!(form.fields(), ["kind", "amount"]);
        assert_eq!(form.misfit(r#"{"kind": "offer", "amount": 3}"#), None);
        let cases = [
            (
                r#"{"kind":"offer","amount":3}"#,
                r#"is not written as answers are: `{"kind": "offer", "amount": 3}`"#,
            ),
            (
                r#"{"kind": "order", "amount": 3}"#,
                r#"does not fit `json_schema`: it departs from it behind `{"kind": "o`"#,
            ),
            (r#"{"kind": "offer""#, "does not fit `json_schema`: it ends too early"),
        ];
        for (label, problem) in cases {
            assert_eq!(form.misfit(label).as_deref(), Some(problem), "{label}");
        }
        let cells = field_cells(form.fields(), r#"{"kind": "offer", "amount": 3}"#);
        assert_eq!(cells, [Value::from("offer"), Value::from(3)]);
        assert_eq!(field_cells(form.fields(), "{\"kind\": \"of"), [Value::Null, Value::Null]);
    }
}
