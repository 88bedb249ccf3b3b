//! What asks a server to stop.

use std::io;

use tokio::signal::ctrl_c;

/// Ends when the process is asked to stop: by Ctrl-C, or by SIGTERM where there is such a thing.
///
/// # Errors
/// When the system lets nobody listen.
#[cfg(unix)]
pub async fn stop_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        asked = ctrl_c() => asked,
        _ = terminate.recv() => Ok(()),
    }
}

/// Ends when the process is asked to stop, by Ctrl-C.
///
/// # Errors
/// When the system lets nobody listen.
#[cfg(not(unix))]
pub async fn stop_signal() -> io::Result<()> {
    ctrl_c().await
}
