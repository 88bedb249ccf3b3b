//! What a run shows in its prompts before each row: training rows, rows that its run file gives, or
//! passages of a corpus.

use std::{collections::HashMap, sync::Arc};

use fidelio_config::{self as config, RetrievalKind};
use fidelio_data::{Memory, Place, Row, Source, rows, text};
use fidelio_prompting::{Example, ExamplesShown, Layout, Source as PromptSource};
use fidelio_retrieval::{
    Bm25, Candidate, Candidates, Chooser, Chosen, Duplicates, Given, Hybrid, Order, Query, Random,
    Searcher, Selection,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    CorpusCard, DataArgs, EmbedPlan, Error, Lengths, Machine, Observer, RunFile, ShownPassage,
    SplitChoice,
    audit::Finding,
    by_meaning::{ByMeaning, RowVectors},
    dataset,
    job::Prepared,
    passages::Passages,
};

/// What rows of the run file are called in messages.
const OF_RUN_FILE: &str = "prompt.retrieval.examples";

/// What chooses what a run's prompts show before each row.
pub(crate) struct Examples {
    from: From,
    /// The columns whose text is compared: those that the prompt shows.
    columns: Vec<String>,
    plan: ExamplePlan,
}

/// What is chosen from.
enum From {
    Rows(RowChooser),
    Passages(Passages),
}

/// Chooses among rows.
struct RowChooser {
    chooser: Chooser,
    /// The candidates.
    source: Arc<dyn Source>,
    /// Where each candidate stands. Empty where the run file gives them.
    places: HashMap<Place, usize>,
    /// Where rows are chosen by meaning.
    vectors: Option<Arc<RowVectors>>,
}

/// How the examples or passages of a run are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExamplePlan {
    /// The kind, as in `prompt.retrieval.type`.
    pub chosen_by: RetrievalKind,
    /// How many for each row.
    pub k: usize,
    /// Among how many rows or passages.
    pub candidates: usize,
    /// The corpus whose passages are shown; none where rows are.
    pub corpus: Option<CorpusCard>,
    /// How vectors are made, where meaning counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<EmbedPlan>,
}

/// The examples chosen for a row.
pub(crate) struct RowExamples {
    /// Where the rows stand; none where passages are shown.
    pub(crate) places: Vec<Place>,
    pub(crate) chosen: Chosen,
    /// The passages; none where rows are shown.
    pub(crate) passages: Vec<ShownPassage>,
    /// The cells that each shows.
    pub(crate) cells: Vec<Map<String, Value>>,
}

/// What a row's prompt shows of the examples chosen for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShownExamples {
    /// Those that are shown, as places among those chosen.
    pub(crate) shown: Vec<usize>,
    /// The lines that they stand on, where they are training rows.
    pub(crate) lines: Option<Vec<usize>>,
    /// Where they stand, where they are passages.
    pub(crate) passages: Option<Vec<ShownPassage>>,
    pub(crate) left_out: usize,
    /// Tokens that they add to the prompt.
    pub(crate) tokens: usize,
    /// How many were drawn for want of a common word.
    pub(crate) drawn: usize,
    /// How many there were not to choose.
    pub(crate) missing: usize,
    /// Whether there was none.
    pub(crate) none: bool,
    /// Where a row stands that says what this one says, and was shown or passed over.
    pub(crate) duplicate: Option<Place>,
}

/// What the rows of a run show as examples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExampleSurvey {
    /// Tokens that examples add to a prompt.
    pub tokens: Lengths,
    /// Rows with fewer examples than were chosen for them, for want of room.
    pub rows_with_fewer: usize,
    /// Examples that were left out.
    pub left_out: usize,
    /// Rows for which there were not so many rows to choose from, the row itself being none of them
    /// and duplicates perhaps passed over; or which share a word with fewer passages than that.
    pub rows_with_too_few: usize,
    /// Rows for which nothing was found.
    pub rows_with_none: usize,
    /// Rows of whose examples some were drawn, since too few training rows share a word with them.
    pub rows_with_drawn: usize,
    /// Rows that a training row says the same as, or nearly so: it was shown, or passed over if the
    /// run file says `duplicates: skip`.
    pub duplicates: Finding,
}

