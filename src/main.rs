//! The `tunesmith` command: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    tunesmith::cli::main()
}
