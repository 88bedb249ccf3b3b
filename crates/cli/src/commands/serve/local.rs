//! A server for the process itself, on a port that is free.

use std::net::SocketAddr;

use fidelio_serve::{Ended, ServeOptions};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

use super::{Parts, runtime};
use crate::failure::Failure;

/// It; dropping it ends it.
pub(in super::super) struct Local {
    address: SocketAddr,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<Ended>>,
}

impl Local {
    /// Begins to answer on loopback.
    pub(in super::super) fn start(parts: Parts) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let options = ServeOptions { port: 0, ..ServeOptions::default() };
        let server = runtime.block_on(parts.bind(options))?;
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(server.run(async {
            // An end that was dropped asks for the end too.
            drop(stopped.await);
        }));
        Ok(Self { address, runtime, stop: Some(stop), task: Some(task) })
    }

    pub(in super::super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(task) = self.task.take() {
            drop(self.runtime.block_on(task));
        }
    }
}