impl Examples {
    /// What a run file asks for; none if it shows no examples.
    pub(crate) fn of(
        machine: &Machine,
        run: &RunFile,
        data: &DataArgs,
        prompt: &PromptSource,
    ) -> Result<Option<Self>, Error> {
        let (Some(how), PromptSource::Layout(layout)) = (&run.config().prompt.retrieval, prompt)
        else {
            return Ok(None);
        };
        let columns = layout.fields_of_rows();
        if let Some(folder) = &how.corpus {
            let (passages, plan) = Passages::open(folder, how)?;
            return Ok(Some(Self { from: From::Passages(passages), columns, plan }));
        }
        let source = match &how.examples {
            Some(given) => given_rows(run, given, layout)?,
            None => training_rows(run.config(), data)?,
        };
        let candidates = candidates(run.config(), source.as_ref(), &columns)?;
        let count = candidates.len();
        let k = if how.examples.is_some() { count } else { how.k.unwrap_or(1) };
        let seed = run.config().random_seed;
        let vectors = match how.kind {
            RetrievalKind::Semantic | RetrievalKind::Hybrid => {
                let all = rows(source.as_ref()).map(|row| row.map(|row| at_place(row, &columns)));
                let all = all.collect::<Result<_, _>>()?;
                Some(RowVectors::open(machine, run.config(), how, all)?)
            }
            _ => None,
        };
        let searcher = searcher(how, &candidates, vectors.as_ref(), seed);
        let chooser = Chooser::new(candidates, searcher, selection(how, k, seed))?;
        let places = match how.examples {
            Some(_) => HashMap::new(),
            None => (0..source.len()).map(|row| (source.place(row), row)).collect(),
        };
        let by = vectors.as_ref().map(|vectors| vectors.plan());
        let plan =
            ExamplePlan { chosen_by: how.kind, k, candidates: count, corpus: None, vectors: by };
        let from = From::Rows(RowChooser { chooser, source, places, vectors });
        Ok(Some(Self { from, columns, plan }))
    }

    /// What somebody who reads answers should know of where they come from.
    pub(crate) fn notes(&self, tokenizer_sha256: &str) -> Vec<String> {
        match &self.from {
            From::Rows(_) => Vec::new(),
            From::Passages(passages) => passages.notes(tokenizer_sha256),
        }
    }

    /// Whether rows that say what the row says are passed over.
    pub(crate) fn skips_duplicates(&self) -> bool {
        match &self.from {
            From::Rows(rows) => rows.chooser.selection().duplicates == Duplicates::Skip,
            From::Passages(_) => false,
        }
    }

    pub(crate) fn plan(&self) -> ExamplePlan {
        self.plan.clone()
    }

    /// How many of a run's rows may be shown as examples for the others.
    pub(crate) fn rows_among(&self, rows: &dyn Source) -> usize {
        let From::Rows(among) = &self.from else { return 0 };
        (0..rows.len()).filter(|&row| among.places.contains_key(&rows.place(row))).count()
    }

    /// Does for all rows together what [`Self::choose`] would do for each: vectors are made in batches.
    pub(crate) fn prepare(
        &self,
        source: &dyn Source,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let From::Rows(RowChooser { vectors: Some(vectors), .. }) = &self.from else {
            return Ok(());
        };
        let all = rows(source).map(|row| row.map(|row| at_place(row, &self.columns)));
        vectors.prepare(&all.collect::<Result<Vec<_>, _>>()?, observer)
    }

    /// The examples for a row. The row itself is none of them.
    pub(crate) fn choose(&self, row: &Row) -> Result<RowExamples, Error> {
        let text = compared(row, &self.columns);
        match &self.from {
            From::Rows(rows) => rows.choose(row, &text),
            From::Passages(passages) => passages.choose(&text),
        }
    }

    /// What of the examples chosen for a row its prompt shows.
    pub(crate) fn shown(&self, of_row: &RowExamples, shown: &ExamplesShown) -> ShownExamples {
        let chosen = of_row.chosen.examples.len();
        let common = ShownExamples {
            shown: shown.shown.clone(),
            left_out: shown.left_out,
            tokens: shown.tokens,
            drawn: of_row.chosen.drawn,
            missing: self.plan.k - chosen,
            none: chosen == 0,
            ..ShownExamples::default()
        };
        let From::Rows(rows) = &self.from else {
            let passages = shown.shown.iter().map(|&at| of_row.passages[at].clone()).collect();
            return ShownExamples { passages: Some(passages), ..common };
        };
        let lines = || shown.shown.iter().map(|&at| of_row.places[at].line).collect();
        ShownExamples {
            lines: (!rows.places.is_empty()).then(lines),
            duplicate: rows.duplicate(of_row, shown),
            ..common
        }
    }
}

