use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

/// Turns, one at a time for each key, in the order of asking. Nobody waits for a turn of another key.
#[derive(Debug)]
pub struct KeyedLocks<K>(Mutex<BTreeMap<K, Weak<KeyLock>>>);

type KeyLock = tokio::sync::Mutex<()>;

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> KeyedLocks<K> {
    /// The turn of `key`: until this is dropped, nobody else has it.
    pub(crate) async fn lock(&self, key: K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(&key).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(KeyLock::default());
                    locks.insert(key, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn one_turn_of_a_key_is_taken_at_a_time_and_other_keys_do_not_wait() {
        let locks = KeyedLocks::default();
        let first = locks.lock(1).await;
        let mut second = pin!(locks.lock(1));
        let is_waiting = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        assert!(is_waiting);
        drop(locks.lock(2).await);
        drop(first);
        drop(second.await);
        drop(locks.lock(3).await);
        assert_eq!(locks.0.lock().unwrap().len(), 1, "those that nobody has are forgotten");
    }
}
