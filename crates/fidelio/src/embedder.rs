//! Vectors of texts: for `embed`, for examples by meaning, and for programs.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use fidelio_backend::{Forest, Parent, Pooling, Session};
use fidelio_data::Place;
use fidelio_weights::Progress;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokenizers::{Tokenizer, TruncationParams};

use crate::{
    Device, Error, Event, Flow, Machine, Model, ModelCard, Observer, Opening, Stage,
    hashes::sha256,
    provenance::base_weights,
    vector_cache::{Key, VectorCache},
};

/// Tokens that go through the model together.
const BATCH: usize = 2048;
/// How often what was computed is put into the cache.
const SAVES: Duration = Duration::from_secs(30);
/// No vector is divided by less than this to bring it to length 1.
const LEAST_LENGTH: f64 = 1e-12;

/// How vectors are made, where it is not as the model says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmbedOptions {
    /// How the states of a text's tokens become one vector.
    pub pooling: Option<Pooling>,
    /// Whether vectors are brought to length 1.
    pub normalize: Option<bool>,
    /// What happens to a text that is too long.
    pub long_texts: LongTexts,
    /// Whether vectors are computed that the cache has already.
    pub anew: bool,
}

/// What happens to a text of more tokens than the model takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LongTexts {
    /// Nothing is computed, and all such texts are named.
    #[default]
    Error,
    /// Its end is cut off, and counted. This is what sentence-transformers does, without counting.
    Truncate,
}

/// How vectors are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EmbedPlan {
    /// The model, as the user named it.
    pub model: String,
    /// SHA-256 of its weights, in hexadecimal.
    pub weights_sha256: String,
    /// What computes.
    pub device: String,
    /// How the states of a text's tokens become one vector.
    pub pooling: Pooling,
    /// Whether vectors are brought to length 1.
    pub normalize: bool,
    /// The longest text in tokens, special ones included.
    pub max_tokens: usize,
    /// What happens to longer ones.
    pub long_texts: LongTexts,
}

/// A text, and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct TextAt<'a> {
    /// The text.
    pub text: &'a str,
    /// Its row, if it comes from a table.
    pub place: Option<&'a Place>,
}

/// A text of which no vector can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextProblem {
    /// Its number among the texts, from 0.
    pub text: usize,
    /// Its row, if it comes from a table.
    pub place: Option<Place>,
    /// What is wrong with it.
    pub fault: TextFault,
}

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFault {
    /// It has more tokens than the model takes.
    TooLong {
        /// How many.
        tokens: usize,
        /// How many it takes.
        most: usize,
    },
    /// It has none.
    NoToken,
}

impl std::fmt::Display for TextProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}")?,
            None => write!(f, "text {}", self.text + 1)?,
        }
        match self.fault {
            TextFault::TooLong { tokens, most } => {
                write!(f, " has {tokens} tokens, at most {most} fit")
            }
            TextFault::NoToken => f.write_str(" has no token"),
        }
    }
}

/// The vectors of some texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// In the order of the texts. Where the work was stopped, those that were done by then.
    pub vectors: Vec<Option<Vec<f32>>>,
    /// What it took.
    pub usage: EmbedUsage,
    /// Whether the observer stopped it.
    pub stopped: bool,
}

/// What making vectors took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct EmbedUsage {
    /// Texts asked for.
    pub texts: usize,
    /// Texts that were computed; equal ones count once.
    pub computed: usize,
    /// Texts whose vectors the cache had; equal ones count once.
    pub from_cache: usize,
    /// Tokens that went through the model.
    pub tokens: u64,
    /// Texts whose end was cut off.
    pub cut_texts: usize,
    /// Tokens that were cut off; of equal texts once.
    pub cut_tokens: u64,
    /// Seconds, from the first text to the last vector.
    pub seconds: f64,
    /// Computed texts per second, where any were computed.
    pub texts_per_second: Option<f64>,
}

