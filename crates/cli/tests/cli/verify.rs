//! `fidelio verify`: runs as they are served, beside what their training saw.

use serde_json::{Value, json};

use crate::{
    export::trained_with,
    place::{Place, RUN},
    serve::Running,
};

/// A template that says who speaks; what the system says is heard.
const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
                        {% if add_generation_prompt %}assistant: {% endif %}";

/// A run over plain text, and one over conversations that begin with a system message.
fn runs() -> Vec<Place> {
    let chat = json!({ "chat_template": TEMPLATE }).to_string();
    let system = RUN.replace("trainer:", "prompt: {system: a b c}\ntrainer:");
    let plain = trained_with(RUN, None);
    plain.into_iter().chain(trained_with(&system, Some(&chat))).collect()
}

fn lines(place: &Place) -> Vec<Value> {
    let text = place.read("run/seen.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write(place: &Place, lines: &[Value]) {
    let text: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(place.path("run/seen.jsonl"), text.concat()).unwrap();
}

#[test]
fn a_run_is_served_as_it_was_learnt() {
    for place in runs() {
        let lines = lines(&place);
        assert_eq!(lines.len(), 2, "one for each row");
        let said = place.run(&["verify", "-m", "run", "--tolerance", "0.0001"]).expect(0);
        assert!(said.stdout.ends_with("2 of 2 prompts are served as they were learnt\n"), "{said}");
        assert!(said.stdout.contains("`rows.csv` line 2"), "{said}");
        let verdict = place.run(&["verify", "-m", "run", "--json"]).expect(0).json();
        assert_eq!((&verdict["same"], &verdict["rows"][1]["same"]), (&json!(2), &json!(true)));
        assert_eq!(verdict["rows"][0]["tokens"], lines[0]["ids"].as_array().unwrap().len());
    }
}

#[test]
fn the_first_difference_is_shown() {
    for place in runs() {
        let good = lines(&place);
        // As if training had read another token.
        let mut other = good.clone();
        let ids = other[1]["ids"].as_array_mut().unwrap();
        let (at, served) = (ids.len() - 1, ids.last().unwrap().clone());
        ids[at] = json!(1);
        write(&place, &other);
        let said = place.run(&["verify", "-m", "run"]).expect(1);
        let expected =
            format!("at {at} of the prompt training read token 1, and the server token {served}");
        assert!(said.stdout.contains(&expected), "{said}");
        assert!(said.stdout.contains("1 of 2 prompts are served as they were learnt"), "{said}");

        // As if something else had been learnt.
        let mut other = good.clone();
        other[0]["first"][0][1] = json!(-0.01);
        write(&place, &other);
        let said = place.run(&["verify", "-m", "run"]).expect(1);
        assert!(said.stdout.contains("had the log-probability -0.0100 in training"), "{said}");
        place.run(&["verify", "-m", "run", "--tolerance", "100"]).expect(0);

        // As if a client had asked what the server refuses.
        let mut other = good;
        other[0].as_object_mut().unwrap().shift_remove("prompt");
        other[0]["messages"] = json!([{ "role": "king", "content": "a" }]);
        write(&place, &other);
        let said = place.run(&["verify", "-m", "run", "--json"]).expect(1).json();
        let refused = said["rows"][0]["refused"].as_str().unwrap();
        assert!(refused.contains("is from `king`"), "{refused}");
    }
}

#[test]
#[cfg(unix)]
fn a_server_that_runs_already_is_asked_and_another_model_is_found_out() {
    let Some(place) = runs().into_iter().next() else { return };
    let cache = place.path("cache").display().to_string();
    let verify = |server: &Running<'_>, more: &[&str]| {
        let url = format!("http://{}", server.address());
        place.run(&[&["verify", "-m", "run", "--url", &url], more].concat())
    };
    let server = Running::new(&place, &cache, &["-m", "run"]);
    verify(&server, &[]).expect(0);
    verify(&server, &["--served-name", "run"]).expect(0);
    let said = verify(&server, &["--served-name", "gone"]).expect(1);
    assert!(said.stdout.contains("there is no model `gone`"), "{said}");
    server.stop().expect(0);
    // The model without what was learnt reads the same and says something else.
    let server = Running::new(&place, &cache, &["--model", "."]);
    let said = verify(&server, &["--tolerance", "0.000001"]).expect(1);
    assert!(said.stdout.contains("0 of 2 prompts"), "{said}");
    server.stop().expect(0);
}

#[test]
fn what_cannot_be_verified_is_said() {
    let Some(place) = runs().into_iter().next() else { return };
    for (flags, said) in [
        (&["--model", "."][..], "name one with `-m RUN`"),
        (&["-m", "run", "--rows", "0"], "`--rows` must be at least 1"),
        (&["-m", "run", "--url", "localhost"], "is not the address of a server"),
        (&["-m", "run", "--url", "http://127.0.0.1:9"], "does not answer"),
        (&["-m", "."], "no finished training run"),
    ] {
        let answer = place.run(&[&["verify"], flags].concat()).expect(2);
        assert!(answer.stderr.contains(said), "{answer}");
    }
    std::fs::remove_file(place.path("run/seen.jsonl")).unwrap();
    let answer = place.run(&["verify", "-m", "run"]).expect(2);
    assert!(answer.stderr.contains("`run` kept nothing of what its training saw"), "{answer}");
    assert!(answer.stderr.contains("train again"), "{answer}");
}
