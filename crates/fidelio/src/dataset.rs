//! Which rows a run is about.

use std::{path::PathBuf, sync::Arc};

use fidelio_config as config;
use fidelio_data::{
    Division, Filled, MissingValues, Note, ReadOptions, Sampling, Source, Split, Strategy, Subset,
    Table, divide,
};

use crate::Error;

/// The files that a command names, and the part of them that it wants.
#[derive(Debug, Clone, Default)]
pub struct DataArgs {
    /// One table, in one or several files; divided as the run file says.
    pub dataset: Vec<PathBuf>,
    /// Tables that are divided already.
    pub training_set: Vec<PathBuf>,
    /// The same.
    pub validation_set: Vec<PathBuf>,
    /// The same.
    pub test_set: Vec<PathBuf>,
    /// How the files are read.
    pub options: ReadOptions,
    /// The part that is wanted.
    pub split: SplitChoice,
    /// Cross-validation: these rows are tested, the rest is learnt, whatever the run file's split.
    pub fold: Option<Fold>,
}

/// One of the folds that a table is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// Which, counted from 0.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

/// A part of the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitChoice {
    /// All rows (after sampling).
    #[default]
    Full,
    /// The training rows.
    Training,
    /// The validation rows.
    Validation,
    /// The test rows.
    Test,
}

impl SplitChoice {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl DataArgs {
    /// All rows of one file.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { dataset: vec![path.into()], ..Self::default() }
    }

    /// Whether any file can hold rows of the part that is wanted.
    pub(crate) fn has_rows(&self) -> bool {
        !self.files().0.is_empty()
    }

    /// The files that training and validation rows come from.
    pub(crate) fn learnt_from(&self) -> Vec<PathBuf> {
        if !self.dataset.is_empty() {
            return self.dataset.clone();
        }
        [&self.training_set, &self.validation_set].into_iter().flatten().cloned().collect()
    }

    /// The files of the part that is wanted, and whether they still have to be divided.
    fn files(&self) -> (Vec<PathBuf>, bool) {
        if !self.dataset.is_empty() {
            return (self.dataset.clone(), true);
        }
        let files = match self.split {
            SplitChoice::Training => self.training_set.clone(),
            SplitChoice::Validation => self.validation_set.clone(),
            SplitChoice::Test => self.test_set.clone(),
            SplitChoice::Full => [&self.training_set, &self.validation_set, &self.test_set]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
        };
        (files, false)
    }
}

/// The rows of a run, sampled, divided, and with missing cells treated.
pub(crate) struct Rows {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) notes: Vec<Note>,
    pub(crate) files: Vec<PathBuf>,
    /// Rows in the files.
    pub(crate) read: usize,
}

/// Reads what `data` names. `answers`: rows without an expected answer are treated as the run
/// file says; without it, the output column is left as it is.
pub(crate) fn rows(
    config: &config::RunConfig,
    data: &DataArgs,
    answers: bool,
) -> Result<Rows, Error> {
    rows_of(&config.preprocessing, config.random_seed, data, &treatments(config, answers))
}

/// Reads what `data` names, sampled and divided. A column that the data does not have is left to the
/// checks that need it.
pub(crate) fn rows_of(
    how: &config::Preprocessing,
    seed: u64,
    data: &DataArgs,
    treatments: &[(&str, MissingValues)],
) -> Result<Rows, Error> {
    let (files, whole) = data.files();
    let table: Arc<dyn Source> = Arc::new(Table::open(&files, &data.options)?);
    let read = table.len();
    let mut notes = Vec::new();
    let wanted = if whole {
        part(how, seed, table.as_ref(), data, &mut notes)?
    } else {
        (0..read).collect()
    };
    if wanted.is_empty() {
        return Err(Error::EmptySplit { split: data.split.name() });
    }
    let all = wanted.len() == read;
    let chosen: Arc<dyn Source> = if all { table } else { Arc::new(Subset::new(table, wanted)) };
    let columns = chosen.columns().to_vec();
    let has = |column: &str| columns.iter().any(|have| have == column);
    let treatments: Vec<_> = treatments.iter().filter(|(column, _)| has(column)).cloned().collect();
    let filled = Filled::new(chosen, &treatments)?;
    notes.extend(filled.notes().iter().cloned());
    if filled.is_empty() {
        return Err(Error::EmptySplit { split: data.split.name() });
    }
    Ok(Rows { source: Arc::new(filled), notes, files, read })
}

