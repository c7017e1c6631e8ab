//! One request and its reply, on a thread of its own, so that the caller can leave at any time.
//!
//! A blocking client cannot be interrupted. Here it fills a short channel, and the one who waits looks at the clock
//! and at the cancel flag; when that one leaves, the channel closes and the thread ends with its next part.

use std::io::{self, Read as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ureq::http::HeaderMap;
use ureq::{Agent, http};

use super::{Policy, Watch};

/// How often a waiting caller looks at its cancel flag.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// How much of a refusal is read: enough for its message.
const EXCERPT: u64 = 16 << 10;

/// A whole reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why there is no whole reply.
#[derive(Debug)]
pub(super) enum Broken {
    /// The caller asked to stop.
    Cancelled,
    /// It took longer than the policy's deadline.
    Late,
    /// The body has more bytes than the policy allows.
    TooLarge,
    /// The connection failed, or what came was not HTTP.
    Connection(Box<ureq::Error>),
    /// The thread ended without a word.
    Vanished,
    /// What came could not be put where it belongs.
    Sink(io::Error),
}

/// Where the bytes of an answer go when it is too large for memory.
pub(super) trait Sink {
    /// Takes status and headers; returns whether the body is wanted.
    fn head(&mut self, status: u16, headers: &HeaderMap) -> io::Result<bool>;
    /// Takes the next bytes.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// What the thread hands over.
enum Part {
    Head(u16, HeaderMap),
    Bytes(Vec<u8>),
    End,
    Failed(Box<ureq::Error>),
}

/// Sends `request` and waits for the whole reply.
pub(super) fn exchange(
    agent: &Agent,
    request: http::Request<Vec<u8>>,
    policy: &Policy,
    watch: &dyn Watch,
) -> Result<Reply, Broken> {
    collect(&start(agent, request)?, policy, watch)
}

/// Sends `request` and pours the body of an answer into `sink`, as long as something comes within each deadline. The
/// reply's own body is how a refusal begins.
pub(super) fn pour(
    agent: &Agent,
    request: http::Request<Vec<u8>>,
    policy: &Policy,
    watch: &dyn Watch,
    sink: &mut dyn Sink,
) -> Result<Reply, Broken> {
    let receiver = start(agent, request)?;
    let mut reply: Option<Reply> = None;
    let mut is_poured = false;
    loop {
        match next(&receiver, Instant::now() + policy.deadline, watch)? {
            Part::Head(status, headers) => {
                is_poured = sink.head(status, &headers).map_err(Broken::Sink)?;
                let whole = Reply { status, headers, body: Vec::new() };
                if (200..300).contains(&status) && !is_poured {
                    return Ok(whole);
                }
                reply = Some(whole);
            }
            Part::Bytes(bytes) if is_poured => sink.bytes(&bytes).map_err(Broken::Sink)?,
            Part::Bytes(bytes) => {
                let so_far = reply.as_mut().ok_or(Broken::Vanished)?;
                so_far.body.extend_from_slice(&bytes);
                if so_far.body.len() as u64 >= EXCERPT {
                    return reply.ok_or(Broken::Vanished);
                }
            }
            Part::End => return reply.ok_or(Broken::Vanished),
            Part::Failed(error) => return Err(Broken::Connection(error)),
        }
    }
}

/// Starts the thread that speaks HTTP.
fn start(agent: &Agent, request: http::Request<Vec<u8>>) -> Result<Receiver<Part>, Broken> {
    let (sender, receiver) = sync_channel(4);
    let agent = agent.clone();
    std::thread::Builder::new()
        .name("http".into())
        .spawn(move || {
            if let Err(error) = pump(&agent, request, &sender) {
                sender.send(Part::Failed(Box::new(error))).ok();
            }
        })
        .map_err(|error| Broken::Connection(Box::new(error.into())))?;
    Ok(receiver)
}

/// Hands the reply over part by part; a caller that left ends it early.
fn pump(agent: &Agent, request: http::Request<Vec<u8>>, sender: &SyncSender<Part>) -> Result<(), ureq::Error> {
    let response = if request.body().is_empty() { agent.run(request.map(|_| ()))? } else { agent.run(request)? };
    let (head, body) = response.into_parts();
    if sender.send(Part::Head(head.status.as_u16(), head.headers)).is_err() {
        return Ok(());
    }
    let mut reader = body.into_reader();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let part = match reader.read(&mut buffer) {
            Ok(0) => Part::End,
            Ok(count) => Part::Bytes(buffer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let is_last = matches!(part, Part::End);
        if sender.send(part).is_err() || is_last {
            return Ok(());
        }
    }
}

fn collect(receiver: &Receiver<Part>, policy: &Policy, watch: &dyn Watch) -> Result<Reply, Broken> {
    let end = Instant::now() + policy.deadline;
    let mut reply: Option<Reply> = None;
    loop {
        let part = next(receiver, end, watch)?;
        match part {
            Part::Head(status, headers) => {
                let length = headers.get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
                if (200..300).contains(&status) && length.is_some_and(|length| length > policy.max_bytes) {
                    return Err(Broken::TooLarge);
                }
                reply = Some(Reply { status, headers, body: Vec::new() });
            }
            Part::Bytes(bytes) => {
                let so_far = reply.as_mut().ok_or(Broken::Vanished)?;
                so_far.body.extend_from_slice(&bytes);
                let size = so_far.body.len() as u64;
                if (200..300).contains(&so_far.status) {
                    if size > policy.max_bytes {
                        return Err(Broken::TooLarge);
                    }
                } else if size >= EXCERPT {
                    return reply.ok_or(Broken::Vanished);
                }
            }
            Part::End => return reply.ok_or(Broken::Vanished),
            Part::Failed(error) => return Err(Broken::Connection(error)),
        }
    }
}

/// Waits for the next part, looking at the clock and at the cancel flag.
fn next(receiver: &Receiver<Part>, end: Instant, watch: &dyn Watch) -> Result<Part, Broken> {
    loop {
        if watch.is_cancelled() {
            return Err(Broken::Cancelled);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Broken::Late);
        }
        match receiver.recv_timeout(left.min(TICK)) {
            Ok(part) => return Ok(part),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Broken::Vanished),
        }
    }
}
