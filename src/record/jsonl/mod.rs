//! Records as the JSON lines that people and other tools read and write.

mod export;
mod import;

pub use export::export_jsonl;
pub use import::{Form, ImportError, import, import_correction};
