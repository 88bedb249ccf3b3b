//! Corpora: made, brought up to date, and shown in the prompts of a run, on an engine without a model.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use fidelio::{
    CorpusPlan, DataArgs, Error, Indexed, Job, Results, RunFile, Silent, TokensBy,
    config::Override, data::Format, retrieval::RetrievalError, search_corpus, update_corpus,
    weights,
};
use serde_json::{Value, json};

use crate::examples::{Case, Heard};

const RUN: &str = "\
model_type: llm
base_model: MODEL
prompt:
  task: Answer from the passages.
  retrieval: {type: bm25, corpus: CORPUS, k: 2}
input_features: [{name: question, type: text}]
output_features: [{name: answer, type: text}]
generation: {max_new_tokens: 4}
preprocessing: {split: fixed}
trainer: {type: none}
";

const QUESTIONS: &str = "question,answer\nHow long does the warranty of the kettle last?,years\n\
                         Who repairs toasters?,Ada\nzzz?,none\n";

/// A case with documents, a corpus of them, and a model.
struct Docs {
    case: Case,
    folder: PathBuf,
    corpus: PathBuf,
}

impl Docs {
    fn new() -> Self {
        let case = Case::new();
        let folder = case.folder.path().join("docs");
        fs::create_dir(&folder).unwrap();
        let corpus = case.folder.path().join("corpus");
        let docs = Self { case, folder, corpus };
        docs.write("kettle.md", "# Kettle\n\n## Warranty\n\nThe warranty lasts three years.\n");
        docs.write("toaster.html", "<h1>Toaster</h1><p>Toasters are repaired by Ada.</p>");
        docs.write("notes.txt", "Nothing of note.\n\nThe garden is green.\n");
        docs
    }

    /// Writes a file that has been there for an hour: its times tell whether it changed.
    fn write(&self, name: &str, text: &str) {
        let mut file = File::create(self.folder.join(name)).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(1)).unwrap();
    }

    fn plan(&self) -> CorpusPlan {
        let model = self.case.folder.path().to_str().unwrap().to_owned();
        let tokens = TokensBy::Model(model);
        CorpusPlan { tokens, max_tokens: 64, ..CorpusPlan::of(vec![self.folder.clone()]) }
    }

    fn index(&self, plan: &CorpusPlan) -> Result<Indexed, Error> {
        plan.index(&self.case.machine, &self.corpus, &weights::Silent, &mut Silent)
    }

    fn update(&self) -> Result<Indexed, Error> {
        update_corpus(&self.case.machine, &self.corpus, &weights::Silent, &mut Silent)
    }

    fn run(&self, overrides: &[&str]) -> RunFile {
        let text = RUN
            .replace("MODEL", self.case.folder.path().to_str().unwrap())
            .replace("CORPUS", self.corpus.to_str().unwrap());
        let overrides: Vec<Override> = overrides.iter().map(|it| Override::new(*it)).collect();
        RunFile::parse("run.yaml", &text, &overrides).unwrap()
    }

    fn job(&self, overrides: &[&str]) -> Result<Job, Error> {
        let data = DataArgs::of(self.case.write("questions.csv", QUESTIONS));
        Job::prepare(&self.case.machine, &self.run(overrides), self.case.model(), &data)
    }
}

fn name(folder: &Path, file: &str) -> String {
    folder.join(file).to_str().unwrap().to_owned()
}

fn counts(indexed: &Indexed) -> (usize, usize, usize, usize) {
    let removed = indexed.removed.len();
    (indexed.files_read, indexed.files_changed, indexed.files_unchanged, removed)
}

