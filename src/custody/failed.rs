use serde::{Deserialize, Serialize};

use super::order::PendingOrder;
use crate::base::Timestamp;
use crate::base::limits::{FAILED_ORDER_LISTED_S, ORDERS_MAX};

/// A pending order that was not carried out, as the records list it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FailedOrder {
    /// The command that gives the order again.
    pub command: String,
    /// The actor: `host uid N`, or an operator's name.
    pub by: String,
    /// When the order was given.
    pub at: Timestamp,
    /// The reason: the name of an error code.
    pub code: String,
}

impl FailedOrder {
    /// That `order` failed because of `code`.
    #[must_use]
    pub fn of(order: &PendingOrder, code: &str) -> Self {
        let PendingOrder { at, by, what, .. } = order;
        Self { command: what.to_string(), by: by.clone(), at: *at, code: code.to_owned() }
    }
}

/// The failed orders of the last 24 hours that were not repeated since.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct FailedOrders(Vec<(Timestamp, FailedOrder)>);

impl FailedOrders {
    /// The orders that are listed at `now`, oldest first.
    pub(super) fn listed(&self, now: Timestamp) -> impl Iterator<Item = &FailedOrder> {
        let listed = self.0.iter().filter(move |(failed_at, _)| is_listed(*failed_at, now));
        listed.map(|(_, order)| order)
    }

    /// Adds an order that failed at `now`. A repeated failure of an order is listed once.
    pub(super) fn add(&mut self, now: Timestamp, order: &FailedOrder) {
        let is_same = |one: &FailedOrder| (&one.command, &one.by) == (&order.command, &order.by);
        self.0.retain(|(failed_at, one)| is_listed(*failed_at, now) && !is_same(one));
        if self.0.len() >= ORDERS_MAX {
            self.0.remove(0);
        }
        self.0.push((now, order.clone()));
    }

    /// An order with this command was carried out.
    pub(super) fn repeated(&mut self, command: &str) {
        self.0.retain(|(_, order)| order.command != command);
    }

    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        self.0.iter_mut().for_each(|(failed_at, _)| *failed_at = (*failed_at).min(now));
    }
}

fn is_listed(failed_at: Timestamp, now: Timestamp) -> bool {
    now < failed_at.plus_s(FAILED_ORDER_LISTED_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn failed(name: &str) -> FailedOrder {
        let command = format!("keyward agent suspend {name}");
        FailedOrder { command, by: "host uid 0".to_owned(), at: NOW, code: "subject_unknown".to_owned() }
    }

    #[test]
    fn failed_order_is_listed_for_24_hours_or_until_it_is_repeated() {
        // Given two failed orders
        let mut orders = FailedOrders::default();
        orders.add(NOW, &failed("typo"));
        orders.add(NOW.plus_s(1), &failed("b"));
        // When one is carried out, then the other one is listed until its time has passed
        orders.repeated("keyward agent suspend typo");
        let listed = |now| orders.listed(now).cloned().collect::<Vec<_>>();
        assert_eq!(listed(NOW.plus_s(FAILED_ORDER_LISTED_S)), [failed("b")]);
        assert_eq!(listed(NOW.plus_s(FAILED_ORDER_LISTED_S + 1)), []);
    }

    #[test]
    fn failed_orders_are_bounded_and_listed_once() {
        let mut orders = FailedOrders::default();
        for number in 0..=ORDERS_MAX {
            orders.add(NOW, &failed(&number.to_string()));
        }
        orders.add(NOW, &failed("1"));
        assert_eq!(orders.listed(NOW).count(), ORDERS_MAX);
        assert_eq!(orders.listed(NOW).next(), Some(&failed("2")), "the oldest are removed");
        // When time goes back, then they end a day after the earlier time
        orders.time_went_back(NOW.plus_s(-100));
        assert_eq!(orders.listed(NOW.plus_s(FAILED_ORDER_LISTED_S - 100)).count(), 0);
    }
}
