//! The metrics as `TensorBoard` reads them: an event file, which is `TFRecords` of protocol buffers.
//!
//! The format is that of `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/framework/summary.proto`. An event
//! has a wall time; here that is its step, in seconds, so that the file depends on the key alone. What `TensorBoard` calls
//! relative time is then the step as well.

use serde_json::Value;

/// The name by which `TensorBoard` finds the file.
pub(super) const FILE_NAME: &str = "events.out.tfevents.0000000000.tunesmith";

/// `DT_STRING` of `tensorflow/core/framework/types.proto`.
const STRING: u64 = 7;

/// What of the metrics is a scalar: its name there, and `TensorBoard`'s.
const SCALARS: [(&str, &str); 5] = [
    ("loss", "train/loss"),
    ("learning-rate", "train/learning-rate"),
    ("grad-norm", "train/grad-norm"),
    ("trained-tokens", "train/trained-tokens"),
    ("eval-loss", "eval/loss"),
];

/// Returns the event file of metrics, one JSON object a line.
pub(super) fn file(metrics: &str) -> Vec<u8> {
    let mut out = Vec::new();
    record(&mut out, &event(0, &Message::default().text(3, "brain.Event:2")));
    for line in metrics.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let step = line["step"].as_u64().unwrap_or_default();
        let mut summary = Message::default();
        for (name, tag) in SCALARS {
            if let Some(number) = line.get(name).and_then(Value::as_f64) {
                summary = summary.message(1, &Message::default().text(1, tag).float(2, number as f32));
            }
        }
        if let (Some(row), Some(answer)) = (line["row"].as_str(), line["answer"].as_str()) {
            let question = line["question"].as_str().unwrap_or_default();
            summary = summary.message(1, &text(&format!("sample/{row}"), &format!("{question}\n\n---\n\n{answer}")));
        }
        if !summary.0.is_empty() {
            record(&mut out, &event(step, &Message::default().message(5, &summary)));
        }
    }
    out
}

/// Makes a value of the text plugin.
fn text(tag: &str, text: &str) -> Message {
    let plugin = Message::default().message(1, &Message::default().text(1, "text"));
    let shape = Message::default().message(2, &Message::default().number(1, 1));
    let tensor = Message::default().number(1, STRING).message(2, &shape).text(8, text);
    Message::default().text(1, tag).message(8, &tensor).message(9, &plugin)
}

fn event(step: u64, content: &Message) -> Message {
    let mut event = Message::default().double(1, step as f64).number(2, step);
    event.0.extend(&content.0);
    event
}

/// A protocol buffer: its fields in their order.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Writes one `TFRecord`: length, its checksum, the bytes, theirs.
fn record(out: &mut Vec<u8>, message: &Message) {
    let length = (message.0.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked_checksum(&length).to_le_bytes());
    out.extend(&message.0);
    out.extend(masked_checksum(&message.0).to_le_bytes());
}

/// Returns the checksum as `TFRecords` have it: a checksum of bytes that hold checksums would be weak.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), a bit at a time: metrics are small.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// Cuts a file into the messages of its records, whose checksums must hold.
    fn messages(file: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = file;
        let mut take = |length: usize| {
            let (taken, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(taken.to_vec())
        };
        let mut messages = Vec::new();
        while let Some(length) = take(8) {
            assert_eq!(take(4).unwrap(), masked_checksum(&length).to_le_bytes());
            let message = take(u64::from_le_bytes(length.try_into().unwrap()) as usize).unwrap();
            assert_eq!(take(4).unwrap(), masked_checksum(&message).to_le_bytes());
            messages.push(message);
        }
        messages
    }

    #[test]
    fn each_line_with_a_number_is_an_event() {
        let metrics = "{\"step\":1,\"loss\":2.5,\"epoch\":1}\n{\"step\":1,\"eval-loss\":3.5}\n{\"step\":2}\n";
        let messages = messages(&file(metrics));
        assert_eq!(messages.len(), 3);
        let holds = |message: &[u8], part: &[u8]| message.windows(part.len()).any(|window| window == part);
        assert!(holds(&messages[0], b"brain.Event:2"));
        assert!(holds(&messages[1], b"train/loss") && holds(&messages[1], &2.5_f32.to_le_bytes()));
        assert!(holds(&messages[2], b"eval/loss") && holds(&messages[2], &3.5_f32.to_le_bytes()));
    }

    /// `tests/fixtures/peer.tfevents` was written by `TensorBoard` 2.21:
    ///
    /// ```python
    /// from tensorboard.compat.proto.event_pb2 import Event
    /// from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    /// from tensorboard.compat.proto.tensor_pb2 import TensorProto
    /// from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    /// from tensorboard.compat.proto.types_pb2 import DT_STRING
    /// from tensorboard.summary.writer.record_writer import RecordWriter
    /// writer = RecordWriter(open("peer.tfevents", "wb"))
    /// writer.write(Event(file_version="brain.Event:2").SerializeToString())
    /// def event(*values):
    ///     writer.write(Event(wall_time=300, step=300, summary=Summary(value=values)).SerializeToString())
    /// event(Summary.Value(tag="train/loss", simple_value=2.5), Summary.Value(tag="train/learning-rate", simple_value=2e-4))
    /// text = TensorProto(dtype=DT_STRING, string_val=[("q\n\n---\n\n" + "ä" * 100).encode()],
    ///                    tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]))
    /// plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    /// event(Summary.Value(tag="sample/r1", tensor=text, metadata=plugin))
    /// writer.close()
    /// ```
    #[test]
    fn events_are_the_bytes_that_tensorboards_own_writer_gives() {
        let peer = fs_err::read("tests/fixtures/peer.tfevents").unwrap();
        let sample = json!({"step": 300, "row": "r1", "question": "q", "answer": "ä".repeat(100)});
        let metrics = format!("{{\"step\":300,\"loss\":2.5,\"learning-rate\":2e-4}}\n{sample}\n");
        let (peers, ours) = (messages(&peer), messages(&file(&metrics)));
        assert_eq!(ours[1..], peers[1..]);
        // Zeros are written down here, and left out there.
        let zeros = Message::default().double(1, 0.0).number(2, 0).0;
        assert_eq!(ours[0].strip_prefix(&zeros[..]), Some(&peers[0][..]));
    }
}
