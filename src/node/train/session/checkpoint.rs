//! Saved states of a training, from which it goes on to the same bytes.
//!
//! A checkpoint belongs to a *trajectory*: all that shapes a step. The number of epochs is part of it only where the
//! learning rate depends on it, so that a longer training with a constant rate goes on where a shorter one ended. The
//! last two and those of each epoch's end are kept.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::evaluation::Standing;
use super::settings::Settings;
use super::watch::Watch;
use crate::node::{Checkpoint, Device, NodeError, Run};
use crate::store::Digest;

/// The first bytes of a checkpoint.
const MAGIC: &[u8] = b"tunesmith checkpoint 2\n";
/// Numbers that are brought into bytes at once, and back.
const PIECE: usize = 1 << 16;
/// Checkpoints take at most one part of so many of the time.
const SHARE: u32 = 100;
/// Checkpoints that are kept beside those of epochs' ends: should the last be damaged, the one before serves.
const KEPT: usize = 2;

/// Where a training stands, beside its numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The epoch that is being trained, from 0.
    pub(super) epoch: u64,
    /// Steps of this epoch that are done.
    pub(super) step_in_epoch: u64,
    /// Steps in all that are done.
    pub(super) step: u64,
    /// The summed loss of this epoch.
    pub(super) loss: f64,
    /// Trained tokens of this epoch.
    pub(super) tokens: u64,
    /// Trained tokens in all.
    pub(super) all_tokens: u64,
    /// The mean loss of the last whole epoch.
    pub(super) last_loss: f64,
    /// What evaluations have found.
    pub(super) standing: Standing,
    /// What the loss is held against.
    pub(super) watch: Watch,
    /// The lines of the metrics so far.
    pub(super) metrics: String,
}

/// A saved state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) cursor: Cursor,
    /// Parameters, first moments, second moments, and the best parameters where they are kept: all of one length.
    pub(super) numbers: Vec<Vec<f32>>,
}

/// The checkpoints of one trajectory.
pub(super) struct Trail<'a> {
    run: &'a Run<'a>,
    /// The name under which the store knows them.
    name: String,
    checkpoints: Vec<Checkpoint>,
    shortest: Duration,
    begun: Instant,
    saved: Instant,
    cost: Duration,
    /// How many were saved in this run, and how long that took.
    spent: (u32, Duration),
}

impl<'a> Trail<'a> {
    /// Looks up the trajectory's checkpoints.
    pub(super) fn of(run: &'a Run<'a>, settings: &Settings) -> Result<Self, NodeError> {
        let name = name(run, settings);
        let checkpoints = run.store.state::<Vec<Checkpoint>>(&name)?.unwrap_or_default();
        let shortest = Duration::from_secs(settings.training.checkpoint_seconds);
        let (now, spent) = (Instant::now(), (0, Duration::ZERO));
        Ok(Self { run, name, checkpoints, shortest, begun: now, saved: now, cost: Duration::ZERO, spent })
    }

    /// Returns the last state of at most `steps` steps that is there and whole. A damaged one is no error: training starts
    /// from the one before, or anew.
    pub(super) fn last(&self, steps: u64) -> Option<State> {
        let within = self.checkpoints.iter().rev().filter(|checkpoint| checkpoint.step <= steps);
        within.into_iter().find_map(|checkpoint| {
            let path = self.run.store.path(&checkpoint.file).ok()?;
            let file = fs_err::File::open(path).ok()?;
            let size = file.metadata().ok()?.len();
            State::read(file, size)
        })
    }

    /// Returns whether it is time for the next checkpoint.
    pub(super) fn is_due(&self) -> bool {
        self.saved.elapsed() >= if self.shortest.is_zero() { Duration::ZERO } else { self.pause() }
    }

    /// Returns the time between two checkpoints.
    fn pause(&self) -> Duration {
        self.shortest.max(self.cost * SHARE)
    }

    /// Keeps a state as the trajectory's last.
    pub(super) fn save(&mut self, cursor: &Cursor, numbers: &[Vec<&[f32]>]) -> Result<(), NodeError> {
        let begun = Instant::now();
        let file = self.run.store.put_file_written(|out| write(out, cursor, numbers))?;
        let ends_epoch = cursor.step_in_epoch == 0;
        let mut kept: Vec<Checkpoint> =
            self.checkpoints.iter().filter(|checkpoint| checkpoint.step != cursor.step).copied().collect();
        kept.push(Checkpoint { step: cursor.step, ends_epoch, file });
        kept.sort_by_key(|checkpoint| checkpoint.step);
        let newest = kept.len().saturating_sub(KEPT);
        let mut place = 0;
        kept.retain(|checkpoint| {
            place += 1;
            place > newest || checkpoint.ends_epoch
        });
        self.replace(kept)?;
        self.cost = begun.elapsed();
        self.spent = (self.spent.0 + 1, self.spent.1 + self.cost);
        self.saved = Instant::now();
        Ok(())
    }