impl RowChooser {
    fn choose(&self, row: &Row, text: &str) -> Result<RowExamples, Error> {
        let itself = self.places.get(&row.place).copied();
        let chosen = self.chooser.choose(&Query { text, itself })?;
        let rows = chosen.candidates().map(|candidate| self.source.row(candidate));
        let rows = rows.map(|row| row.map(|row| (row.place, row.fields)));
        let (places, cells) = rows.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok(RowExamples { places, chosen, passages: Vec::new(), cells })
    }

    /// Where a row stands that says what this one says, and is shown or was passed over.
    fn duplicate(&self, of_row: &RowExamples, shown: &ExamplesShown) -> Option<Place> {
        let chosen = &of_row.chosen.examples;
        let visible =
            |candidate: usize| shown.shown.iter().any(|&at| chosen[at].candidate == candidate);
        let skipped = |candidate: usize| chosen.iter().all(|it| it.candidate != candidate);
        let mut duplicates = of_row.chosen.duplicates.iter().map(|it| it.candidate);
        duplicates
            .find(|&it| visible(it) || skipped(it))
            .map(|candidate| self.source.place(candidate))
    }
}

impl RowExamples {
    /// As the renderer takes them.
    pub(crate) fn shots(&self) -> Vec<Example<'_>> {
        let ranks = self.chosen.examples.iter().map(|picked| picked.rank);
        let shown = self.cells.iter().zip(ranks).enumerate();
        shown.map(|(number, (cells, rank))| Example { number, cells, rank }).collect()
    }
}

impl ExampleSurvey {
    /// Of rows that were rendered; none where they show no examples.
    pub(crate) fn of(rows: &[Prepared]) -> Option<Self> {
        let shown = || rows.iter().filter_map(|row| Some((row, row.examples.as_ref()?)));
        let count = |test: fn(&ShownExamples) -> bool| shown().filter(|(_, it)| test(it)).count();
        let mut duplicates = Finding::default();
        for (row, examples) in shown() {
            if let Some(other) = &examples.duplicate {
                duplicates.add(&format!("{} as {other}", row.place));
            }
        }
        Some(Self {
            tokens: Lengths::of(shown().map(|(_, it)| it.tokens).collect())?,
            rows_with_fewer: count(|it| it.left_out > 0),
            left_out: shown().map(|(_, it)| it.left_out).sum(),
            rows_with_too_few: count(|it| it.missing > 0),
            rows_with_none: count(|it| it.none),
            rows_with_drawn: count(|it| it.drawn > 0),
            duplicates,
        })
    }

    /// What somebody who reads answers should know.
    pub(crate) fn notes(&self, plan: &ExamplePlan, skips: bool) -> Vec<String> {
        let mut notes = Vec::new();
        let what = if plan.corpus.is_some() { "passages" } else { "examples" };
        if self.rows_with_fewer > 0 {
            notes.push(format!(
                "{} rows show fewer {what} than were chosen, for want of room: {} were left out",
                self.rows_with_fewer, self.left_out
            ));
        }
        if plan.corpus.is_some() {
            if self.rows_with_none > 0 {
                notes.push(format!(
                    "{} rows share no word with any passage, and show none",
                    self.rows_with_none
                ));
            }
            return notes;
        }
        if self.rows_with_too_few > 0 {
            notes.push(format!(
                "{} rows show fewer examples than `prompt.retrieval` asks for: there are no others",
                self.rows_with_too_few
            ));
        }
        if self.rows_with_drawn > 0 {
            notes.push(format!(
                "{} rows share a word with too few training rows; the rest of their examples was \
                 drawn",
                self.rows_with_drawn
            ));
        }
        let found = self.duplicates.rows;
        let first = self.duplicates.first.join(", ");
        match (found, skips) {
            (0, _) => {}
            (_, true) => notes.push(format!(
                "{found} rows stand among the examples in the same or nearly the same words, which \
                 were passed over: {first}"
            )),
            (_, false) => notes.push(format!(
                "{found} rows are shown an example in the same or nearly the same words, which \
                 gives the answer away where it is the same (`duplicates: skip` passes over \
                 it): {first}"
            )),
        }
        notes
    }
}

