use std::collections::BTreeSet;

use serde::Serialize;

use super::announcements::AnnouncementCounts;
use crate::approvals::Approval;
use crate::base::limits::WEBHOOK_AT_ONCE_MAX;
use crate::base::{AgentName, ApprovalId, CapabilityName, UserCode};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::upstream::WebhookMessage;
use crate::wire::ApprovalState;

/// The body of a message. It names the request and contains no credential and no text that an agent wrote.
#[derive(Serialize)]
struct RequestedMessage<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    approval: ApprovalId,
    code: UserCode,
    agent: &'a AgentName,
    capabilities: Vec<&'a CapabilityName>,
    /// In RFC 3339.
    expires_at: String,
    /// The command that shows the request.
    link: String,
    text: String,
}

impl Services {
    /// The requests for approval whose message is due now; empty without a webhook. Each has to be announced.
    #[must_use]
    pub fn announcements_due(&self) -> Vec<ApprovalId> {
        if self.upstream.webhook.is_none() {
            return Vec::new();
        }
        let now = self.state.clock.now();
        let pending: BTreeSet<ApprovalId> = self.state.store.read(|world, _| {
            let is_pending = |one: &&Approval| one.state(now) == ApprovalState::Pending;
            world.approvals().newest().filter(is_pending).map(|one| one.opened.id).collect()
        });
        let announcements = self.notifications.announcements();
        announcements.due(&pending, self.state.clock.elapsed(), WEBHOOK_AT_ONCE_MAX)
    }

    /// Sends the message about a pending request for approval once. A failed message is due again after a pause, until its
    /// last attempt.
    pub async fn announce(&self, id: ApprovalId) {
        let Some(webhook) = &self.upstream.webhook else { return };
        let announcements = self.notifications.announcements();
        let _attempt = DeliveryAttempt { services: self, id };
        let now = self.state.clock.now();
        let body = self.state.store.read(|world, _| Some(body_of(world.approvals().get(id)?)));
        let Some(Ok(body)) = body else { return announcements.delivered(id) };
        let message = WebhookMessage { id: &id.to_string(), at: now, body: &body };
        let meters = &self.notifications.meters;
        match webhook.deliver(&self.upstream.driver_context, message).await {
            Ok(()) => {
                announcements.delivered(id);
                meters.webhook_delivered();
            }
            Err(fault) => {
                let failure = Failure::upstream(&fault);
                let is_last = announcements.failed(id, self.state.clock.elapsed());
                meters.webhook_failed();
                if is_last {
                    tracing::error!(approval = %id, server = webhook.authority(), code = %failure.code, "the message about a request for approval was not delivered, and is not sent again: check the service of `approvals.webhook`; `keyward approval list` shows the request");
                } else {
                    tracing::warn!(approval = %id, server = webhook.authority(), code = %failure.code, "the message about a request for approval was not delivered: the broker tries again");
                }
            }
        }
    }

    /// The messages that are not delivered.
    pub(crate) fn announcement_counts(&self) -> AnnouncementCounts {
        self.notifications.announcements().counts()
    }
}

/// An attempt in progress, which ends also by a panic: otherwise its message would never be sent again.
struct DeliveryAttempt<'a> {
    services: &'a Services,
    id: ApprovalId,
}

impl Drop for DeliveryAttempt<'_> {
    fn drop(&mut self) {
        let now = self.services.state.clock.elapsed();
        self.services.notifications.announcements().ended(self.id, now);
    }
}

fn body_of(approval: &Approval) -> Result<Vec<u8>, serde_json::Error> {
    let (opened, request) = (&approval.opened, &approval.opened.terms.request);
    let capabilities: Vec<&CapabilityName> = request.names().collect();
    let names: Vec<&str> = capabilities.iter().map(|name| name.as_str()).collect();
    let link = format!("keyward approval show {}", opened.code);
    serde_json::to_vec(&RequestedMessage {
        kind: "approval.requested",
        approval: opened.id,
        code: opened.code,
        agent: &opened.requester.name,
        expires_at: approval.expires_at().to_string(),
        text: format!("{} asks for {}; to see the request: {link}", opened.requester.name, names.join(", ")),
        link,
        capabilities,
    })
}
