//! Records as the JSON lines that people and other tools read and write.

mod export;
mod fields;
mod import;
mod row;
mod thread;

pub use export::export_jsonl;
pub use fields::FieldMap;
pub use import::{Form, ImportError, Imported, import, import_correction, import_mapped};
