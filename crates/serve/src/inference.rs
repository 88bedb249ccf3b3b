//! The thread that owns the engine: requests go in over a channel, text comes back over others.
//!
//! One thread is enough, since one call of the session computes all rows; and with one owner no
//! lock is held while a model runs. A request whose listener has gone is cancelled before the next
//! round, one whose time is over is ended then.

mod scoring;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Instant,
};

use fidelio_backend::{AdapterId, AdapterSpec, BackendError, Capacity, Session, Weights};
use fidelio_generate::{Emitted, Engine, GenerateError, Limits, Request, TokenLogprobs};
use tokenizers::Tokenizer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc::UnboundedSender, oneshot};

use crate::{Metrics, ServeError};
pub use scoring::Scoring;
use worker::Worker;

/// How much is computed, and how much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferenceLimits {
    /// The engine's own.
    pub engine: Limits,
    /// Requests that may wait beyond those that run.
    pub max_waiting: usize,
}

impl Default for InferenceLimits {
    fn default() -> Self {
        Self { engine: Limits::default(), max_waiting: 128 }
    }
}

/// What a listener hears of its request. Several requests may share a listener.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The engine has taken the request; it runs, or waits for a place.
    Accepted,
    /// The engine cannot take the request. Nothing follows.
    Refused(GenerateError),
    /// What a round gave; the last one says how the request ended.
    Emitted(Emitted),
    /// The log-probabilities of a prompt's tokens but the first. Nothing follows.
    Scored(Vec<TokenLogprobs>),
    /// The request's time is over. Nothing follows.
    Late,
    /// The model could not be run. Nothing follows.
    Failed(String),
}

/// Where a request's events go, each with the number that the listener has given the request.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The listener's number for it.
    pub number: usize,
    /// The channel. It holds as many events as the request has tokens at most, so a slow reader
    /// holds up nobody.
    pub events: UnboundedSender<(usize, Event)>,
}

impl Listener {
    fn tell(&self, event: Event) {
        // A listener that has gone is noticed before the next round.
        drop(self.events.send((self.number, event)));
    }
}

/// A place among the requests that run or wait; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// What the thread is asked for.
struct Order {
    what: Task,
    listener: Listener,
    place: Place,
    arrived: Instant,
    until: Instant,
}

/// What is to be done.
enum Task {
    Generate(Box<Request>),
    Score(Scoring),
    Alone(Alone, Option<AdapterId>),
}

/// What the thread is told.
enum Message {
    /// A request of a client's.
    Order(Order),
    /// A new adapter; whoever waits for it hears its number.
    Adapt(Box<NewAdapter>),
    /// An adapter that no new request will name.
    Forget(AdapterId),
}

/// An adapter for the session.
struct NewAdapter {
    spec: AdapterSpec,
    weights: Box<dyn Weights>,
    tell: oneshot::Sender<Result<AdapterId, BackendError>>,
}

/// Work on the session while no request has rows on it: it is told whether anybody still waits for
/// it.
pub(crate) type Alone = Box<dyn FnOnce(&mut dyn Session, &dyn Fn() -> bool) + Send>;

/// Lets the thread forget adapters.
#[derive(Debug, Clone)]
pub(crate) struct Forgets(mpsc::Sender<Message>);

impl Forgets {
    /// The adapter goes as soon as no request is computed with it.
    pub(crate) fn forget(&self, adapter: AdapterId) {
        // Where the thread has ended, so has the session.
        drop(self.0.send(Message::Forget(adapter)));
    }
}

