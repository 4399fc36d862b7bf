//! `file_roll`.
