//! A model's Jinja template as the Go template that Ollama reads.
//!
//! Most chat templates put fixed texts between the turns. Those texts are found by rendering conversations of words that
//! cannot occur in a template, and the result is held against the Jinja on longer conversations. A template that does
//! more than that is not translated: Ollama then renders the one in the GGUF. Templates without a place for a system prompt,
//! such as Gemma's and Mistral's first ones, are translated without one.

use crate::model::template::{ChatTemplate, Ending, Message};

/// Words that no template holds.
const SYSTEM: &str = "\u{2}system\u{3}";
const USERS: [&str; 3] = ["\u{2}first\u{3}", "\u{2}second\u{3}", "\u{2}third\u{3}"];
const ANSWERS: [&str; 2] = ["\u{2}reply\u{3}", "\u{2}again\u{3}"];

/// The fixed texts of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turns {
    /// Around the system prompt; nothing where the template has no place for one.
    system: Option<System>,
    /// Before the first question where there is no system prompt.
    without_system: String,
    /// Between a question and its answer.
    before_answer: String,
    /// Between an answer and the next question.
    after_answer: String,
    /// After a last answer.
    pub(super) end: String,
}

/// The fixed texts around a system prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
struct System {
    before: String,
    /// Between it and the first question.
    after: String,
}

impl Turns {
    /// Finds the fixed texts of `template`, or nothing when it does more than to put them between turns.
    pub(super) fn of(template: &ChatTemplate) -> Option<Self> {
        let (plain, full) = (render(template, false, 2), render(template, true, 2));
        // One that refuses system prompts, or leaves them out, has no place for them.
        let full = full.filter(|full| plain.as_ref() != Some(full));
        let (system, rest) = match &full {
            Some(full) => {
                let (before, rest) = full.split_once(SYSTEM)?;
                let (after, rest) = rest.split_once(USERS[0])?;
                (Some(System { before: before.into(), after: after.into() }), rest)
            }
            None => (None, plain.as_ref()?.split_once(USERS[0])?.1),
        };
        let (between, rest) = rest.split_once(ANSWERS[0])?;
        let (after_answer, before_answer) = rest.split_once(USERS[1])?;
        let (without_system, _) = render(template, false, 1)?.split_once(USERS[0]).map(owned)?;
        let closed = [message("user", USERS[0]), message("assistant", ANSWERS[0])];
        let (_, end) = template.render(&closed, Ending::Closed).ok()?.split_once(ANSWERS[0]).map(owned)?;
        let turns = Self {
            system,
            without_system,
            before_answer: before_answer.into(),
            after_answer: after_answer.into(),
            end,
        };
        // What opens an answer in the past and what opens the one to come must be the same.
        let same = between == before_answer
            && [true, false].into_iter().all(|system| {
                system && turns.system.is_none()
                    || (1..=3)
                        .all(|count| render(template, system, count).as_ref() == Some(&turns.render(system, count)))
            });
        same.then_some(turns)
    }

    /// Takes the beginning-of-sequence token away, where the runtime puts it in front itself.
    pub(super) fn without_beginning(mut self, beginning: &str) -> Self {
        let system = self.system.as_mut().map(|system| &mut system.before);
        for text in system.into_iter().chain([&mut self.without_system]) {
            if let Some(rest) = text.strip_prefix(beginning) {
                *text = rest.to_owned();
            }
        }
        self
    }

    /// Returns the Go template, or nothing when a fixed text could be taken for Go.
    pub(super) fn go(&self) -> Option<String> {
        let Self { system, without_system, before_answer, after_answer, .. } = self;
        let around = system.iter().flat_map(|system| [&system.before, &system.after]);
        let mut texts = around.chain([without_system, before_answer, after_answer]);
        if texts.any(|text| text.contains("{{") || text.ends_with('{')) {
            return None;
        }
        // `.System` holds the system messages; an answer that is to be gone on with does not occur behind our stops.
        let opening = match system {
            Some(System { before, after }) => format!(
                "{{{{ if .System }}}}{before}{{{{ .System }}}}{after}{{{{ else }}}}{without_system}{{{{ end }}}}"
            ),
            None => without_system.clone(),
        };
        Some(format!(
            "{opening}{{{{ range .Messages }}}}\
             {{{{ if eq .Role \"user\" }}}}{{{{ .Content }}}}{before_answer}\
             {{{{ else if eq .Role \"assistant\" }}}}{{{{ .Content }}}}{after_answer}{{{{ end }}}}\
             {{{{ end }}}}"
        ))
    }

