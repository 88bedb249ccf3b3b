//! A model on a Burn device: rows in a cache, forests to score, adapters, learning.

mod encoder;
mod learner;

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, Tensor};
use fidelio_backend::{
    AdapterId, AdapterSpec, Answer, Answers, Ask, BackendError, Batch, Capacity, Footprint, Forest,
    Learn, LearnSpec, Logits, OpenSpec, Parent, Pooling, Precision, RowId, RowStep, RowTo, Score,
    Scores, Session, Shape, Want, Wanted, Weights,
};
use fidelio_kernels::on_pool;
use fidelio_ops::{Asked, Top};

use crate::{
    adapter::Adapter,
    arch::{self, Decoder},
    cache::{Pool, Rows},
    loader::{Loader, Module},
    parameter::Slot,
    pass::{Layout, Pass},
};

pub(crate) use encoder::EncoderSession;

/// Rows that a session allows; memory for their tokens ends sooner.
const ROWS: usize = 4096;

/// One model, resident on one device.
pub(crate) struct BurnSession {
    model: Box<dyn Decoder>,
    rows: Rows,
    pool: Pool,
    modules: Vec<Module>,
    adapters: BTreeMap<AdapterId, Adapter>,
    next_adapter: u32,
    learning: Option<learner::Learning>,
    /// Whether weights were rounded, so that they cannot learn.
    rounded: bool,
    precision: Precision,
    /// Whether the device can learn.
    learns: bool,
}

impl BurnSession {
    pub(crate) fn open(
        spec: &OpenSpec,
        weights: &dyn Weights,
        device: &Device,
        memory: Option<u64>,
        learns: bool,
    ) -> Result<Self, BackendError> {
        let mut loader = Loader::new(weights, device, spec);
        let model = arch::build(spec, &mut loader)?;
        let modules = loader.finish()?;
        let sizes = model.sizes();
        let tokens = spec.cached_tokens.unwrap_or_else(|| {
            let bytes = memory.map_or(4 << 30, |bytes| bytes as usize / 2);
            (bytes / Pool::bytes_per_token(sizes)).max(sizes.context)
        });
        Ok(Self {
            rows: Rows::new(tokens),
            pool: Pool::new(sizes, device),
            model,
            modules,
            adapters: BTreeMap::new(),
            next_adapter: 0,
            learning: None,
            rounded: spec.quantization.is_some(),
            precision: spec.precision,
            learns,
        })
    }

