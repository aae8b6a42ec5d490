use std::sync::{Mutex, PoisonError};

use crate::base::code::Code;
use crate::custody::PendingOrder;

/// The result of a pending order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OrderSettlement {
    /// Carried out.
    CarriedOut,
    /// In force in memory, until the ledger records it.
    InMemory,
    /// Not carried out, and the ledger could not record that: the next start decides again.
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

/// The pending orders that this process has settled when it opened, without the failed ones that the records list.
#[derive(Debug, Default)]
pub struct SettledOrders(Mutex<Vec<SettledOrder>>);

impl SettledOrders {
    pub(crate) fn set(&self, orders: Vec<SettledOrder>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = orders;
    }

    /// The orders, oldest first.
    pub(crate) fn all(&self) -> Vec<SettledOrder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether an order failed, and the ledger could not record that.
    pub(crate) fn has_failed(&self) -> bool {
        let settled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        settled.iter().any(|one| matches!(one.settlement, OrderSettlement::Failed(_)))
    }
}
