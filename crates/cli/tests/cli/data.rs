//! `init` and `datasets`.

use crate::place::Place;

const MAILS: &str = "\
id,subject,body,label
1,Hello,Shall we have lunch on Friday at the usual place?,ham
2,WIN,You have won a million and need only send your bank details,spam
3,Minutes,The minutes of the last meeting are attached,ham
4,Cheap,Cheap pills and watches for you and your friends today,spam
5,Report,Please find the report of the second quarter below,ham
6,Loans,Loans without any questions asked and at any time,spam
";

#[test]
fn init_writes_a_run_file_that_passes_its_own_check() {
    let place = Place::new().with("mails.csv", MAILS);
    let init = ["init", "--dataset", "mails.csv", "--target", "label"];
    let said = place.run(&init).expect(0);
    insta::assert_snapshot!(format!("{said}--- run.yaml\n{}", place.read("run.yaml")));
    place.run(&["check", "-c", "run.yaml"]).expect(0);
    place.run(&init).expect(2);
}

#[test]
fn init_can_write_to_stdout() {
    let place = Place::new().with("mails.csv", MAILS);
    let said = place.run(&["init", "-d", "mails.csv", "-t", "label", "-o", "-"]).expect(0);
    assert!(said.stdout.contains("model_type: llm"), "{said}");
    assert!(!place.path("run.yaml").exists());
}

#[test]
fn init_names_the_columns_when_the_target_is_none_of_them() {
    let place = Place::new().with("mails.csv", MAILS);
    insta::assert_snapshot!(place.run(&["init", "-d", "mails.csv", "-t", "lable"]).expect(2));
}

#[test]
fn data_sets_are_listed_and_described() {
    let place = Place::new().with("mails.csv", MAILS);
    insta::assert_snapshot!("datasets_list", place.run(&["datasets", "list"]).expect(0));
    for name in ["spam", "boolq", "mails.csv"] {
        let said = place.run(&["datasets", "describe", name]).expect(0);
        insta::assert_snapshot!(format!("datasets_describe_{name}"), said);
    }
    insta::assert_snapshot!(
        "datasets_unknown",
        place.run(&["datasets", "describe", "spma"]).expect(2)
    );
}

#[test]
fn a_demonstration_table_comes_out_whole() {
    let place = Place::new();
    let said = place.run(&["datasets", "download", "sentiment", "-o", "data"]).expect(0);
    assert_eq!(said.stdout, "data/sentiment.csv.gz\n");
    let profile = place.run(&["datasets", "describe", "data/sentiment.csv.gz", "--json"]);
    assert_eq!(profile.expect(0).json()["rows"], 2979);
    place.run(&["datasets", "download", "sentiment", "-o", "data"]).expect(2);
    insta::assert_snapshot!(place.run(&["datasets", "download", "boolq"]).expect(2));
}
