//! Reads the command line; calls one function per subcommand.

fn main() {}