    /// Says what checkpoints took of the time of this run.
    pub(super) fn tell(&self) {
        let (count, spent) = self.spent;
        if count > 0 {
            let share = 100.0 * spent.as_secs_f64() / self.begun.elapsed().as_secs_f64().max(1e-9);
            self.run.note(format!("{count} checkpoints took {:.2} s, {share:.2} % of the time", spent.as_secs_f64()));
        }
    }

    /// Drops all checkpoints: nothing goes on from here.
    pub(super) fn end(&mut self) -> Result<(), NodeError> {
        self.replace(Vec::new())
    }

    /// Keeps these checkpoints and drops the files of all others, once no crash can bring their names back.
    fn replace(&mut self, kept: Vec<Checkpoint>) -> Result<(), NodeError> {
        self.run.store.put_state(&self.name, &kept)?;
        self.run.store.flush()?;
        for old in &self.checkpoints {
            if !kept.iter().any(|checkpoint| checkpoint.file == old.file) {
                self.run.store.drop_file(&old.file)?;
            }
        }
        self.checkpoints = kept;
        Ok(())
    }
}

/// Returns the name of a trajectory.
fn name(run: &Run<'_>, settings: &Settings) -> String {
    let mut shape = settings.clone();
    shape.training.checkpoint_seconds = 0;
    if !shape.depends_on_length() {
        shape.training.epochs = 0;
    }
    let inputs: Vec<String> = run.job.inputs.iter().map(|input| input.artifact.digest().to_string()).collect();
    let mut parts = json!({ "version": run.job.kind_version, "settings": shape, "inputs": inputs });
    // No device in a key: a result serves all. But within one training a device goes on from its own numbers.
    if let device @ Device::Cuda(_) = run.grant().device {
        parts["device"] = json!(device.kind());
    }
    format!("{} checkpoint {}", run.job.kind, Digest::of(parts.to_string().as_bytes()))
}

/// Writes a state; each of `numbers` is a vector in pieces.
fn write(out: &mut dyn Write, cursor: &Cursor, numbers: &[Vec<&[f32]>]) -> io::Result<()> {
    let cursor = serde_json::to_vec(cursor)?;
    let length = numbers.first().map_or(0, |pieces| pieces.iter().map(|piece| piece.len()).sum::<usize>());
    out.write_all(MAGIC)?;
    for number in [cursor.len(), numbers.len(), length] {
        out.write_all(&(number as u64).to_le_bytes())?;
    }
    out.write_all(&cursor)?;
    let mut bytes = Vec::with_capacity(4 * PIECE);
    for piece in numbers.iter().flatten().flat_map(|piece| piece.chunks(PIECE)) {
        bytes.clear();
        bytes.extend(piece.iter().flat_map(|number| number.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}

impl State {
    /// Reads a state of so many bytes; none where they are not one, whole.
    fn read(mut from: impl Read, size: u64) -> Option<Self> {
        let mut head = [0; MAGIC.len() + 24];
        from.read_exact(&mut head).ok()?;
        let counts = head.strip_prefix(MAGIC)?.as_chunks::<8>().0.first_chunk::<3>()?;
        let [cursor, vectors, length] = counts.map(u64::from_le_bytes);
        let numbers = vectors.checked_mul(length)?.checked_mul(4)?;
        let expected = (head.len() as u64).checked_add(cursor)?.checked_add(numbers)?;
        if expected != size || !(3..=4).contains(&vectors) {
            return None;
        }
        let mut text = vec![0; usize::try_from(cursor).ok()?];
        from.read_exact(&mut text).ok()?;
        let length = usize::try_from(length).ok()?;
        let numbers = (0..vectors).map(|_| vector(&mut from, length)).collect::<Option<_>>()?;
        Some(Self { cursor: serde_json::from_slice(&text).ok()?, numbers })
    }
}

/// Reads so many numbers.
fn vector(from: &mut impl Read, length: usize) -> Option<Vec<f32>> {
    let mut numbers = Vec::with_capacity(length);
    let mut bytes = vec![0; 4 * PIECE.min(length)];
    while numbers.len() < length {
        let piece = &mut bytes[..4 * PIECE.min(length - numbers.len())];
        from.read_exact(piece).ok()?;
        numbers.extend(piece.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written_and_a_part_of_one_is_none() {
        let cursor = Cursor { step: 7, metrics: "x\n".into(), ..Cursor::default() };
        let numbers = vec![vec![1.0, f32::MIN_POSITIVE], vec![2.0, 3.0], vec![-0.0, 4.0]];
        let pieces: Vec<Vec<&[f32]>> = numbers.iter().map(|numbers| numbers.chunks(1).collect()).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &cursor, &pieces).unwrap();
        let read = |bytes: &[u8]| State::read(bytes, bytes.len() as u64);
        assert_eq!(read(&bytes), Some(State { cursor, numbers }));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), None, "{end}");
        }
        // A size that the system told and that is not there.
        assert_eq!(State::read(&bytes[..bytes.len() - 1], bytes.len() as u64), None);
    }
}
