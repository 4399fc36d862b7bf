//! Defects on purpose. A check that cannot fail is a defect itself: with `FLUMEN_PLANTED=1` each target
//! wraps what it tests with one, and has to find it. `tests/fuzz/run planted` sees to that.

use std::sync::OnceLock;

/// Whether the target's defect is planted.
pub(crate) fn is_planted() -> bool {
    static PLANTED: OnceLock<bool> = OnceLock::new();
    *PLANTED.get_or_init(|| std::env::var_os("FLUMEN_PLANTED").is_some_and(|value| value == "1"))
}