    fn vocabulary(&self) -> usize {
        self.model.head().vocabulary()
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<(), BackendError> {
        let vocabulary = self.vocabulary();
        match tokens.iter().find(|&&token| token as usize >= vocabulary) {
            Some(&token) => Err(BackendError::NoToken { token, vocabulary }),
            None => Ok(()),
        }
    }

    fn check_context(&self, tokens: usize) -> Result<(), BackendError> {
        let context = self.model.sizes().context;
        if tokens > context {
            return Err(BackendError::Context { tokens, context });
        }
        Ok(())
    }

    /// Everything that could fail, before anything changes.
    fn check_steps(&self, steps: &[RowStep<'_>]) -> Result<(), BackendError> {
        let mut seen = BTreeSet::new();
        let mut pages = 0;
        for step in steps {
            if step.tokens.is_empty() {
                return Err(BackendError::Engine("a step has no tokens".into()));
            }
            self.check_tokens(step.tokens)?;
            self.check_adapter(step.adapter)?;
            if let Wanted::Last(Shape::Top { also, .. }) | Wanted::All(Shape::Top { also, .. }) =
                step.wanted
            {
                self.check_tokens(also)?;
            }
            let row = match step.row {
                RowTo::New => None,
                RowTo::Row(row) if !seen.insert(row) => {
                    return Err(BackendError::Engine(format!("{row:?} appears twice in one call")));
                }
                RowTo::Row(row) => Some(row),
            };
            let held = row.map_or(Ok(0), |row| self.rows.len(row))? as usize;
            self.check_context(held + step.tokens.len())?;
            pages += self.rows.pages_for(row, step.tokens.len())?;
        }
        let new_rows = steps.iter().filter(|step| step.row == RowTo::New).count();
        if self.rows.count() + new_rows > ROWS {
            return Err(BackendError::RowsFull { rows: ROWS });
        }
        if pages > self.rows.free_pages() {
            return Err(BackendError::CacheFull {
                needed: steps.iter().map(|step| step.tokens.len()).sum(),
                free: self.rows.free_tokens(),
            });
        }
        Ok(())
    }

    fn check_adapter(&self, adapter: Option<AdapterId>) -> Result<(), BackendError> {
        match adapter {
            Some(id) if !self.adapters.contains_key(&id) => Err(BackendError::NoAdapter(id)),
            _ => Ok(()),
        }
    }

    fn forward(
        &mut self,
        ids: &[u32],
        layout: Layout,
        slots: Option<Vec<u32>>,
        adapter: Option<AdapterId>,
    ) -> Tensor<2> {
        let adapter = adapter.and_then(|id| self.adapters.get(&id));
        let mut pass = Pass::new(layout, &mut self.pool, slots).with_adapter(adapter);
        self.model.forward(ids, &mut pass)
    }

    /// Steps that are all computed with `adapter`, after every check.
    fn extend_alike(
        &mut self,
        steps: &[RowStep<'_>],
        adapter: Option<AdapterId>,
    ) -> Result<Answers, BackendError> {
        let mut layout = Layout::default();
        let mut rows = Vec::with_capacity(steps.len());
        let mut ids = Vec::new();
        let mut slots = Vec::new();
        for step in steps {
            let row = match step.row {
                RowTo::New => self.rows.open(adapter),
                RowTo::Row(row) => row,
            };
            layout.push(&self.rows.spans(row)?, step.tokens.len());
            slots.extend(self.rows.grow(row, step.tokens.len()));
            ids.extend_from_slice(step.tokens);
            rows.push(row);
        }
        self.pool.reserve(self.rows.slots());
        let hidden = self.forward(&ids, layout, Some(slots), adapter);
        let logits = self.last_logits(&hidden, steps).unwrap_or_else(|| {
            let mut first = 0;
            let each = |step: &RowStep<'_>| {
                let logits = self.logits(&hidden, first, step);
                first += step.tokens.len();
                logits
            };
            steps.iter().map(each).collect()
        });
        Ok(rows.into_iter().zip(logits).map(|(row, logits)| Answer { row, logits }).collect())
    }

    /// What a step is computed with: a row keeps what it began with.
    fn adapter_of(&self, step: &RowStep<'_>) -> Result<Option<AdapterId>, BackendError> {
        match step.row {
            RowTo::New => Ok(step.adapter),
            RowTo::Row(row) => self.rows.adapter(row),
        }
    }

    /// The logits that one step wants, given its tokens' hidden states.
    fn logits(&self, hidden: &Tensor<2>, first: usize, step: &RowStep<'_>) -> Vec<Logits> {
        let end = first + step.tokens.len();
        let (rows, shape) = match step.wanted {
            Wanted::Nothing => return Vec::new(),
            Wanted::Last(shape) => (end as u32 - 1..end as u32, shape),
            Wanted::All(shape) => (first as u32..end as u32, shape),
        };
        let rows: Vec<u32> = rows.collect();
        let picked = self.model.head().pick(hidden.clone(), &rows);
        self.shaped(picked, shape)
    }

    fn shaped(&self, picked: Tensor<2>, shape: Shape<'_>) -> Vec<Logits> {
        match shape {
            Shape::Full => self.model.head().logits(picked).into_iter().map(Logits::Full).collect(),
            Shape::Top { k, also } => self
                .model
                .head()
                .top(picked, k, also)
                .into_iter()
                .map(|Top { entries, logsumexp }| Logits::Top { entries, logsumexp })
                .collect(),
        }
    }

    /// The common case of decoding: every step wants the same shape at its last token, so the
    /// head runs once for all of them.
    fn last_logits(&self, hidden: &Tensor<2>, steps: &[RowStep<'_>]) -> Option<Vec<Vec<Logits>>> {
        let Wanted::Last(shape) = steps.first()?.wanted else { return None };
        if steps.iter().any(|step| step.wanted != Wanted::Last(shape)) {
            return None;
        }
        let mut end = 0;
        let rows: Vec<u32> = steps
            .iter()
            .map(|step| {
                end += step.tokens.len() as u32;
                end - 1
            })
            .collect();
        let picked = self.model.head().pick(hidden.clone(), &rows);
        Some(self.shaped(picked, shape).into_iter().map(|logits| vec![logits]).collect())
    }

    fn answer(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        batch.check()?;
        self.check_tokens(&batch.forest.tokens)?;
        let asked: Vec<u32> = batch.targets.iter().map(|target| token_of(target.ask)).collect();
        self.check_tokens(&asked)?;
        self.check_adapter(batch.forest.adapter)?;
        for node in &batch.forest.nodes {
            if let Parent::Cached(row) = node.parent
                && self.rows.adapter(row)? != batch.forest.adapter
            {
                let what = format!("{row:?} was computed with another adapter");
                return Err(BackendError::Forest(what));
            }
        }
        let layout = Layout::of(&batch.forest, |row| self.rows.spans(row))?;
        self.check_context(layout.longest())?;
        if batch.targets.is_empty() {
            return Ok(Scores::default());
        }

        let hidden = self.forward(&batch.forest.tokens, layout, None, batch.forest.adapter);
        // Several targets may stand at one token: its logits are computed once.
        let places: BTreeSet<u32> = batch.targets.iter().map(|target| target.at).collect();
        let places: Vec<u32> = places.into_iter().collect();
        let picked = self.model.head().pick(hidden, &places);
        let place = |at: u32| places.binary_search(&at).expect("every target's place is listed");
        let asks = batch
            .targets
            .iter()
            .zip(asked)
            .map(|(target, token)| Asked { row: place(target.at) as u32, token })
            .collect();
        let logits = if want.logits {
            let rows = self.model.head().logits(picked.clone());
            batch.targets.iter().map(|target| rows[place(target.at)].clone()).collect()
        } else {
            Vec::new()
        };
        let scores = self
            .model
            .head()
            .scores(picked, asks)
            .into_iter()
            .map(|score| Score { logprob: score.logprob, rank: score.rank, top: score.top })
            .collect();
        Ok(Scores { scores, logits })
    }
}

impl BurnSession {
    /// The vectors of texts, from the states that the head would read.
    fn vectors(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
        forest.check_texts()?;
        self.check_tokens(&forest.tokens)?;
        self.check_adapter(forest.adapter)?;
        let layout = Layout::of(forest, |row| self.rows.spans(row))?;
        self.check_context(layout.longest())?;
        if pooling == Pooling::Cls {
            let reason = "a token of this model sees only what stands before it".into();
            return Err(BackendError::Pooling { pooling, reason });
        }
        if forest.nodes.is_empty() {
            return Ok(Vec::new());
        }
        let hidden = self.forward(&forest.tokens, layout, None, forest.adapter);
        let every: Vec<u32> = (0..forest.tokens.len() as u32).collect();
        Ok(encoder::pooled(self.model.head().pick(hidden, &every), forest, pooling))
    }
}

impl Session for BurnSession {
    fn capacity(&self) -> Capacity {
        Capacity {
            vocabulary: self.vocabulary(),
            context: self.model.sizes().context,
            rows: ROWS - self.rows.count(),
            tokens: self.rows.free_tokens(),
        }
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        self.check_steps(steps)?;
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let mut groups: BTreeMap<Option<AdapterId>, Vec<usize>> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            groups.entry(self.adapter_of(step)?).or_default().push(i);
        }
        let mut answers: Vec<Option<Answer>> = vec![None; steps.len()];
        for (adapter, places) in groups {
            let alike: Vec<RowStep<'_>> = places.iter().map(|&i| steps[i]).collect();
            for (i, answer) in
                places.into_iter().zip(on_pool(|| self.extend_alike(&alike, adapter))?)
            {
                answers[i] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        if self.rows.count() >= ROWS {
            return Err(BackendError::RowsFull { rows: ROWS });
        }
        self.rows.fork(row)
    }

    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        self.rows.truncate(row, keep)
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        on_pool(|| self.answer(batch, want))
    }

    fn embed(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
        on_pool(|| self.vectors(forest, pooling))
    }

    fn add_adapter(
        &mut self,
        spec: &AdapterSpec,
        weights: Option<&dyn Weights>,
    ) -> Result<AdapterId, BackendError> {
        let AdapterSpec::Lora(lora) = spec else {
            return Err(BackendError::Adapter {
                what: "this adapter is not built".into(),
                help: "use `lora`".into(),
            });
        };
        let own = self.own_weights();
        let mut biases = BTreeMap::new();
        self.model.parameters(&mut |name, slot| {
            if let (Some(module), Slot::Vector(bias)) = (name.strip_suffix(".bias"), slot) {
                biases.insert(module.to_owned(), bias.clone());
            }
        });
        let device = self.pool.device();
        let adapter = Adapter::new(
            lora,
            &self.modules,
            |module| own[module].clone(),
            |module| biases[module].clone(),
            weights,
            device,
        )?;
        let id = AdapterId(self.next_adapter);
        self.next_adapter += 1;
        self.adapters.insert(id, adapter);
        Ok(id)
    }

    fn remove_adapter(&mut self, adapter: AdapterId) -> Result<(), BackendError> {
        if self.learning.as_ref().is_some_and(|learning| learning.is_of(adapter)) {
            return Err(BackendError::Adapter {
                what: format!("{adapter:?} is learning"),
                help: "let something else learn first".into(),
            });
        }
        self.adapters.remove(&adapter).ok_or(BackendError::NoAdapter(adapter))?;
        self.rows.close_all_of(adapter);
        Ok(())
    }

    fn learn(&mut self, spec: &LearnSpec) -> Result<&mut dyn Learn, BackendError> {
        self.begin(spec)?;
        Ok(self)
    }

    fn footprint(
        &mut self,
        spec: &LearnSpec,
        batch: &Batch,
        micro_batches: usize,
    ) -> Result<Option<Footprint>, BackendError> {
        self.reckon(spec, batch, micro_batches).map(Some)
    }

    fn learning(&mut self) -> Option<&mut dyn Learn> {
        if self.learning.is_some() { Some(self) } else { None }
    }
}

fn token_of(ask: Ask) -> u32 {
    match ask {
        Ask::Token(token) => token,
        _ => unreachable!("`Ask` has no other question yet"),
    }
}
