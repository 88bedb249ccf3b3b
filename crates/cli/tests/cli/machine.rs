//! Commands about the machine and about the program itself.

use std::process::Stdio;

use crate::place::Place;

#[test]
fn help_lists_every_command() {
    insta::assert_snapshot!(Place::new().run(&["--help"]).expect(0));
}

#[test]
fn doctor_shows_each_setting_with_where_it_came_from() {
    let place = Place::new().with("fidelio.toml", "device = \"ndarray\"\n");
    let said = place
        .run(&["doctor", "--json", "--cache-dir", "elsewhere", "--threads", "1", "--offline"])
        .expect(0);
    let found = said.json();
    let setting = |name: &str| {
        let all = found["settings"].as_array().unwrap();
        let it = all.iter().find(|it| it["name"] == name).unwrap();
        (it["value"].as_str().unwrap().to_owned(), it["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(setting("device"), ("ndarray".into(), "~/fidelio.toml".into()));
    assert_eq!(setting("cache_dir"), ("~/elsewhere".into(), "command line".into()));
    assert_eq!(setting("threads"), ("1".into(), "command line".into()));
    assert_eq!(setting("hub_token"), ("not set".into(), "default".into()));
    assert_eq!(found["offline"], true);
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    let text = place.run(&["doctor"]).expect(0).stdout;
    for part in ["fidelio", "cpu", "setting", "models cache", "hub cache", "~/fidelio.toml"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn backends_are_those_of_the_build() {
    let found = Place::new().run(&["backends", "--json"]).expect(0).json();
    let names: Vec<&str> =
        found.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names.contains(&"flex"), cfg!(feature = "flex"));
    assert_eq!(names.contains(&"ndarray"), cfg!(feature = "ndarray"));
}

#[test]
fn models_are_found_by_a_part_of_their_name_and_in_the_cache() {
    let place = Place::new();
    insta::assert_snapshot!(place.run(&["models", "SmolLM2"]).expect(0));
    assert_eq!(place.run(&["models", "--here", "--json"]).expect(0).stdout, "[]\n");
    let models = place.path(".cache/fidelio/models");
    std::fs::create_dir_all(&models).unwrap();
    std::fs::write(models.join("SmolLM2-135M-Instruct.Q4_1.gguf"), b"").unwrap();
    let here = place.run(&["models", "--here", "--json"]).expect(0).json();
    assert_eq!(here[0]["name"], "smollm2-135m");
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = place.run(&["completions", shell]).expect(0);
        assert!(said.stdout.contains("render-config"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    for arguments in [&["schema"][..], &["completions", "bash"], &["models", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output =
            place.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = place.said(output).expect(0);
        assert!(!said.stderr.contains("error"), "{said}");
    }
}
