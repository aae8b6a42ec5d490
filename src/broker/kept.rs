use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::limits::KEEP_WAIT_MS;
use crate::custody::{Order, Orders, OrdersError, TakeAway};

/// Orders that are in force in memory alone, kept on another file system than the ledger, so that the next
/// start carries them out before anybody is served.
#[derive(Clone, Default)]
pub struct KeptOrders(Option<Arc<Mutex<Orders>>>);

impl KeptOrders {
    /// Keeps them in the file of `orders`.
    #[must_use]
    pub fn of(orders: Orders) -> Self {
        Self(Some(Arc::new(Mutex::new(orders))))
    }

    /// All of them, oldest first.
    pub(super) fn waiting(&self) -> Vec<Order> {
        let Some(orders) = &self.0 else { return Vec::new() };
        orders.lock().unwrap_or_else(PoisonError::into_inner).waiting().to_vec()
    }

    /// Keeps `order`. Whether it has been kept in time.
    pub(super) async fn keep(&self, order: Order) -> bool {
        let kept = self.change(move |orders| orders.add(order)).await;
        if !kept && self.0.is_some() {
            tracing::error!(
                "the revocation could not be kept in the runtime directory: the next start forgets it"
            );
        }
        kept
    }

    /// The ledger has `what`.
    pub(super) async fn forget(&self, what: TakeAway) {
        if self.0.is_some() && !self.change(move |orders| orders.forget(&what)).await {
            tracing::warn!(
                "a recorded revocation is still in the runtime directory: the next start repeats it"
            );
        }
    }

    /// On a thread of its own and with an end: this file system may hang, too.
    async fn change(
        &self,
        change: impl FnOnce(&mut Orders) -> Result<(), OrdersError> + Send + 'static,
    ) -> bool {
        let Some(orders) = self.0.clone() else { return false };
        let changing = tokio::task::spawn_blocking(move || {
            change(&mut orders.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match tokio::time::timeout(Duration::from_millis(KEEP_WAIT_MS), changing).await {
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(error))) => {
                tracing::error!(%error, "the runtime directory cannot be written");
                false
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

impl fmt::Debug for KeptOrders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptOrders").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    fn order() -> Order {
        let what = TakeAway::SuspendAgent("a".parse().unwrap());
        Order { at: Timestamp::from_s(1), by: "admin".to_owned(), what }
    }

    #[tokio::test]
    async fn an_order_is_kept_until_the_ledger_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        let kept = KeptOrders::of(Orders::open(&path).unwrap());
        assert!(kept.keep(order()).await);
        assert_eq!(Orders::open(&path).unwrap().waiting(), [order()]);
        kept.forget(order().what).await;
        assert!(!path.exists() && kept.waiting().is_empty());
        assert!(!KeptOrders::default().keep(order()).await, "nowhere to keep it");
    }

    #[tokio::test]
    async fn a_runtime_directory_that_hangs_is_waited_for_no_longer_than_keep_wait_ms() {
        let dir = tempfile::tempdir().unwrap();
        let orders = Arc::new(Mutex::new(Orders::open(&dir.path().join("orders")).unwrap()));
        let kept = KeptOrders(Some(Arc::clone(&orders)));
        let (held, is_held) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holding = std::thread::spawn(move || {
            let _held = orders.lock().unwrap();
            held.send(()).unwrap();
            assert!(released.recv().is_err());
        });
        is_held.recv().unwrap();
        let done = tokio::time::timeout(Duration::from_millis(KEEP_WAIT_MS * 8), kept.keep(order()));
        assert!(!done.await.unwrap());
        drop(release);
        holding.join().unwrap();
    }
}