#[test]
fn only_what_changed_is_read_again() {
    let docs = Docs::new();
    let first = docs.index(&docs.plan()).unwrap();
    assert_eq!(counts(&first), (3, 3, 0, 0));
    assert_eq!((first.corpus.files, first.corpus.passages), (3, 3));
    assert_eq!(counts(&docs.index(&docs.plan()).unwrap()), (0, 0, 3, 0));
    assert_eq!(counts(&docs.update().unwrap()), (0, 0, 3, 0));

    // Touched: read, and found to be the same. Then its new times are known.
    docs.write("notes.txt", "Nothing of note.\n\nThe garden is green.\n");
    let touched = docs.update().unwrap();
    assert_eq!(counts(&touched), (1, 0, 3, 0));
    assert_eq!(touched.corpus.sha256, first.corpus.sha256);
    assert_eq!(counts(&docs.update().unwrap()), (0, 0, 3, 0));

    docs.write("notes.txt", "The garden is blue.\n");
    fs::remove_file(docs.folder.join("toaster.html")).unwrap();
    docs.write("new.rst", "Oven\n====\n\nIt bakes.\n");
    let changed = docs.update().unwrap();
    assert_eq!(counts(&changed), (2, 2, 1, 1));
    assert_eq!(changed.removed, [name(&docs.folder, "toaster.html")]);
    let found = |words| search_corpus(&docs.corpus, words, 5).unwrap().len();
    assert_eq!((found("green"), found("blue"), found("Ada"), found("bakes")), (0, 1, 0, 1));

    // As one that is made anew.
    let anew = CorpusPlan { ..docs.plan() };
    let other = docs.case.folder.path().join("other");
    let anew = anew.index(&docs.case.machine, &other, &weights::Silent, &mut Silent).unwrap();
    assert_eq!(anew.corpus.sha256, changed.corpus.sha256);
    // Other limits: every passage is another.
    let finer = docs.index(&CorpusPlan { max_tokens: 32, ..docs.plan() }).unwrap();
    assert_eq!((finer.files_read, finer.files_changed), (3, 3));
}

#[test]
fn passages_reach_the_prompts_and_the_predictions() {
    let docs = Docs::new();
    docs.index(&docs.plan()).unwrap();
    let mut job = docs.job(&[]).unwrap();
    let text = &job.explain(0).unwrap()[0].text;
    let kettle = name(&docs.folder, "kettle.md");
    let shown = format!("[{kettle}, line 5]\nKettle > Warranty\nThe warranty lasts three years.");
    assert!(text.contains(&shown), "{text}");
    // The best one last, next to the question.
    assert!(text.contains(&format!("{shown}\n\nInput: How long")), "{text}");
    assert!(job.shown_examples(0).unwrap().is_empty());
    let predictions = job.predict(&mut Silent).unwrap();
    for row in &predictions.rows {
        assert_eq!(row.passages, Some(job.shown_passages(row.row).unwrap()));
        assert_eq!(row.examples, None);
    }
    let last = predictions.rows[0].passages.as_ref().unwrap().last().unwrap();
    assert_eq!((last.source.as_str(), last.place.first), (kettle.as_str(), 5));
    assert_eq!(last.heading, ["Kettle", "Warranty"]);
    // Nothing has a word in common with the third question.
    assert_eq!(predictions.rows[2].passages, Some(vec![]));
    let results = Results::create(&docs.case.folder.path().join("out"), true).unwrap();
    let file = results.write_predictions(&job, &predictions, None, Format::Jsonl).unwrap();
    let text = fs::read_to_string(file).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let last = first["answer_passages"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["source"], &last["unit"], &last["first"]),
        (&json!(kettle), &json!("line"), &json!(5))
    );
    let plan = serde_json::to_value(job.plan()).unwrap();
    assert_eq!(plan["prompt"]["examples"]["corpus"]["passages"], 3);
}

#[test]
fn a_format_and_an_order_are_kept() {
    let docs = Docs::new();
    docs.index(&docs.plan()).unwrap();
    let run = |more: &str| {
        let corpus = docs.corpus.display();
        let how = format!("prompt.retrieval={{type: bm25, corpus: {corpus}, k: 2, {more}}}");
        let job = docs.job(&[&how]).unwrap();
        job.explain(0).unwrap().remove(0).text
    };
    let text = run("order: similar_first, separator: ' ## ', format: '<{__passage__}>'");
    let (best, second) = (text.find("<Kettle > Warranty").unwrap(), text.find("> ## <").unwrap());
    assert!(best < second, "{text}");
}

