//! A server to ask.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use fidelio_backend::{AdapterId, Session};
use fidelio_generate::{Decoding, Grammar};
use fidelio_prompting::{
    ChatTemplate, ChatUse, Clock, Layout, LayoutSpec, Renderer, Rules, Source, SpecialTokens,
    Vocabulary,
};
use fidelio_serve::{
    AnswerRows, Ended, Inference, InferenceLimits, Metrics, ServeOptions, Served, Server, Voice,
};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{
    client::{Reply, exchange},
    speaker::{END, tokenizer},
};

const CHATML: &str = include_str!("../../../prompting/tests/prompting/fixtures/chatml.jinja");

/// The renderer of conversations, as the terminal has it but for special tokens in texts.
pub(crate) fn chat_renderer() -> Renderer {
    let vocabulary = vocabulary();
    let template = ChatTemplate::new(CHATML, vocabulary.special_texts(), Clock::Local).unwrap();
    let source = Source::Messages { column: "messages".to_owned(), output: None };
    let rules = Rules {
        chat: ChatUse::Always,
        special_tokens_in_data: SpecialTokens::Escape,
        ..Rules::default()
    };
    Renderer::new(source, rules, vocabulary, Some(template)).unwrap()
}

pub(crate) fn plain_renderer() -> Renderer {
    let spec = LayoutSpec { input: "prompt".to_owned(), ..LayoutSpec::default() };
    let layout = Layout::new(&spec, &["prompt".to_owned()]).unwrap();
    let rules = Rules {
        chat: ChatUse::Never,
        special_tokens_in_data: SpecialTokens::Allow,
        ..Rules::default()
    };
    Renderer::new(Source::Layout(layout), rules, vocabulary(), None).unwrap()
}

pub(crate) fn vocabulary() -> Vocabulary {
    let tokenizer = tokenizers::Tokenizer::clone(&tokenizer());
    Vocabulary::new(tokenizer, Some(0), vec![END]).unwrap().with_add_bos(false)
}

/// What the model is called.
pub(crate) const NAME: &str = "tiny/model";

/// A voice that talks.
pub(crate) fn voice(name: &str, adapter: Option<AdapterId>) -> Voice {
    Voice::new(name, adapter, Some(chat_renderer()))
}

/// A model that is just this voice.
pub(crate) fn served(voice: Voice) -> Served {
    let decoding = Decoding { eos_token_id: vec![END], ..Decoding::default() };
    Served::new(voice, plain_renderer(), decoding)
}

/// A running server.
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Ended>>,
}

impl Place {
    pub(crate) fn on(session: impl Session + 'static) -> Self {
        Self::with(session, InferenceLimits::default(), ServeOptions::default())
    }

    /// A server whose port is free, whatever the options say.
    pub(crate) fn with(
        session: impl Session + 'static,
        limits: InferenceLimits,
        options: ServeOptions,
    ) -> Self {
        Self::serving(session, limits, options, None)
    }

    /// A server that answers rows too.
    pub(crate) fn with_rows(
        session: impl Session + 'static,
        rows: impl AnswerRows + 'static,
    ) -> Self {
        let rows = Some(Box::new(rows) as Box<dyn AnswerRows>);
        Self::serving(session, InferenceLimits::default(), ServeOptions::default(), rows)
    }

    /// A server whose answers have a form.
    pub(crate) fn held_to(session: impl Session + 'static, grammar: Grammar) -> Self {
        let served = served(voice(NAME, None).with_grammar(Some(grammar)));
        Self::start(session, InferenceLimits::default(), ServeOptions::default(), served)
    }

    pub(crate) fn serving(
        session: impl Session + 'static,
        limits: InferenceLimits,
        options: ServeOptions,
        rows: Option<Box<dyn AnswerRows>>,
    ) -> Self {
        Self::start(session, limits, options, served(voice(NAME, None).with_rows(rows)))
    }

    pub(crate) fn start(
        session: impl Session + 'static,
        limits: InferenceLimits,
        options: ServeOptions,
        served: Served,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let session = Box::new(session);
        let inference =
            Inference::start(session, tokenizer(), limits, Arc::clone(&metrics)).unwrap();
        let options = ServeOptions { port: 0, ..options };
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let counted = Arc::clone(&metrics);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = Server::bind(options, served, inference, counted).await.unwrap();
                tell.send(server.address()).unwrap();
                server.run(async { drop(stopped.await) }).await
            })
        });
        let address = told.recv().unwrap();
        Self { address, metrics, stop: Some(stop), thread: Some(thread) }
    }

    /// Asks the server to stop.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        self.stop();
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        exchange(self.address, &head(method, path, headers, body.len()), body)
    }

    /// A number of the metrics' text.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.text();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.split(' ').nth(1)).map_or(0, |number| number.parse().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A request's head; the connection ends with the answer.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let headers: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\
         content-length: {length}\r\n\r\n",
        headers.concat()
    )
}
