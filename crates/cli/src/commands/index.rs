//! `fidelio index`: documents become a corpus, and a corpus can be searched.

use std::{fmt::Write as _, path::PathBuf};

use fidelio::{CorpusPlan, Indexed, ShownPassage, TokensBy, search_corpus, update_corpus};
use serde_json::json;

use crate::{
    args::Global,
    failure::Failure,
    interrupt,
    ui::{
        Ui, count,
        progress::{Downloads, Watch},
    },
};

/// Most files of a kind that are named.
const NAMED: usize = 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files and folders to index; without any, the corpus is brought up to date with those that it
    /// was made of. With `--search`, the corpus.
    #[arg(value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// The folder of the corpus; files that have not changed since it was made are not read again.
    #[arg(short, long, value_name = "CORPUS", required_unless_present = "search")]
    output: Option<PathBuf>,
    /// Find the passages that have most words in common with these, rare words counting more.
    #[arg(long, value_name = "WORDS", conflicts_with = "output")]
    search: Option<String>,
    /// How many passages are found.
    #[arg(short, long, value_name = "N", default_value_t = 5, conflicts_with = "output")]
    k: usize,
    #[command(flatten)]
    how: How,
}

/// How documents are read and cut.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How documents are read and cut")]
struct How {
    /// The model whose tokens are counted: an alias, a folder, a GGUF file, or a hub id; without it
    /// and without `--tokenizer`, words are counted.
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["search", "tokenizer"])]
    model: Option<String>,
    /// A tokenizer instead: `tokenizer.json`, or a folder with it.
    #[arg(long, value_name = "PATH", conflicts_with = "search")]
    tokenizer: Option<PathBuf>,
    /// Most tokens of a passage, its headings included [default: 256].
    #[arg(long, value_name = "N", conflicts_with = "search")]
    max_tokens: Option<usize>,
    /// Repeat up to so many tokens, in whole sentences, from the end of the passage before
    /// [default: 0].
    #[arg(long, value_name = "N", conflicts_with = "search")]
    overlap: Option<usize>,
    /// A column of tables that holds text; each row is a document. May be given several times.
    #[arg(long, value_name = "COLUMN", conflicts_with = "search")]
    text_column: Vec<String>,
    /// Of folders, only files whose name or path matches, such as `*.md` or `api/**`. May be given
    /// several times.
    #[arg(long, value_name = "PATTERN", conflicts_with = "search")]
    glob: Vec<String>,
    /// Pass over files that cannot be read, and name them, instead of stopping.
    #[arg(long, conflicts_with = "search")]
    skip_unreadable: bool,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    if let Some(words) = &args.search {
        return search(args, words, ui);
    }
    let machine = super::machine(global)?;
    let corpus = args.output.clone().unwrap_or_default();
    interrupt::listen();
    let downloads = Downloads::new(ui);
    let mut watch = Watch::new(ui);
    let indexed = match args.plan()? {
        Some(plan) => plan.index(&machine, &corpus, &downloads, &mut watch)?,
        None => update_corpus(&machine, &corpus, &downloads, &mut watch)?,
    };
    watch.finish();
    tell(&indexed, ui);
    ui.result(&indexed, || said(&indexed))
}

impl Args {
    /// What is to be made; none where what is there is brought up to date.
    fn plan(&self) -> Result<Option<CorpusPlan>, Failure> {
        let how = &self.how;
        if self.sources.is_empty() {
            if !how.is_said() {
                return Ok(None);
            }
            return Err(Failure::usage_with(
                "a corpus is brought up to date in the way it was made, and other flags say otherwise",
                "name the sources too, so that it is made in the new way; or leave the flags out",
            ));
        }
        let plan = CorpusPlan::of(self.sources.clone());
        Ok(Some(CorpusPlan {
            globs: how.glob.clone(),
            text_columns: how.text_column.clone(),
            tokens: how.tokens(),
            max_tokens: how.max_tokens.unwrap_or(plan.max_tokens),
            overlap: how.overlap.unwrap_or(plan.overlap),
            skip_unreadable: how.skip_unreadable,
            ..plan
        }))
    }
}

impl How {
    fn is_said(&self) -> bool {
        let Self { model, tokenizer, max_tokens, overlap, text_column, glob, skip_unreadable } =
            self;
        let numbers = max_tokens.is_some() || overlap.is_some();
        let lists = !text_column.is_empty() || !glob.is_empty();
        model.is_some() || tokenizer.is_some() || numbers || lists || *skip_unreadable
    }

    fn tokens(&self) -> TokensBy {
        match (&self.model, &self.tokenizer) {
            (Some(model), _) => TokensBy::Model(model.clone()),
            (None, Some(path)) => TokensBy::Tokenizer(path.clone()),
            (None, None) => TokensBy::Words,
        }
    }
}

/// What the user may not expect.
fn tell(indexed: &Indexed, ui: &Ui) {
    for skipped in indexed.skipped.iter().take(NAMED) {
        ui.note(format!("note: `{}` was passed over: {}", skipped.source, skipped.reason));
    }
    for name in indexed.removed.iter().take(NAMED) {
        ui.note(format!("note: `{name}` is gone, and its passages are too"));
    }
    if indexed.files_passed_over > 0 {
        let files = count(indexed.files_passed_over, "file");
        ui.note(format!("note: {files} in folders are no documents"));
    }
    if indexed.corpus.tokenizer_sha256.is_none() {
        ui.note(
            "note: passages are limited by words; with `--model MODEL` they are limited by its tokens",
        );
    }
}

fn said(indexed: &Indexed) -> String {
    let corpus = &indexed.corpus;
    let unit = if corpus.tokenizer_sha256.is_some() { "tokens" } else { "words" };
    let mut text = format!(
        "{}: {} of {}, of at most {} {unit}\n",
        corpus.folder.display(),
        count(corpus.passages, "passage"),
        count(corpus.files, "file"),
        corpus.max_tokens
    );
    let _ = writeln!(
        text,
        "{} read, {} of them new or changed; {} as before, {} gone, {} passed over",
        count(indexed.files_read, "file"),
        indexed.files_changed,
        indexed.files_unchanged,
        indexed.removed.len(),
        indexed.skipped.len()
    );
    text
}

fn search(args: &Args, words: &str, ui: &Ui) -> Result<(), Failure> {
    let [corpus] = args.sources.as_slice() else {
        return Err(Failure::usage_with(
            "`--search` looks in one corpus",
            "write `fidelio index --search WORDS CORPUS`",
        ));
    };
    let found = search_corpus(corpus, words, args.k)?;
    let value = |(shown, text): &(ShownPassage, String)| {
        let mut value = json!(shown);
        value["text"] = json!(text);
        value
    };
    let values: Vec<_> = found.iter().map(value).collect();
    if found.is_empty() {
        ui.note("no passage has one of these words");
    }
    ui.result(&values, || {
        found.iter().enumerate().fold(String::new(), |mut all, (number, (shown, text))| {
            let score = shown.score;
            let _ = writeln!(all, "{}. {shown} (score {score:.2})", number + 1);
            for line in text.lines() {
                let _ = writeln!(all, "{}", format!("   {line}").trim_end());
            }
            all
        })
    })
}
