//! The run of `eval.parity`: where the two ways to the tokens part.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::super::files::{ggufs, store_lines};
use super::Settings;
use super::error::ParityError;
use crate::llama::Model;
use crate::model::rows::messages;
use crate::model::template::{ChatTemplate, Ending, Message};
use crate::node::voice::{Voice, before_answer, conversations, mixed};
use crate::node::{Count, NodeError, Outcome, Run};
use crate::record::Conversation;

/// The first place where the tokens of a row differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    row: String,
    /// Whether it is in the conversation as a whole, or in the text that asks for its last answer.
    part: &'static str,
    /// The token's place.
    at: usize,
    /// What training has there.
    trained: Option<Piece>,
    /// What is served there.
    served: Option<Piece>,
    /// Why there are no tokens, where the GGUF's template refuses the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// A token.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Piece {
    id: u32,
    text: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |piece: &Option<Piece>| {
            piece.as_ref().map_or_else(|| "nothing".to_owned(), |piece| format!("{} {:?}", piece.id, piece.text))
        };
        let Self { row, part, at, .. } = self;
        if let Some(why) = &self.refused {
            return write!(f, "`{row}`, {part}: the GGUF's template refuses it: {why}");
        }
        let (trained, served) = (show(&self.trained), show(&self.served));
        write!(f, "`{row}`, {part}, token {at}: training has {trained}, llama.cpp {served}")
    }
}

/// What the GGUF makes of conversations.
struct Served {
    model: Model,
    template: ChatTemplate,
}

/// Compares all rows.
pub(super) fn compare(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let ggufs = ggufs(run);
    let [gguf] = ggufs[..] else { return Err(ParityError::OneGguf { count: ggufs.len() }.into()) };
    let voice = Voice::of(&run.weight_files()?)?;
    let served = Served::open(&run.store.path(gguf)?)?;
    let mut rows = mixed(conversations(run, run.inputs())?);
    rows.truncate(usize::try_from(settings.rows).unwrap_or(usize::MAX));
    let (mut compared, mut differences, mut remarks) = (0_u64, Vec::new(), BTreeMap::new());
    for (done, conversation) in rows.iter().enumerate() {
        run.check_cancelled()?;
        run.progress(done as u64, Some(rows.len() as u64), "rows", "");
        match voice.row(conversation, usize::MAX)? {
            (Some(row), _) => {
                compared += 1;
                differences.extend(served.difference(conversation, &row.ids, &voice)?);
            }
            (None, remark) => {
                let remark = remark.map(|remark| remark.to_string()).unwrap_or_default();
                *remarks.entry(remark).or_insert(0_u64) += 1;
            }
        }
    }
    if compared == 0 {
        let why = remarks.into_keys().next().unwrap_or_else(|| "`from` names none".into());
        return Err(ParityError::NoRows { why }.into());
    }
    if let Some(first) = differences.first() {
        run.warn(format!(
            "{} of {compared} rows are served otherwise than they were trained: {first}",
            differences.len()
        ));
    }
    let different = differences.len() as u64;
    let fields = [
        ("equal", json!((compared - different) as f64 / compared as f64)),
        ("different", json!(different)),
        ("rows", json!(compared)),
    ];
    let mut report: Vec<Count> = remarks.into_iter().map(|(what, count)| Count { what, count }).collect();
    report.push(Count { what: "rows with the same tokens".into(), count: compared - different });
    report.push(Count { what: "rows with other tokens".into(), count: different });
    let artifact = store_lines(run, &differences)?;
    Ok(Outcome {
        outputs: BTreeMap::from([("differences".to_owned(), artifact)]),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        report,
    })
}

impl Served {
    fn open(path: &std::path::Path) -> Result<Self, NodeError> {
        let model = Model::load_vocabulary(path)?;
        let source = model.chat_template().ok_or(ParityError::NoTemplate)?;
        let [begin, end] = model.ends_of_text();
        Ok(Self { template: ChatTemplate::new(&source, begin, end)?, model })
    }

    /// Returns the tokens of messages, or why the template refuses them.
    fn tokens(&self, messages: &[Message], ending: Ending) -> Result<Result<Vec<u32>, String>, NodeError> {
        let text = match self.template.render(messages, ending) {
            Ok(text) => text,
            Err(error) => return Ok(Err(std::error::Error::source(&error).unwrap_or(&error).to_string())),
        };
        Ok(Ok(self.model.tokenize_served(&text)?.into_iter().map(|token| token as u32).collect()))
    }

    /// Returns where the tokens of a conversation first differ from those that were trained. What asks for the last answer
    /// must be what the trained row begins with; else the answer is asked for in a way that was never seen.
    fn difference(
        &self,
        conversation: &Conversation,
        trained: &[u32],
        voice: &Voice,
    ) -> Result<Option<Difference>, NodeError> {
        let parts = [
            ("the question", before_answer(conversation), Ending::GenerationPrompt),
            ("the conversation", messages(conversation), Ending::Closed),
        ];
        for (part, messages, ending) in parts {
            let difference = |at: usize, served: Option<&u32>| {
                let piece = |id: &u32| Piece { id: *id, text: voice.tokenizer.decode(&[*id]).unwrap_or_default() };
                let (trained, served) = (trained.get(at).map(piece), served.map(piece));
                Some(Difference { row: conversation.id.clone(), part, at, trained, served, refused: None })
            };
            let served = match self.tokens(&messages, ending)? {
                Ok(served) => served,
                Err(why) => return Ok(difference(0, None).map(|found| Difference { refused: Some(why), ..found })),
            };
            let common = trained.iter().zip(&served).take_while(|(trained, served)| trained == served).count();
            let is_whole = ending == Ending::GenerationPrompt || common == trained.len();
            if common < served.len() || !is_whole {
                return Ok(difference(common, served.get(common)));
            }
        }
        Ok(None)
    }
}
