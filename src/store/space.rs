//! Room on file systems.

use std::path::Path;

/// Returns the bytes that this user may still write on the file system of `path`.
///
/// # Errors
/// What the system says.
pub fn free_space(path: &Path) -> std::io::Result<u64> {
    let space = rustix::io::retry_on_intr(|| rustix::fs::statvfs(path))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_room_and_what_is_not_there_has_none_to_tell() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_space(folder.path()).unwrap() > 0);
        assert!(free_space(&folder.path().join("absent")).is_err());
    }
}
