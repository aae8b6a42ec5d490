use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Error};

use super::fault::DatabaseFault;

/// The messages of a connection, as far as they have come.
pub(super) type PollMessages =
    Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>> + Send>;

/// A connection, which moves only while a request waits for its answer.
pub(super) struct Line {
    messages: Option<PollMessages>,
    warned: bool,
}

impl Line {
    pub(super) const fn new(messages: PollMessages) -> Self {
        Self { messages: Some(messages), warned: false }
    }

    /// Whether the connection has ended.
    pub(super) const fn is_over(&self) -> bool {
        self.messages.is_none()
    }

    /// Whether the server has warned of something since this was asked last. A COMMIT whose wait for a standby was
    /// cancelled is answered like any other, and only a warning tells.
    pub(super) const fn take_warned(&mut self) -> bool {
        std::mem::replace(&mut self.warned, false)
    }

    /// The result of `request`.
    pub(super) async fn drive<T>(
        &mut self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, DatabaseFault> {
        let mut request = pin!(request);
        let done = poll_fn(|cx| {
            self.advance(cx);
            request.as_mut().poll(cx)
        });
        done.await.map_err(|error| DatabaseFault::of(&error))
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        while let Some(messages) = &mut self.messages {
            match messages(cx) {
                Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                    // A severity that is not understood counts as a warning.
                    let harmless = [Severity::Debug, Severity::Info, Severity::Log, Severity::Notice];
                    self.warned |=
                        !notice.parsed_severity().is_some_and(|severity| harmless.contains(&severity));
                }
                Poll::Ready(Some(Ok(_))) => {}
                // Dropped, it ends the request that waits.
                Poll::Ready(Some(Err(_)) | None) => self.messages = None,
                Poll::Pending => break,
            }
        }
    }
}
