//@ error: E0308
//! Leave to read is no leave to invite: each use case names the right that it takes.
use keyward::broker::{AdminServices, InviteInput};
use keyward::policy::{Authorised, InviteAgents, ReadDeclared};

pub async fn invite(
    services: &AdminServices,
    (read, invite): (&Authorised<ReadDeclared>, &Authorised<InviteAgents>),
    input: InviteInput,
) {
    let _ = (read, invite);
    let _ = services.invite(read, input, None).await; //@ twin: let _ = services.invite(invite, input, None).await;
}
