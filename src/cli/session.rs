use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::table::Row;
use crate::base::{Reason, code};
use crate::cli::client::{Client, IdentitySource, Received};
use crate::cli::enrolment::{is_valid_for, renew_if_due};
use crate::cli::identity::IdentityKind;
use crate::console::{Console, Failure};
use crate::wire::{
    EndedAnswer, Endpoint, Items, Nothing, Optional, PageAnswer, PageQuery, ReasonBody, Target,
};

/// What a verb works with: the identities of this machine, and where it prints.
#[derive(Clone, Copy)]
pub(crate) struct VerbSession<'a> {
    pub(crate) home: &'a Path,
    pub(crate) console: &'a Console,
}

/// How long a certificate has to be valid for a verb that revokes to use it without a look at its renewal.
const UNRENEWED_S: i64 = 60;

impl VerbSession<'_> {
    /// A client that shows the agent's identity, which is renewed first when it is due.
    pub(crate) async fn agent(&self) -> Result<Client, Failure> {
        client_of(self.home, IdentityKind::Agent).await
    }

    /// The same for the operator's identity.
    pub(crate) async fn operator(&self) -> Result<Client, Failure> {
        client_of(self.home, IdentityKind::Operator).await
    }

    /// The same for a verb that revokes. A certificate that is valid for a while is used as it is: a renewal
    /// that waits for a hanging disk would delay the revocation. The next verb renews it.
    pub(crate) async fn revoking_operator(&self) -> Result<Client, Failure> {
        let kind = IdentityKind::Operator;
        if is_valid_for(self.home, kind, UNRENEWED_S)? {
            return Client::at(IdentitySource { home: self.home.to_owned(), kind });
        }
        self.operator().await
    }

    /// Prints what the broker sent, or a line about it.
    pub(crate) fn print<T>(&self, received: &Received<T>, line: impl FnOnce(&T) -> String) {
        self.console.record(&received.sent, || line(&received.answer));
    }

    /// Prints a listing of the broker, page by page.
    pub(crate) async fn list<C, T: DeserializeOwned + Row>(
        &self,
        endpoint: Endpoint<Nothing, PageQuery<C>, PageAnswer<T>>,
    ) -> Result<(), Failure> {
        self.print_rows(&self.operator().await?.list(endpoint).await?);
        Ok(())
    }

    /// Prints what a name stands for, as the broker sent it.
    pub(crate) async fn show<T: Target, A: DeserializeOwned>(
        &self,
        endpoint: Endpoint<T, Nothing, A>,
        target: &T,
    ) -> Result<(), Failure> {
        self.console.json(&self.operator().await?.call(endpoint, target, &Nothing).await?.sent);
        Ok(())
    }

    /// Prints items as a table, or as the broker sent them.
    pub(crate) fn print_rows<T: Row>(&self, items: &[Received<T>]) {
        let sent = Items { items: items.iter().map(|item| &item.sent).collect() };
        self.print_table(&sent, items.iter().map(|item| &item.answer));
    }

    /// Prints items as a table, or `sent`.
    pub(crate) fn print_table<'i, T: Row + 'i>(
        &self,
        sent: &impl Serialize,
        items: impl IntoIterator<Item = &'i T>,
    ) {
        if self.console.is_json() {
            self.console.json(sent);
        } else {
            let rows: Vec<Vec<String>> = items.into_iter().map(Row::cells).collect();
            self.console.table(&T::head(), &rows);
        }
    }

    /// Has an operator revoke, suspend or resume something, and says what became of it.
    pub(crate) async fn end<T: Target>(
        &self,
        endpoint: Endpoint<T, Optional<ReasonBody>, EndedAnswer>,
        target: &T,
        reason: &ReasonArgs,
        done: &str,
    ) -> Result<(), Failure> {
        let ended = self.revoking_operator().await?.call(endpoint, target, &reason.body()).await?;
        self.print(&ended, |ended| said(ended.seq, done));
        check_durable(&ended)
    }
}

/// Why a command revokes, suspends or resumes something.
#[derive(Args, Debug)]
pub struct ReasonArgs {
    /// Why, in one line: it stays in the ledger
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,
}

impl ReasonArgs {
    pub(crate) fn text(&self) -> Option<String> {
        self.reason.as_ref().map(Reason::to_string)
    }

    pub(crate) fn body(&self) -> Optional<ReasonBody> {
        Optional(self.text().map(|reason| ReasonBody { reason: Some(reason) }))
    }
}

/// A client that shows the identity of `kind` below `home`, which is renewed first when it is due.
pub(crate) async fn client_of(home: &Path, kind: IdentityKind) -> Result<Client, Failure> {
    renew_if_due(home, kind).await?;
    Client::at(IdentitySource { home: home.to_owned(), kind })
}

/// What was done, which counts from the next request on.
pub(crate) fn said(seq: Option<u64>, done: &str) -> String {
    let entry = seq.map_or_else(String::new, |seq| format!(" in ledger entry {seq}"));
    format!("{done}{entry}: the next request meets it")
}

/// Refuses an answer that says that the ledger does not have what was done.
pub(crate) fn check_durable(ended: &EndedAnswer) -> Result<(), Failure> {
    if ended.durable {
        return Ok(());
    }
    let failure = Failure::new(code::NOT_DURABLE);
    if !ended.kept {
        return Err(failure);
    }
    let why = "it is in force in memory: the ledger has not taken it yet. It is kept in the runtime directory, \
               so that the next start carries it out";
    let fix = "free space on the broker's disk or mend it: the ledger takes it by itself as soon as it can";
    Err(failure.because(why).mended_by(fix))
}

/// Text of what may be missing.
pub(crate) fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// Items separated by commas.
pub(crate) fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

pub(crate) fn optional<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, Failure>
where
    Failure: From<T::Err>,
{
    Ok(text.map(str::parse).transpose()?)
}
