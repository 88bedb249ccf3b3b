//! The encoders of a head's inputs: rows become vectors.

use std::borrow::Cow;

use fidelio_backend::Pooling;
use fidelio_config::{self as config, Encoder, ProbeInput, ReduceOutput};
use fidelio_data::Row;
use fidelio_probe::Rows;
use fidelio_weights::Progress;

use super::ProbeFile;
use crate::{
    EmbedOptions, EmbedPlan, EmbedUsage, Embedder, Error, Event, LongTexts, Machine, Observer,
    TextAt,
};

/// Encoders, and which column each of them reads.
#[derive(Debug)]
pub struct Encoders {
    /// The columns, in the order of the inputs, each with the number of its encoder.
    columns: Vec<(String, usize)>,
    embedders: Vec<Embedder>,
}

impl Encoders {
    /// Finds the models that a run file names, downloading them if need be. Inputs with the same
    /// encoder share it.
    ///
    /// # Errors
    /// When one cannot be found, fetched or read, or is none of the kind that the run file says.
    pub fn open(
        machine: &Machine,
        run: &ProbeFile,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let inputs = &run.config().input_features;
        let mut opened: Vec<&ProbeInput> = Vec::new();
        let mut encoders = Self { columns: Vec::new(), embedders: Vec::new() };
        for (number, input) in inputs.iter().enumerate() {
            let same = |other: &&ProbeInput| {
                other.encoder == input.encoder
                    && other.preprocessing.long_texts == input.preprocessing.long_texts
                    && other.preprocessing.cache_encoder_embeddings
                        == input.preprocessing.cache_encoder_embeddings
            };
            let place = if let Some(place) = opened.iter().position(same) {
                place
            } else {
                let (model, device) = (input.encoder.model(), &run.config().device);
                let embedder = Embedder::open(machine, model, device, &options(input), progress)?;
                check_kind(run, number, &embedder)?;
                opened.push(input);
                encoders.embedders.push(embedder);
                opened.len() - 1
            };
            encoders.columns.push((input.column.clone(), place));
        }
        Ok(encoders)
    }

    /// How vectors are made, encoder by encoder.
    pub fn plans(&self) -> impl Iterator<Item = &EmbedPlan> {
        self.embedders.iter().map(Embedder::plan)
    }

    pub(super) fn compute_anew(&mut self) {
        self.embedders.iter_mut().for_each(Embedder::compute_anew);
    }

    pub(crate) fn embedders(&self) -> &[Embedder] {
        &self.embedders
    }

    /// The columns that are read.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(column, _)| &**column)
    }

    /// Looks at rows as [`Self::vectors`] would, and computes nothing.
    ///
    /// # Errors
    /// [`Error::Texts`] with every text that is too long or has no token.
    pub fn survey(&mut self, rows: &[Row]) -> Result<EmbedUsage, Error> {
        let mut usage = EmbedUsage::default();
        for number in 0..self.embedders.len() {
            let texts = self.texts(rows, number)?;
            add(&mut usage, &self.embedders[number].survey(&at(&texts, rows))?);
        }
        Ok(usage)
    }

    /// The vectors of rows: those of the inputs, one behind the other.
    ///
    /// # Errors
    /// [`Error::Texts`], [`Error::Stopped`], and when an engine fails.
    pub fn vectors(
        &mut self,
        rows: &[Row],
        observer: &mut dyn Observer,
    ) -> Result<(Rows, EmbedUsage), Error> {
        let mut usage = EmbedUsage::default();
        let mut of_encoder = Vec::with_capacity(self.embedders.len());
        for number in 0..self.embedders.len() {
            let texts = self.texts(rows, number)?;
            let embedder = &mut self.embedders[number];
            let embedded = embedder.embed(&at(&texts, rows), observer);
            // One model at a time is in memory.
            embedder.close();
            let embedded = embedded?;
            if embedded.stopped {
                return Err(Error::Stopped);
            }
            add(&mut usage, &embedded.usage);
            let vectors: Vec<Vec<f32>> = embedded.vectors.into_iter().flatten().collect();
            of_encoder.push(vectors.into_iter());
        }
        if usage.cut_texts > 0 {
            observer.on(&Event::Note(format!(
                "{} texts are read without their last {} tokens, as `long_texts: truncate` says",
                usage.cut_texts, usage.cut_tokens
            )));
        }
        Ok((self.joined(rows.len(), of_encoder)?, usage))
    }

    /// Puts the vectors of a row's inputs one behind the other. Each encoder has given those of its
    /// inputs, row after row.
    fn joined(
        &self,
        rows: usize,
        mut of_encoder: Vec<std::vec::IntoIter<Vec<f32>>>,
    ) -> Result<Rows, Error> {
        let mut joined: Option<Rows> = None;
        for _ in 0..rows {
            let mut vector = Vec::new();
            for (_, encoder) in &self.columns {
                vector.extend(of_encoder[*encoder].next().into_iter().flatten());
            }
            joined.get_or_insert_with(|| Rows::new(vector.len())).push(&vector)?;
        }
        Ok(joined.unwrap_or_default())
    }

    /// The texts that an encoder reads, row after row.
    fn texts<'a>(
        &self,
        rows: &'a [Row],
        encoder: usize,
    ) -> Result<Vec<(Cow<'a, str>, usize)>, Error> {
        let mut texts = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            for (column, _) in self.columns.iter().filter(|(_, place)| *place == encoder) {
                texts.push((fidelio_data::text(row.cell(column)?).unwrap_or_default(), number));
            }
        }
        Ok(texts)
    }
}

