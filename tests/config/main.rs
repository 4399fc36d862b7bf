//! Configurations and what is said about them.
//!
//! `bad/`, `agents/` and `collectors/` hold configurations, each beside the findings it must give, as
//! they are printed. `UPDATE_GOLDEN=1` writes the findings anew; read the difference before it is committed.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

mod golden;
mod grammar;
mod reference;
mod rules;
