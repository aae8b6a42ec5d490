use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::{Anchor, AnchorFile, AnchorKeys};
use crate::base::ends_within;
use crate::index::Index;
use crate::ledger::Tree;

/// Interval of checks of the head.
const LOOK: Duration = Duration::from_millis(500);
/// How long a change that takes something away waits for its anchor. It is durable by then.
const WAIT: Duration = Duration::from_millis(250);
/// Longest wait of a stop for the last anchor.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// The source of the head.
pub(in crate::store) type HeadOf = Box<dyn Fn() -> Tree + Send>;

/// What anchors are kept of, and where.
pub(in crate::store) struct KeeperStart {
    pub(in crate::store) head: HeadOf,
    pub(in crate::store) file: AnchorFile,
    /// The content of the file.
    pub(in crate::store) newest: Option<Anchor>,
    pub(in crate::store) index: Arc<Index>,
    /// Whether no anchor is written before [`AnchorKeeper::release`].
    pub(in crate::store) is_held: bool,
}

/// Keeps anchors, on a thread of its own.
pub(in crate::store) struct AnchorKeeper {
    shared: Arc<KeeperShared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread has to do, and how far it has come.
pub(in crate::store) struct KeeperShared {
    orders: Mutex<KeeperOrders>,
    wake: Condvar,
    kept: watch::Sender<KeptAnchor>,
}

struct KeeperOrders {
    keys: Arc<AnchorKeys>,
    /// An anchor is due at once.
    is_urgent: bool,
    /// No anchor is written until a loss that was accepted has been recorded.
    is_held: bool,
    is_closing: bool,
}

/// The newest anchor.
#[derive(Clone, Copy, Debug)]
struct KeptAnchor {
    through: u64,
    /// The last attempt failed, or the thread has ended: nothing is worth waiting for.
    is_failing: bool,
    is_over: bool,
}

impl KeeperShared {
    pub(in crate::store) fn new(keys: AnchorKeys) -> Arc<Self> {
        let orders =
            KeeperOrders { keys: Arc::new(keys), is_urgent: false, is_held: false, is_closing: false };
        let (kept, _) = watch::channel(KeptAnchor { through: 0, is_failing: false, is_over: false });
        Arc::new(Self { orders: Mutex::new(orders), wake: Condvar::new(), kept })
    }

    fn order(&self, order: impl FnOnce(&mut KeeperOrders)) {
        order(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    /// Requests an anchor of the head now. Returns at once.
    pub(in crate::store) fn urge(&self) {
        self.order(|orders| orders.is_urgent = true);
    }
}

impl AnchorKeeper {
    /// Starts the thread.
    pub(in crate::store) fn start(shared: &Arc<KeeperShared>, start: KeeperStart) -> io::Result<Self> {
        let KeeperStart { head, file, newest, index, is_held } = start;
        shared.order(|orders| orders.is_held = is_held);
        let newest = newest.filter(|_| !is_held);
        let worker = Worker { shared: Arc::clone(shared), head, file, index, newest, is_indexed: false };
        let thread = std::thread::Builder::new().name("anchors".to_owned()).spawn(move || worker.work())?;
        Ok(Self { shared: Arc::clone(shared), thread: Mutex::new(Some(thread)) })
    }

    /// Waits until the entry `seq` is anchored, or a moment at most: the entry is durable either way, and
    /// a disk that hangs keeps nobody.
    pub(in crate::store) async fn reached(&self, seq: u64) {
        let mut kept = self.shared.kept.subscribe();
        let reached = kept.wait_for(|kept| kept.through >= seq || kept.is_failing || kept.is_over);
        if tokio::time::timeout(WAIT, reached).await.is_err() {
            tracing::warn!(seq, "the anchor of a revocation is late: the entry itself is durable");
        }
    }

    /// Anchors name the keys of these from here on.
    pub(in crate::store) fn keys_are(&self, keys: AnchorKeys) {
        self.shared.order(|orders| (orders.keys, orders.is_urgent) = (Arc::new(keys), true));
    }

    /// Anchors may be written from here on.
    pub(in crate::store) fn release(&self) {
        self.shared.order(|orders| (orders.is_held, orders.is_urgent) = (false, true));
    }

    /// Wipes the keys that anchors are authenticated by: none is written any more.
    pub(in crate::store) fn forget_keys(&self) {
        self.shared.order(|orders| orders.keys.forget());
    }

    /// Writes the last anchor and ends the thread. A disk that hangs is not waited for.
    pub(in crate::store) fn close(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.shared.order(|orders| orders.is_closing = true);
        if !ends_within(&thread, STOP_WAIT) {
            tracing::error!("the last anchor of the ledger could not be written: the disk does not answer");
        } else if thread.join().is_err() {
            tracing::error!("the thread that writes anchors had panicked");
        }
    }
}

impl Drop for AnchorKeeper {
    fn drop(&mut self) {
        self.close();
    }
}

struct Worker {
    shared: Arc<KeeperShared>,
    head: HeadOf,
    file: AnchorFile,
    index: Arc<Index>,
    newest: Option<Anchor>,
    is_indexed: bool,
}

impl Worker {
    fn work(mut self) {
        let _over = Over(Arc::clone(&self.shared));
        loop {
            let (keys, is_held, is_closing) = self.next();
            if !is_held {
                self.keep(&keys);
            }
            if is_closing {
                return;
            }
        }
    }

    /// Waits until an anchor is due.
    fn next(&self) -> (Arc<AnchorKeys>, bool, bool) {
        let orders = self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |orders: &mut KeeperOrders| !orders.is_closing && (orders.is_held || !orders.is_urgent);
        let waited = self.shared.wake.wait_timeout_while(orders, LOOK, idle);
        let (mut orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        orders.is_urgent = false;
        (Arc::clone(&orders.keys), orders.is_held, orders.is_closing)
    }

    /// Keeps an anchor of the head, unless the newest one says the same.
    fn keep(&mut self, keys: &AnchorKeys) {
        let tree = (self.head)();
        let anchor = keys.anchor(&tree);
        let says_so = self.newest.as_ref().is_some_and(|newest| newest.says_as(&anchor));
        if !says_so || !self.is_indexed {
            self.is_indexed = self.in_index(&anchor, keys);
        }
        let kept = match &self.newest {
            Some(_) if says_so => Ok(()),
            Some(_) => self.file.keep(&anchor, keys),
            None => self.file.replace(&anchor, keys),
        };
        match kept {
            Ok(()) => {
                self.newest = Some(anchor);
                self.kept(tree.size(), false);
            }
            Err(error) => {
                // After a seal no anchor is written.
                if !keys.is_forgotten() && !self.shared.kept.borrow().is_failing {
                    tracing::error!(%error, "the file `anchor` cannot be written: an older ledger put in its \
                        place is noticed by the index alone; mend the disk");
                }
                self.kept(0, true);
            }
        }
    }

    /// Whether the index has `anchor`. One that takes nothing is built anew some time.
    fn in_index(&self, anchor: &Anchor, keys: &AnchorKeys) -> bool {
        keys.write(anchor).is_some_and(|text| self.index.keep_anchor(text.as_bytes()).is_ok())
    }

    fn kept(&self, through: u64, is_failing: bool) {
        self.shared.kept.send_modify(|kept| {
            kept.through = kept.through.max(through);
            kept.is_failing = is_failing;
        });
    }
}

/// Wakes those that wait when the thread ends, also by a panic.
struct Over(Arc<KeeperShared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.kept.send_modify(|kept| kept.is_over = true);
    }
}
