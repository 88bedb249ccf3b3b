//! A plugin that panics where the model's `config.json` says: `{"panics_in": "extend"}`, and does
//! everything else as the fake engines do. Tests load it; it is no example to follow.

use fidelio_backend::{
    AdapterId, AdapterSpec, Answers, Backend, BackendError, BackendInfo, Batch, BigramSession,
    Capacity, DeviceId, FakeBackend, FakeLimits, FakeSession, Footprint, Forest, Learn, LearnSpec,
    LossSum, OpenSpec, ParameterInfo, Part, Pooling, RowId, RowStep, Scores, Session, TensorSink,
    UpdateReport, Verb, Want, Weights,
};

fidelio_plugin::export!(|| Panics);

struct Panics;

impl Backend for Panics {
    fn describe(&self) -> BackendInfo {
        let mut info = FakeBackend::default().describe();
        info.verbs.extend([Verb::Adapt, Verb::Learn]);
        info
    }

    fn open(
        &self,
        _: DeviceId,
        spec: &OpenSpec,
        _: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError> {
        let verb = spec.config["panics_in"].as_str().unwrap_or_default().to_owned();
        let it = Panicking {
            rows: FakeSession::new(FakeLimits::default()),
            table: BigramSession::new(FakeLimits::default()),
            verb,
        };
        it.at("open");
        Ok(Box::new(it))
    }
}

/// Rows of one fake engine, learning of the other.
struct Panicking {
    rows: FakeSession,
    table: BigramSession,
    verb: String,
}

impl Panicking {
    fn at(&self, verb: &str) {
        assert_ne!(self.verb, verb, "told to");
    }

    fn learner(&mut self) -> Result<&mut dyn Learn, BackendError> {
        self.table.learning().ok_or(BackendError::Verb(Verb::Learn))
    }
}

impl Drop for Panicking {
    fn drop(&mut self) {
        self.at("close");
    }
}

impl Session for Panicking {
    fn capacity(&self) -> Capacity {
        // The host asks once when it opens, which is not the panic that tests look for.
        if self.rows.capacity().rows < FakeLimits::default().rows {
            self.at("capacity");
        }
        self.rows.capacity()
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        self.at("extend");
        self.rows.extend(steps)
    }

    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        self.at("fork");
        self.rows.fork(row)
    }

    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        self.at("truncate");
        self.rows.truncate(row, keep)
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        self.at("score");
        self.rows.score(batch, want)
    }

    fn embed(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
        self.at("embed");
        self.rows.embed(forest, pooling)
    }

    fn add_adapter(
        &mut self,
        spec: &AdapterSpec,
        weights: Option<&dyn Weights>,
    ) -> Result<AdapterId, BackendError> {
        self.at("add_adapter");
        self.table.add_adapter(spec, weights)
    }

    fn remove_adapter(&mut self, adapter: AdapterId) -> Result<(), BackendError> {
        self.at("remove_adapter");
        self.table.remove_adapter(adapter)
    }

    fn learn(&mut self, spec: &LearnSpec) -> Result<&mut dyn Learn, BackendError> {
        self.at("learn");
        self.table.learn(spec)?;
        Ok(self)
    }

    fn footprint(
        &mut self,
        _: &LearnSpec,
        _: &Batch,
        _: usize,
    ) -> Result<Option<Footprint>, BackendError> {
        self.at("footprint");
        Ok(None)
    }

    fn learning(&mut self) -> Option<&mut dyn Learn> {
        self.table.learning().is_some().then_some(self as &mut dyn Learn)
    }
}

impl Learn for Panicking {
    fn accumulate(&mut self, batch: &Batch) -> Result<LossSum, BackendError> {
        self.at("accumulate");
        self.learner()?.accumulate(batch)
    }

    fn update(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
        self.at("update");
        self.learner()?.update(lr, weight)
    }

    fn save(&self, part: Part, into: &mut dyn TensorSink) -> Result<(), BackendError> {
        self.at("save");
        Learn::save(&self.table, part, into)
    }

    fn restore(&mut self, part: Part, from: &dyn Weights) -> Result<(), BackendError> {
        self.at("restore");
        self.learner()?.restore(part, from)
    }

    fn parameters(&self) -> Vec<ParameterInfo> {
        Learn::parameters(&self.table)
    }
}
