use std::cell::RefCell;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::details::print_details;
use super::ended_keys::said_of_approval_keys;
use super::listing::Selection;
use super::owners::SeenOwners;
use super::table::Row;
use crate::base::{Reason, code, did_you_mean as near_question, has_secret_form};
use crate::cli::client::{Client, IdentitySource, Received};
use crate::cli::enrolment::{is_valid_for, renew_if_due};
use crate::cli::identity::{Identity, IdentityKind, key_warning};
use crate::console::{CommandFailure, Console};
use crate::pki::SpiffeId;
use crate::wire::{
    EndedAnswer, Endpoint, Items, ListOutput, Nothing, Optional, PageAnswer, PageQuery, ReasonBody, Target,
};

/// The identities of this machine, and the console.
#[derive(Clone, Copy)]
pub(crate) struct VerbSession<'a> {
    pub(crate) home: &'a Path,
    pub(crate) console: &'a Console,
}

/// Least remaining life of a certificate that a verb uses to revoke without a look at its renewal, in seconds.
const UNRENEWED_S: i64 = 60;

impl VerbSession<'_> {
    /// A client with the agent's identity for a verb of agents, which is renewed first if it is due.
    pub(crate) async fn agent(&self) -> Result<Client, CommandFailure> {
        self.warn_of_key(IdentityKind::Agent);
        agent_client(self.home).await
    }

    /// A client with the operator's identity, which is renewed first if it is due.
    pub(crate) async fn operator(&self) -> Result<Client, CommandFailure> {
        self.warn_of_key(IdentityKind::Operator);
        client_of(self.home, IdentityKind::Operator).await
    }

    /// A client with the operator's identity for a verb that revokes. It is not renewed while it is valid for another
    /// minute: a renewal that waits for a stalled disk would delay the revocation.
    pub(crate) async fn revoking_operator(&self) -> Result<Client, CommandFailure> {
        let kind = IdentityKind::Operator;
        if is_valid_for(self.home, kind, UNRENEWED_S)? {
            self.warn_of_key(kind);
            return Client::at(IdentitySource { home: self.home.to_owned(), kind });
        }
        self.operator().await
    }

    fn warn_of_key(&self, kind: IdentityKind) {
        if let Some(warning) = key_warning(self.home, kind) {
            self.console.say(&warning);
        }
    }

    /// Prints the broker's response as JSON, or a line about it.
    pub(crate) fn print<T>(&self, received: &Received<T>, line: impl FnOnce(&T) -> String) {
        self.console.record(&received.sent, || line(&received.answer));
    }

    /// Prints the items of a listing that `selection` accepts.
    pub(crate) async fn list<C, T: DeserializeOwned + Row>(
        &self,
        endpoint: Endpoint<Nothing, PageQuery<C>, PageAnswer<T>>,
        selection: &Selection,
    ) -> Result<(), CommandFailure> {
        let seen = RefCell::new(SeenOwners::default());
        let is_wanted = |item: &Received<T>| {
            seen.borrow_mut().add(&item.sent);
            selection.accepts(&item.sent)
        };
        let client = self.operator().await?;
        let (items, has_more) = client.list_some(endpoint, selection.limit, is_wanted).await?;
        let sent = ListOutput { items: items.iter().map(|item| &item.sent).collect(), more: has_more };
        self.print_table(&client, &sent, items.iter().map(|item| &item.answer)).await;
        let seen = seen.into_inner();
        if let Some(owner) = selection.owner().filter(|owner| !seen.has(owner)) {
            // Objects of other kinds have owners, too.
            if let Some(seen) = SeenOwners::of_all(&client).await {
                self.console.say(&seen.note(T::NOUN, owner));
            }
        }
        if has_more && !self.console.is_json() {
            let count = items.len();
            self.console.say(&format!("the first {count} are listed; a greater `--limit` lists more"));
        }
        Ok(())
    }

    /// Prints the item of a listing that is called `name`; fails with `unknown`, and with similar names, if there is none.
    pub(crate) async fn show_item<C, T: DeserializeOwned>(
        &self,
        endpoint: Endpoint<Nothing, PageQuery<C>, PageAnswer<T>>,
        name: &str,
        name_of: impl Fn(&T) -> &str,
        unknown: CommandFailure,
    ) -> Result<(), CommandFailure> {
        let client = self.operator().await?;
        let items = client.list(endpoint).await?;
        let Some(item) = items.iter().find(|item| name_of(&item.answer) == name) else {
            let near = near_question(name, items.iter().map(|item| name_of(&item.answer)));
            let why = format!("{}{near}", unknown.why());
            let unknown = unknown.because(why);
            let owner = client.scope_owner().await;
            return Err(owner.iter().fold(unknown, |unknown, owner| unknown.within(owner)));
        };
        self.print_object(item);
        Ok(())
    }

    /// Prints an object: its fields as tables, or as the broker sent it.
    fn print_object<T>(&self, object: &Received<T>) {
        self.print_object_as(&object.sent, || object.sent.clone());
    }

    /// Prints the fields of `fields` as tables for a person, or what the broker `sent`.
    pub(crate) fn print_object_as(&self, sent: &Value, fields: impl FnOnce() -> Value) {
        if self.console.is_json() {
            self.console.json(sent);
        } else {
            print_details(&fields(), self.console);
        }
    }

    /// Prints the object `target`.
    pub(crate) async fn show<T: Target, A: DeserializeOwned>(
        &self,
        endpoint: Endpoint<T, Nothing, A>,
        target: &T,
    ) -> Result<(), CommandFailure> {
        self.print_object(&self.operator().await?.call(endpoint, target, &Nothing).await?);
        Ok(())
    }

    /// Prints items that `client` listed as a table, or as the broker sent them.
    pub(crate) async fn print_rows<T: Row>(&self, client: &Client, items: &[Received<T>]) {
        let sent = Items { items: items.iter().map(|item| &item.sent).collect() };
        self.print_table(client, &sent, items.iter().map(|item| &item.answer)).await;
    }

    /// Prints items that `client` listed as a table, or `sent`. Without items, an operator with an owner is told that the
    /// list is limited.
    pub(crate) async fn print_table<'i, T: Row + 'i>(
        &self,
        client: &Client,
        sent: &impl Serialize,
        items: impl IntoIterator<Item = &'i T>,
    ) {
        if self.console.is_json() {
            self.console.json(sent);
            return;
        }
        let rows: Vec<Vec<String>> = items.into_iter().map(Row::cells).collect();
        let owner = if rows.is_empty() { client.scope_owner().await } else { None };
        let noun = match owner {
            Some(owner) => format!("{} in your scope (owner `{owner}`)", T::NOUN),
            None => T::NOUN.to_owned(),
        };
        self.console.table(&noun, &T::head(), &rows);
    }

    /// Prints the head of the lines of [`VerbSession::print_stream`], if the format has one.
    pub(crate) fn print_stream_head<T: Row>(&self) {
        self.console.head_of_rows(&T::head());
    }

    /// Prints items that follow others, a line each.
    pub(crate) fn print_stream<'i, T: Row + 'i>(
        &self,
        sent: &impl Serialize,
        items: impl IntoIterator<Item = &'i T>,
    ) {
        let rows: Vec<Vec<String>> = items.into_iter().map(Row::cells).collect();
        self.console.further_rows(sent, &rows);
    }

    /// Revokes or suspends `target` as an operator, and prints the result.
    pub(crate) async fn end<T: Target>(
        &self,
        endpoint: Endpoint<T, Optional<ReasonBody>, EndedAnswer>,
        target: &T,
        reason: &ReasonArgs,
        done: &str,
    ) -> Result<(), CommandFailure> {
        let ended =
            self.revoking_operator().await?.call(endpoint, target, &reason.body(self.console)).await?;
        self.print(&ended, |ended| said(ended.seq, done));
        if let Some(unused) = ended.unused_uses.filter(|_| !self.console.is_json()) {
            self.console.say(&said_of_codes(unused));
        }
        if !ended.ended_approval_keys.is_empty() && !self.console.is_json() {
            self.console.say(&said_of_approval_keys(&ended.ended_approval_keys));
        }
        check_durable(&ended)
    }
}

