//! Readers of packed bytes that stop before a small file fills the memory.

use std::io::{self, Read};

/// A reader that gives at most so many bytes and then fails.
pub(super) struct Capped<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Capped<R> {
    /// Gives at most `limit` bytes of `inner`.
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit, limit }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more than is left tells an end from an excess.
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX).saturating_add(1));
        let count = self.inner.read(&mut buffer[..room])?;
        let Some(left) = self.left.checked_sub(count as u64) else {
            let message = format!("it unpacks to more than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        };
        self.left = left;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_read_whole_and_one_byte_more_is_refused() {
        let read = |limit| {
            let mut bytes = Vec::new();
            Capped::new([7; 100].as_slice(), limit).read_to_end(&mut bytes).map(|_| bytes.len())
        };
        assert_eq!(read(100).unwrap(), 100);
        let error = read(99).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::FileTooLarge, "it unpacks to more than 99 bytes".into())
        );
    }
}
