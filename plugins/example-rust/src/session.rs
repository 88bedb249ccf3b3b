//! The verbs. Each checks all that it was given before it changes anything.

use fidelio_backend::{
    Answer, Answers, Ask, BackendError, Batch, Capacity, Learn, LearnSpec, Logits, Parent, RowId,
    RowStep, RowTo, Scores, Session, Shape, Want, Wanted,
};

use crate::{
    learner::Learning,
    rows::{Row, Rows},
    tables::{Place, Tables, logsumexp, score},
};

/// A model with its rows.
#[derive(Debug)]
pub(crate) struct NgramSession {
    pub(crate) tables: Tables,
    pub(crate) learning: Option<Learning>,
    rows: Rows,
    context: usize,
}

impl NgramSession {
    pub(crate) fn new(tables: Tables, rows: Rows, context: usize) -> Self {
        Self { tables, learning: None, rows, context }
    }

    fn check_tokens<'a>(
        &self,
        mut tokens: impl Iterator<Item = &'a u32>,
    ) -> Result<(), BackendError> {
        let vocabulary = self.tables.vocabulary;
        match tokens.find(|token| **token as usize >= vocabulary) {
            Some(&token) => Err(BackendError::NoToken { token, vocabulary }),
            None => Ok(()),
        }
    }

    fn check_context(&self, tokens: usize) -> Result<(), BackendError> {
        let context = self.context;
        if tokens > context { Err(BackendError::Context { tokens, context }) } else { Ok(()) }
    }

    fn check_steps(&self, steps: &[RowStep<'_>]) -> Result<(), BackendError> {
        let mut needed = 0;
        let mut new = 0;
        for (i, step) in steps.iter().enumerate() {
            if step.tokens.is_empty() {
                return Err(BackendError::Engine(format!("step {i} has no tokens")));
            }
            if let Some(adapter) = step.adapter {
                return Err(BackendError::NoAdapter(adapter));
            }
            let held = match step.row {
                RowTo::New => {
                    new += 1;
                    0
                }
                RowTo::Row(row) if steps[..i].iter().any(|it| it.row == step.row) => {
                    return Err(BackendError::Engine(format!("row {} appears twice", row.0)));
                }
                RowTo::Row(row) => self.rows.get(row)?.len,
            };
            self.check_context(held + step.tokens.len())?;
            self.check_tokens(step.tokens.iter())?;
            if let Some(Shape::Top { also, .. }) = shape(step) {
                self.check_tokens(also.iter())?;
            }
            needed += step.tokens.len();
        }
        let free = self.rows.free_tokens();
        if needed > free {
            return Err(BackendError::CacheFull { needed, free });
        }
        if new > self.rows.free_rows() {
            return Err(BackendError::RowsFull { rows: crate::ROWS });
        }
        Ok(())
    }

    pub(crate) fn check_batch(&self, batch: &Batch) -> Result<(), BackendError> {
        batch.check()?;
        if let Some(adapter) = batch.forest.adapter {
            return Err(BackendError::NoAdapter(adapter));
        }
        self.check_tokens(batch.forest.tokens.iter())?;
        for target in &batch.targets {
            self.check_tokens([asked(target.ask)?].iter())?;
        }
        for node in &batch.forest.nodes {
            if let Parent::Cached(row) = node.parent {
                self.rows.get(row)?;
            }
        }
        let held = |row| self.rows.get(row).map_or(0, |row| row.len as u32);
        let longest = batch.forest.positions(held).into_iter().max();
        self.check_context(longest.map_or(0, |last| last as usize + 1))
    }

    /// What each token's next one depends on, in a batch that was checked.
    pub(crate) fn places(&self, batch: &Batch) -> Vec<Place> {
        let forest = &batch.forest;
        let mut places: Vec<Place> = Vec::with_capacity(forest.tokens.len());
        for node in &forest.nodes {
            // The token before the node's first one, if any.
            let mut before = match node.parent {
                Parent::Root => None,
                Parent::Node(parent) => {
                    let parent = forest.nodes[parent as usize];
                    Some(forest.tokens[(parent.start + parent.len) as usize - 1])
                }
                Parent::Cached(row) => self.rows.get(row).ok().and_then(|row| self.rows.last(row)),
            };
            for &last in &forest.tokens[node.start as usize..][..node.len as usize] {
                places.push(Place { last, before });
                before = Some(last);
            }
        }
        places
    }
}

impl Session for NgramSession {
    fn capacity(&self) -> Capacity {
        Capacity {
            vocabulary: self.tables.vocabulary,
            context: self.context,
            rows: self.rows.free_rows(),
            tokens: self.rows.free_tokens(),
        }
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        self.check_steps(steps)?;
        let mut answers = Vec::with_capacity(steps.len());
        for step in steps {
            let row = match step.row {
                RowTo::New => self.rows.open(Row::default()),
                RowTo::Row(row) => row,
            };
            let mut logits = Vec::new();
            for (i, &token) in step.tokens.iter().enumerate() {
                let place = self.rows.push(row, token)?;
                match step.wanted {
                    Wanted::All(shape) => logits.push(shaped(self.tables.logits(place), shape)),
                    Wanted::Last(shape) if i + 1 == step.tokens.len() => {
                        logits.push(shaped(self.tables.logits(place), shape));
                    }
                    _ => {}
                }
            }
            answers.push(Answer { row, logits });
        }
        Ok(answers)
    }

    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        let row = self.rows.get(row)?;
        if self.rows.free_rows() == 0 {
            return Err(BackendError::RowsFull { rows: crate::ROWS });
        }
        Ok(self.rows.open(row))
    }

    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        self.rows.truncate(row, keep)
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        self.check_batch(batch)?;
        let places = self.places(batch);
        let mut scores = Scores::default();
        for target in &batch.targets {
            let logits = self.tables.logits(places[target.at as usize]);
            scores.scores.push(score(&logits, asked(target.ask)?));
            if want.logits {
                scores.logits.push(logits);
            }
        }
        Ok(scores)
    }

    fn learn(&mut self, spec: &LearnSpec) -> Result<&mut dyn Learn, BackendError> {
        self.learning = Some(Learning::new(spec, self.tables.vocabulary)?);
        Ok(self)
    }

    fn learning(&mut self) -> Option<&mut dyn Learn> {
        self.learning.is_some().then_some(self as &mut dyn Learn)
    }
}

/// The token that a target asks for.
pub(crate) fn asked(ask: Ask) -> Result<u32, BackendError> {
    match ask {
        Ask::Token(token) => Ok(token),
        other => Err(BackendError::Engine(format!("{other:?} cannot be answered"))),
    }
}

fn shape<'a>(step: &RowStep<'a>) -> Option<Shape<'a>> {
    match step.wanted {
        Wanted::Nothing => None,
        Wanted::Last(shape) | Wanted::All(shape) => Some(shape),
    }
}

/// As much of the logits as is wanted.
fn shaped(logits: Vec<f32>, shape: Shape<'_>) -> Logits {
    let Shape::Top { k, also } = shape else { return Logits::Full(logits) };
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    // A stable sort leaves equals in the order of their ids.
    order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    order.truncate(k);
    let entries = order.iter().chain(also).map(|&id| (id, logits[id as usize])).collect();
    Logits::Top { entries, logsumexp: logsumexp(&logits) }
}
