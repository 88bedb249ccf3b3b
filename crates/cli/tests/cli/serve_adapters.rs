//! Several runs over one model behind one server.

use serde_json::{Value, json};

use crate::{export::trained, place::Place, serve::Running};

/// A place with two runs on one model, below `runs`.
fn two_runs() -> Option<Place> {
    let place = trained("")?;
    let seed = ["--random-seed", "7", "--set", "trainer.learning_rate=0.1"];
    let train = ["train", "-c", "run.yaml", "--training-set", "rows.csv", "-o", "other"];
    place.run(&[&train[..], &seed].concat()).expect(0);
    std::fs::create_dir(place.path("runs")).unwrap();
    for run in ["run", "other"] {
        std::fs::rename(place.path(run), place.path("runs").join(run)).unwrap();
    }
    Some(place)
}

fn first_logprobs(server: &Running<'_>, model: &str) -> Value {
    let body = json!({ "model": model, "prompt": "a b", "max_tokens": 1, "logprobs": 5 });
    server.post("/v1/completions", &body)["choices"][0]["logprobs"]["top_logprobs"].clone()
}

#[test]
#[cfg(unix)]
fn runs_are_offered_beside_one_another_and_each_is_as_it_was_learnt() {
    let Some(place) = two_runs() else { return };
    let cache = place.path("cache").display().to_string();
    let flags = ["-m", "runs/run", "--adapter", "other=runs/other", "--adapters-from", "runs"];
    let server = Running::new(&place, &cache, &flags);
    assert!(server.said().ends_with(" serves run, other\n"), "{}", server.said());
    let url = format!("http://{}", server.address());
    let verify = |run: &str, name: &str, code: i32| {
        let run = format!("runs/{run}");
        let flags = ["verify", "-m", &run, "--url", &url, "--served-name", name];
        place.run(&[&flags[..], &["--tolerance", "0.0001"]].concat()).expect(code)
    };
    verify("run", "run", 0);
    verify("other", "other", 0);
    verify("other", "run", 1);

    let published = server.post("/v1/adapters", &json!({ "name": "again", "run": "other" }));
    assert_eq!(published["id"], "again");
    verify("other", "again", 0);
    server.post("/v1/adapters", &json!({ "name": "other", "run": "run" }));
    verify("run", "other", 0);
    assert_ne!(first_logprobs(&server, "other"), first_logprobs(&server, "again"));

    // Rows are answered by the run that is asked.
    let row = json!({ "question": "a b" });
    let rows =
        |query: &str| server.post(&format!("/predict{query}"), &row)["answer_probability"].clone();
    assert_eq!(rows(""), rows("?model=other"));
    assert_ne!(rows(""), rows("?model=again"));
    let (status, text) = server.send("POST", "/predict?modell=x", None, &row.to_string());
    assert!(status == 400 && text.contains("not `modell`"), "{status} {text}");
    server.stop().expect(0);
}

#[test]
#[cfg(unix)]
fn runs_of_another_base_and_paths_that_lead_elsewhere_are_refused() {
    let Some(place) = two_runs() else { return };
    let cache = place.path("cache").display().to_string();
    let edit = |file: &str, change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&place.read(file)).unwrap();
        change(&mut value);
        std::fs::write(place.path(file), value.to_string()).unwrap();
    };
    let server = Running::new(&place, &cache, &["--model", ".", "--adapters-from", "runs"]);
    let refused = |run: &str, status: u16| {
        let body = json!({ "name": "new", "run": run }).to_string();
        let (said, text) = server.send("POST", "/v1/adapters", None, &body);
        assert_eq!(said, status, "{text}");
        assert!(!text.contains(place.path("runs").to_str().unwrap()), "{text}");
        text
    };
    std::os::unix::fs::symlink(place.path("."), place.path("runs/link")).unwrap();
    for elsewhere in ["../runs/run", "/", "link", "run/../../runs/run", "./run", "run\u{0}", ""] {
        let status = if elsewhere.is_empty() { 400 } else { 404 };
        refused(elsewhere, status);
    }
    assert!(refused("run/model", 404).contains("no finished training run"));

    let good = place.read("runs/run/provenance.json");
    edit("runs/run/provenance.json", &|it| it["base_weights"]["sha256"] = json!("0123"));
    assert!(refused("run", 409).contains("other base weights: of sha256 0123"));
    std::fs::write(place.path("runs/run/provenance.json"), good).unwrap();
    for (key, word) in [
        ("tokenizer_sha256", "another tokenizer"),
        ("chat_template_sha256", "another chat template"),
    ] {
        let good = place.read("runs/run/description.json");
        edit("runs/run/description.json", &|it| it["plan"]["model"][key] = json!("0123"));
        assert!(refused("run", 409).contains(word), "{key}");
        std::fs::write(place.path("runs/run/description.json"), good).unwrap();
    }
    let yaml = place.read("runs/run/run.yaml");
    std::fs::write(place.path("runs/run/run.yaml"), format!("{yaml}\nquantization: {{bits: 8}}\n"))
        .unwrap();
    let text = refused("run", 409);
    assert!(text.contains("another `quantization`"), "{text}");
    std::fs::write(place.path("runs/run/run.yaml"), yaml).unwrap();
    std::fs::write(place.path("runs/run/model/model_weights/adapter_model.safetensors"), "x")
        .unwrap();
    assert!(refused("run", 422).contains("the server's log says why"));
    server.post("/v1/adapters", &json!({ "name": "new", "run": "other" }));
    let said = server.stop().expect(0);
    assert!(said.stderr.contains("an adapter cannot be read"), "{said}");
}

#[test]
fn flags_of_adapters_that_cannot_be_meant_are_refused() {
    let place = Place::new();
    for (flags, said) in [
        (&["--adapter", "x"][..], "`--adapter x` is not a name and a run"),
        (&["--adapter", "a=x", "--adapter", "a=y"], "two models would be called `a`"),
        (&["--served-name", "a", "--adapter", "a=y"], "two models would be called `a`"),
        (&["--adapters-from", "gone"], "`gone` is not a folder"),
    ] {
        let answer = place.run(&[&["serve", "--offline"], flags].concat()).expect(2);
        assert!(answer.stderr.contains(said), "{answer}");
    }
}
