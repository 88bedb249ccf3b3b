//! The passages of a corpus that a run shows in its prompts.

use std::path::{Path, PathBuf};

use fidelio_config as config;
use fidelio_prompting::{PASSAGE, SOURCE};
use fidelio_retrieval::{Chosen, Corpus, Found, PassageSearcher, Picked};
use serde_json::{Map, Value};

use crate::{
    CorpusCard, Error, ExamplePlan, ShownPassage, Staleness, corpus::foreign, examples::RowExamples,
};

/// What finds passages for a run's rows.
pub(crate) struct Passages {
    searcher: Box<dyn PassageSearcher>,
    folder: PathBuf,
    most: usize,
    best_last: bool,
    /// Whether its documents are what they were.
    stale: Staleness,
    tokenizer_sha256: Option<String>,
}

impl Passages {
    /// Opens the corpus that a run file names.
    pub(crate) fn open(
        folder: &str,
        how: &config::Retrieval,
    ) -> Result<(Self, ExamplePlan), Error> {
        let corpus = Corpus::open(Path::new(folder))?;
        let card = CorpusCard::of(&corpus)?;
        let most = how.k.unwrap_or(1);
        let passages = Self {
            folder: corpus.folder().to_owned(),
            most,
            best_last: how.order != Some(config::ExampleOrder::SimilarFirst),
            stale: Staleness::of(&corpus)?,
            tokenizer_sha256: card.tokenizer_sha256.clone(),
            // The one place where other engines over passages come in.
            searcher: Box::new(corpus),
        };
        let candidates = card.passages;
        let corpus = Some(card);
        let plan = ExamplePlan { chosen_by: how.kind, k: most, candidates, corpus, vectors: None };
        Ok((passages, plan))
    }

    /// The passages for a row, of which `text` is what its prompt shows.
    pub(crate) fn choose(&self, text: &str) -> Result<RowExamples, Error> {
        let mut found: Vec<(usize, Found)> =
            self.searcher.search(text, self.most)?.into_iter().enumerate().collect();
        if self.best_last {
            found.reverse();
        }
        let mut passages = Vec::with_capacity(found.len());
        let mut examples = Vec::with_capacity(found.len());
        let mut cells = Vec::with_capacity(found.len());
        for (candidate, (rank, found)) in found.iter().enumerate() {
            let shown = ShownPassage::of(found).ok_or_else(|| foreign(&self.folder))?;
            examples.push(Picked { candidate, rank: *rank, score: found.score });
            cells.push(cells_of(&shown, found));
            passages.push(shown);
        }
        let chosen = Chosen { examples, duplicates: Vec::new(), drawn: 0 };
        Ok(RowExamples { places: Vec::new(), chosen, passages, cells })
    }

    /// What somebody who reads answers should know.
    pub(crate) fn notes(&self, tokenizer_sha256: &str) -> Vec<String> {
        let mut notes: Vec<String> = self.stale.note(&self.folder).into_iter().collect();
        if self.tokenizer_sha256.as_deref().is_some_and(|of| of != tokenizer_sha256) {
            notes.push(format!(
                "the passages of the corpus `{}` were cut by the tokens of another model",
                self.folder.display()
            ));
        }
        notes
    }
}

/// A passage as the renderer takes it.
fn cells_of(shown: &ShownPassage, found: &Found) -> Map<String, Value> {
    let cells = [(PASSAGE, found.passage.text.clone()), (SOURCE, shown.to_string())];
    cells.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
}