#[test]
fn the_budget_of_tokens_holds_for_passages() {
    let docs = Docs::new();
    docs.index(&docs.plan()).unwrap();
    let corpus = docs.corpus.display().to_string();
    let with = |more: &str| {
        docs.job(&[&format!("prompt.retrieval={{type: bm25, corpus: {corpus}, k: 3, {more}}}")])
    };
    let all = with("show: context").unwrap().survey(&mut Silent).unwrap().examples.unwrap();
    assert!(all.tokens.max > 80 && all.tokens.p50 > 0 && all.left_out == 0, "{all:?}");
    assert_eq!((all.rows_with_none, all.rows_with_too_few), (1, 3));
    let most = all.tokens.max - 1;
    let mut job = with(&format!("max_tokens: {most}")).unwrap();
    let survey = job.survey(&mut Silent).unwrap();
    let fewer = survey.examples.unwrap();
    assert!(fewer.tokens.max <= most && fewer.left_out == 1, "{fewer:?}");
    assert!(survey.ledger.balances() && survey.ledger.left_out > 0 && survey.ledger.rows_cut == 0);
    let mut heard = Heard::default();
    job.predict(&mut heard).unwrap();
    assert!(heard.0.iter().any(|note| note.contains("fewer passages")), "{:?}", heard.0);
    assert!(heard.0.iter().any(|note| note.contains("no word with any passage")), "{:?}", heard.0);
    let strict = with(&format!("max_tokens: {most}, over_budget: error")).unwrap();
    assert_eq!(strict.survey(&mut Silent).unwrap().problems.len(), 1);
}

