//! What the inference thread does, round after round.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering, mpsc},
    time::Instant,
};

use fidelio_backend::AdapterId;
use fidelio_generate::{Emitted, Engine, EngineStats, RequestId};

use super::{
    Alone, Condition, Event, Listener, Message, NewAdapter, Order, Place, Task,
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

/// What is done between rounds.
struct Aside {
    what: AsideTask,
    listener: Listener,
    until: Instant,
    _place: Place,
}

enum AsideTask {
    Score(Scoring),
    Alone(Alone, Option<AdapterId>),
}

impl AsideTask {
    /// What it is computed with.
    fn adapter(&self) -> Option<AdapterId> {
        match self {
            Self::Score(scoring) => scoring.adapter,
            Self::Alone(_, adapter) => *adapter,
        }
    }
}

/// The engine and those who listen to it.
pub(super) struct Worker {
    engine: Engine<'static>,
    orders: mpsc::Receiver<Message>,
    running: BTreeMap<RequestId, Running>,
    /// What waits to be done between rounds, oldest first.
    asides: VecDeque<Aside>,
    /// Adapters that go when nothing is computed with them any more.
    leaving: Vec<AdapterId>,
    metrics: Arc<Metrics>,
    condition: Arc<Condition>,
    failed_rounds: usize,
    counted: EngineStats,
}

impl Worker {
    pub(super) fn new(
        engine: Engine<'static>,
        orders: mpsc::Receiver<Message>,
        metrics: Arc<Metrics>,
        condition: Arc<Condition>,
    ) -> Self {
        Self {
            engine,
            orders,
            running: BTreeMap::new(),
            asides: VecDeque::new(),
            leaving: Vec::new(),
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
            self.step_aside();
            self.round();
            self.forget();
            let (waiting, running) = self.engine.load();
            self.metrics.load(waiting + self.asides.len(), running);
        }
    }

    /// Takes what has been asked for, waiting for it where there is nothing else to do. False at the
    /// end.
    fn take_orders(&mut self) -> bool {
        if self.is_idle() {
            match self.orders.recv() {
                Ok(message) => self.hear(message),
                Err(mpsc::RecvError) => return false,
            }
        }
        // What waits for room must get it: nothing new may take it first.
        while self.asides.is_empty() {
            let Ok(message) = self.orders.try_recv() else { break };
            self.hear(message);
        }
        true
    }

    fn is_idle(&self) -> bool {
        self.engine.is_idle() && self.asides.is_empty()
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Order(order) => self.take(order),
            Message::Adapt(adapter) => {
                let NewAdapter { spec, weights, tell } = *adapter;
                let added = self.engine.session().add_adapter(&spec, Some(weights.as_ref()));
                // Nobody will name it where nobody waits for it.
                if let Err(Ok(adapter)) = tell.send(added) {
                    self.leaving.push(adapter);
                }
            }
            Message::Forget(adapter) => self.leaving.push(adapter),
        }
    }

    /// Lets go of the adapters that nothing is computed with.
    fn forget(&mut self) {
        let mut staying = Vec::new();
        for adapter in std::mem::take(&mut self.leaving) {
            if self.asides.iter().any(|aside| aside.what.adapter() == Some(adapter)) {
                staying.push(adapter);
                continue;
            }
            match self.engine.remove_adapter(adapter) {
                Ok(true) => {}
                Ok(false) => staying.push(adapter),
                Err(error) => tracing::error!(%error, "an adapter could not be forgotten"),
            }
        }
        self.leaving = staying;
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
            Task::Score(scoring) => {
                listener.tell(Event::Accepted);
                let what = AsideTask::Score(scoring);
                self.asides.push_back(Aside { what, listener, until, _place: place });
            }
            Task::Alone(work, adapter) => {
                let what = AsideTask::Alone(work, adapter);
                self.asides.push_back(Aside { what, listener, until, _place: place });
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
        self.asides.retain(|aside| {
            if aside.until <= now {
                self.metrics.ended("late");
                aside.listener.tell(Event::Late);
            }
            aside.until > now && !aside.listener.events.is_closed()
        });
    }

    /// Does what has waited longest, between two rounds, if there is room for it.
    fn step_aside(&mut self) {
        let Some(aside) = self.asides.pop_front() else { return };
        let alone = self.engine.load() == (0, 0);
        match aside.what {
            AsideTask::Score(scoring) => {
                let scored = scoring.run(self.engine.session(), alone);
                let what = AsideTask::Score(scoring);
                self.scored(scored, Aside { what, ..aside });
            }
            AsideTask::Alone(..) if !alone => self.asides.push_front(aside),
            AsideTask::Alone(work, _) => {
                let Aside { listener, until, _place, .. } = aside;
                let go_on = || !listener.events.is_closed() && Instant::now() < until;
                work(self.engine.session(), &go_on);
                self.metrics.ended("rows");
            }
        }
    }

    fn scored(&mut self, scored: Scored, aside: Aside) {
        match scored {
            Scored::Done(logprobs) => {
                let Aside { listener, _place: place, .. } = aside;
                // Its place is free before it is told so.
                drop(place);
                self.metrics.scored(logprobs.len() + 1);
                listener.tell(Event::Scored(logprobs));
            }
            Scored::NoRoom => self.asides.push_front(aside),
            Scored::Failed(why) => {
                tracing::error!(why, "a prompt could not be scored");
                aside.listener.tell(Event::Failed(why));
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