/// The numbers of the rows in the part that is wanted.
fn part(
    how: &config::Preprocessing,
    seed: u64,
    table: &dyn Source,
    data: &DataArgs,
    notes: &mut Vec<Note>,
) -> Result<Vec<usize>, Error> {
    let sampling = Sampling { sample_ratio: how.sample_ratio, sample_size: how.sample_size };
    let split = data.split;
    if split == SplitChoice::Full {
        let all = (0..table.len()).collect();
        return Ok(sampling.take(all, seed, notes)?);
    }
    if let Some(Fold { number, of }) = data.fold {
        let all = sampling.take((0..table.len()).collect(), seed, notes)?;
        let (fold, rest) = fidelio_data::fold(&all, number, of, seed);
        return Ok(match data.split {
            SplitChoice::Training => rest,
            SplitChoice::Validation => Vec::new(),
            SplitChoice::Test | SplitChoice::Full => fold,
        });
    }
    let Division { train, validation, test, notes: divided } =
        divide(table, &sampling, &split_of(&how.split), seed)?;
    notes.extend(divided);
    Ok(match split {
        SplitChoice::Training => train,
        SplitChoice::Validation => validation,
        SplitChoice::Test | SplitChoice::Full => test,
    })
}

fn split_of(split: &config::Split) -> Split {
    match split.clone() {
        config::Split::Random { probabilities } => Split::Random { probabilities },
        config::Split::Fixed { column } => Split::Fixed { column },
        config::Split::Stratify { column, probabilities } => {
            Split::Stratify { column, probabilities }
        }
        config::Split::Datetime { column, datetime_format, fill_value, probabilities } => {
            Split::Datetime { column, probabilities, datetime_format, fill_value }
        }
        config::Split::Hash { column, probabilities } => Split::Hash { column, probabilities },
    }
}

/// What is done about missing cells: in the input column, and in the output column if answers
/// are wanted.
fn treatments(config: &config::RunConfig, answers: bool) -> Vec<(&str, MissingValues)> {
    let mut columns = Vec::new();
    let input = config.input();
    if let Some(column) = input.column.as_deref() {
        let cells = &input.preprocessing;
        columns
            .push((column, treatment(cells.missing_value_strategy, cells.fill_value.as_deref())));
    }
    if answers {
        let (strategy, fill) = match config.output() {
            config::OutputFeature::Text(text) => (
                text.preprocessing.missing_value_strategy,
                text.preprocessing.fill_value.as_deref(),
            ),
            config::OutputFeature::Category(category) => (
                category.preprocessing.missing_value_strategy,
                category.preprocessing.fill_value.as_deref(),
            ),
        };
        columns.push((config.output().column(), treatment(strategy, fill)));
    }
    columns
}

pub(crate) fn treatment(strategy: config::MissingValues, fill: Option<&str>) -> MissingValues {
    let missing_value_strategy = match strategy {
        config::MissingValues::FillWithConst => Strategy::FillWithConst,
        config::MissingValues::FillWithMode => Strategy::FillWithMode,
        config::MissingValues::Bfill => Strategy::Bfill,
        config::MissingValues::Ffill => Strategy::Ffill,
        config::MissingValues::DropRow => Strategy::DropRow,
    };
    let fill_value = fill.map_or(MissingValues::input().fill_value, Into::into);
    MissingValues { missing_value_strategy, fill_value }
}
