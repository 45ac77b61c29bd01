//! Ctrl-C and SIGTERM: the first one asks for a graceful end, the second one ends the process at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// Whether the process was asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    asked: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes the signals over from here on; must be called inside a tokio runtime.
    pub(crate) fn install() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::failed(format!("signals cannot be handled on this system: {error}"))
            })
        };
        let interrupt = listen(SignalKind::interrupt())?;
        let terminate = listen(SignalKind::terminate())?;
        let (ask, asked) = watch::channel(false);
        tokio::spawn(obey(interrupt, terminate, ask));
        Ok(Interrupt { asked })
    }

    /// Resolves once the process was asked to end.
    ///
    /// Cancel safe.
    pub(crate) async fn wait(&mut self) {
        // The sender lives as long as the runtime.
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn obey(mut interrupt: Signal, mut terminate: Signal, ask: watch::Sender<bool>) {
    loop {
        let number = tokio::select! {
            biased;
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        };
        if ask.send_replace(true) {
            // As a shell says it of a process that a signal ended.
            std::process::exit(128 + number);
        }
    }
}
