use crate::base::{CodeId, Connection, Sensitive, code, peer_of};
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::read_key;
use crate::broker::reading::Reading;
use crate::broker::retry::AttemptError;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::ledger::AppendError;
use crate::pki::PublicKey;
use crate::policy::{Denial, EnrolmentRequest};
use crate::quota::{Admitted, Permit};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;

/// A parsed enrolment request.
#[derive(Debug)]
pub struct EnrolInput {
    /// The code's id.
    pub code: CodeId,
    /// The code's secret.
    pub secret: Sensitive<[u8; 32]>,
    /// The PKCS#10 request, DER.
    pub request: Vec<u8>,
    /// The connection of the caller.
    pub connection: Connection,
}

/// An enrolment code in redemption.
pub(crate) struct Redemption<'a> {
    pub(crate) input: &'a EnrolInput,
    pub(crate) key: PublicKey,
    admitted: Admitted,
}

/// A second use of a code without an alarm so far.
pub(crate) struct CodeReuse {
    pub(crate) alarm: Alarm,
    /// The subject of the code, e.g. `agent a`.
    pub(crate) holder: String,
    pub(crate) change: Change<Effect>,
}

impl<'a> Redemption<'a> {
    /// # Errors
    /// [`Failure`] when the peer tries too often, or its request proves no key.
    pub(crate) fn of(services: &Services, input: &'a EnrolInput) -> Result<Self, Failure> {
        let admitted = services.limits.enrolments.admit(&peer_of(input.connection.source))?;
        Ok(Self { input, key: read_key(&input.request)?, admitted })
    }

    pub(crate) fn permit(&mut self) -> Permit {
        self.admitted.permit()
    }

    pub(crate) fn request(&self) -> EnrolmentRequest<'a> {
        let EnrolInput { code, secret, connection, .. } = self.input;
        EnrolmentRequest {
            code: *code,
            secret: secret.expose(),
            key: self.key.digest(),
            source: connection.source,
        }
    }
}

impl Services {
    /// The answer to a redemption that is denied. One alarm per code: the holder of a used code must not be able to
    /// fill the disk with it.
    pub(crate) async fn not_redeemed(
        &self,
        redemption: &Redemption<'_>,
        denial: &Denial,
        find: impl Fn(&Reading<'_>) -> Result<Option<CodeReuse>, CommitError> + Sync,
    ) -> AttemptError {
        if denial.code == code::ENROLMENT_CODE_USED {
            let (found, preconditions) = self.state.read(find);
            let recorded = match found {
                Ok(Some(CodeReuse { alarm, holder, change })) => {
                    let EnrolInput { code, connection, .. } = redemption.input;
                    self.notifications.meters.alarms().raise(
                        alarm,
                        format_args!(
                            "{holder}: enrolment code {code} was presented again with another key, from {}; find out who has the code",
                            connection.source
                        ),
                    );
                    let change = change.requested_on(Some(redemption.input.connection));
                    self.state.commit(change, preconditions, ()).await.map(|receipt| receipt.redeem())
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            match recorded {
                // Another request is recording the alarm.
                Ok(()) | Err(CommitError::Append(AppendError::Conflict(_))) => {}
                Err(error) => tracing::error!(%error, "an alarm could not be recorded"),
            }
        }
        self.record_refused_code(redemption, denial.code).await;
        AttemptError::Stop(Failure::new(denial.code))
    }
}
