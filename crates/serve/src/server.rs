//! Connections: accepting, bounding and ending them.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;

use crate::{
    Inference, Metrics, ServeError, ServeOptions, Served, Tls,
    api::{App, Peer, Shares, router},
    offers::Offers,
};

/// Bytes of a request's first line and headers together; the most headers.
const MAX_HEAD: usize = 32 << 10;
const MAX_HEADERS: usize = 64;
/// After a connection could not be accepted, such as for lack of file handles.
const BREATHE: Duration = Duration::from_millis(50);

/// A server that has its address and takes no requests yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    router: Router,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request under way was answered.
    Drained,
    /// Some took longer than they may, and were cut off.
    CutOff,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// When it is taken, or an option cannot be.
    pub async fn bind(
        options: ServeOptions,
        mut served: Served,
        inference: Inference,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ServeError> {
        options.check()?;
        let address = SocketAddr::new(options.host, options.port);
        let cannot = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let draining = AtomicBool::new(false);
        let offers = Offers::new(served.take_voices(), inference.forgets());
        let served = Arc::new(served);
        let app = Arc::new(App {
            served,
            offers,
            inference,
            options,
            metrics,
            shares: Shares::default(),
            draining,
        });
        let router = router(Arc::clone(&app))?;
        Ok(Self { listener, address, app, router })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, then lets what is under way end, for as long as the options say.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Ended {
        let Self { listener, app, router, .. } = self;
        let connections = GracefulShutdown::new();
        let open = Arc::new(Semaphore::new(app.options.max_connections));
        let mut stop = std::pin::pin!(stop);
        loop {
            // Only who can be served is accepted; the others wait in the system's queue.
            let accepted = async {
                let permit = Arc::clone(&open).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let peer = Peer(address.ip());
                    let served = serve(stream, peer, &app.options, router.clone(), &connections);
                    tokio::spawn(async move {
                        served.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATHE).await;
                }
            }
        }
        drop(listener);
        app.draining.store(true, Ordering::SeqCst);
        tracing::info!("stopping");
        tokio::select! {
            () = connections.shutdown() => Ended::Drained,
            () = tokio::time::sleep(app.options.drain) => Ended::CutOff,
        }
    }
}

/// One connection, until it ends.
fn serve(
    stream: TcpStream,
    peer: Peer,
    options: &ServeOptions,
    router: Router,
    connections: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // Small events go out at once. Where that cannot be set they come a little later.
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(options.stall));
    let stream = Box::pin(stream);
    let (patience, watcher) = (options.patience, connections.watcher());
    let acceptor = options.tls.as_ref().map(Tls::acceptor);
    async move {
        let Some(acceptor) = acceptor else {
            return talk(stream, peer, patience, router, watcher).await;
        };
        match tokio::time::timeout(patience, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => talk(stream, peer, patience, router, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "a connection could not be encrypted"),
            Err(_) => tracing::debug!("a connection did not begin to be encrypted in time"),
        }
    }
}

/// Requests and answers, in the clear or encrypted.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    patience: Duration,
    router: Router,
    watcher: Watcher,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
