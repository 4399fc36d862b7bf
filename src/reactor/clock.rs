//! The only place that asks the system for time or randomness.
//!
//! Both worlds hold a [`Clock`]; a simulated world has its own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system's clocks, monotonic time counted from the creation of the value.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// Monotonic time starts at zero now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Time since the clock was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Milliseconds since the epoch; 0 for a system whose clock stands before it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn wall_ms() -> u64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    /// 64 random bits from the kernel.
    ///
    /// # Panics
    /// When the kernel has no randomness, which no supported kernel lets happen after boot.
    #[must_use]
    pub fn random() -> u64 {
        let mut bytes = [0u8; 8];
        let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        assert_eq!(
            got.ok(),
            Some(bytes.len()),
            "getrandom gives up to 256 bytes whole"
        );
        u64::from_le_bytes(bytes)
    }
}
