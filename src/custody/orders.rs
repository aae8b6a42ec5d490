use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::order::PendingOrder;
use crate::base::io_reason;
use crate::base::limits::ORDERS_MAX;
use crate::files;

/// Why an order does not wait, or those that do are not known.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// As many wait as may.
    #[error("{ORDERS_MAX} orders are pending already")]
    Full,
    /// The file is not what was written.
    #[error("`{}` is not a file of pending orders of this version", .0.display())]
    Damaged(PathBuf),
    /// The file cannot be read or written.
    #[error("the pending orders cannot be stored: {}", io_reason(.0))]
    Io(#[from] io::Error),
}

/// Orders that wait until the ledger can take them, in a file: beside the keyring, what was ordered while
/// the broker was sealed; in the runtime directory, what is in force in memory alone. Names and ids, and no
/// secret. The file is not authenticated, because a sealed broker has no key: the broker's own user, who
/// alone can write it, can take away with it, and give nothing.
#[derive(Debug)]
pub struct Orders {
    path: PathBuf,
    waiting: Vec<PendingOrder>,
}

impl Orders {
    /// Those that wait in the file at `path`; none without one.
    ///
    /// # Errors
    /// [`OrdersError`].
    pub fn open(path: &Path) -> Result<Self, OrdersError> {
        let waiting = match fs::read(path) {
            Ok(bytes) => {
                let waiting: Option<Vec<PendingOrder>> = serde_json::from_slice(&bytes).ok();
                waiting.ok_or_else(|| OrdersError::Damaged(path.to_owned()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.to_owned(), waiting })
    }

    /// Those that wait, oldest first.
    #[must_use]
    pub fn waiting(&self) -> &[PendingOrder] {
        &self.waiting
    }

    /// Adds an order; durable when this returns. A repeated order is stored once.
    ///
    /// # Errors
    /// [`OrdersError`]; those that waited go on to.
    pub fn add(&mut self, order: PendingOrder) -> Result<(), OrdersError> {
        if self.waiting.iter().any(|waiting| waiting.is_same(&order)) {
            return Ok(());
        }
        if self.waiting.len() >= ORDERS_MAX {
            return Err(OrdersError::Full);
        }
        self.waiting.push(order);
        let written = self.write();
        if written.is_err() {
            self.waiting.pop();
        }
        written
    }

    /// Forgets an order that is settled.
    ///
    /// # Errors
    /// [`OrdersError`]; it goes on waiting then, and is carried out once more by the next start.
    pub fn forget(&mut self, settled: &PendingOrder) -> Result<(), OrdersError> {
        let waiting = self.waiting.len();
        let before = self.waiting.clone();
        self.waiting.retain(|order| !order.is_same(settled));
        if self.waiting.len() == waiting {
            return Ok(());
        }
        if self.waiting.is_empty() {
            return self.clear();
        }
        let written = self.write();
        if written.is_err() {
            self.waiting = before;
        }
        written
    }

    /// Forgets them all: each of them is on the ledger.
    ///
    /// # Errors
    /// [`OrdersError`].
    pub fn clear(&mut self) -> Result<(), OrdersError> {
        files::remove(&self.path)?;
        self.waiting.clear();
        Ok(())
    }

    fn write(&self) -> Result<(), OrdersError> {
        let written = serde_json::to_vec(&self.waiting).map_err(io::Error::other)?;
        Ok(files::replace(&self.path, &written)?)
    }
}

/// That the broker was told to seal itself, in the file `sealed` of the runtime directory: a stop that comes
/// before the keys are gone does not undo it. It counts while it exists, with any content.
#[derive(Clone, Debug)]
pub struct SealOrder(PathBuf);

impl SealOrder {
    /// The one in `runtime_dir`.
    #[must_use]
    pub fn at(runtime_dir: &Path) -> Self {
        Self(runtime_dir.join("sealed"))
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.0.exists()
    }

    /// Keeps that `by` gave it; durable when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, by: &str) -> io::Result<()> {
        files::replace(&self.0, format!("{by}\n").as_bytes())
    }

    /// Removes it after it was carried out or withdrawn.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        files::remove(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::{OperatorEnrolment, Scope, Timestamp};
    use crate::custody::order::{LeasesOf, OrderingOperator, RevocationOrder};

    fn order(number: usize) -> PendingOrder {
        let what = RevocationOrder::SuspendAgent(format!("agent-{number}").parse().unwrap());
        let (at, by) = (Timestamp::from_s(1_800_000_000), "host uid 0".to_owned());
        PendingOrder { at, by, reason: None, operator: None, connection: None, what }
    }

    #[test]
    fn an_order_names_its_operator_after_a_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        let id = format!("oper_{}", "0".repeat(26)).parse().unwrap();
        let scope = Scope::of(Some("payments".parse().unwrap()));
        let operator = Some(OrderingOperator { id, role: "admin".to_owned(), scope, enrolled_seq: 7 });
        let ordered = PendingOrder { by: "alice".to_owned(), operator, ..order(0) };
        Orders::open(&path).unwrap().add(ordered.clone()).unwrap();
        assert_eq!(Orders::open(&path).unwrap().waiting(), [ordered]);
    }

