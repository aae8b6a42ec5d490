use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::base::Sensitive;
use crate::base::code;
use crate::base::limits::FORM_FIELDS_MAX;
use crate::http::documents::problem::Problem;

/// The fields of a form, borrowed from its body where possible.
pub(crate) type FormFields<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// Parses a form without repeated fields. A field without a value counts as absent (RFC 6749 §3.2).
pub(crate) fn parse_form(body: &Sensitive<Vec<u8>>) -> Result<FormFields<'_>, Problem> {
    if std::str::from_utf8(body.expose()).is_err() {
        return Err(Problem::new(code::FORM_INVALID));
    }
    let mut fields = BTreeMap::new();
    for (position, (name, value)) in form_urlencoded::parse(body.expose()).enumerate() {
        if position >= FORM_FIELDS_MAX {
            return Err(Problem::new(code::FORM_TOO_MANY_FIELDS));
        }
        if value.is_empty() {
            continue;
        }
        // RFC 8707 allows several resources, but a token of this broker has one audience.
        let repeated = if name == "resource" { code::RESOURCE_REPEATED } else { code::FORM_FIELD_REPEATED };
        if fields.insert(name, value).is_some() {
            return Err(Problem::new(repeated));
        }
    }
    Ok(fields)
}