    /// Renders the conversation of [`render`] from the fixed texts.
    fn render(&self, system: bool, questions: usize) -> String {
        let mut text = match self.system.as_ref().filter(|_| system) {
            Some(System { before, after }) => format!("{before}{SYSTEM}{after}"),
            None => self.without_system.clone(),
        };
        for (number, user) in USERS.iter().enumerate().take(questions) {
            text += user;
            text += &self.before_answer;
            if number + 1 < questions {
                text += ANSWERS[number];
                text += &self.after_answer;
            }
        }
        text
    }
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

fn message(role: &'static str, content: &str) -> Message {
    Message { role, content: content.to_owned() }
}

/// Renders a conversation of so many questions, all but the last answered, opened for the next answer.
fn render(template: &ChatTemplate, system: bool, questions: usize) -> Option<String> {
    let mut messages = Vec::new();
    messages.extend(system.then(|| message("system", SYSTEM)));
    for (number, user) in USERS.iter().enumerate().take(questions) {
        messages.push(message("user", user));
        if number + 1 < questions {
            messages.push(message("assistant", ANSWERS[number]));
        }
    }
    template.render(&messages, Ending::GenerationPrompt).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_without_a_place_for_a_system_prompt_is_translated_without_one() {
        let gemma = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}\
            {% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else \
            message['role']) + '\n' + message['content'] + '<end_of_turn>\n' }}{% endfor %}\
            {% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";
        let go = turns(gemma).unwrap().without_beginning("<s>").go().unwrap();
        assert!(go.starts_with("<start_of_turn>user\n{{ range .Messages }}"), "{go}");
        let drops = "{% for message in messages %}{% if message['role'] != 'system' %}{{ '[' + message['content'] + ']' }}\
            {% endif %}{% endfor %}{% if add_generation_prompt %}[{% endif %}";
        assert_eq!(turns(drops).unwrap().system, None);
    }

    fn turns(source: &str) -> Option<Turns> {
        Turns::of(&ChatTemplate::new(source, Some("<s>".into()), Some("</s>".into())).unwrap())
    }

    #[test]
    fn chatml_with_a_default_system_prompt_is_translated() {
        let source = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
            {{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}\
            {{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
            {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
        let turns = turns(source).unwrap();
        assert_eq!(turns.end, "<|im_end|>\n");
        assert_eq!(
            turns.go().unwrap(),
            "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n<|im_start|>user\n{{ else }}\
             <|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\n{{ end }}{{ range .Messages }}\
             {{ if eq .Role \"user\" }}{{ .Content }}<|im_end|>\n<|im_start|>assistant\n\
             {{ else if eq .Role \"assistant\" }}{{ .Content }}<|im_end|>\n<|im_start|>user\n{{ end }}{{ end }}"
        );
    }

    #[test]
    fn llama_3_loses_its_beginning_and_keeps_its_headers() {
        let source = "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + \
            '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}\
            {% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
        let go = turns(source).unwrap().without_beginning("<s>").go().unwrap();
        assert!(go.starts_with("{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n{{ .System }}"), "{go}");
        assert!(!go.contains("<s>"));
    }

    #[test]
    fn a_template_that_depends_on_more_than_the_turns_is_not_translated() {
        let numbered = "{% for message in messages %}{{ loop.index }}{{ message['content'] }}{% endfor %}";
        assert_eq!(turns(numbered), None);
        let refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}";
        assert_eq!(turns(refuses), None);
    }
}
