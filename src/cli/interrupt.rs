//! Ctrl-C and SIGTERM: a cancel, and at the second time the end.

use std::sync::Arc;

use crate::node::Cancel;

/// Cancels when the process is told to end. A second signal ends it at once.
pub(super) fn cancel_on_signal(cancel: &Arc<Cancel>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let cancel = Arc::clone(cancel);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if cancel.is_cancelled() {
                signal_hook::low_level::emulate_default_handler(signal).ok();
            }
            cancel.cancel();
        }
    })?;
    Ok(())
}

/// Ctrl-C in a conversation: it stops the answer that comes, and ends the program where none comes or that was asked for
/// already. SIGTERM ends it always.
#[cfg(feature = "llama")]
#[derive(Debug)]
pub(super) struct AnswerStop(Arc<std::sync::atomic::AtomicU8>);

#[cfg(feature = "llama")]
mod answer_stop {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::AnswerStop;

    /// No answer comes.
    const IDLE: u8 = 0;
    /// An answer comes.
    const ANSWERING: u8 = 1;
    /// It is to stop.
    const STOPPING: u8 = 2;

    impl AnswerStop {
        /// Begins to listen to signals.
        pub(in crate::cli) fn listen() -> std::io::Result<Self> {
            use signal_hook::consts::{SIGINT, SIGTERM};
            let state = Arc::new(AtomicU8::new(IDLE));
            let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
            let shared = Arc::clone(&state);
            std::thread::Builder::new().name("signals".into()).spawn(move || {
                for signal in signals.forever() {
                    let stops =
                        |from, to| shared.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok();
                    if signal != SIGINT || !stops(ANSWERING, STOPPING) {
                        signal_hook::low_level::emulate_default_handler(signal).ok();
                    }
                }
            })?;
            Ok(Self(state))
        }

        /// Says that an answer comes.
        pub(in crate::cli) fn begin(&self) {
            self.0.store(ANSWERING, Ordering::SeqCst);
        }

        /// Says that it came.
        pub(in crate::cli) fn end(&self) {
            self.0.store(IDLE, Ordering::SeqCst);
        }

        /// Returns whether the answer is to stop.
        pub(in crate::cli) fn is_asked(&self) -> bool {
            self.0.load(Ordering::SeqCst) == STOPPING
        }
    }
}
