use super::address_origin::AddressOrigin;
use crate::base::{Timestamp, code};
use crate::console::CommandFailure;
use crate::operators::{BREAK_GLASS, CONTAIN_ON_HOST};
use crate::pki::tls::PeerRefusal;
use crate::pki::{PeerCertificate, SpiffeId};

/// A client certificate that the broker at `address` refused at the handshake. The alert names the cause; the certificate
/// itself has the details.
pub(super) struct RefusedCertificate<'a> {
    pub(super) certificate: &'a PeerCertificate,
    pub(super) address: &'a str,
    pub(super) origin: &'a AddressOrigin,
    /// This machine's clock.
    pub(super) now: Timestamp,
}

impl RefusedCertificate<'_> {
    /// The failure with its cause and fix.
    pub(super) fn explained(&self, cause: PeerRefusal) -> CommandFailure {
        match cause {
            PeerRefusal::OutOfTime => self.out_of_time(),
            PeerRefusal::Revoked => CommandFailure::new(code::CERTIFICATE_REVOKED)
                .because(format!("{} was revoked", self.subject()))
                .mended_by(format!("ask an operator with the role `admin` why, and {}", self.enrol_again())),
            PeerRefusal::Suspended => CommandFailure::new(code::CERTIFICATE_SUSPENDED)
                .because(format!(
                    "{} is suspended, or an incident contains it, e.g. with its owner or with the network from which it was enrolled",
                    self.subject()
                ))
                .mended_by(format!(
                    "ask an operator with the role `admin` or `security`; the certificate is valid again after `keyward {} resume \
                     {}`, or, if an incident contains it (`keyward incident list --open`), after `keyward lift INCIDENT --reason \
                     TEXT`",
                    self.noun(),
                    self.name()
                )),
            PeerRefusal::Unknown => CommandFailure::new(code::CERTIFICATE_UNKNOWN)
                .because(format!(
                    "the broker at {} has no record of {}: a newer certificate replaced it, the {} was deleted, or the \
                     broker's ledger is an older copy, e.g. a restored backup",
                    self.address,
                    self.subject(),
                    self.noun()
                ))
                .mended_by(format!(
                    "if this directory is a copy of a renewed identity, use the renewed one (`--home DIR`). {} Otherwise {}. With \
                     `--role ROLE`, the invitation also creates the {} if an older ledger does not have it. If the \
                     invitation fails with `name_deleted`, the name `{}` was deleted and stays reserved: ask for a code \
                     for another name",
                    self.if_stolen(),
                    self.enrol_again(),
                    self.noun(),
                    self.name()
                )),
            PeerRefusal::Authority => CommandFailure::new(code::AUTHORITY_REVOKED)
                .because(format!("the broker at {} revoked the authority that signed {}", self.address, self.subject()))
                .mended_by(self.enrol_again()),
            PeerRefusal::WrongKind => self.wrong_listener(),
        }
    }

    /// The step for a certificate that another holder of its key may have replaced.
    fn if_stolen(&self) -> String {
        let name = self.name();
        let revoke = match self.certificate.spiffe() {
            SpiffeId::Operator { .. } => {
                format!("`keyward operator show {name}`, `keyward cert revoke SERIAL`")
            }
            SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => {
                format!("`keyward agent show {name}`, `keyward agent revoke --instance ID`")
            }
        };
        format!(
            "If no program on your machines renewed it, another person may have a copy of the key and have renewed the certificate: tell an \
             operator at once, who revokes the certificate that replaced it ({revoke}); a new enrolment does not revoke it."
        )
    }

    /// The alert is the same for an expired certificate, one of the future, and clocks that differ.
    fn out_of_time(&self) -> CommandFailure {
        let (begins, ends) = (self.certificate.not_before(), self.certificate.not_after());
        if self.now < begins {
            let why = format!(
                "{} is valid from {} on, and this machine's clock reads {}",
                self.subject(),
                begins.to_minute(),
                self.now.to_minute()
            );
            return self.by_one_clock(why);
        }
        if self.now < ends {
            let why = format!(
                "by the clock of the broker at {} {} is not valid now; by this machine's clock, which reads {}, it is \
                 valid until {}",
                self.address,
                self.subject(),
                self.now.to_minute(),
                ends.to_minute()
            );
            return self.by_one_clock(why);
        }
        // The handshake admits a certificate that can still be renewed.
        let why = format!(
            "{} expired at {}, and the broker at {} does not renew it any more",
            self.subject(),
            ends.to_minute(),
            self.address
        );
        CommandFailure::new(code::CERTIFICATE_EXPIRED).because(why).mended_by(format!(
            "if the clock of this machine, which reads {}, or of the broker's host is wrong, set it right; otherwise {}",
            self.now.to_minute(),
            self.enrol_again()
        ))
    }

    /// An operator can contain on the broker's host, where no certificate is needed.
    fn by_one_clock(&self, why: String) -> CommandFailure {
        let failure = CommandFailure::new(code::CLOCK_MISMATCH).because(why);
        let compare =
            "compare `date -u` on this machine and on the broker's host, and correct the wrong clock";
        failure.mended_by(match self.certificate.spiffe() {
            SpiffeId::Operator { .. } => format!("{compare}; {CONTAIN_ON_HOST}"),
            SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => compare.to_owned(),
        })
    }

    fn wrong_listener(&self) -> CommandFailure {
        let (found, wanted) = match self.certificate.spiffe() {
            SpiffeId::Operator { .. } => ("agents", "operators', port 8444 by default"),
            SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => {
                ("operators", "agents', port 8443 by default")
            }
        };
        let why = format!(
            "{} is for the other listener: {} is the {found}' listener",
            self.subject(),
            self.address
        );
        CommandFailure::new(code::CERTIFICATE_WRONG_KIND)
            .because(why)
            .mended_by(format!("use the address of the {wanted}, {}", self.origin.place()))
    }

    /// The certificate, as its holder knows it.
    fn subject(&self) -> String {
        let kind = match self.certificate.spiffe() {
            SpiffeId::Agent { .. } => "agent",
            SpiffeId::ResourceServer { .. } => "resource server",
            SpiffeId::Operator { .. } => "operator",
        };
        let serial: String = self.certificate.serial().to_string().chars().take(SERIAL_DIGITS).collect();
        format!("your {kind} certificate ({}, serial {serial}…)", self.name())
    }

    fn name(&self) -> &str {
        match self.certificate.spiffe() {
            SpiffeId::Agent { name, .. } | SpiffeId::ResourceServer { name, .. } => name.as_str(),
            SpiffeId::Operator { name, .. } => name.as_str(),
        }
    }

    /// The noun of the commands about the holder.
    fn noun(&self) -> &'static str {
        match self.certificate.spiffe() {
            SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => "agent",
            SpiffeId::Operator { .. } => "operator",
        }
    }

    fn enrol_again(&self) -> String {
        let name = self.name();
        match self.certificate.spiffe() {
            SpiffeId::Operator { .. } if name == BREAK_GLASS => {
                "run `keyward break-glass operator` again, on the broker's host".to_owned()
            }
            SpiffeId::Operator { .. } => format!(
                "ask another admin for an enrolment code (`keyward operator invite {name}`), then `keyward join \
                 --replace`; the only admin runs `keyward init --reissue-operator` on the broker's host"
            ),
            SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => format!(
                "ask an operator for an enrolment code (`keyward agent invite {name}`), then `keyward join --replace`"
            ),
        }
    }
}

/// The first digits of a serial number identify a certificate among the few of one holder.
const SERIAL_DIGITS: usize = 8;
