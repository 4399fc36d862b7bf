//! SIGTERM and SIGINT, held until somebody looks.
//!
//! Installed before anything else is done, so that a signal in an agent's first moments stops it in order
//! instead of ending it. Owned by the main thread, from start to stop.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// See the module.
#[derive(Debug)]
pub struct StopSignals(Signals);

impl StopSignals {
    /// From now on neither signal ends the process by itself.
    ///
    /// # Errors
    /// What the system says.
    pub fn install() -> std::io::Result<Self> {
        Signals::new([SIGTERM, SIGINT]).map(Self)
    }

    /// One that has come and was not looked at yet.
    pub(super) fn pending(&mut self) -> Option<i32> {
        self.0.pending().next()
    }
}
