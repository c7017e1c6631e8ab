//! The tries of one request: how often it failed or was limited, what it waited for, and whether it goes on.

use std::time::{Duration, Instant, SystemTime};

use super::exchange::{Broken, TICK};
use super::{NetError, Policy, Request, Result, Watch};

/// The beginning of the year 10000, in seconds after that of 1970.
const END_OF_DATES: u64 = 253_402_300_800;

/// How often a request failed or was limited so far, and how long it waited for limits.
pub(super) struct Tries {
    started: Instant,
    failed: u32,
    limited: u32,
    waited: Duration,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), failed: 0, limited: 0, waited: Duration::ZERO }
    }

    /// Returns the time that the request took so far, without what servers asked to wait.
    pub(super) fn spent(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.waited)
    }

    /// Takes that the last try brought something: only what fails from now on counts.
    pub(super) fn progressed(&mut self) {
        *self = Self { waited: self.waited, ..Self::new() };
    }

    /// Pauses before the next try, or gives the error when that was the last one.
    pub(super) fn again(
        &mut self,
        policy: &Policy,
        request: &Request<'_>,
        pause: Option<Duration>,
        watch: &dyn Watch,
        error: impl FnOnce(u32) -> NetError,
    ) -> Result<()> {
        self.failed += 1;
        let error = error(self.failed);
        if self.failed >= policy.attempts || !may_pass(&error) {
            return Err(error);
        }
        let own = policy.pause(self.failed, &request.url().to_string());
        let pause = match pause {
            Some(named) if self.waited.saturating_add(named) > policy.max_wait => return Err(error),
            Some(named) => {
                // A pause that the server asks for is no time that the request takes.
                self.waited += named;
                named.max(own)
            }
            None => own,
        };
        // The next try gets no less time than the pause before it: one that is cut off at once would only hide this error.
        if self.spent() + 2 * own >= policy.total {
            return Err(error);
        }
        watch.waits(pause, &format!("{} failed, trying again", request.url().host()));
        rest(pause, watch)
    }

    /// Waits for a rate limit, as long as the policy allows.
    pub(super) fn wait_for_limit(
        &mut self,
        policy: &Policy,
        request: &Request<'_>,
        wait: Option<Duration>,
        watch: &dyn Watch,
    ) -> Result<()> {
        self.limited += 1;
        let unnamed = policy.unnamed_wait.saturating_mul(1 << (self.limited - 1).min(6));
        // A server that says "in 0 seconds" again and again must not be asked without a pause.
        let wait = wait.unwrap_or(unnamed).max(policy.pause(self.limited, &request.url().to_string()));
        let host = request.url().host();
        if self.waited.saturating_add(wait) > policy.max_wait {
            let wait = Duration::from_secs(wait.as_secs());
            return Err(NetError::RateLimited { host, until: date_after(wait), wait });
        }
        self.waited += wait;
        watch.waits(wait, &format!("{host} limits requests"));
        rest(wait, watch)
    }
}

/// Makes the error of a try that brought no whole reply.
pub(super) fn broken_off(request: &Request<'_>, policy: &Policy, attempts: u32, broken: Broken) -> NetError {
    let url = request.url().to_string();
    match broken {
        Broken::Cancelled => NetError::Cancelled,
        Broken::Late => NetError::Timeout { url, attempts, limit: policy.deadline },
        Broken::TooLarge => NetError::TooLarge { url, limit: policy.max_bytes },
        Broken::Connection(cause) => match *cause {
            ureq::Error::Timeout(_) => NetError::Timeout { url, attempts, limit: policy.deadline },
            _ if is_untrusted(&cause) => NetError::Untrusted { url, cause },
            _ => NetError::Unreachable { url, attempts, cause },
        },
        // What cannot be written is told by whoever knows where.
        Broken::Vanished | Broken::Sink(_) => NetError::Bug { url },
    }
}

/// Returns whether a connection failed because nobody who is trusted vouches for the server.
fn is_untrusted(error: &ureq::Error) -> bool {
    let error = match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()),
        _ => None,
    };
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

/// Returns whether another try may end otherwise than with `error`.
fn may_pass(error: &NetError) -> bool {
    match error {
        NetError::Unreachable { cause, .. } => matches!(
            **cause,
            ureq::Error::Io(_)
                | ureq::Error::Protocol(_)
                | ureq::Error::HostNotFound
                | ureq::Error::ConnectionFailed
                | ureq::Error::ConnectProxyFailed(_)
                | ureq::Error::Decompress(..)
        ),
        NetError::Timeout { .. } | NetError::Server { .. } | NetError::NotJson { .. } | NetError::BrokenOff { .. } => {
            true
        }
        _ => false,
    }
}

/// Sleeps, but not past a cancel.
///
/// # Errors
/// [`NetError::Cancelled`].
pub fn rest(pause: Duration, watch: &dyn Watch) -> Result<()> {
    // No clock tells the end of the longest pauses: those last until a cancel.
    let end = Instant::now().checked_add(pause);
    loop {
        if watch.is_cancelled() {
            return Err(NetError::Cancelled);
        }
        let left = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(TICK));
    }
}

/// Returns when a wait that begins now is over, as HTTP writes it: in years of four digits. A server may name any.
fn date_after(wait: Duration) -> String {
    let end_of_dates = SystemTime::UNIX_EPOCH + Duration::from_secs(END_OF_DATES);
    let end = clock().checked_add(wait).filter(|end| *end < end_of_dates);
    end.map_or_else(|| "after the year 9999".to_owned(), httpdate::fmt_http_date)
}

/// Returns the time of day, for waits that a server names by a date.
#[expect(clippy::disallowed_methods, reason = "how long to wait is no part of a result")]
pub(super) fn clock() -> SystemTime {
    SystemTime::now()
}
