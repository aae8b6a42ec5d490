use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::client_id::BasicClient;
use super::form::{FormFields, parse_form};
use super::preference::Preference;
use super::target::id;
use crate::base::limits::{LIST_ITEMS_MAX, PAGE_ENTRIES_MAX};
use crate::base::{IncidentId, LeaseId, Sensitive, code};
use crate::http::documents::operation::OperationDocument;
use crate::http::documents::problem::Problem;
use crate::pki::PeerCertificate;
use crate::wire::{AnyQuery, Form, Nothing, Object, Optional, PageQuery, PreferWait};

pub(crate) const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The input of a request besides its target.
pub(crate) trait Input: Sized + 'static {
    /// The input from request line and header, so that neither is stored while the body arrives.
    type Head: Send;
    type Read: Send;

    /// The content type of the body; `None` if the body is not read.
    const CONTENT: Option<&'static str> = None;
    const TAKES_QUERY: bool = false;
    /// Whether the body is optional.
    const IS_OPTIONAL: bool = false;

    fn head(parts: &Parts) -> Result<Self::Head, Problem>;
    fn read(head: Self::Head, body: Sensitive<Vec<u8>>) -> Result<Self::Read, Problem>;

    /// The bytes that identify a repeated request.
    fn digested(body: &Sensitive<Vec<u8>>) -> &[u8] {
        body.expose()
    }

    fn describe(document: &mut OperationDocument<'_>);
}

/// What a request says of its input before its body.
pub(crate) struct InputHead<I: Input> {
    taken: I::Head,
    /// A wrong content type counts only with a body: clients name one for a body that they leave out.
    content: Result<(), Problem>,
}

impl<I: Input> InputHead<I> {
    pub(crate) fn of(parts: &Parts) -> Result<Self, Problem> {
        let taken = I::head(parts)?;
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let is_unnamed = I::IS_OPTIONAL && kind.is_none_or(HeaderValue::is_empty);
        let wanted = I::CONTENT.filter(|_| !is_unnamed);
        let content = wanted.map_or(Ok(()), |wanted| content_type(&parts.headers, wanted));
        match content {
            // Refused before the body is read.
            Err(refused) if !I::IS_OPTIONAL => Err(refused),
            content => Ok(Self { taken, content }),
        }
    }

    pub(crate) fn read(self, body: Sensitive<Vec<u8>>) -> Result<I::Read, Problem> {
        if !body.expose().is_empty() {
            self.content?;
        }
        I::read(self.taken, body)
    }
}

/// A JSON body: without unknown, repeated or mistyped fields.
impl<T: DeserializeOwned + JsonSchema + Send + 'static> Input for T {
    type Head = ();
    type Read = T;

    const CONTENT: Option<&'static str> = Some(JSON);

    fn head(_: &Parts) -> Result<(), Problem> {
        Ok(())
    }

    fn read((): (), body: Sensitive<Vec<u8>>) -> Result<T, Problem> {
        parse_json(&body)
    }

    fn describe(document: &mut OperationDocument<'_>) {
        document.body::<T>(JSON);
    }
}

/// An optional JSON body.
impl<T: DeserializeOwned + JsonSchema + Default + Send + 'static> Input for Optional<T> {
    type Head = ();
    type Read = T;

    const CONTENT: Option<&'static str> = Some(JSON);
    const IS_OPTIONAL: bool = true;

    fn head(_: &Parts) -> Result<(), Problem> {
        Ok(())
    }

    fn read((): (), body: Sensitive<Vec<u8>>) -> Result<T, Problem> {
        if body.expose().is_empty() { Ok(T::default()) } else { parse_json(&body) }
    }

    fn describe(document: &mut OperationDocument<'_>) {
        document.optional_body::<T>(JSON);
    }
}

impl Input for Nothing {
    type Head = ();
    type Read = ();

    fn head(_: &Parts) -> Result<(), Problem> {
        Ok(())
    }

    fn read((): (), _: Sensitive<Vec<u8>>) -> Result<(), Problem> {
        Ok(())
    }

    fn describe(_: &mut OperationDocument<'_>) {}
}

impl Input for AnyQuery {
    type Head = ();
    type Read = ();

    const TAKES_QUERY: bool = true;

    fn head(_: &Parts) -> Result<(), Problem> {
        Ok(())
    }

    fn read((): (), _: Sensitive<Vec<u8>>) -> Result<(), Problem> {
        Ok(())
    }

    fn describe(_: &mut OperationDocument<'_>) {}
}

/// The cursor of a list.
pub(crate) trait Cursor: JsonSchema + Send + 'static {
    const LIMIT_MAX: usize;

    fn parse(text: &str) -> Result<Self, Problem>
    where
        Self: Sized;
}

impl Cursor for String {
    const LIMIT_MAX: usize = LIST_ITEMS_MAX;

    fn parse(text: &str) -> Result<Self, Problem> {
        Ok(text.to_owned())
    }
}

impl Cursor for LeaseId {
    const LIMIT_MAX: usize = PAGE_ENTRIES_MAX;

    fn parse(text: &str) -> Result<Self, Problem> {
        id(text)
    }
}

impl Cursor for IncidentId {
    const LIMIT_MAX: usize = PAGE_ENTRIES_MAX;

