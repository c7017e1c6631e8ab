//! What both sides of a bench of training are given: conversations of a file as token rows, windows and packs.

use serde_json::Value;
use tunesmith::model::rows::{OverLength, RowMaker, TokenRow};
use tunesmith::model::weights::{Base, WeightFiles};
use tunesmith::record::{Conversation, Role, Turn};

/// The longest row, in tokens.
const MAX_TOKENS: usize = 2_048;

/// Opens a base.
pub(crate) fn open(base: &str) -> Base {
    Base::open(&WeightFiles::Gguf(base.into())).unwrap()
}

/// Returns the conversations of a file as token rows.
pub(crate) fn token_rows(base: &Base, path: &str, count: usize) -> Vec<TokenRow> {
    let (tokenizer, template) = (base.tokenizer().unwrap(), base.template().unwrap());
    let over_length = OverLength::Truncate;
    let maker = RowMaker { tokenizer: &tokenizer, template: &template, max_tokens: MAX_TOKENS, over_length };
    let text = fs_err::read_to_string(path).unwrap();
    text.lines().take(count).filter_map(|line| maker.row(&conversation(line)).unwrap().0).collect()
}

fn conversation(line: &str) -> Conversation {
    let json: Value = serde_json::from_str(line).unwrap();
    let turns = json["conversations"].as_array().unwrap().iter().map(|turn| {
        let role = match turn["from"].as_str().unwrap() {
            "system" => Role::System,
            "human" | "user" => Role::User,
            _ => Role::Assistant,
        };
        Turn { role, text: turn["value"].as_str().unwrap().to_owned() }
    });
    Conversation { turns: turns.collect(), ..Conversation::default() }
}

/// Returns windows of so many tokens of rows laid end to end, as the peer cuts them; the first token of a window is
/// predicted from nothing.
pub(crate) fn windows(base: &Base, rows: &str, tokens: usize) -> Vec<TokenRow> {
    let rows = token_rows(base, rows, 64);
    let ids: Vec<u32> = rows.iter().flat_map(|row| row.ids.iter().copied()).collect();
    let trained: Vec<bool> = rows.iter().flat_map(|row| row.trained.iter().copied()).collect();
    let chunks = ids.chunks_exact(tokens).zip(trained.chunks_exact(tokens));
    let row = |(ids, trained): (&[u32], &[bool])| {
        let mut row = TokenRow { ids: ids.to_vec(), trained: trained.to_vec() };
        row.trained[0] = false;
        row
    };
    chunks.map(row).collect()
}

/// Cuts rows into parts of at most `most` tokens.
pub(crate) fn packs(rows: &[TokenRow], most: usize) -> impl Iterator<Item = &[TokenRow]> {
    let mut filled = 0;
    rows.chunk_by(move |row, next| {
        filled = if filled == 0 { row.ids.len() } else { filled } + next.ids.len();
        let fits = filled <= most;
        filled = if fits { filled } else { 0 };
        fits
    })
}
