//! What a training gives: what was trained, metrics, and the fields that gates read.

use std::collections::BTreeMap;

use serde_json::json;

use super::settings::Keep;
use super::training::Session;
use super::warm::Warm;
use super::{events, output};
use crate::model::optimizer::AdamW;
use crate::node::{Count, NodeError, Outcome};
use crate::store::Artifact;

impl Session<'_> {
    /// Puts what was trained and its metrics into the store.
    pub(super) fn finish(
        mut self,
        mut report: Vec<Count>,
        new_rows: u64,
        warm: Option<&Warm>,
    ) -> Result<Outcome, NodeError> {
        if self.settings.depends_on_length() {
            self.trail.end()?;
        } else {
            self.save()?;
        }
        self.trail.tell();
        // What follows is no part of the trajectory: a longer training has no evaluation here.
        if self.cursor.standing.last_step != Some(self.cursor.step) {
            self.evaluate()?;
        }
        let base_loss = match warm.and(self.learner.base()) {
            Some(base) if self.settings.training.eval.is_some() => {
                Some(self.held_out.loss(self.run, |batch| base.loss(None, batch))?)
            }
            _ => self.cursor.standing.start,
        };
        if let Some(best) = self.best.take() {
            self.learner.set(&best);
        }
        // What steps alone need goes first: the files of an adapter are made in memory, and take as much.
        (self.gradient, self.optimizer) = (Vec::new(), AdamW::new(0, 0.0));
        let (name, output) = output::store(self.run, self.settings, &self.learner)?;
        let metrics = self.run.store.put_file_bytes(self.cursor.metrics.as_bytes())?;
        let board = self.run.store.put_file_bytes(&events::file(&self.cursor.metrics))?;
        let board = Artifact::Folder { files: [(events::FILE_NAME.to_owned(), board)].into() };
        report.push(Count { what: "rows trained".into(), count: self.rows.len() as u64 });
        Ok(Outcome {
            outputs: [
                (name.to_owned(), output),
                ("metrics".to_owned(), Artifact::File(metrics)),
                ("tensorboard".to_owned(), board),
            ]
            .into(),
            fields: self.fields(new_rows, warm, base_loss),
            report,
        })
    }

    /// Returns what gates read.
    fn fields(
        &self,
        new_rows: u64,
        warm: Option<&Warm>,
        base_loss: Option<f64>,
    ) -> BTreeMap<String, serde_json::Value> {
        let (cursor, standing) = (&self.cursor, &self.cursor.standing);
        let loss = if cursor.tokens > 0 { cursor.loss / cursor.tokens as f64 } else { cursor.last_loss };
        let kept = if self.settings.training.keep == Keep::Best { standing.best } else { standing.last };
        let mut fields = vec![
            ("loss", json!((cursor.all_tokens > 0).then_some(loss))),
            ("steps", json!(cursor.step)),
            ("rows", json!(self.rows.len())),
            ("trained-tokens", json!(cursor.all_tokens)),
            ("parameters", json!(self.parameters)),
        ];
        if self.settings.adapter.is_some() {
            fields.push(("new-rows", json!(new_rows)));
            fields.push(("warm-starts", json!(warm.map_or(0, |warm| warm.count))));
        }
        if let (Some(kept), Some(start), Some(base)) = (kept, standing.start, base_loss) {
            fields.extend([
                ("eval-loss", json!(kept)),
                ("eval-best-step", json!(standing.best_step)),
                ("eval-start-loss", json!(start)),
                ("eval-base-loss", json!(base)),
            ]);
        }
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
