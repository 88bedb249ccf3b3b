//! What Fidelio says about wrong run files, word for word.

use fidelio_config::{Kind, Problems, parse, parse_any};

use crate::files;

fn problems(text: &str) -> Problems {
    parse_any("run.yaml", text, &files::overrides(text)).expect_err("the file is wrong")
}

#[test]
fn every_wrong_file_is_explained() {
    for (name, text) in files::all("wrong") {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, problems(&text).to_string());
        });
    }
}

#[test]
fn every_kind_of_problem_occurs() {
    let mut seen: Vec<Kind> = files::all("wrong")
        .iter()
        .flat_map(|(_, text)| problems(text).problems)
        .map(|problem| problem.kind)
        .collect();
    let missing = fidelio_config::load(std::path::Path::new("no/such/run.yaml"), &[]).unwrap_err();
    seen.extend(missing.iter().map(|problem| problem.kind));
    for kind in Kind::ALL {
        assert!(seen.contains(&kind), "{kind:?}");
    }
}

#[test]
fn problems_are_sorted_and_point_at_their_text() {
    for (name, text) in files::all("wrong") {
        let problems = problems(&text);
        let mut last = (0, 0);
        for problem in &problems {
            let at = problem.at.as_ref().unwrap_or_else(|| panic!("{name}: {}", problem.message));
            assert!((at.span.source, at.span.start) >= last, "{name}");
            last = (at.span.source, at.span.start);
            let source = &problems.sources[at.span.source as usize];
            assert!(at.span.range().end <= source.text().len(), "{name}");
            assert_eq!(source.line_column(at.span.start as usize), (at.line, at.column));
        }
    }
}

#[test]
fn problems_are_data_too() {
    let (_, text) = files::all("wrong").swap_remove(0);
    let value = serde_json::to_value(problems(&text)).unwrap();
    let first = &value["problems"][0];
    assert_eq!(first["code"], "C001");
    assert_eq!(first["kind"], "unknown_key");
    assert_eq!(first["at"]["line"], 11);
    assert_eq!(first["path"], "generation.max_new_token");
}

#[test]
fn one_mistake_is_one_problem() {
    for (text, count) in [
        ("a: 1", 5),
        ("[1, 2]", 1),
        ("just text", 1),
        ("", 4),
        ("# nothing\n", 4),
        (
            "model_type: ecd\nbase_model: m\ninput_features: [{name: q}]\noutput_features: [{name: a, type: text}]",
            1,
        ),
        (
            "model_type: llm\nbase_model: m\ninput_features: q\noutput_features: [{name: a, type: txt}]",
            2,
        ),
        (
            "model_type: llm\nbase_model: m\ninput_features: [{name: q}]\noutput_features: [{name: a, type: text}]\ngeneration: {do_sample: 3, temperature: 0.5}",
            1,
        ),
        (
            "model_type: llm\nbase_model: m\ninput_features: [{name: q}]\noutput_features: [{name: a, type: text}]\ngeneration: {do_sample: false, temperature: warm}",
            1,
        ),
    ] {
        let found = parse("t", text, &[]).unwrap_err();
        assert_eq!(found.len(), count, "{text}\n{found}");
    }
}

#[test]
fn a_probe_is_refused_where_a_language_model_is_needed() {
    let (_, text) = files::all("probes").swap_remove(0);
    let problems = parse("run.yaml", &text, &[]).unwrap_err();
    assert_eq!(problems.len(), 1);
    let problem = problems.iter().next().unwrap();
    assert_eq!((problem.kind, &*problem.path), (Kind::NotAllowed, "model_type"));
    assert!(problem.hint.as_ref().unwrap().contains("`predict`"), "{problems}");
}

#[test]
fn a_hostile_file_does_not_flood() {
    let text: String =
        (0..4000).fold(String::new(), |text, n| text + &format!("tempratur{n}: 1\n"));
    let found = parse("t", &text, &[]).unwrap_err();
    assert_eq!(found.len() + found.more, 4004);
    let said = found.to_string();
    assert!(said.ends_with("4004 problems in t, of which 200 are shown"), "{}", said.len());
    let template = format!("prompt: {{template: \"{}\"}}", "{__x__}".repeat(10_000));
    assert_eq!(parse("t", &template, &[]).unwrap_err().len(), 5);
}
