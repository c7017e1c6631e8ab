//! One request and its reply, on a thread of its own, so that the caller can leave at any time.
//!
//! A blocking client cannot be interrupted. Here it fills a short channel, and the one who waits looks at the clock
//! and at the cancel flag; when that one leaves, the channel closes and the thread ends with its next part.

use std::io::{self, Read, Seek as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ureq::http::HeaderMap;
use ureq::http::header::CONTENT_LENGTH;
use ureq::{Agent, SendBody, http};

use super::{Policy, Watch};

/// How often a waiting caller looks at its cancel flag.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// How much of a refusal is read: enough for its message.
const EXCERPT: u64 = 16 << 10;

/// What a request sends.
#[derive(Clone, Debug)]
pub(super) enum Body {
    None,
    Bytes(Vec<u8>),
    /// A file, read while it is sent.
    File(FilePart),
}

/// A file, or these of its bytes.
#[derive(Clone, Debug)]
pub(super) struct FilePart {
    pub(super) path: PathBuf,
    pub(super) range: Option<Range<u64>>,
}

/// How many bytes of a file are sent: at [`LEFT`] nobody waits for the reply any more.
type Sent = Arc<AtomicU64>;

const LEFT: u64 = u64::MAX;

/// A file on its way.
struct Upload {
    file: io::Take<fs_err::File>,
    sent: Sent,
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let counted = self
            .sent
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |sent| (sent != LEFT).then_some(sent + count as u64));
        counted.map(|_| count).map_err(|_| io::Error::other("nobody waits for the reply"))
    }
}

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

/// Sends `request` and waits for the whole reply. While a file is sent, the policy's deadline is what may pass without a
/// byte of it.
pub(super) fn exchange(
    agent: &Agent,
    request: http::Request<Body>,
    policy: &Policy,
    watch: &dyn Watch,
) -> Result<Reply, Broken> {
    let waiting = Waiting::new(&request, policy, watch);
    let receiver = start(agent, request, Arc::clone(&waiting.sent))?;
    waiting.collect(&receiver)
}

/// Sends `request` and pours the body of an answer into `sink`, as long as something comes within each deadline. The
/// reply's own body is how a refusal begins.
pub(super) fn pour(
    agent: &Agent,
    request: http::Request<Body>,
    policy: &Policy,
    watch: &dyn Watch,
    sink: &mut dyn Sink,
) -> Result<Reply, Broken> {
    let waiting = Waiting::new(&request, policy, watch);
    let receiver = start(agent, request, Arc::clone(&waiting.sent))?;
    let mut reply: Option<Reply> = None;
    let mut is_poured = false;
    loop {
        match waiting.next(&receiver, &mut (Instant::now() + policy.deadline))? {
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
fn start(agent: &Agent, request: http::Request<Body>, sent: Sent) -> Result<Receiver<Part>, Broken> {
    let (sender, receiver) = sync_channel(4);
    let agent = agent.clone();
    std::thread::Builder::new()
        .name("http".into())
        .spawn(move || {
            if let Err(error) = pump(&agent, request, sent, &sender) {
                sender.send(Part::Failed(Box::new(error))).ok();
            }
        })
        .map_err(|error| Broken::Connection(Box::new(error.into())))?;
    Ok(receiver)
}

/// Hands the reply over part by part; a caller that left ends it early.
fn pump(agent: &Agent, request: http::Request<Body>, sent: Sent, sender: &SyncSender<Part>) -> Result<(), ureq::Error> {
    let (head, body) = request.into_parts();
    let response = match body {
        Body::None => agent.run(http::Request::from_parts(head, ()))?,
        Body::Bytes(bytes) => agent.run(http::Request::from_parts(head, bytes))?,
        Body::File(part) => agent.run(upload(head, &part, sent)?)?,
    };
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

/// Makes the message that carries a file. Its length is told, since some servers take no body of unknown length.
fn upload(mut head: http::request::Parts, part: &FilePart, sent: Sent) -> io::Result<http::Request<SendBody<'static>>> {
    let mut file = fs_err::File::open(&part.path)?;
    let whole = file.metadata()?.len();
    let range = part.range.clone().unwrap_or(0..whole);
    let length = range.end.min(whole).saturating_sub(range.start);
    file.seek(io::SeekFrom::Start(range.start))?;
    head.headers.insert(CONTENT_LENGTH, length.into());
    let file = file.take(length);
    Ok(http::Request::from_parts(head, SendBody::from_owned_reader(Upload { file, sent })))
}

/// The one who waits for a reply.
struct Waiting<'a> {
    has_body: bool,
    policy: &'a Policy,
    watch: &'a dyn Watch,
    sent: Sent,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.sent.store(LEFT, Ordering::SeqCst);
    }
}

impl<'a> Waiting<'a> {
    fn new(request: &http::Request<Body>, policy: &'a Policy, watch: &'a dyn Watch) -> Self {
        Self { has_body: request.method() != http::Method::HEAD, policy, watch, sent: Sent::default() }
    }

    fn collect(&self, receiver: &Receiver<Part>) -> Result<Reply, Broken> {
        let policy = self.policy;
        let mut end = Instant::now() + policy.deadline;
        let mut reply: Option<Reply> = None;
        loop {
            let part = self.next(receiver, &mut end)?;
            match part {
                Part::Head(status, headers) => {
                    let length =
                        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
                    let is_long = self.has_body && length.is_some_and(|length| length > policy.max_bytes);
                    if (200..300).contains(&status) && is_long {
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

    /// Waits for the next part, looking at the clock, at the cancel flag, and at what of a file is sent.
    fn next(&self, receiver: &Receiver<Part>, end: &mut Instant) -> Result<Part, Broken> {
        let mut sent = 0;
        loop {
            if self.watch.is_cancelled() {
                return Err(Broken::Cancelled);
            }
            let now = self.sent.load(Ordering::SeqCst);
            if now != sent {
                sent = now;
                *end = Instant::now() + self.policy.deadline;
                self.watch.sends(sent);
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
}
