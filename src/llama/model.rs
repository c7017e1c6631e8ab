//! A loaded model and its vocabulary.

#![expect(unsafe_code, reason = "calls into llama.cpp")]

use std::ffi::CStr;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::{LlamaError, log};

/// A token's number.
pub type Token = i32;

/// Whether markers such as `<|im_end|>` in a text are tokens of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markers {
    /// They are: for texts that a chat template has rendered.
    Parsed,
    /// They are letters like all others: for texts of people.
    Plain,
}

/// A token that stands for its text as a whole where markers are parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its text.
    pub text: String,
    /// Whether it is never meant to come from the text of people. The others are tokens wherever their text stands.
    pub is_control: bool,
}

/// A model on the CPU, mapped from its file.
#[derive(Debug)]
pub struct Model {
    pub(super) pointer: NonNull<sys::llama_model>,
    pub(super) vocabulary: NonNull<sys::llama_vocab>,
}

impl Model {
    /// Loads the GGUF at `path`.
    ///
    /// # Errors
    /// [`LlamaError::Load`] with llama.cpp's reason.
    pub fn load(path: &Path) -> Result<Self, LlamaError> {
        Self::read(path, false)
    }

    /// Loads only the vocabulary and the chat template of the GGUF at `path`: no context can be made of it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_vocabulary(path: &Path) -> Result<Self, LlamaError> {
        Self::read(path, true)
    }

    fn read(path: &Path, vocab_only: bool) -> Result<Self, LlamaError> {
        log::start();
        let name = log::c_path(path)?;
        // SAFETY: the parameters are llama.cpp's own defaults, and the name lives through the call.
        let pointer = unsafe {
            let mut parameters = sys::llama_model_default_params();
            parameters.n_gpu_layers = 0;
            parameters.vocab_only = vocab_only;
            sys::llama_model_load_from_file(name.as_ptr(), parameters)
        };
        let failed = || LlamaError::Load { path: path.to_owned(), said: log::last_words() };
        let pointer = NonNull::new(pointer).ok_or_else(failed)?;
        // SAFETY: the model was just loaded; its vocabulary lives as long as it does.
        let vocabulary = unsafe { sys::llama_model_get_vocab(pointer.as_ptr()) }.cast_mut();
        let Some(vocabulary) = NonNull::new(vocabulary) else {
            // SAFETY: nothing else holds the model.
            unsafe { sys::llama_model_free(pointer.as_ptr()) };
            return Err(failed());
        };
        Ok(Self { pointer, vocabulary })
    }

    /// Returns the number of tokens in the vocabulary.
    pub fn vocabulary_size(&self) -> i32 {
        // SAFETY: the vocabulary lives as long as `self`.
        unsafe { sys::llama_vocab_n_tokens(self.vocabulary.as_ptr()) }
    }

    /// Returns the longest sequence in tokens that the model was made for.
    pub fn context_length(&self) -> u32 {
        // SAFETY: the model lives as long as `self`.
        unsafe { sys::llama_model_n_ctx_train(self.pointer.as_ptr()) }.max(0) as u32
    }

    /// Returns the bytes of all tensors.
    pub fn size(&self) -> u64 {
        // SAFETY: the model lives as long as `self`.
        unsafe { sys::llama_model_size(self.pointer.as_ptr()) }
    }

    /// Returns the chat template that is in the file.
    pub fn chat_template(&self) -> Option<String> {
        // SAFETY: the model lives as long as `self`; a null name asks for the default template.
        let text = unsafe { sys::llama_model_chat_template(self.pointer.as_ptr(), std::ptr::null()) };
        // SAFETY: where it is not null it is a terminated text of the model.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }

    /// Returns whether a token ends what the model says.
    pub fn is_end(&self, token: Token) -> bool {
        // SAFETY: the vocabulary lives as long as `self`; numbers are checked by our callers and by llama.cpp.
        (0..self.vocabulary_size()).contains(&token)
            && unsafe { sys::llama_vocab_is_eog(self.vocabulary.as_ptr(), token) }
    }

    /// Returns the token that begins a text and the one that ends it, as they are written.
    pub fn ends_of_text(&self) -> [Option<String>; 2] {
        let vocabulary = self.vocabulary.as_ptr();
        // SAFETY: the vocabulary lives as long as `self`; a text is asked for only of a token that it has.
        unsafe { [sys::llama_vocab_bos(vocabulary), sys::llama_vocab_eos(vocabulary)] }.map(|token| {
            (0..self.vocabulary_size()).contains(&token).then(|| {
                // SAFETY: as above; the text is terminated and lives as long as the vocabulary.
                let text = unsafe { CStr::from_ptr(sys::llama_vocab_get_text(vocabulary, token)) };
                text.to_string_lossy().into_owned()
            })
        })
    }

    /// Returns the tokens that stand for their text as a whole, by their numbers.
    pub fn special_tokens(&self) -> Vec<SpecialToken> {
        let vocabulary = self.vocabulary.as_ptr();
        let special = |token: Token| {
            // SAFETY: the vocabulary lives as long as `self`, and has the token.
            let attributes = unsafe { sys::llama_vocab_get_attr(vocabulary, token) };
            let is_control = attributes & (sys::LLAMA_TOKEN_ATTR_CONTROL | sys::LLAMA_TOKEN_ATTR_UNKNOWN) != 0;
            if !is_control && attributes & sys::LLAMA_TOKEN_ATTR_USER_DEFINED == 0 {
                return None;
            }
            // SAFETY: as above; the text is terminated and lives as long as the vocabulary.
            let text = unsafe { CStr::from_ptr(sys::llama_vocab_get_text(vocabulary, token)) };
            Some(SpecialToken { text: text.to_string_lossy().into_owned(), is_control })
        };
        (0..self.vocabulary_size()).filter_map(special).collect()
    }

    /// Returns the tokens of `text`, with no token added in front or behind.
    ///
    /// # Errors
    /// [`LlamaError::Tokenize`] when the text is too long for llama.cpp.
    pub fn tokenize(&self, text: &str, markers: Markers) -> Result<Vec<Token>, LlamaError> {
        self.tokens(text, false, markers == Markers::Parsed)
    }

    /// Returns the tokens of a rendered conversation as llama.cpp's server makes them: where the vocabulary asks for a
    /// token that begins a text it is put in front, and not once more where the template wrote it.
    ///
    /// # Errors
    /// As [`Self::tokenize`].
    pub fn tokenize_served(&self, text: &str) -> Result<Vec<Token>, LlamaError> {
        let [begin, end] = self.ends_of_text();
        // SAFETY: the vocabulary lives as long as `self`.
        let (adds_begin, adds_end) = unsafe {
            let vocabulary = self.vocabulary.as_ptr();
            (sys::llama_vocab_get_add_bos(vocabulary), sys::llama_vocab_get_add_eos(vocabulary))
        };
        let begin = begin.filter(|begin| adds_begin && !begin.is_empty());
        let end = end.filter(|end| adds_end && !end.is_empty());
        let text = begin.and_then(|begin| text.strip_prefix(&begin)).unwrap_or(text);
        let text = end.and_then(|end| text.strip_suffix(&end)).unwrap_or(text);
        self.tokens(text, true, true)
    }

    fn tokens(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<Token>, LlamaError> {
        let failed = || LlamaError::Tokenize { bytes: text.len() };
        let length = i32::try_from(text.len()).map_err(|_| failed())?;
        // No tokenizer makes more tokens than bytes, but for the space that some put in front and the ends of a text.
        let mut tokens: Vec<Token> = vec![0; text.len() + 4];
        let room = i32::try_from(tokens.len()).map_err(|_| failed())?;
        // SAFETY: both buffers are as long as they are said to be.
        let count = unsafe {
            sys::llama_tokenize(
                self.vocabulary.as_ptr(),
                text.as_ptr().cast(),
                length,
                tokens.as_mut_ptr(),
                room,
                add_special,
                parse_special,
            )
        };
        tokens.truncate(usize::try_from(count).map_err(|_| failed())?);
        Ok(tokens)
    }

    /// Returns a token as people read it: its characters, or for a marker its name.
    pub fn text(&self, token: Token) -> String {
        let bytes = self.piece(token);
        if !bytes.is_empty() || !(0..self.vocabulary_size()).contains(&token) {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        // SAFETY: the vocabulary lives as long as `self`, and has the token; the text is terminated and lives as long.
        let text = unsafe { CStr::from_ptr(sys::llama_vocab_get_text(self.vocabulary.as_ptr(), token)) };
        text.to_string_lossy().into_owned()
    }

    /// Returns the bytes that a token stands for; a character may be spread over several. Markers stand for nothing.
    pub fn piece(&self, token: Token) -> Vec<u8> {
        let mut bytes = vec![0_u8; 64];
        loop {
            // SAFETY: the buffer is as long as it is said to be.
            let length = unsafe {
                let vocabulary = self.vocabulary.as_ptr();
                sys::llama_token_to_piece(vocabulary, token, bytes.as_mut_ptr().cast(), bytes.len() as i32, 0, false)
            };
            match usize::try_from(length) {
                Ok(length) => {
                    bytes.truncate(length);
                    return bytes;
                }
                Err(_) => bytes.resize(length.unsigned_abs() as usize, 0),
            }
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: contexts borrow the model, so none is left.
        unsafe { sys::llama_model_free(self.pointer.as_ptr()) };
    }
}

/// Returns the version that is linked, for the test that holds [`super::VERSION`] against it.
#[cfg(test)]
pub(super) fn version() -> String {
    // SAFETY: a constant text of llama.cpp.
    unsafe { CStr::from_ptr(sys::llama_version()) }.to_string_lossy().into_owned()
}
