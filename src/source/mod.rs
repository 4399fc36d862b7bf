//! (written by its own stop)
