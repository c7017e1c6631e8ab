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
