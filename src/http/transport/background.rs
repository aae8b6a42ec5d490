use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that runs beside another one in the same task, and is polled only after its own wake-up.
///
/// A connection's task is woken several times for each request; that its holder may not stay, or that the broker
/// stops, comes once if ever, and asking for it takes locks.
pub(crate) struct BackgroundFuture<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    bell: Arc<WakeFlag>,
    waker: Waker,
}

impl<T> BackgroundFuture<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let bell = Arc::new(WakeFlag { rung: AtomicBool::new(true), task: Mutex::new(None) });
        Self { future: Box::pin(future), waker: Waker::from(Arc::clone(&bell)), bell }
    }
}

impl<T> Future for BackgroundFuture<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // First the waker, then the flag: otherwise a wake-up between the two would be lost.
        self.bell.belongs_to(cx.waker());
        if !self.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let this = &mut *self;
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

struct WakeFlag {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl WakeFlag {
    fn belongs_to(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_looked_at_when_it_was_woken_and_not_when_its_neighbour_was() {
        let looked = Arc::new(AtomicUsize::new(0));
        let (ring, mut rung) = oneshot::channel();
        let counted = Arc::clone(&looked);
        let mut aside = BackgroundFuture::new(poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut rung).poll(cx)
        }));
        for _ in 0..3 {
            poll_fn(|cx| {
                assert!(Pin::new(&mut aside).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(looked.load(Ordering::Relaxed), 1);
        let waiting = tokio::spawn(aside);
        tokio::task::yield_now().await;
        ring.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
        assert_eq!(looked.load(Ordering::Relaxed), 2);
    }
}
