//! Is the house in order? Links, dead files, documents that must match the code.
//!
//! Looks at the files of the checkout and starts nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

mod documents;
mod examples;
mod sources;
mod tree;
