use std::net::IpAddr;

use super::subject::Subject;
use crate::base::OperatorEnrolment;

/// A credential, as the marks judge it.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The entry that issued it; for a certificate the entry of the enrolment.
    pub issued: u64,
    /// The subjects that it was issued under, or belongs to now.
    pub subjects: &'a [Subject],
    /// The addresses of the enrolment and of the caller, as far as they are known.
    pub addresses: &'a [IpAddr],
    /// Its form.
    pub form: CredentialForm,
}

/// What distinguishes credentials for the marks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CredentialForm {
    /// A token, an enrolment code or a lease: every revocation revokes it for good.
    Issued,
    /// A certificate of an agent or resource server ([`Subject::ends_certificates`]).
    Certificate,
    /// A certificate of an operator, likewise. A containment can spare its enrolment.
    OperatorCertificate {
        /// The enrolment.
        enrolment: OperatorEnrolment,
        /// Whether the broker's host issued it: a containment before that does not refuse it.
        is_of_host: bool,
    },
}