    #[test]
    fn an_order_of_a_build_that_stored_no_operator_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        let written = r#"[{"at":1800000000000,"by":"host uid 0","what":{"suspend-agent":"agent-0"}}]"#;
        fs::write(&path, written).unwrap();
        assert_eq!(Orders::open(&path).unwrap().waiting(), [order(0)]);
    }

    #[test]
    fn as_many_orders_wait_as_may_each_once_and_over_a_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        let mut orders = Orders::open(&path).unwrap();
        for number in 0..ORDERS_MAX {
            orders.add(order(number)).unwrap();
        }
        assert!(orders.add(order(0)).is_ok(), "it waits already");
        assert!(matches!(orders.add(order(ORDERS_MAX)), Err(OrdersError::Full)));
        let mut again = Orders::open(&path).unwrap();
        assert_eq!(again.waiting().len(), ORDERS_MAX);
        assert_eq!((again.waiting().first(), again.waiting()), (Some(&order(0)), orders.waiting()));
        again.clear().unwrap();
        assert!(!path.exists() && Orders::open(&path).unwrap().waiting().is_empty());
        again.clear().unwrap();
    }

    #[test]
    fn one_order_is_forgotten_and_the_others_wait_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        let mut orders = Orders::open(&path).unwrap();
        orders.add(order(1)).unwrap();
        orders.add(order(2)).unwrap();
        let of_eve = PendingOrder { by: "eve".to_owned(), ..order(2) };
        orders.add(of_eve.clone()).unwrap();
        orders.forget(&order(1)).unwrap();
        orders.forget(&order(1)).unwrap();
        assert_eq!(Orders::open(&path).unwrap().waiting(), [order(2), of_eve.clone()]);
        orders.forget(&of_eve).unwrap();
        assert_eq!(
            Orders::open(&path).unwrap().waiting(),
            [order(2)],
            "the same order by another actor stays"
        );
        orders.forget(&order(2)).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn every_kind_of_order_comes_back_as_it_went() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        let zeros = "0".repeat(26);
        let all = [
            RevocationOrder::RevokeAgent("a".parse().unwrap()),
            RevocationOrder::SuspendAgent("a".parse().unwrap()),
            RevocationOrder::RevokeInstance(format!("inst_{zeros}").parse().unwrap()),
            RevocationOrder::RevokeCertificate([7; 16]),
            RevocationOrder::RevokeToken(format!("tok_{zeros}").parse().unwrap()),
            RevocationOrder::RevokeOperator("o".parse().unwrap()),
            RevocationOrder::SuspendOperator("o".parse().unwrap()),
            RevocationOrder::RevokeLeases(LeasesOf::Each([format!("lease_{zeros}").parse().unwrap()].into())),
            RevocationOrder::RevokeLeases(LeasesOf::Some {
                agents: ["a".parse().unwrap()].into(),
                capabilities: ["c.read".parse().unwrap()].into(),
            }),
            RevocationOrder::RevokeLeases(LeasesOf::Everybody),
            RevocationOrder::DestroyVersion { secret: "a/b".parse().unwrap(), version: 3 },
            RevocationOrder::RevokeTokenKey(1),
            RevocationOrder::TaintAuthority(1),
            RevocationOrder::RevokeAuthority(1),
            RevocationOrder::NarrowDeclarations {
                capabilities: ["c.read".parse().unwrap()].into(),
                roles: [("r".parse().unwrap(), BTreeSet::new())].into(),
                agents: [("a".parse().unwrap(), ["r".parse().unwrap()].into())].into(),
                removed_agents: ["b".parse().unwrap()].into(),
            },
            RevocationOrder::RemoveDeclared {
                capabilities: ["c.read".parse().unwrap()].into(),
                roles: [("r".parse().unwrap(), ["c.read".parse().unwrap()].into())].into(),
                agents: [("a".parse().unwrap(), ["r".parse().unwrap()].into())].into(),
                removed_agents: ["b".parse().unwrap()].into(),
                ids: [("b".parse().unwrap(), format!("agent_{zeros}").parse().unwrap())].into(),
            },
            RevocationOrder::Contain {
                incident: format!("inc_{zeros}").parse().unwrap(),
                subject: "network/10.1.0.0/16".parse().unwrap(),
                spared: Some(OperatorEnrolment {
                    operator: format!("oper_{zeros}").parse().unwrap(),
                    enrolled_seq: 7,
                }),
            },
            RevocationOrder::Freeze,
        ];
        let mut orders = Orders::open(&path).unwrap();
        for what in &all {
            assert!(what.to_string().starts_with("keyward "), "{what}");
            orders.add(PendingOrder { what: what.clone(), ..order(0) }).unwrap();
        }
        let back: Vec<RevocationOrder> =
            Orders::open(&path).unwrap().waiting().iter().map(|order| order.what.clone()).collect();
        assert_eq!(back, all);
    }

    #[test]
    fn a_seal_order_is_pending_until_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let order = SealOrder::at(dir.path());
        assert!(!order.is_pending());
        order.keep("host uid 0").unwrap();
        order.keep("host uid 0").unwrap();
        assert!(SealOrder::at(dir.path()).is_pending());
        order.clear().unwrap();
        order.clear().unwrap();
        assert!(!order.is_pending());
    }

    #[test]
    fn a_file_that_says_something_else_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        for damaged in ["", "[", "{}", "[{\"at\":1,\"by\":\"x\",\"what\":{\"resume-agent\":\"a\"}}]"] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(Orders::open(&path), Err(OrdersError::Damaged(_))), "{damaged}");
        }
    }
}
