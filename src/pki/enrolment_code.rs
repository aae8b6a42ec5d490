use super::SpiffeId;
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{CodeId, Sensitive};
use crate::crypto::Digest;

/// The code that an operator gives to the person who runs an agent: the identity that it gives, where the broker is, by
/// what key to know it, and the one-time secret that enrols.
#[derive(Debug)]
pub struct EnrolmentCode {
    /// The identity that the code enrols. The certificate that comes back must name it.
    pub spiffe: SpiffeId,
    /// The broker's address for agents, `host:port`.
    pub address: String,
    /// SHA-256 of the authority's public key (DER `SubjectPublicKeyInfo`).
    pub pin: Digest,
    /// The code's id, by which the broker and its ledger know it.
    pub id: CodeId,
    /// The secret: 256 random bits.
    pub secret: Sensitive<[u8; 32]>,
}

/// The text is not an enrolment code. Never carries the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CodeError {
    /// Not in the form of a code.
    #[error("not an enrolment code: it starts with `{PREFIX}.` and has six parts")]
    Malformed,
    /// Of a broker that did not yet write the identity into the code.
    #[error("the enrolment code is of an earlier version, and names no identity: ask for a new code")]
    Earlier,
}

const PREFIX: &str = "keyward-enrol-2";
/// Codes that do not name the identity that they enrol: nothing to compare an answer with.
const PREFIX_EARLIER: &str = "keyward-enrol-1";

impl EnrolmentCode {
    /// The code in one line.
    #[must_use]
    pub fn to_text(&self) -> Sensitive<String> {
        let secret = zeroize::Zeroizing::new(base64url(self.secret.expose()));
        let address = base64url(self.address.as_bytes());
        let spiffe = base64url(self.spiffe.to_string().as_bytes());
        let pin = self.pin.base64url();
        Sensitive::new(format!("{PREFIX}.{spiffe}.{address}.{pin}.{}.{}", self.id, *secret))
    }

    /// Reads a code as it was printed; white space around it does no harm.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let mut parts = text.trim().split('.');
        let mut part = || parts.next().ok_or(CodeError::Malformed);
        match part()? {
            PREFIX => {}
            PREFIX_EARLIER => return Err(CodeError::Earlier),
            _ => return Err(CodeError::Malformed),
        }
        let spiffe = from_base64url(part()?).and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
        let address = from_base64url(part()?).and_then(|bytes| String::from_utf8(bytes).ok());
        let pin = from_base64url(part()?).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let id = part()?.parse().map_err(|_| CodeError::Malformed)?;
        let secret = from_base64url(part()?).map(zeroize::Zeroizing::new).ok_or(CodeError::Malformed)?;
        let secret: &[u8; 32] = secret.as_slice().try_into().map_err(|_| CodeError::Malformed)?;
        if parts.next().is_some() {
            return Err(CodeError::Malformed);
        }
        // It is shown before anything is sent: nothing in it may move a terminal's cursor.
        let address = address.filter(|text| {
            let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            has_port && text.bytes().all(|byte| byte.is_ascii_graphic())
        });
        Ok(Self {
            spiffe: spiffe.ok_or(CodeError::Malformed)?,
            address: address.ok_or(CodeError::Malformed)?,
            pin: Digest::from_bytes(pin.ok_or(CodeError::Malformed)?),
            id,
            secret: Sensitive::filled(|to| to.copy_from_slice(secret)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    fn code() -> EnrolmentCode {
        EnrolmentCode {
            spiffe: "spiffe://keyward.test/operator/ada".parse().unwrap(),
            address: "broker.test:8443".to_owned(),
            pin: Digest::from_bytes([1; 32]),
            id: CodeId::mint(Timestamp::from_s(1), &SystemEntropy),
            secret: Sensitive::new([7; 32]),
        }
    }

    #[test]
    fn a_code_reads_back_as_it_was_printed() {
        let code = code();
        let text = code.to_text();
        let read = EnrolmentCode::parse(&format!("  {}\n", text.expose())).unwrap();
        assert_eq!(
            (read.spiffe, read.address, read.pin, read.id),
            (code.spiffe, code.address, code.pin, code.id)
        );
        assert_eq!(read.secret.expose(), code.secret.expose());
    }

    #[test]
    fn anything_else_is_refused() {
        let good = code().to_text();
        let good = good.expose();
        for bad in [
            "",
            "x",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}.x"),
            &good.replace("enrol-2", "enrol-3"),
        ] {
            assert!(EnrolmentCode::parse(bad).is_err());
        }
        let earlier = good.replace("enrol-2", "enrol-1");
        assert_eq!(EnrolmentCode::parse(&earlier).unwrap_err(), CodeError::Earlier);
    }
}
