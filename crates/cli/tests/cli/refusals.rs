//! What cannot be done says why, with exit code 2.

use crate::place::{Place, RUN};

const TABLE: &str = "question,answer\nWhy?,Because.\n";

#[track_caller]
fn check(name: &str, place: &Place, arguments: &[&str]) {
    let said = place.run(arguments).expect(2);
    insta::with_settings!({ description => arguments.join(" "), omit_expression => true }, {
        insta::assert_snapshot!(name, said);
    });
}

#[test]
fn an_unknown_command_is_guessed() {
    check("unknown_command", &Place::new(), &["evalute"]);
}

#[test]
fn an_unknown_flag_is_guessed() {
    check("unknown_flag", &Place::new(), &["predict", "--datset", "x.csv"]);
}

#[test]
fn commands_that_come_later_say_so_in_one_sentence() {
    let later = ["hyperopt", "upload"];
    let place = Place::new();
    for command in later {
        let said = place.run(&[command, "-c", "run.yaml", "--whatever"]).expect(2);
        assert!(said.stderr.contains("is not built yet"), "{said}");
        assert_eq!(said.stderr.lines().count(), 1, "{said}");
        assert_eq!(said.stdout, "");
    }
}

#[test]
fn a_missing_run_file_is_named() {
    check("missing_run_file", &Place::new(), &["check", "-c", "gone.yaml"]);
}

#[test]
fn no_run_file_says_how_to_give_one() {
    check("no_run_file", &Place::new(), &["render-config"]);
}

#[test]
fn all_problems_of_a_run_file_are_listed() {
    let wrong =
        RUN.replace("max_new_tokens", "max_tokens").replace("model_type: llm", "model_type: lm");
    let place = Place::new().with("run.yaml", &wrong);
    check("wrong_run_file", &place, &["check", "-c", "run.yaml"]);
    let said = place.run(&["check", "-c", "run.yaml", "--json"]).expect(2);
    let problems = said.json()["error"]["problems"].clone();
    assert_eq!(problems.as_array().unwrap().len(), 2, "{said}");
    assert_eq!(problems[1]["at"]["line"], 5, "{said}");
}

#[test]
fn a_problem_in_a_flag_points_into_the_flag() {
    let place = Place::new().with("run.yaml", RUN);
    check(
        "wrong_set",
        &place,
        &["check", "-c", "run.yaml", "--set", "generation.max_new_tokens=-3"],
    );
    check("wrong_device", &place, &["check", "-c", "run.yaml", "--device", "cpu"]);
}

#[test]
fn a_generation_config_must_be_a_json_map() {
    let place = Place::new().with("run.yaml", RUN);
    check("generation_config", &place, &["render-config", "-c", "run.yaml", "-gc", "{'a': 1}"]);
}

#[test]
fn a_folder_without_a_training_run_is_named() {
    check("model_path", &Place::new(), &["predict", "-m", "results/run_1", "--dataset", "x.csv"]);
}

#[test]
fn data_is_needed_and_must_be_there() {
    let place = Place::new().with("run.yaml", RUN).with("qa.csv", TABLE);
    check("no_data", &place, &["predict", "-c", "run.yaml"]);
    check(
        "test_split_without_test_set",
        &place,
        &["predict", "-c", "run.yaml", "--training-set", "qa.csv", "--split", "test"],
    );
    check(
        "unbuilt_format",
        &place,
        &["predict", "-c", "run.yaml", "--dataset", "qa.csv", "--data-format", "feather"],
    );
}

#[test]
fn a_model_that_is_not_here_is_not_fetched_offline() {
    let place = Place::new().with("run.yaml", RUN).with("qa.csv", TABLE);
    check("offline", &place, &["predict", "-c", "run.yaml", "--dataset", "qa.csv", "--offline"]);
}

#[test]
fn sampling_flags_need_sampling() {
    check("useless_flag", &Place::new(), &["generate", "--prompt", "Hi", "--top-p", "0.5"]);
}

#[test]
fn a_wrong_setting_names_where_it_stands() {
    let place = Place::new().with("fidelio.toml", "threads = \"many\"\n");
    check("wrong_setting", &place, &["doctor"]);
}
