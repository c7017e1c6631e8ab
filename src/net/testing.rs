//! What servers in tests have in common.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;

/// A body that breaks after these bytes.
pub(crate) fn breaking(sent: Vec<u8>) -> Body {
    let parts = vec![Ok(sent), Err(Error::new(ErrorKind::ConnectionReset, "gone"))];
    Body::from_stream(Parts { items: parts.into_iter(), has_waited: false })
}

/// What is sent, then a break: after a while, so that the server has sent it by then.
struct Parts {
    items: std::vec::IntoIter<Result<Vec<u8>>>,
    has_waited: bool,
}

impl futures_core::Stream for Parts {
    type Item = Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.items.len() == 1 && !self.has_waited {
            self.has_waited = true;
            let waker = context.waker().clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                waker.wake();
            });
            return Poll::Pending;
        }
        Poll::Ready(self.items.next())
    }
}
