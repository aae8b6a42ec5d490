use std::sync::{Mutex, PoisonError};

use crate::base::Timestamp;
use crate::base::code::Code;
use crate::custody::PendingOrder;

/// The result of a pending order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OrderSettlement {
    /// Carried out.
    CarriedOut,
    /// In force in memory, until the ledger records it.
    InMemory,
    /// Not carried out.
    Failed(Code),
}

/// A pending order with its result.
#[derive(Clone, Debug)]
pub struct SettledOrder {
    /// The order.
    pub order: PendingOrder,
    /// The result.
    pub settlement: OrderSettlement,
}

/// The pending orders that this process has settled when it opened.
#[derive(Debug, Default)]
pub struct SettledOrders(Mutex<Settled>);

#[derive(Debug, Default)]
struct Settled {
    at: Option<Timestamp>,
    orders: Vec<SettledOrder>,
}

/// How long a failed order is a warning, in seconds.
const WARNING_S: i64 = 24 * 3600;

impl SettledOrders {
    pub(crate) fn set(&self, at: Timestamp, orders: Vec<SettledOrder>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Settled { at: Some(at), orders };
    }

    /// The orders, oldest first.
    pub(crate) fn all(&self) -> Vec<SettledOrder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).orders.clone()
    }

    /// Whether an order failed within the last 24 hours.
    pub(crate) fn has_failed(&self, now: Timestamp) -> bool {
        let settled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = settled.at.is_some_and(|at| now < at.plus_s(WARNING_S));
        is_recent && settled.orders.iter().any(|one| matches!(one.settlement, OrderSettlement::Failed(_)))
    }
}
