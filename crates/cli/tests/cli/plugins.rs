//! Backend plugins: found, listed, tested, and run as any other engine.

use std::{
    env::consts::{DLL_EXTENSION, DLL_PREFIX},
    path::{Path, PathBuf},
    process::Command,
};

use crate::place::Place;

/// The example in C, compiled into a folder of the place under that name.
fn example_c(place: &Place, file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = place.path(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let done = Command::new("cc")
        .args(["-std=c11", "-O1", "-shared", "-fPIC", "-I"])
        .arg(root.join("crates/plugin/include"))
        .arg("-o")
        .arg(&path)
        .arg(root.join("plugins/example-c/plugin.c"))
        .arg("-lm")
        .status();
    assert!(done.unwrap().success());
    path
}

fn in_folder(name: &str) -> String {
    format!(".config/fidelio/plugins/{DLL_PREFIX}{name}.{DLL_EXTENSION}")
}

#[test]
fn a_plugin_is_tested_and_the_result_is_on_stdout() {
    let place = Place::new();
    let path = example_c(&place, &in_folder("example_c"));
    let path = path.to_str().unwrap();
    let said = place.run(&["plugin", "test", path]).expect(0);
    let expected = "not checked: vectors: that takes embed\n\
                    not checked: learning: that takes learn and score\n\
                    18 checks passed, on the model `ngram`\n";
    assert_eq!(said.stdout, expected);
    assert!(said.stderr.starts_with("plugin:example-c: an example in C: n-grams\n"), "{said}");
    assert!(said.stderr.contains("ok      siblings do not leak\n"), "{said}");
    let found = place.run(&["plugin", "test", path, "--json"]).expect(0).json();
    assert_eq!(found["plugin"]["name"], "plugin:example-c");
    assert_eq!(found["outcomes"].as_array().unwrap().len(), 18);
}

#[test]
fn a_plugin_that_fails_a_check_is_bad_news_and_not_a_crash() {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let source = std::fs::read_to_string(root.join("plugins/example-c/plugin.c")).unwrap();
    // Nodes of a forest see nothing above them.
    let broken = source.replace("previous = batch->tokens[end], position", "position");
    assert_ne!(source, broken);
    let place = place.with("broken.c", &broken);
    let path = place.path(&format!("broken.{DLL_EXTENSION}"));
    let done = Command::new("cc")
        .args(["-std=c11", "-O1", "-shared", "-fPIC", "-I"])
        .arg(root.join("crates/plugin/include"))
        .arg("-o")
        .arg(&path)
        .arg(place.path("broken.c"))
        .arg("-lm")
        .status();
    assert!(done.unwrap().success());
    let said = place.run(&["plugin", "test", path.to_str().unwrap()]).expect(1);
    assert!(said.stderr.contains("FAILED  a forest equals its paths: "), "{said}");
    assert!(said.stdout.contains("2 of 18 checks failed"), "{said}");
}

#[test]
fn backends_lists_plugins_and_says_which_do_not_load() {
    let place = Place::new();
    example_c(&place, &in_folder("example_c"));
    let broken = in_folder("broken");
    let place = place.with(&broken, "no library");
    let said = place.run(&["backends"]).expect(0);
    assert!(said.stdout.contains("plugin:example-c#0  -"), "{said}");
    assert!(said.stderr.contains(&format!("`~/{broken}` cannot be loaded: ")), "{said}");
    let found = place.run(&["backends", "--json"]).expect(0).json();
    let infos = found.as_array().unwrap();
    let plugin = infos.iter().find(|it| it["name"] == "plugin:example-c").unwrap();
    assert_eq!(plugin["verbs"], serde_json::json!(["extend", "fork", "truncate", "score"]));
}

#[test]
fn a_device_that_no_plugin_has_is_one_error_with_a_hint() {
    let place = Place::new();
    example_c(&place, &in_folder("example_c"));
    let model = ngram_model(&place);
    let run = |device: &str| {
        place.run(&["generate", "--model", &model, "--device", device, "--prompt", "a b", "--raw"])
    };
    let said = run("plugin:gpu").expect(2);
    let expected = "error: there is no plugin `gpu` in `~/.config/fidelio/plugins`\n  \
                    = hint: it has example-c\n";
    assert_eq!(said.stderr, expected);
    let said = run("plugin:example-c#3").expect(2);
    let expected = "error: device `plugin:example-c#3` is not available\n  \
                    = hint: the plugin has device 0\n";
    assert_eq!(said.stderr, expected);
}

/// A folder with an n-gram model over ten words: after each comes the next one.
fn ngram_model(place: &Place) -> String {
    let folder = place.path("ngram");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write(
        "config.json",
        br#"{"model_type":"ngram","vocab_size":10,"max_position_embeddings":64,"eos_token_id":9}"#,
    );
    let words: Vec<String> =
        ('a'..='j').enumerate().map(|(id, letter)| format!("\"{letter}\":{id}")).collect();
    let tokenizer = format!(
        "{{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\
         \"pre_tokenizer\":{{\"type\":\"Whitespace\"}},\"post_processor\":null,\"decoder\":null,\
         \"model\":{{\"type\":\"WordLevel\",\"vocab\":{{{}}},\"unk_token\":\"j\"}}}}",
        words.join(",")
    );
    write("tokenizer.json", tokenizer.as_bytes());
    let header = r#"{"before.weight":{"dtype":"F32","shape":[10,10],"data_offsets":[400,800]},"last.weight":{"dtype":"F32","shape":[10,10],"data_offsets":[0,400]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    for row in 0..10 {
        for column in 0..10 {
            let logit = if column == (row + 1) % 10 { 9.0_f32 } else { 0.0 };
            file.extend_from_slice(&logit.to_le_bytes());
        }
    }
    file.extend_from_slice(&[0; 400]);
    write("model.safetensors", &file);
    folder.to_str().unwrap().to_owned()
}

