use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::settled::SettledOrders;
use crate::base::limits::KEEP_WAIT_MS;
use crate::custody::{Orders, OrdersError, PendingOrder, SealOrder};

/// Orders that are in force in memory only, stored on another file system than the ledger: the next start carries
/// them out before it serves.
#[derive(Clone, Default)]
pub struct KeptOrders {
    files: Option<KeptFiles>,
    settled: Arc<SettledOrders>,
}

#[derive(Clone)]
struct KeptFiles {
    orders: Arc<Mutex<Orders>>,
    seal: SealOrder,
    /// The limit of writing threads: a hanging file system blocks no more than these.
    threads: Arc<Semaphore>,
}

/// Maximum number of threads that write to the runtime directory.
const THREADS_MAX: usize = 4;

impl KeptOrders {
    /// Stores orders in the file of `orders`, and an order to seal in the file of `seal`.
    #[must_use]
    pub fn of(orders: Orders, seal: SealOrder) -> Self {
        let (orders, threads) = (Arc::new(Mutex::new(orders)), Arc::new(Semaphore::new(THREADS_MAX)));
        Self { files: Some(KeptFiles { orders, seal, threads }), settled: Arc::default() }
    }

    /// Stores the order of `by` to seal the broker, so that a stop before the keys are wiped does not undo it.
    pub(crate) async fn keep_seal(&self, by: String) {
        let Some(kept) = self.files.clone() else { return };
        let seal = kept.seal.clone();
        if !kept.on_a_thread(move || Ok(seal.keep(&by)?)).await {
            tracing::error!(
                "the order to seal could not be stored in the runtime directory: a stop before the broker is sealed loses it"
            );
        }
    }

    /// The pending orders that were settled when the broker opened.
    pub(crate) fn settled(&self) -> &SettledOrders {
        &self.settled
    }

    /// All orders, oldest first.
    pub(crate) fn waiting(&self) -> Vec<PendingOrder> {
        let Some(KeptFiles { orders, .. }) = &self.files else { return Vec::new() };
        orders.lock().unwrap_or_else(PoisonError::into_inner).waiting().to_vec()
    }

    /// Stores `order`; returns whether that succeeded in time.
    pub(crate) async fn keep(&self, order: PendingOrder) -> bool {
        let kept = self.change(move |orders| orders.add(order)).await;
        if !kept && self.files.is_some() {
            tracing::error!("a revocation could not be stored in the runtime directory: a restart loses it");
        }
        kept
    }

    /// Removes `order`: it is settled.
    pub(crate) async fn forget(&self, order: PendingOrder) {
        if self.files.is_some() && !self.change(move |orders| orders.forget(&order)).await {
            tracing::warn!(
                "a recorded revocation could not be removed from the runtime directory: the next start repeats it"
            );
        }
    }

    async fn change(
        &self,
        change: impl FnOnce(&mut Orders) -> Result<(), OrdersError> + Send + 'static,
    ) -> bool {
        let Some(kept) = self.files.clone() else { return false };
        let orders = Arc::clone(&kept.orders);
        kept.on_a_thread(move || change(&mut orders.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

impl KeptFiles {
    /// Runs `write` on a thread of its own with a time limit: this file system may hang too.
    async fn on_a_thread(&self, write: impl FnOnce() -> Result<(), OrdersError> + Send + 'static) -> bool {
        let threads = Arc::clone(&self.threads);
        let writing = async {
            let place = threads.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _place = place;
                write()
            })
            .await
        };
        match tokio::time::timeout(Duration::from_millis(KEEP_WAIT_MS), writing).await {
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
        f.debug_tuple("KeptOrders").field(&self.files.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::custody::RevocationOrder;

    fn order() -> PendingOrder {
        let what = RevocationOrder::SuspendAgent("a".parse().unwrap());
        PendingOrder {
            at: Timestamp::from_s(1),
            by: "admin".to_owned(),
            reason: None,
            operator: None,
            connection: None,
            what,
        }
    }

    #[tokio::test]
    async fn an_order_is_kept_until_the_ledger_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        let kept = KeptOrders::of(Orders::open(&path).unwrap(), SealOrder::at(dir.path()));
        assert!(kept.keep(order()).await);
        assert_eq!(Orders::open(&path).unwrap().waiting(), [order()]);
        kept.forget(order()).await;
        assert!(!path.exists() && kept.waiting().is_empty());
        assert!(!KeptOrders::default().keep(order()).await, "nowhere to keep it");
    }

    #[tokio::test]
    async fn a_hanging_runtime_directory_delays_no_longer_than_keep_wait_ms() {
        let dir = tempfile::tempdir().unwrap();
        let orders = Arc::new(Mutex::new(Orders::open(&dir.path().join("orders")).unwrap()));
        let (seal, threads) = (SealOrder::at(dir.path()), Arc::new(Semaphore::new(1)));
        let kept = KeptOrders {
            files: Some(KeptFiles { orders: Arc::clone(&orders), seal, threads }),
            settled: Arc::default(),
        };
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
        assert!(!kept.keep(order()).await, "it takes no second thread");
        drop(release);
        holding.join().unwrap();
    }
}
