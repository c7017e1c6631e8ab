//! Child processes that cannot outlive who started them: the two calls that the standard library lacks.

use std::process::Command;

/// Asks the kernel to end the child when the thread that started it is gone, which no killed driver can forget.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "`pre_exec` is the only way to set the death signal before the program starts")]
pub(crate) fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: between fork and exec only `prctl` is called, which is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
}

/// Elsewhere no such wish can be told.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with_parent(_command: &mut Command) {}

/// Sends `signal` to the process group that `pid` leads; one that is gone already is no error.
#[expect(unsafe_code, reason = "the standard library cannot signal a process group")]
pub(crate) fn end_group(pid: u32, signal: i32) {
    // SAFETY: `kill` touches no memory; a group that is gone gives an error, which is what was wanted.
    unsafe {
        libc::kill(-(pid as i32), signal);
    }
}
