use crate::authn::OperatorPrincipal;
use crate::broker::changes::{ChangeDraft, ChangeRequest};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::incidents::{RecognisedValue, ValueRecognised};
use crate::wire::RecognisedAnswer;

impl Services {
    /// Records what a leaked text is; the sequence number of the entry.
    pub(super) async fn record_recognised(
        &self,
        by: &OperatorPrincipal,
        found: &[RecognisedAnswer],
    ) -> Result<u64, Failure> {
        let found: Vec<RecognisedValue> = found.iter().map(recorded).collect();
        let event = ValueRecognised { by: by.name().as_str(), found: &found };
        let request = ChangeRequest::by(by, None);
        let changed = self.state.change(request, |_| Ok(ChangeDraft::new(&event, ())?)).await?;
        Ok(changed.seq())
    }
}

fn recorded(found: &RecognisedAnswer) -> RecognisedValue {
    let RecognisedAnswer { kind, which, version, .. } = found;
    let which_if = |is_it: bool| is_it.then(|| which.clone());
    let (is_secret, is_login) = (kind == "secret", kind == "login");
    RecognisedValue {
        kind: kind.to_string(),
        name: which_if(is_secret),
        id: which_if(!is_secret && !is_login),
        lease: which_if(is_login),
        version: *version,
    }
}
