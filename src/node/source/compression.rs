//! Files packed by gzip or Zstandard, known by their content.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

use super::text::TextError;
use super::unpack::Capped;

/// How many times larger than the file its content may be, beside [`FREE`] bytes: JSON lines shrink to a tenth, a bomb
/// to a thousandth.
const MOST: u64 = 200;
/// Bytes that any file may unpack to.
const FREE: u64 = 64 << 20;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstandard,
}

/// Returns how a file is packed that begins with these bytes.
pub(super) const fn form(head: &[u8]) -> Option<Packing> {
    match head {
        [0x1F, 0x8B, ..] => Some(Packing::Gzip),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Some(Packing::Zstandard),
        _ => None,
    }
}

/// Unpacks a file into another one, and returns that.
pub(super) fn unpacked(path: &Path, packing: Packing, into: File) -> Result<File, TextError> {
    let bytes = fs_err::read(path)?;
    let limit = (bytes.len() as u64).saturating_mul(MOST).saturating_add(FREE);
    let (form, content) = match packing {
        Packing::Gzip => ("gzip", copied(Capped::new(MultiGzDecoder::new(bytes.as_slice()), limit), into)),
        Packing::Zstandard => ("zstd", copied(Capped::new(Frames::of(&bytes), limit), into)),
    };
    content.map_err(|cause| match cause.kind() {
        io::ErrorKind::FileTooLarge => TextError::Bomb { path: path.to_owned(), limit },
        _ => TextError::Packed { path: path.to_owned(), form, cause },
    })
}

fn copied(mut reader: impl Read, into: File) -> io::Result<File> {
    let mut writer = BufWriter::new(into);
    io::copy(&mut reader, &mut writer)?;
    writer.flush()?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)
}

/// The frames of a Zstandard file, one after the other.
struct Frames<'b> {
    rest: &'b [u8],
    frame: Option<Box<Frame<'b>>>,
}

type Frame<'b> = StreamingDecoder<&'b [u8], ruzstd::decoding::FrameDecoder>;

impl<'b> Frames<'b> {
    const fn of(bytes: &'b [u8]) -> Self {
        Self { rest: bytes, frame: None }
    }

    /// Opens the next frame, past those that hold no content; nothing at the end.
    fn next(&mut self) -> io::Result<Option<Box<Frame<'b>>>> {
        while !self.rest.is_empty() {
            match StreamingDecoder::new(self.rest) {
                Ok(frame) => return Ok(Some(Box::new(frame))),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = (length as usize).saturating_add(8);
                    self.rest = self.rest.get(skipped..).ok_or(io::ErrorKind::UnexpectedEof)?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(None)
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.frame.is_none() {
                self.frame = self.next()?;
            }
            let Some(frame) = &mut self.frame else { return Ok(0) };
            match frame.read(buffer)? {
                0 if !buffer.is_empty() => {
                    if let Some(frame) = self.frame.take() {
                        self.rest = frame.into_inner();
                    }
                }
                count => return Ok(count),
            }
        }
    }
}