/// A model that makes vectors of texts. It is put on its device when the first one is computed.
///
/// ```no_run
/// use fidelio::{EmbedOptions, Embedder, Machine, Silent, TextAt, weights};
///
/// # fn main() -> Result<(), fidelio::Error> {
/// let machine = Machine::of_process(&[])?;
/// let options = EmbedOptions::default();
/// let mut embedder = Embedder::open(&machine, "minilm", "auto", &options, &weights::Silent)?;
/// let texts = [TextAt { text: "A man is eating food.", place: None }];
/// let embedded = embedder.embed(&texts, &mut Silent)?;
/// assert_eq!(embedded.vectors[0].as_ref().map(Vec::len), Some(384));
/// # Ok(())
/// # }
/// ```
pub struct Embedder {
    model: Model,
    device: Device,
    session: Option<Box<dyn Session>>,
    plan: EmbedPlan,
    /// None where vectors are not kept.
    cache: Option<VectorCache>,
    anew: bool,
    /// Cuts a text at the longest that fits; made when it is first needed.
    cutter: Option<Tokenizer>,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// A text that is not in the cache.
struct Pending {
    key: Key,
    ids: Vec<u32>,
    /// The texts that are this one.
    texts: Vec<usize>,
}

impl Embedder {
    /// Finds a model (folder, GGUF file, hub id or alias), downloading it if need be.
    ///
    /// # Errors
    /// When it cannot be found, fetched or read, when its settings ask for what is not built, or when
    /// there is no such device.
    pub fn open(
        machine: &Machine,
        base_model: &str,
        device: &str,
        options: &EmbedOptions,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let device = machine.device(device)?;
        let model = Model::find(machine, base_model, progress)?;
        let settings = model.checkpoint().sentence_settings()?;
        let context = model.checkpoint().describe().context.map_or(usize::MAX, |it| it as usize);
        let max_tokens = settings.and_then(|it| it.max_tokens).unwrap_or(usize::MAX).min(context);
        let pooling = settings.map_or(Pooling::Mean, |it| it.pooling);
        let plan = EmbedPlan {
            model: base_model.to_owned(),
            weights_sha256: base_weights(&machine.hashes(), &model)?.sha256,
            device: device.name(),
            pooling: options.pooling.unwrap_or(pooling),
            normalize: options.normalize.unwrap_or(settings.is_some_and(|it| it.normalize)),
            max_tokens,
            long_texts: options.long_texts,
        };
        let root = machine.settings().cache_dir.value.join("embeddings");
        let cache = Some(VectorCache::new(&root, &depends_on(&plan, &model)));
        let (session, cutter, anew) = (None, None, options.anew);
        Ok(Self { model, device, session, plan, cache, anew, cutter })
    }

    /// Neither looks into the cache of vectors nor adds to it: texts of strangers leave nothing behind.
    #[must_use]
    pub fn without_cache(self) -> Self {
        Self { cache: None, ..self }
    }

    /// From now on computes vectors even if the cache has them.
    pub(crate) fn compute_anew(&mut self) {
        self.anew = true;
    }

    /// How vectors are made.
    pub fn plan(&self) -> &EmbedPlan {
        &self.plan
    }

    /// The model.
    pub fn card(&self) -> ModelCard {
        self.model.card()
    }