#[test]
fn a_plugin_generates_from_a_folder_or_by_its_path() {
    let place = Place::new();
    example_c(&place, &in_folder("example_c"));
    let elsewhere = example_c(&place, &format!("mine.{DLL_EXTENSION}"));
    let model = ngram_model(&place);
    let generate = ["generate", "--model", &model, "--prompt", "a b", "--raw", "--max-new-tokens"];
    let generate = [&generate[..], &["4", "--json"]].concat();
    let found = place.run(&[&generate[..], &["--device", "plugin:example-c"]].concat());
    let found = found.expect(0).json();
    assert_eq!(found["text"].as_str().unwrap().replace(' ', ""), "cdef");
    assert_eq!(found["usage"]["completion_tokens"], 4);
    let plugin = ["--device", "plugin:mine#0", "--plugin", elsewhere.to_str().unwrap()];
    let found = place.run(&[&generate[..], &plugin].concat()).expect(0).json();
    assert_eq!(found["text"].as_str().unwrap().replace(' ', ""), "cdef");
}

#[test]
fn a_run_file_names_a_plugin() {
    let place = Place::new();
    example_c(&place, &in_folder("example_c"));
    let model = ngram_model(&place);
    let run = format!(
        "model_type: llm\nbase_model: {model}\ndevice: plugin:example-c\n\
         input_features: [{{name: question, type: text}}]\n\
         output_features: [{{name: answer, type: text}}]\n\
         generation: {{max_new_tokens: 3}}\nprompt: {{template: \"{{question}}\"}}\n\
         trainer: {{type: none}}\n"
    );
    let place = place.with("run.yaml", &run).with("rows.csv", "question\na b\nc d\n");
    let arguments = ["predict", "-c", "run.yaml", "--dataset", "rows.csv", "-od", "out"];
    place.run(&arguments).expect(0);
    let plan = place.run(&["plan", "-c", "run.yaml", "--dataset", "rows.csv", "--json"]).expect(0);
    assert_eq!(plan.json()["device"], "plugin:example-c#0");
    let wrong = run.replace("plugin:example-c", "plugin:../../other");
    let place = place.with("wrong.yaml", &wrong);
    let said = place.run(&["check", "-c", "wrong.yaml"]).expect(2);
    assert!(said.stderr.contains("a plugin is written `plugin:NAME` or `plugin:NAME#1`"), "{said}");
}

/// The example in Rust, which cargo builds beside this test.
#[test]
fn a_plugin_learns_from_a_run_file_and_answers_with_what_it_learnt() {
    let place = Place::new();
    let library = format!("{DLL_PREFIX}fidelio_plugin_example_rust.{DLL_EXTENSION}");
    let library = std::env::current_exe().unwrap().with_file_name(library);
    let library = library.to_str().unwrap();
    let model = ngram_model(&place);
    let run = format!(
        "model_type: llm\nbase_model: {model}\ndevice: plugin:example-rust\n\
         input_features: [{{name: question, type: text}}]\n\
         output_features: [{{name: answer, type: text}}]\n\
         generation: {{max_new_tokens: 2}}\n\
         prompt: {{template: \"{{question}}\", boundary: separate}}\n\
         preprocessing: {{split: {{type: fixed}}}}\n\
         trainer: {{type: finetune, epochs: 200, batch_size: 2, learning_rate: 1.0, \
         optimizer: {{type: sgd}}}}\n"
    );
    // After each word comes the next but one, where the model began with the next.
    let rows = "question,answer,split\na b,d f,0\nb d,f h,0\nc e,g i,0\na b,d f,1\na b,d f,2\n";
    let place = place.with("run.yaml", &run).with("rows.csv", rows);
    let data = ["--dataset", "rows.csv", "--plugin", library, "--json"];
    let train = ["train", "-c", "run.yaml", "--output-directory", "run"];
    let trained = place.run(&[&train[..], &data].concat()).expect(0).json();
    assert!(place.path("run/model/model_weights/model.safetensors").exists(), "{trained}");
    let predict = ["predict", "-m", "run", "--split", "full", "-od", "answers"];
    place.run(&[&predict[..], &data].concat()).expect(0);
    let answers = place.read("answers/predictions.csv");
    assert_eq!(answers.matches(",d f,").count(), 3, "{answers}");
}
