//! Assertions that check nothing, for `make bench-assertions` alone: what do the real ones cost?
//!
//! They take the place of the standard ones in the whole crate when it is built with
//! `--cfg flumen_bare`. No build that anybody runs has it.

macro_rules! assert {
    ($condition:expr $(, $($text:tt)*)?) => {
        if false {
            let _ = $condition;
            $(let _ = format_args!($($text)*);)?
        }
    };
}

macro_rules! assert_eq {
    ($one:expr, $other:expr $(, $($text:tt)*)?) => {
        if false {
            let _ = (&$one, &$other);
            $(let _ = format_args!($($text)*);)?
        }
    };
}