/// The reason for a revocation, suspension or resumption.
#[derive(Args, Debug)]
pub struct ReasonArgs {
    /// Reason, in one line; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,
}

impl ReasonArgs {
    /// The reason to send. See [`sent_reason`].
    pub(crate) fn text(&self, console: &Console) -> Option<String> {
        self.reason.as_ref().map(|reason| sent_reason(reason, console))
    }

    pub(crate) fn body(&self, console: &Console) -> Optional<ReasonBody> {
        Optional(self.text(console).map(|reason| ReasonBody { reason: Some(reason) }))
    }
}

/// The reason to send. Says that the broker replaces words with the form of a credential.
pub(crate) fn sent_reason(reason: &Reason, console: &Console) -> String {
    if has_secret_form(reason.as_str()) {
        console.say(
            "a word of the reason looks like a token or an enrolment code: the ledger gets the reason without this word",
        );
    }
    reason.to_string()
}

/// A client with the identity of `kind` below `home`, which is renewed first if it is due.
pub(crate) async fn client_of(home: &Path, kind: IdentityKind) -> Result<Client, CommandFailure> {
    renew_if_due(home, kind).await?;
    Client::at(IdentitySource { home: home.to_owned(), kind })
}

/// A client with the identity of an agent below `home`, which is renewed first if it is due.
///
/// # Errors
/// [`CommandFailure`], also if the identity is that of a resource server.
pub(crate) async fn agent_client(home: &Path) -> Result<Client, CommandFailure> {
    let held = Identity::load(home, IdentityKind::Agent)?.certificate()?;
    if let SpiffeId::ResourceServer { name, .. } = held.spiffe() {
        let why = format!(
            "the identity in `{}` is of the resource server `{name}`: it introspects tokens, and gets no tokens, secrets and \
             leases",
            home.display()
        );
        let fix = "name the directory of an agent (`--home DIR`), or ask an operator for an enrolment code of an agent \
                   (`keyward agent invite NAME --role ROLE`) and `keyward join` in another directory; to introspect a \
                   token: POST /oauth/introspect with this certificate, as docs/how-to/take-tokens.md shows";
        return Err(CommandFailure::new(code::CERTIFICATE_WRONG_KIND).because(why).mended_by(fix));
    }
    client_of(home, IdentityKind::Agent).await
}