/// The engine behind its channel.
///
/// ```
/// # use std::{sync::Arc, time::{Duration, Instant}};
/// # use fidelio_backend::{FakeLimits, FakeSession};
/// # use fidelio_generate::{Decoding, Request};
/// # use fidelio_serve::{Event, Inference, InferenceLimits, Listener, Metrics};
/// # let tokenizer = tokenizers::Tokenizer::new(tokenizers::models::bpe::BPE::default());
/// let session = Box::new(FakeSession::new(FakeLimits::default()));
/// let limits = InferenceLimits::default();
/// let inference =
///     Inference::start(session, Arc::new(tokenizer), limits, Arc::new(Metrics::new()))?;
/// let (events, mut heard) = tokio::sync::mpsc::unbounded_channel();
/// let place = inference.places(1).and_then(|mut places| places.pop()).expect("nobody else is here");
/// let until = Instant::now() + Duration::from_secs(10);
/// let request = Request::new([5, 6, 7], Decoding::default());
/// inference.generate(request, Listener { number: 0, events }, place, until);
/// while let Some((_, event)) = heard.blocking_recv() {
///     if let Event::Emitted(emitted) = event
///         && let Some(finish) = emitted.finish
///     {
///         assert_eq!(finish.ids.len(), 32);
///     }
/// }
/// # Ok::<(), fidelio_serve::ServeError>(())
/// ```
#[derive(Debug)]
pub struct Inference {
    orders: Option<mpsc::Sender<Message>>,
    places: Arc<Semaphore>,
    all_places: usize,
    capacity: Capacity,
    condition: Arc<Condition>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread says of itself.
#[derive(Debug, Default)]
struct Condition {
    /// The last rounds failed, and none has succeeded since.
    failing: AtomicBool,
    /// The thread has ended by a panic.
    dead: AtomicBool,
}

impl Inference {
    /// Starts the thread on `session`, which should have no rows of others.
    ///
    /// # Errors
    /// When the limits let nothing run, or the thread cannot be started.
    pub fn start(
        session: Box<dyn Session>,
        tokenizer: Arc<Tokenizer>,
        limits: InferenceLimits,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ServeError> {
        let capacity = session.capacity();
        let engine = Engine::new(session, tokenizer, limits.engine)?;
        let (orders, received) = mpsc::channel();
        let condition = Arc::new(Condition::default());
        let worker = Worker::new(engine, received, metrics, Arc::clone(&condition));
        let watched = Arc::clone(&condition);
        let thread = std::thread::Builder::new()
            .name("inference".to_owned())
            .spawn(move || {
                // A panic closes all channels: whoever listens hears it, and nobody waits in vain.
                let run = std::panic::AssertUnwindSafe(|| worker.run());
                if std::panic::catch_unwind(run).is_err() {
                    watched.dead.store(true, Ordering::SeqCst);
                }
            })
            .map_err(|source| ServeError::Thread { source })?;
        let all_places = limits.engine.max_rows.saturating_add(limits.max_waiting);
        let all_places = all_places.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            orders: Some(orders),
            places: Arc::new(Semaphore::new(all_places)),
            all_places,
            capacity,
            condition,
            thread: Some(thread),
        })
    }

    /// The session's sizes when nothing ran.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// The most requests that run or wait at one time.
    pub fn all_places(&self) -> usize {
        self.all_places
    }

    /// Places for `n` requests that belong together; none while there are not so many.
    pub fn places(&self, n: usize) -> Option<Vec<Place>> {
        let take = || Arc::clone(&self.places).try_acquire_owned().ok();
        // One by one, so that each ends on its own; a shortfall gives back those that were had.
        (0..n).map(|_| take().map(|permit| Place { _permit: permit })).collect()
    }

    /// Continues a prompt.
    pub fn generate(&self, request: Request, listener: Listener, place: Place, until: Instant) {
        self.order(Task::Generate(Box::new(request)), listener, place, until);
    }

    /// Says how likely each token of a prompt was.
    pub fn score(&self, scoring: Scoring, listener: Listener, place: Place, until: Instant) {
        self.order(Task::Score(scoring), listener, place, until);
    }

    /// Gives the session an adapter, between two rounds.
    ///
    /// # Errors
    /// When the session does not take it; none where the thread has ended.
    pub(crate) async fn adapt(
        &self,
        spec: AdapterSpec,
        weights: Box<dyn Weights>,
    ) -> Option<Result<AdapterId, BackendError>> {
        let (tell, told) = oneshot::channel();
        let adapter = Box::new(NewAdapter { spec, weights, tell });
        self.orders.as_ref()?.send(Message::Adapt(adapter)).ok()?;
        told.await.ok()
    }

    /// What lets adapters go.
    pub(crate) fn forgets(&self) -> Forgets {
        Forgets(self.orders.clone().expect("it is there until the end"))
    }

    /// Does some work on the session once no request has rows on it. The listener hears when it is too
    /// late for that; what comes of the work is the work's to tell, before its channel closes.
    pub(crate) fn alone(
        &self,
        work: Alone,
        adapter: Option<AdapterId>,
        listener: Listener,
        place: Place,
        until: Instant,
    ) {
        self.order(Task::Alone(work, adapter), listener, place, until);
    }

    /// Whether the model can be run, as far as is known.
    pub fn is_well(&self) -> bool {
        self.is_alive() && !self.condition.failing.load(Ordering::SeqCst)
    }

    /// Whether the thread is there.
    pub fn is_alive(&self) -> bool {
        !self.condition.dead.load(Ordering::SeqCst)
    }

    fn order(&self, what: Task, listener: Listener, place: Place, until: Instant) {
        let order = Order { what, listener, place, arrived: Instant::now(), until };
        if let Some(orders) = &self.orders {
            // Where the thread has ended, the dropped order closes its listener's channel.
            drop(orders.send(Message::Order(order)));
        }
    }
}

impl Drop for Inference {
    /// Waits for what runs; what nobody listens to ends at once.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // The panic of a thread that died has been told.
            drop(thread.join());
        }
    }
}