#[test]
fn a_run_says_when_documents_are_not_what_they_were() {
    let docs = Docs::new();
    docs.index(&docs.plan()).unwrap();
    let notes = || docs.job(&[]).unwrap().plan().data.notes.join("\n");
    assert_eq!(notes(), "");
    // Other times and the same contents are no change.
    docs.write("notes.txt", "Nothing of note.\n\nThe garden is green.\n");
    assert_eq!(notes(), "");
    docs.write("notes.txt", "Nothing of note.\n\nThe garden is brown.\n");
    docs.write("new.md", "More.");
    fs::remove_file(docs.folder.join("kettle.md")).unwrap();
    let said = notes();
    for part in
        ["1 changed", "1 gone", "1 new", "notes.txt", "kettle.md", "new.md", "fidelio index -o"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    docs.update().unwrap();
    assert_eq!(notes(), "");
    fs::rename(&docs.folder, docs.case.folder.path().join("moved")).unwrap();
    assert!(notes().contains("are not here"), "{}", notes());
}

#[test]
fn a_run_says_when_passages_were_cut_by_other_tokens() {
    let docs = Docs::new();
    let notes = || docs.job(&[]).unwrap().plan().data.notes.join("\n");
    docs.index(&CorpusPlan { tokens: TokensBy::Words, ..docs.plan() }).unwrap();
    assert_eq!(notes(), "");
    let folder = docs.case.folder.path();
    let same =
        CorpusPlan { tokens: TokensBy::Tokenizer(folder.join("tokenizer.json")), ..docs.plan() };
    assert_eq!(docs.index(&same).unwrap().files_changed, 3, "words are no tokens");
    assert_eq!(notes(), "");
    // Another way to name the same tokens.
    assert_eq!(docs.index(&docs.plan()).unwrap().files_changed, 0);
    let text = fs::read_to_string(folder.join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&text).unwrap();
    let mut extra = tokenizer["added_tokens"][0].clone();
    (extra["id"], extra["content"]) = (json!(422), json!("<extra>"));
    tokenizer["added_tokens"].as_array_mut().unwrap().push(extra);
    fs::create_dir(folder.join("other")).unwrap();
    fs::write(folder.join("other/tokenizer.json"), tokenizer.to_string()).unwrap();
    docs.index(&CorpusPlan { tokens: TokensBy::Tokenizer(folder.join("other")), ..docs.plan() })
        .unwrap();
    assert!(notes().contains("the tokens of another model"), "{}", notes());
}

#[test]
fn files_that_cannot_be_read_are_errors_by_name_or_passed_over() {
    let docs = Docs::new();
    fs::write(docs.folder.join("broken.pdf"), b"%PDF-1.4 no").unwrap();
    fs::write(docs.folder.join("latin.txt"), b"caf\xe9").unwrap();
    let error = docs.index(&docs.plan()).unwrap_err();
    assert!(error.to_string().contains("broken.pdf"), "{error}");
    assert!(error.hint().unwrap().contains("--skip-unreadable"));
    assert!(!docs.corpus.exists(), "nothing is left of it");
    let lenient = CorpusPlan { skip_unreadable: true, ..docs.plan() };
    let indexed = docs.index(&lenient).unwrap();
    let skipped: Vec<&str> = indexed.skipped.iter().map(|it| it.source.as_str()).collect();
    let named = |file| name(&docs.folder, file);
    assert_eq!(skipped, [named("broken.pdf"), named("latin.txt")]);
    assert!(indexed.skipped[1].reason.contains("byte 3"), "{:?}", indexed.skipped);
    assert_eq!(indexed.corpus.passages, 3);
    // They are remembered: not new to a run, and still told.
    assert!(docs.job(&[]).unwrap().plan().data.notes.is_empty());
    assert_eq!(docs.update().unwrap().skipped.len(), 2);
}

#[test]
fn a_corpus_that_cannot_be_used_says_what_to_do() {
    let docs = Docs::new();
    let missing = docs.job(&[]).unwrap_err();
    assert!(matches!(&missing, Error::Retrieval(RetrievalError::NoCorpus { .. })), "{missing}");
    assert!(missing.hint().unwrap().contains("fidelio index"));
    assert!(matches!(docs.update(), Err(Error::Retrieval(RetrievalError::NoCorpus { .. }))));
    let limits = docs.index(&CorpusPlan { max_tokens: 8, ..docs.plan() }).unwrap_err();
    assert!(matches!(limits, Error::Cutting(_)) && limits.hint().is_some(), "{limits}");
    docs.index(&docs.plan()).unwrap();
    let meta = docs.corpus.join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    fs::write(&meta, text.replace("\\\"version\\\":1", "\\\"version\\\":9")).unwrap();
    let other = docs.job(&[]).unwrap_err();
    assert!(matches!(other, Error::Retrieval(RetrievalError::CorpusVersion { .. })), "{other}");
}

#[test]
fn each_row_of_a_table_is_a_document() {
    let docs = Docs::new();
    let table = "id,title,body\n1,Tea,\"Boil the water.\nPour it.\"\n2,Rice,Wash it.\n3,,\n";
    docs.write("recipes.csv", table);
    let plan = CorpusPlan {
        sources: vec![docs.folder.join("recipes.csv")],
        text_columns: vec!["title".to_owned(), "body".to_owned()],
        ..docs.plan()
    };
    assert_eq!(docs.index(&plan).unwrap().corpus.passages, 2);
    let found = search_corpus(&docs.corpus, "water wash", 5).unwrap();
    let mut found: Vec<_> =
        found.iter().map(|(it, text)| (it.place.to_string(), text.as_str())).collect();
    found.sort();
    let expected = [("line 2", "Tea\n\nBoil the water.\nPour it."), ("line 4", "Rice\n\nWash it.")];
    assert_eq!(found, expected.map(|(place, text)| (place.to_owned(), text)));
    let wrong = CorpusPlan { text_columns: vec!["boddy".to_owned()], ..plan };
    let error = docs.index(&wrong).unwrap_err();
    assert!(error.to_string().contains("boddy"), "{error}");
}

#[test]
fn the_guides_corpus_and_run_file_work() {
    let docs = Docs::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide =
        CorpusPlan { sources: vec![repository.join("docs/guide")], max_tokens: 256, ..docs.plan() };
    let indexed = docs.index(&guide).unwrap();
    assert!(indexed.corpus.passages > indexed.corpus.files && indexed.skipped.is_empty());
    let text = fs::read_to_string(repository.join("docs/examples/guide-questions.yaml")).unwrap();
    let model = format!("base_model={}", json!(docs.case.folder.path()));
    let corpus = format!("prompt.retrieval.corpus={}", json!(docs.corpus));
    let sets = [&*model, &corpus].map(Override::new);
    let run = RunFile::parse("guide-questions.yaml", &text, &sets).unwrap();
    let data = DataArgs::of(repository.join("docs/examples/guide-questions.csv"));
    let job = Job::prepare(&docs.case.machine, &run, docs.case.model(), &data).unwrap();
    let survey = job.survey(&mut Silent).unwrap();
    assert!(survey.problems.is_empty() && survey.rows == 3);
    for row in 0..3 {
        let shown = job.shown_passages(row).unwrap();
        let from = |file: &str| shown.iter().any(|it| it.source.ends_with(file));
        assert!(!shown.is_empty() && from("guide/examples.md"), "{shown:?}");
    }
}
