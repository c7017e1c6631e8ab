//! `tunesmith serve`: the model that a node gave, over the API that OpenAI's clients speak.
//!
//! `--json` writes one object `serve` when requests can come: `node`, `model` (the name that requests give), `url`,
//! `context` (tokens). Ctrl-C ends it with exit code 0: it did what was asked for.

use std::net::SocketAddr;

#[cfg(feature = "llama")]
use super::sampling::Sampling;
use super::{CliError, Context, Execute, Exit};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The node: one that gives a GGUF, a training, or `model`
    node: String,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// What requests call the model; by default the node's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Requests that may wait while one is answered
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    queue: u16,
    #[cfg(feature = "llama")]
    #[command(flatten)]
    sampling: Sampling,
}

#[cfg(not(feature = "llama"))]
impl Execute for Serve {
    fn execute(&self, _: &mut Context<'_>) -> Result<Exit, CliError> {
        Err(crate::llama::Absent { wanted: "serve" }.into())
    }
}

#[cfg(feature = "llama")]
impl Execute for Serve {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        use super::built::Built;
        use super::session::{Session, now};
        use super::{interrupt, machine};
        use crate::serve::{ChatModel, Service, serve};

        let session = Session::open(context, crate::engine::Mode::default())?;
        let index = session.node(&self.node)?;
        let cancel = crate::node::Cancel::shared();
        interrupt::cancel_on_signal(&cancel)?;
        let taken = |cause| CliError::CannotListen { address: self.listen, cause };
        let listener = std::net::TcpListener::bind(self.listen).map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let built = Built::of(context, &session, index, &cancel)?;
        let model = ChatModel::open(&built.path)?;
        let service = Service {
            name: self.name.clone().unwrap_or_else(|| built.node.clone()),
            system: built.system.clone(),
            context: self.sampling.context(model.model().context_length()),
            threads: machine::grant(&session.project.manifest.run.options).threads,
            usual: self.sampling.generation(),
            room: usize::from(self.queue),
            clock: now,
        };
        let (name, length) = (service.name.clone(), service.context);
        let stop: crate::serve::Stop = std::sync::Arc::new(move || cancel.is_cancelled());
        serve(listener, &model, service, &stop, || ready(context, &built.node, &name, address, length))?;
        Ok(Exit::Done)
    }
}

/// Says that requests can come, and who can send them.
#[cfg(feature = "llama")]
fn ready(context: &mut Context<'_>, node: &str, name: &str, address: SocketAddr, length: u32) {
    let whom = if address.ip().is_loopback() {
        "for this machine only".to_owned()
    } else {
        format!("for everybody who reaches {}, without a password", address.ip())
    };
    let url = format!("http://{address}/v1");
    context.output.note(format_args!("`{name}` answers at {url}, {whom}; Ctrl-C ends it"));
    let object = serde_json::json!({"node": node, "model": name, "url": url, "context": length});
    context.output.json(&serde_json::json!({ "serve": object }));
}
