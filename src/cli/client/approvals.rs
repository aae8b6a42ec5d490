use hyper::header::HeaderName;

use super::broker_client::{Client, read};
use super::received::Received;
use super::request::{ClientRequest, header_value};
use crate::base::ApprovalId;
use crate::console::CommandFailure;
use crate::wire::{GET_OWN_APPROVAL, OwnApprovalAnswer};

impl Client {
    /// An approval of this agent, at once or after `wait_s` seconds while it is pending (`Prefer: wait`, RFC 7240 §4.3).
    pub(crate) async fn own_approval(
        &self,
        id: &ApprovalId,
        wait_s: u64,
    ) -> Result<Received<OwnApprovalAnswer>, CommandFailure> {
        let prefer = header_value(&format!("wait={wait_s}"))?;
        let request = ClientRequest::to(GET_OWN_APPROVAL, id);
        read(&self.send(request.with_header(HeaderName::from_static("prefer"), Some(prefer))).await?)
    }
}
