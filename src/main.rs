//! The `tunesmith` command.

fn main() {}
