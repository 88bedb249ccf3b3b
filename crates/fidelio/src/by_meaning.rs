//! Examples by meaning: vectors of the rows that may be shown, and of those that are asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use fidelio_config as config;
use fidelio_data::Place;
use fidelio_retrieval::{Embed, EmbedFault, Hit, Query, RetrievalError, Searcher, Semantic};

use crate::{
    EmbedOptions, EmbedPlan, Embedder, Error, Event, LongTexts, Machine, Observer, Silent, TextAt,
};

/// A text that is compared, and its row.
pub(crate) type Compared = (String, Place);

/// The model that makes vectors, and those it has made. Vectors are made when they are first needed:
/// all together in [`Self::prepare`], or one by one.
pub(crate) struct RowVectors {
    queries: Arc<Queries>,
    plan: EmbedPlan,
    candidates: Vec<Compared>,
    searcher: OnceLock<Semantic>,
}

/// Vectors of rows that are asked.
struct Queries {
    embedder: Mutex<Embedder>,
    known: Mutex<HashMap<String, Vec<f32>>>,
}

/// Searches among the candidates of [`RowVectors`].
pub(crate) struct ByMeaning(pub(crate) Arc<RowVectors>);

impl RowVectors {
    /// What a run file asks for, over these candidates.
    pub(crate) fn open(
        machine: &Machine,
        run: &config::RunConfig,
        how: &config::Retrieval,
        candidates: Vec<Compared>,
    ) -> Result<Arc<Self>, Error> {
        let long_texts = match how.long_texts {
            Some(config::LongTexts::Truncate) => LongTexts::Truncate,
            Some(config::LongTexts::Error) | None => LongTexts::Error,
        };
        let options = EmbedOptions { long_texts, ..EmbedOptions::default() };
        let name = how.model_name.as_deref().unwrap_or("minilm");
        let silent = fidelio_weights::Silent;
        let embedder = Embedder::open(machine, name, &run.device, &options, &silent)?;
        Ok(Arc::new(Self {
            plan: embedder.plan().clone(),
            queries: Arc::new(Queries { embedder: Mutex::new(embedder), known: Mutex::default() }),
            candidates,
            searcher: OnceLock::new(),
        }))
    }

    pub(crate) fn plan(&self) -> EmbedPlan {
        self.plan.clone()
    }

    /// Makes the vectors of all candidates and of rows that are about to be asked.
    pub(crate) fn prepare(
        &self,
        rows: &[Compared],
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let all = self.candidates.iter().chain(rows);
        let texts: Vec<TextAt<'_>> =
            all.map(|(text, place)| TextAt { text, place: Some(place) }).collect();
        let embedded = {
            let mut embedder = self.queries.embedder();
            let embedded = embedder.embed(&texts, observer)?;
            embedder.close();
            embedded
        };
        if embedded.stopped {
            return Err(Error::Stopped);
        }
        let cut = embedded.usage.cut_texts;
        if cut > 0 {
            observer.on(&Event::Note(format!(
                "{cut} rows are compared by their first {} tokens, as `long_texts: truncate` says",
                self.plan.max_tokens
            )));
        }
        let mut vectors = embedded.vectors.into_iter().flatten();
        if self.searcher.get().is_none() {
            let candidates = vectors.by_ref().take(self.candidates.len());
            let queries = Arc::clone(&self.queries) as Arc<dyn Embed>;
            // A second thread would have made the same one.
            drop(self.searcher.set(Semantic::new(candidates, queries)?));
        } else {
            vectors.by_ref().take(self.candidates.len()).for_each(drop);
        }
        self.queries.known().extend(rows.iter().map(|(text, _)| text.clone()).zip(vectors));
        Ok(())
    }
}

impl Queries {
    fn embedder(&self) -> MutexGuard<'_, Embedder> {
        self.embedder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Vec<f32>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embed for Queries {
    fn vector(&self, text: &str) -> Result<Vec<f32>, EmbedFault> {
        if let Some(vector) = self.known().get(text).cloned() {
            return Ok(vector);
        }
        let embedded = self.embedder().embed(&[TextAt { text, place: None }], &mut Silent)?;
        Ok(embedded.vectors.into_iter().flatten().next().unwrap_or_default())
    }
}

impl Searcher for ByMeaning {
    fn search(
        &self,
        query: &Query<'_>,
        among: &dyn Fn(usize) -> bool,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrievalError> {
        let Self(vectors) = self;
        if vectors.searcher.get().is_none() {
            let prepared = vectors.prepare(&[], &mut Silent);
            prepared.map_err(|error| RetrievalError::Search { source: error.into() })?;
        }
        match vectors.searcher.get() {
            Some(searcher) => searcher.search(query, among, limit),
            None => Ok(Vec::new()),
        }
    }

    fn similarity(&self, a: usize, b: usize) -> f32 {
        self.0.searcher.get().map_or(0.0, |searcher| searcher.similarity(a, b))
    }
}