    fn parse(text: &str) -> Result<Self, Problem> {
        id(text)
    }
}

impl Cursor for u64 {
    const LIMIT_MAX: usize = PAGE_ENTRIES_MAX;

    fn parse(text: &str) -> Result<Self, Problem> {
        text.parse().map_err(|_| Problem::new(code::QUERY_INVALID))
    }
}

/// The requested page of a list, with a limit.
pub(crate) struct Part<C> {
    pub(crate) after: Option<C>,
    pub(crate) limit: usize,
}

impl<C: Cursor> Input for PageQuery<C> {
    type Head = Part<C>;
    type Read = Part<C>;

    const TAKES_QUERY: bool = true;

    fn head(parts: &Parts) -> Result<Part<C>, Problem> {
        let mut part = Part { after: None, limit: C::LIMIT_MAX };
        let refused = || Problem::new(code::QUERY_INVALID);
        for (field, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match field.as_ref() {
                "after" => part.after = Some(C::parse(&value)?),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=C::LIMIT_MAX).contains(limit));
                    part.limit = limit.ok_or_else(refused)?;
                }
                _ => return Err(refused()),
            }
        }
        Ok(part)
    }

    fn read(part: Part<C>, _: Sensitive<Vec<u8>>) -> Result<Part<C>, Problem> {
        Ok(part)
    }

    fn describe(document: &mut OperationDocument<'_>) {
        let mut settings = schemars::SchemaGenerator::default();
        document.parameter("after", "query", &C::json_schema(&mut settings).to_value());
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": C::LIMIT_MAX });
        document.parameter("limit", "query", &limit);
    }
}

/// A form, and the client id in the headers.
pub(crate) struct FormRead {
    client: BasicClient,
    preference: Preference,
    body: Sensitive<Vec<u8>>,
}

impl FormRead {
    /// What the client prefers while its request is pending.
    pub(crate) const fn preference(&self) -> Preference {
        self.preference
    }

    pub(crate) fn fields(&self) -> Result<FormFields<'_>, Problem> {
        parse_form(&self.body)
    }

    /// The fields, after a check of the client id against the certificate.
    pub(crate) fn fields_of(&self, certificate: &PeerCertificate) -> Result<FormFields<'_>, Problem> {
        let fields = self.fields()?;
        self.client.is_holder_of(certificate, &fields)?;
        Ok(fields)
    }
}

impl<F: JsonSchema + Send + 'static> Input for Form<F> {
    type Head = (BasicClient, Preference);
    type Read = FormRead;

    const CONTENT: Option<&'static str> = Some(FORM);

    fn head(parts: &Parts) -> Result<(BasicClient, Preference), Problem> {
        Ok((BasicClient::of(&parts.headers), Preference::of(&parts.headers)))
    }

    fn read(head: (BasicClient, Preference), body: Sensitive<Vec<u8>>) -> Result<FormRead, Problem> {
        let (client, preference) = head;
        Ok(FormRead { client, preference, body })
    }

    fn describe(document: &mut OperationDocument<'_>) {
        document.body::<F>(FORM);
    }
}

impl Input for PreferWait {
    type Head = Preference;
    type Read = Preference;

    fn head(parts: &Parts) -> Result<Preference, Problem> {
        Ok(Preference::of(&parts.headers))
    }

    fn read(preference: Preference, _: Sensitive<Vec<u8>>) -> Result<Preference, Problem> {
        Ok(preference)
    }

    fn describe(document: &mut OperationDocument<'_>) {
        document.prefers();
    }
}

/// Parses a JSON body: without unknown, repeated or mistyped fields.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &Sensitive<Vec<u8>>) -> Result<T, Problem> {
    serde_json::from_slice(body.expose()).map(|Object(parsed)| parsed).map_err(|error| {
        let why = format!(
            "the body is not the JSON object that this route expects: {} at line {}, column {}",
            fault(&error),
            error.line(),
            error.column()
        );
        Problem::new(code::JSON_INVALID).because(why)
    })
}

/// The error without the caller's text.
fn fault(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Syntax => "not JSON".to_owned(),
        Category::Eof => "unexpected end".to_owned(),
        Category::Io => "unreadable".to_owned(),
        Category::Data => {
            let text = error.to_string();
            if text.starts_with("unknown field") {
                "unknown field".to_owned()
            } else if text.starts_with("duplicate field") {
                "repeated field".to_owned()
            } else if let Some(rest) = text.strip_prefix("missing field `") {
                // The name comes from the schema, not from the caller.
                format!("missing field `{}`", rest.split('`').next().unwrap_or_default())
            } else {
                "a field has the wrong type or form".to_owned()
            }
        }
    }
}

/// Checks the content type of a body.
fn content_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, parameter) = given.split_once(';').unwrap_or((given, ""));
    // A value may be quoted (RFC 9110 §8.3.1).
    let is_utf_8 = parameter.trim().split_once('=').is_some_and(|(name, value)| {
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
    });
    if kind.trim().eq_ignore_ascii_case(wanted) && (is_utf_8 || parameter.trim().is_empty()) {
        return Ok(());
    }
    let why = format!("this route expects the content type `{wanted}`");
    Err(Problem::new(code::CONTENT_TYPE_UNSUPPORTED).because(why))
}