/// The rows that the run file gives. Mistakes in them point into it.
fn given_rows(
    run: &RunFile,
    given: &[indexmap::IndexMap<String, String>],
    layout: &Layout,
) -> Result<Arc<dyn Source>, Error> {
    let cells = |row: &indexmap::IndexMap<String, String>| {
        row.iter().map(|(column, text)| (column.clone(), Value::from(text.as_str()))).collect()
    };
    let source = Memory::new(OF_RUN_FILE, given.iter().map(cells).collect());
    let mut problems = Vec::new();
    for (number, row) in rows(&source).enumerate() {
        let example = Example { number, cells: &row?.fields, rank: 0 };
        if let Err(error) = layout.check_example(&example) {
            let path = format!("{OF_RUN_FILE}.{number}");
            let kind = config::Kind::Missing;
            problems.push(run.document().problem(kind, &path, error.to_string()));
        }
    }
    if problems.is_empty() {
        return Ok(Arc::new(source));
    }
    Err(Error::RunFile(run.document().problems(problems)))
}

/// The training rows, as training would have them.
fn training_rows(config: &config::RunConfig, data: &DataArgs) -> Result<Arc<dyn Source>, Error> {
    let data = DataArgs { split: SplitChoice::Training, ..data.clone() };
    if !data.has_rows() {
        return Err(Error::NoCandidates);
    }
    match dataset::rows(config, &data, true) {
        Ok(rows) => Ok(rows.source),
        Err(Error::EmptySplit { .. }) => Err(Error::NoCandidates),
        Err(error) => Err(error),
    }
}

fn candidates(
    config: &config::RunConfig,
    source: &dyn Source,
    columns: &[String],
) -> Result<Arc<Candidates>, Error> {
    let output = config.output().column();
    fidelio_data::require_columns(source, &[output])?;
    let mut candidates = Vec::with_capacity(source.len());
    for row in rows(source) {
        let row = row?;
        let label = row.fields.get(output).and_then(text).map(std::borrow::Cow::into_owned);
        candidates.push(Candidate { text: compared(&row, columns), label });
    }
    Ok(Candidates::new(candidates).shared())
}

/// What is compared of a row: the text of all columns that the prompt shows.
fn compared(row: &Row, columns: &[String]) -> String {
    let cells = columns.iter().filter_map(|column| row.fields.get(column).and_then(text));
    cells.collect::<Vec<_>>().join("\n")
}

/// A row's text with its place.
fn at_place(row: Row, columns: &[String]) -> (String, Place) {
    (compared(&row, columns), row.place)
}

fn searcher(
    how: &config::Retrieval,
    candidates: &Arc<Candidates>,
    vectors: Option<&Arc<RowVectors>>,
    seed: u64,
) -> Box<dyn Searcher> {
    let candidates = Arc::clone(candidates);
    if let Some(vectors) = vectors {
        let semantic = Box::new(ByMeaning(Arc::clone(vectors)));
        return match how.kind {
            RetrievalKind::Hybrid => {
                Box::new(Hybrid::new(vec![Box::new(Bm25::new(candidates))], semantic))
            }
            _ => semantic,
        };
    }
    match how.kind {
        RetrievalKind::Random => Box::new(Random::new(candidates, seed)),
        RetrievalKind::Bm25 => Box::new(Bm25::new(candidates)),
        RetrievalKind::Fixed if how.examples.is_some() => Box::new(Given::new(candidates)),
        RetrievalKind::Fixed => Box::new(Random::once(candidates, seed)),
        RetrievalKind::Semantic | RetrievalKind::Hybrid => {
            unreachable!("those come with vectors")
        }
    }
}

fn selection(how: &config::Retrieval, k: usize, seed: u64) -> Selection {
    Selection {
        k,
        balance: how.balance.unwrap_or(false),
        diversity: how.diversity.unwrap_or(0.0) as f32,
        duplicates: match how.duplicates {
            Some(config::Duplicates::Skip) => Duplicates::Skip,
            Some(config::Duplicates::Show) | None => Duplicates::Show,
        },
        order: match how.order {
            Some(config::ExampleOrder::SimilarLast) => Order::BestLast,
            // What is drawn or given has the order of the draw, or the one it is given in.
            Some(config::ExampleOrder::SimilarFirst) | None => Order::BestFirst,
        },
        seed,
    }
}
