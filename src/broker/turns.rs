use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

/// Turns, one at a time for each key, in the order of asking. Nobody waits for a turn of another key.
#[derive(Debug)]
pub struct Turns<K>(Mutex<BTreeMap<K, Weak<Turn>>>);

type Turn = tokio::sync::Mutex<()>;

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> Turns<K> {
    /// The turn of `key`: until this is dropped, nobody else has it.
    pub(crate) async fn turn_of(&self, key: K) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(&key).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(Turn::default());
                    turns.insert(key, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
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
        let turns = Turns::default();
        let first = turns.turn_of(1).await;
        let mut second = pin!(turns.turn_of(1));
        let is_waiting = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        assert!(is_waiting);
        drop(turns.turn_of(2).await);
        drop(first);
        drop(second.await);
        drop(turns.turn_of(3).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "those that nobody has are forgotten");
    }
}
