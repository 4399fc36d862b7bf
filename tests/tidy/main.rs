//! Is the house in order? Links, dead files, documents that must match the code.
//!
//! Looks at the tracked files only; starts nothing.