    /// Looks at texts as [`Self::embed`] would, and computes nothing: of `computed`, what is said is
    /// how many it would compute.
    ///
    /// # Errors
    /// [`Error::Texts`] with every text that is too long or has no token.
    pub fn survey(&mut self, texts: &[TextAt<'_>]) -> Result<EmbedUsage, Error> {
        let mut usage = EmbedUsage { texts: texts.len(), ..EmbedUsage::default() };
        let mut vectors = vec![None; texts.len()];
        let pending = self.look_up(texts, &mut vectors, &mut usage)?;
        usage.computed = pending.len();
        usage.tokens = pending.iter().map(|it| it.ids.len() as u64).sum();
        Ok(usage)
    }

    /// Takes the model off its device, until something is computed again.
    pub fn close(&mut self) {
        self.session = None;
    }

    /// The vectors of texts, in their order. Equal texts are computed once, and none that the cache
    /// has. Stops after the batch in progress where the observer says so.
    ///
    /// # Errors
    /// [`Error::Texts`] with every text that is too long or has no token, before anything is computed;
    /// and when the engine fails.
    pub fn embed(
        &mut self,
        texts: &[TextAt<'_>],
        observer: &mut dyn Observer,
    ) -> Result<Embedded, Error> {
        let started = Instant::now();
        let mut usage = EmbedUsage { texts: texts.len(), ..EmbedUsage::default() };
        let mut vectors = vec![None; texts.len()];
        let mut pending = self.look_up(texts, &mut vectors, &mut usage)?;
        // Longest first: what does not fit into memory fails at once. Texts of one length meet.
        pending.sort_by_key(|it| std::cmp::Reverse(it.ids.len()));
        let stopped = self.compute(&pending, &mut vectors, &mut usage, observer)?;
        usage.seconds = started.elapsed().as_secs_f64();
        usage.texts_per_second =
            (usage.computed > 0).then(|| usage.computed as f64 / usage.seconds.max(1e-9));
        Ok(Embedded { vectors, usage, stopped })
    }

    /// Fills in what the cache has, and says what is left to compute.
    fn look_up(
        &mut self,
        texts: &[TextAt<'_>],
        vectors: &mut [Option<Vec<f32>>],
        usage: &mut EmbedUsage,
    ) -> Result<Vec<Pending>, Error> {
        let mut of_text: HashMap<&str, Vec<usize>> = HashMap::new();
        for (number, it) in texts.iter().enumerate() {
            of_text.entry(it.text).or_default().push(number);
        }
        // In the order of the texts, so that a run is the same each time.
        let mut different: Vec<Vec<usize>> = of_text.into_values().collect();
        different.sort_unstable();

        let whole = |numbers: &[usize]| key(texts[numbers[0]].text, None);
        let known = self.known(different.iter().map(|numbers| whole(numbers)));
        let (mut pending, mut cut, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for numbers in different {
            let key = whole(&numbers);
            if let Some(vector) = known.get(&key) {
                usage.from_cache += 1;
                give(vectors, &numbers, vector);
                continue;
            }
            let (ids, tokens) = self.tokens(texts[numbers[0]].text)?;
            let fault = match tokens {
                0 => Some(TextFault::NoToken),
                _ if tokens > self.plan.max_tokens && self.plan.long_texts == LongTexts::Error => {
                    Some(TextFault::TooLong { tokens, most: self.plan.max_tokens })
                }
                _ => None,
            };
            if let Some(fault) = fault {
                problems.extend(numbers.into_iter().map(|text| TextProblem {
                    text,
                    place: texts[text].place.cloned(),
                    fault,
                }));
            } else if tokens > ids.len() {
                cut.push((tokens - ids.len(), Pending { key, ids, texts: numbers }));
            } else {
                pending.push(Pending { key, ids, texts: numbers });
            }
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.text);
            return Err(Error::Texts { problems, texts: texts.len() });
        }
        self.look_up_cut(texts, cut, &mut pending, vectors, usage);
        Ok(pending)
    }

    /// The same for texts that are cut, which have keys of their own: the vector of a whole text must
    /// not stand for a cut one.
    fn look_up_cut(
        &self,
        texts: &[TextAt<'_>],
        cut: Vec<(usize, Pending)>,
        pending: &mut Vec<Pending>,
        vectors: &mut [Option<Vec<f32>>],
        usage: &mut EmbedUsage,
    ) {
        let keyed: Vec<(usize, Pending)> = cut
            .into_iter()
            .map(|(off, it)| {
                let key = key(texts[it.texts[0]].text, Some(self.plan.max_tokens));
                (off, Pending { key, ..it })
            })
            .collect();
        let known = self.known(keyed.iter().map(|(_, it)| it.key));
        for (off, it) in keyed {
            usage.cut_texts += it.texts.len();
            usage.cut_tokens += off as u64;
            if let Some(vector) = known.get(&it.key) {
                usage.from_cache += 1;
                give(vectors, &it.texts, vector);
            } else {
                pending.push(it);
            }
        }
    }

    fn known(&self, keys: impl Iterator<Item = Key>) -> HashMap<Key, Vec<f32>> {
        let cache = self.cache.as_ref().filter(|_| !self.anew);
        cache.map(|cache| cache.load(&keys.collect::<HashSet<_>>())).unwrap_or_default()
    }

    /// A text's ids, as many as the model takes, and how many there are.
    fn tokens(&mut self, text: &str) -> Result<(Vec<u32>, usize), Error> {
        let vocabulary = self.model.vocabulary();
        let encoded = vocabulary.tokenizer().encode_fast(text, true);
        let mut ids = encoded.map_err(tokenizer_error)?.get_ids().to_vec();
        let bos = vocabulary.bos().filter(|&bos| vocabulary.add_bos() && ids.first() != Some(&bos));
        ids.splice(0..0, bos);
        let (tokens, most) = (ids.len(), self.plan.max_tokens);
        if tokens > most && self.plan.long_texts == LongTexts::Truncate {
            if self.cutter.is_none() {
                self.cutter =
                    Some(cutter(vocabulary.tokenizer(), most - usize::from(bos.is_some()))?);
            }
            let cutter = self.cutter.as_ref().expect("it was just made");
            ids = cutter.encode_fast(text, true).map_err(tokenizer_error)?.get_ids().to_vec();
            ids.splice(0..0, bos);
        }
        Ok((ids, tokens))
    }

    /// Whether it was stopped.
    fn compute(
        &mut self,
        pending: &[Pending],
        vectors: &mut [Option<Vec<f32>>],
        usage: &mut EmbedUsage,
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        if pending.is_empty() {
            return Ok(false);
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.model.open(&self.device, &Opening::default())?,
        };
        let outcome = self.batches(session.as_mut(), pending, vectors, usage, observer);
        self.session = Some(session);
        outcome
    }

    fn batches(
        &self,
        session: &mut dyn Session,
        pending: &[Pending],
        vectors: &mut [Option<Vec<f32>>],
        usage: &mut EmbedUsage,
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        let mut unsaved: Vec<(Key, Vec<f32>)> = Vec::new();
        let mut saved = Instant::now();
        let (mut rest, mut stopped) = (pending, false);
        while !rest.is_empty() && !stopped {
            let (batch, further) = rest.split_at(batch_len(rest));
            rest = further;
            let made = match self.batch(session, batch) {
                Ok(made) => made,
                Err(error) => {
                    self.save(&mut unsaved, observer);
                    return Err(error);
                }
            };
            for (it, vector) in batch.iter().zip(made) {
                give(vectors, &it.texts, &vector);
                unsaved.push((it.key, vector));
                usage.tokens += it.ids.len() as u64;
            }
            usage.computed += batch.len();
            let event = Event::Progress {
                stage: Stage::Embedding,
                done: usage.computed,
                total: pending.len(),
                tokens: usage.tokens,
            };
            stopped = observer.on(&event) == Flow::Stop && !rest.is_empty();
            if stopped || rest.is_empty() || saved.elapsed() > SAVES {
                self.save(&mut unsaved, observer);
                saved = Instant::now();
            }
        }
        Ok(stopped)
    }

    /// A vector for each text of a batch.
    fn batch(&self, session: &mut dyn Session, batch: &[Pending]) -> Result<Vec<Vec<f32>>, Error> {
        let mut forest = Forest::default();
        for it in batch {
            forest.push(Parent::Root, &it.ids);
        }
        let found = session.embed(&forest, self.plan.pooling)?;
        let width = found.len() / batch.len();
        let mut made: Vec<Vec<f32>> = found.chunks_exact(width).map(<[f32]>::to_vec).collect();
        if self.plan.normalize {
            for vector in &mut made {
                normalize(vector);
            }
        }
        Ok(made)
    }

    /// A cache that cannot be written costs time the next time, and nothing else.
    fn save(&self, unsaved: &mut Vec<(Key, Vec<f32>)>, observer: &mut dyn Observer) {
        let width = unsaved.first().map_or(0, |(_, vector)| vector.len());
        if let Some(cache) = &self.cache
            && let Err(error) = cache.add(width, unsaved)
        {
            let note = format!("the vectors were not put into the cache: {error}");
            observer.on(&Event::Note(note));
        }
        unsaved.clear();
    }
}

/// How many of the texts go through the model together: those of [`BATCH`] tokens, or one.
fn batch_len(rest: &[Pending]) -> usize {
    let mut tokens = 0;
    let fits = |it: &&Pending| {
        tokens += it.ids.len();
        tokens <= BATCH
    };
    rest.iter().take_while(fits).count().max(1)
}

/// Gives equal texts their vector.
fn give(vectors: &mut [Option<Vec<f32>>], texts: &[usize], vector: &[f32]) {
    for &text in texts {
        vectors[text] = Some(vector.to_vec());
    }
}

/// Brings a vector to length 1; one of zeros stays.
fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    for x in vector {
        *x = (f64::from(*x) / length.max(LEAST_LENGTH)) as f32;
    }
}

/// What a text is known by; `cut`: after so many tokens.
fn key(text: &str, cut: Option<usize>) -> Key {
    let mut hash = Sha256::new();
    hash.update(cut.unwrap_or(0).to_le_bytes());
    hash.update(text.as_bytes());
    hash.finalize().into()
}

/// Everything that vectors depend on besides the text.
fn depends_on(plan: &EmbedPlan, model: &Model) -> String {
    serde_json::json!({
        "fidelio": env!("CARGO_PKG_VERSION"),
        "weights": plan.weights_sha256,
        "config": sha256(model.checkpoint().config().to_string().as_bytes()),
        "tokenizer": model.card().tokenizer_sha256,
        "device": plan.device,
        "pooling": plan.pooling,
        "normalize": plan.normalize,
    })
    .to_string()
}

fn cutter(tokenizer: &Tokenizer, max_length: usize) -> Result<Tokenizer, Error> {
    let mut cutter = tokenizer.clone();
    let how = TruncationParams { max_length, ..TruncationParams::default() };
    cutter.with_truncation(Some(how)).map_err(tokenizer_error)?;
    Ok(cutter)
}

fn tokenizer_error(source: tokenizers::Error) -> Error {
    Error::Prompt(fidelio_prompting::PromptError::Tokenizer { source })
}