/// The line for a change that is in force from the next request on.
pub(crate) fn said(seq: Option<u64>, done: &str) -> String {
    let entry = seq.map_or_else(String::new, |seq| format!(" in ledger entry {seq}"));
    format!("{done}{entry}: in force from the next request on")
}

/// The note about the enrolment codes that ended with an instance.
fn said_of_codes(unused: usize) -> String {
    let uses = if unused == 1 { "unused use" } else { "unused uses" };
    format!(
        "note: the enrolment code that the instance had used ended too, with {unused} {uses}: its holder could enrol \
         again with it; make a new code for further machines: `keyward agent invite NAME`"
    )
}

/// Fails if the ledger has not recorded the change.
pub(crate) fn check_durable(ended: &EndedAnswer) -> Result<(), CommandFailure> {
    if ended.durable {
        return Ok(());
    }
    let failure = CommandFailure::new(code::NOT_DURABLE);
    if !ended.kept {
        return Err(failure);
    }
    let why = "the change is in force in memory, but the ledger has not recorded it yet; it is stored in the \
               runtime directory, and the next start of the broker carries it out";
    let fix = "free space on the broker's data disk or correct its fault; the ledger then records the change by itself";
    Err(failure.because(why).mended_by(fix))
}

/// The text, or none.
pub(crate) fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// The question about names that a person may have meant; empty without one.
pub(crate) fn did_you_mean<T: ToString>(near: &[T]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let near: Vec<String> = near.iter().map(|near| format!("`{}`", near.to_string())).collect();
    format!("; did you mean {}?", near.join(" or "))
}

/// Items separated by commas.
pub(crate) fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

pub(crate) fn optional<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, CommandFailure>
where
    CommandFailure: From<T::Err>,
{
    Ok(text.map(str::parse).transpose()?)
}