fn at<'a>(texts: &'a [(Cow<'a, str>, usize)], rows: &'a [Row]) -> Vec<TextAt<'a>> {
    let at =
        |(text, row): &'a (Cow<'a, str>, usize)| TextAt { text, place: Some(&rows[*row].place) };
    texts.iter().map(at).collect()
}

fn options(input: &ProbeInput) -> EmbedOptions {
    let pooling = input.encoder.reduce_output().map(|reduce| match reduce {
        ReduceOutput::Mean | ReduceOutput::Avg => Pooling::Mean,
        ReduceOutput::Last => Pooling::Last,
        ReduceOutput::ClsPooled => Pooling::Cls,
    });
    EmbedOptions {
        pooling,
        normalize: input.encoder.normalize(),
        long_texts: match input.preprocessing.long_texts {
            config::LongTexts::Error => LongTexts::Error,
            config::LongTexts::Truncate => LongTexts::Truncate,
        },
        anew: !input.preprocessing.cache_encoder_embeddings,
    }
}

/// Architectures that are no language models.
const ENCODERS: [&str; 5] = ["bert", "distilbert", "modernbert", "roberta", "xlm-roberta"];

/// `bert` and `llm` say what the model is; it must be that.
fn check_kind(run: &ProbeFile, number: usize, embedder: &Embedder) -> Result<(), Error> {
    let card = embedder.card();
    let architecture = card.description.architecture.as_deref().unwrap_or("unknown");
    let encoder = &run.config().input_features[number].encoder;
    let (fits, other) = match encoder {
        Encoder::Bert { .. } => (architecture == "bert", "`auto_transformer` takes any model"),
        Encoder::Llm { .. } => {
            (!ENCODERS.contains(&architecture), "`auto_transformer` takes any model")
        }
        _ => return Ok(()),
    };
    if fits {
        return Ok(());
    }
    let path = format!("input_features.{number}.encoder.{}", encoder.model_key());
    let message = format!("`{}` is of the architecture `{architecture}`", card.base_model);
    let document = run.document();
    let problem = document.problem(fidelio_config::Kind::Contradiction, &path, message).hint(other);
    Err(Error::RunFile(document.problems(vec![problem])))
}

fn add(into: &mut EmbedUsage, more: &EmbedUsage) {
    into.texts += more.texts;
    into.computed += more.computed;
    into.from_cache += more.from_cache;
    into.tokens += more.tokens;
    into.cut_texts += more.cut_texts;
    into.cut_tokens += more.cut_tokens;
    into.seconds += more.seconds;
    into.texts_per_second =
        (into.computed > 0).then(|| into.computed as f64 / into.seconds.max(1e-9));
}
