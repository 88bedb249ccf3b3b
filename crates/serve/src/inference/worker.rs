//! What the inference thread does, round after round.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering, mpsc},
    time::Instant,
};

use fidelio_backend::AdapterId;
use fidelio_generate::{Emitted, Engine, EngineStats, RequestId};

use super::{
    Condition, Event, Listener, Order, Place, Task,
    scoring::{Scored, Scoring},
};
use crate::Metrics;

/// A failing round is tried again so often before its requests are given up.
const TRIES: usize = 3;

/// A request in the engine.
#[derive(Debug)]
struct Running {
    listener: Listener,
    arrived: Instant,
    until: Instant,
    last_token: Option<Instant>,
    _place: Place,
}

/// The engine and those who listen to it.
pub(super) struct Worker {
    engine: Engine<'static>,
    adapter: Option<AdapterId>,
    orders: mpsc::Receiver<Order>,
    running: BTreeMap<RequestId, Running>,
    /// Prompts that wait to be scored, oldest first.
    scorings: VecDeque<(Scoring, Listener, Instant, Place)>,
    metrics: Arc<Metrics>,
    condition: Arc<Condition>,
    failed_rounds: usize,
    counted: EngineStats,
}

impl Worker {
    pub(super) fn new(
        engine: Engine<'static>,
        adapter: Option<AdapterId>,
        orders: mpsc::Receiver<Order>,
        metrics: Arc<Metrics>,
        condition: Arc<Condition>,
    ) -> Self {
        Self {
            engine,
            adapter,
            orders,
            running: BTreeMap::new(),
            scorings: VecDeque::new(),
            metrics,
            condition,
            failed_rounds: 0,
            counted: EngineStats::default(),
        }
    }

    /// Works until nobody can ask any more and nothing is left to do.
    pub(super) fn run(mut self) {
        while self.take_orders() {
            self.leave();
            self.score();
            self.round();
            let (waiting, running) = self.engine.load();
            self.metrics.load(waiting + self.scorings.len(), running);
        }
    }

    /// Takes what has been asked for, waiting for it where there is nothing else to do. False at the
    /// end.
    fn take_orders(&mut self) -> bool {
        if self.is_idle() {
            match self.orders.recv() {
                Ok(order) => self.take(order),
                Err(mpsc::RecvError) => return false,
            }
        }
        // A prompt that waits to be scored needs room: nothing new may take it first.
        while self.scorings.is_empty() {
            let Ok(order) = self.orders.try_recv() else { break };
            self.take(order);
        }
        true
    }

    fn is_idle(&self) -> bool {
        self.engine.is_idle() && self.scorings.is_empty()
    }

    fn take(&mut self, order: Order) {
        let Order { what, listener, place, arrived, until } = order;
        match what {
            Task::Generate(request) => match self.engine.submit(*request) {
                Ok(id) => {
                    listener.tell(Event::Accepted);
                    let running =
                        Running { listener, arrived, until, last_token: None, _place: place };
                    self.running.insert(id, running);
                }
                Err(error) => listener.tell(Event::Refused(error)),
            },
            Task::Score { ids, top } => {
                listener.tell(Event::Accepted);
                self.scorings.push_back((Scoring { ids, top }, listener, until, place));
            }
        }
    }

    /// Ends what nobody listens to any more, and what is late.
    fn leave(&mut self) {
        let now = Instant::now();
        let ended: Vec<RequestId> = self
            .running
            .iter()
            .filter(|(_, it)| it.listener.events.is_closed() || it.until <= now)
            .map(|(&id, _)| id)
            .collect();
        for id in ended {
            if let Err(error) = self.engine.cancel(id) {
                self.give_up(&error.to_string());
                return;
            }
            let Some(it) = self.running.remove(&id) else { continue };
            if it.listener.events.is_closed() {
                self.metrics.ended("cancelled");
            } else {
                self.metrics.ended("late");
                it.listener.tell(Event::Late);
            }
        }
        self.scorings.retain(|(_, listener, until, _)| {
            let stays = *until > now && !listener.events.is_closed();
            if *until <= now {
                listener.tell(Event::Late);
            }
            stays
        });
    }

    /// Scores the prompt that has waited longest, between two rounds, if there is room for it.
    fn score(&mut self) {
        let Some((scoring, listener, until, place)) = self.scorings.pop_front() else { return };
        let alone = self.engine.load() == (0, 0);
        match scoring.run(self.engine.session(), self.adapter, alone) {
            Scored::Done(logprobs) => {
                drop(place);
                self.metrics.scored(scoring.ids.len());
                listener.tell(Event::Scored(logprobs));
            }
            Scored::NoRoom => self.scorings.push_front((scoring, listener, until, place)),
            Scored::Failed(why) => {
                tracing::error!(why, "a prompt could not be scored");
                listener.tell(Event::Failed(why));
            }
        }
    }

    fn round(&mut self) {
        if self.engine.is_idle() {
            return;
        }
        match self.engine.step() {
            Ok(emitted) => {
                self.failed_rounds = 0;
                // A round that only reports ends has not run the model.
                if self.engine.stats().calls > self.counted.calls {
                    self.condition.failing.store(false, Ordering::SeqCst);
                    let ended = emitted.iter().filter(|it| it.finish.is_some()).count();
                    self.metrics.round(self.engine.load().1 + ended);
                }
                for emitted in emitted {
                    self.pass_on(emitted);
                }
                self.metrics.engine(&self.counted, self.engine.stats());
                self.counted = *self.engine.stats();
            }
            Err(error) => {
                self.failed_rounds += 1;
                tracing::error!(%error, cause = cause(&error), "a round failed");
                if self.failed_rounds >= TRIES {
                    self.give_up(&cause(&error));
                }
            }
        }
    }

    fn pass_on(&mut self, emitted: Emitted) {
        let Some(it) = self.running.get_mut(&emitted.request) else { return };
        if !emitted.tokens.is_empty() || emitted.finish.is_some() {
            let now = Instant::now();
            match it.last_token.replace(now) {
                None => self.metrics.first_token(now.duration_since(it.arrived)),
                Some(last) => self.metrics.next_token(now.duration_since(last)),
            }
        }
        let Some(finish) = &emitted.finish else {
            it.listener.tell(Event::Emitted(emitted));
            return;
        };
        self.metrics.finished(finish);
        // Its place is free before it is told so.
        let ended = self.running.remove(&emitted.request).map(|it| it.listener);
        if let Some(listener) = ended {
            listener.tell(Event::Emitted(emitted));
        }
    }

    /// Ends every request, since the model cannot be run.
    fn give_up(&mut self, why: &str) {
        self.failed_rounds = 0;
        self.condition.failing.store(true, Ordering::SeqCst);
        for (id, it) in std::mem::take(&mut self.running) {
            it.listener.tell(Event::Failed(why.to_owned()));
            if let Err(error) = self.engine.cancel(id) {
                tracing::error!(%error, "a request could not be ended");
            }
        }
    }
}

/// An error's deepest cause, which says most.
fn cause(error: &dyn std::error::Error) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    last.map_or_else(String::new, ToString::to_string)
}
