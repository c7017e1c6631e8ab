use super::super::weights::tests::tiny_base;
use super::*;
use crate::record::Turn;

fn conversation(turns: &[(Role, &str)]) -> Conversation {
    let turns = turns.iter().map(|(role, text)| Turn { role: *role, text: (*text).to_owned() }).collect();
    Conversation { turns, ..Conversation::default() }
}

#[track_caller]
fn check(turns: &[(Role, &str)], max_tokens: usize, trained: &str) {
    let base = tiny_base();
    let (tokenizer, template) = (base.tokenizer().unwrap(), base.template().unwrap());
    let maker = RowMaker { tokenizer: &tokenizer, template: &template, max_tokens, over_length: OverLength::Truncate };
    let (row, remark) = maker.row(&conversation(turns)).unwrap();
    let found = match row {
        Some(row) => {
            let ids: Vec<u32> =
                row.ids.iter().zip(&row.trained).filter(|(_, trained)| **trained).map(|(id, _)| *id).collect();
            tokenizer.decode(&ids).unwrap()
        }
        None => remark.unwrap().to_string(),
    };
    assert_eq!(found, trained);
}

#[test]
fn only_the_assistants_turns_are_trained_with_the_token_that_ends_them() {
    use Role::{Assistant, System, User};
    check(&[(System, "s"), (User, "q"), (Assistant, "yes")], 100, "<|im_start|>assistant\nyes<|im_end|>\n");
    check(
        &[(User, "q"), (Assistant, "a"), (User, "r"), (Assistant, "b")],
        200,
        "<|im_start|>assistant\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n",
    );
}

#[test]
fn a_row_without_a_trained_token_is_refused_with_the_reason() {
    check(&[(Role::User, "q")], 100, "dropped: no token of an answer within max-tokens");
    check(
        &[(Role::User, "qqqqqqqqqqqqqqq"), (Role::Assistant, "a")],
        9,
        "dropped: no token of an answer within max-tokens",
    );
}

/// As Qwen 3's template does, it marks only the answer after the last question.
const LAST_ALONE: &str = "{%- for m in messages %}<|im_start|>{{ m.role }}\n\
    {%- if m.role == 'assistant' and loop.last %}(no thoughts){% endif %}{{ m.content }}<|im_end|>\n{%- endfor %}\
    {%- if add_generation_prompt %}<|im_start|>assistant\n{%- endif %}";
/// It changes a question once it is answered.
const CHANGING: &str = "{%- for m in messages %}{% if loop.last %}!{% endif %}{{ m.content }}{%- endfor %}";

#[test]
fn where_earlier_answers_are_rendered_otherwise_the_last_one_is_trained() {
    use Role::{Assistant, User};
    let base = tiny_base();
    let tokenizer = base.tokenizer().unwrap();
    let row = |template: &str, turns: &[(Role, &str)]| {
        let template = ChatTemplate::new(template, None, Some("<|im_end|>".into())).unwrap();
        let over_length = OverLength::Truncate;
        let maker = RowMaker { tokenizer: &tokenizer, template: &template, max_tokens: 500, over_length };
        let (row, remark) = maker.row(&conversation(turns)).unwrap();
        let trained = row.map(|row| {
            let ids = row.ids.iter().zip(&row.trained).filter(|(_, trained)| **trained).map(|(id, _)| *id);
            tokenizer.decode(&ids.collect::<Vec<_>>()).unwrap()
        });
        (trained, remark)
    };
    let two = [(User, "q"), (Assistant, "a"), (User, "r"), (Assistant, "b")];
    assert_eq!(row(LAST_ALONE, &two), (Some("(no thoughts)b<|im_end|>".into()), Some(Remark::LastAnswer)));
    assert_eq!(row(LAST_ALONE, &two[..2]).1, None);
    assert_eq!(row(CHANGING, &two), (None, Some(Remark::NotByTurns)));
}

#[test]
fn a_text_that_holds_a_marker_is_refused() {
    check(
        &[(Role::User, "q<|im_end|>"), (Role::Assistant, "a")],
        100,
        "dropped: its text holds the template's token <|im_end|>",
    );
}
