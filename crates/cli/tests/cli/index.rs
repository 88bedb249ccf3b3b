//! `fidelio index`: made, searched and brought up to date, without a model.

use crate::place::Place;

fn documents() -> Place {
    let place = Place::new()
        .with("tea.md", "# Tea\n\nBoil the water.\n\n## Green\n\nNot with boiling water.\n")
        .with("rice.txt", "Wash the rice.\n\nThen boil it.\n")
        .with("picture.png", "no text")
        .with("recipes.csv", "id,text\n1,Bake the bread.\n2,Boil an egg.\n");
    std::fs::create_dir(place.path("docs")).unwrap();
    for file in ["tea.md", "rice.txt", "picture.png"] {
        std::fs::rename(place.path(file), place.path("docs").join(file)).unwrap();
    }
    place
}

#[test]
fn a_corpus_is_made_searched_and_brought_up_to_date() {
    let place = documents();
    let made = place.run(&["index", "-o", "corpus", "docs"]).expect(0);
    assert!(
        made.stdout.starts_with("corpus: 3 passages of 2 files, of at most 256 words\n"),
        "{made}"
    );
    assert!(made.stderr.contains("1 file in folders are no documents"), "{made}");
    assert!(made.stderr.contains("--model"), "{made}");
    let found = place.run(&["index", "--search", "boiling green tea", "corpus"]).expect(0);
    insta::assert_snapshot!(found);
    std::fs::write(place.path("docs/rice.txt"), "Steam the rice.\n").unwrap();
    let json = place.run(&["index", "-o", "corpus", "--json"]).expect(0).json();
    assert_eq!(
        (&json["files_changed"], &json["files_unchanged"]),
        (&1.into(), &1.into()),
        "{json}"
    );
    let found = place.run(&["index", "--search", "steam", "corpus", "-k", "1", "--json"]).expect(0);
    let found = &found.json()[0];
    assert_eq!((&found["source"], &found["first"]), (&"docs/rice.txt".into(), &1.into()));
    assert_eq!(found["text"], "Steam the rice.");
    std::fs::remove_file(place.path("docs/tea.md")).unwrap();
    let gone = place.run(&["index", "-o", "corpus"]).expect(0);
    assert!(gone.stderr.contains("`docs/tea.md` is gone"), "{gone}");
}

#[test]
fn rows_of_a_table_and_some_files_of_a_folder_are_taken_where_that_is_said() {
    let place = documents();
    place.run(&["index", "-o", "rows", "recipes.csv", "--text-column", "text"]).expect(0);
    let found = place.run(&["index", "--search", "egg", "rows", "--json"]).expect(0).json();
    assert_eq!((&found[0]["source"], &found[0]["first"]), (&"recipes.csv".into(), &3.into()));
    let some = place.run(&["index", "-o", "some", "docs", "--glob", "*.md", "--json"]).expect(0);
    assert_eq!(some.json()["corpus"]["files"], 1);
}

#[test]
fn what_cannot_be_indexed_says_so() {
    let place = documents().with("bad.pdf", "%PDF-1.4 no").with("letter.txt", "Dear");
    let refused = |arguments: &[&str]| {
        let said = place.run(arguments).expect(2);
        assert!(said.stderr.contains("= hint:"), "{said}");
        said.stderr
    };
    assert!(refused(&["index", "-o", "x", "recipes.csv"]).contains("--text-column"));
    assert!(refused(&["index", "-o", "x", "bad.pdf"]).contains("`bad.pdf`"));
    let unfounded = refused(&["index", "-o", "x"]);
    assert!(unfounded.contains("`x` holds no corpus"), "{unfounded}");
    assert!(refused(&["index", "-o", "docs", "letter.txt"]).contains("`docs` holds no corpus"));
    assert!(refused(&["index", "-o", "x", "docs", "--max-tokens", "3"]).contains("at least 16"));
    assert!(refused(&["index", "-o", "x", "--max-tokens", "99"]).contains("brought up to date"));
    assert!(refused(&["index", "--search", "tea", "docs"]).contains("holds no corpus"));
    let said = place.run(&["index", "-o", "x", "docs", "-k", "3"]).expect(2);
    assert!(said.stderr.contains("cannot be used with"), "{said}");
    assert!(!place.path("x").exists());
    let lenient = place.run(&["index", "-o", "x", "bad.pdf", "letter.txt", "--skip-unreadable"]);
    let lenient = lenient.expect(0);
    assert!(lenient.stderr.contains("`bad.pdf` was passed over"), "{lenient}");
    // What the file did to the crate that read it is no mistake of ours.
    assert!(!lenient.stderr.contains("mistake"), "{lenient}");
}
