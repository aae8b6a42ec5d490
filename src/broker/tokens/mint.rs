use crate::approvals;
use crate::authn::{AgentPrincipal, AuthnError, Credential, live};
use crate::base::limits::TOKEN_BYTES_MAX;
use crate::base::{ApprovalId, CapabilityName, DecisionId, RequestFacts, Timestamp, TokenId, code};
use crate::broker::approvals::ask::{AskedApproval, RequestKeeper};
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::broker::host::clock::outlasts;
use crate::broker::reading::Reading;
use crate::broker::replay::remembered_for;
use crate::broker::retry::retry_on_conflict;
use crate::broker::services::Services;
use crate::broker::tokens::mint_input::MintInput;
use crate::broker::tokens::offers::OfferedRequest;
use crate::broker::world::{Effect, records};
use crate::idempotency::{IdempotencyKey, MintedBefore, Outcome, Remembered};
use crate::issuance::{MintReplay, Token};
use crate::policy::{AgentAct, Grant, Mint, ReplayedMint, decide_again, decide_mint};
use crate::registry::Access;
use crate::revocation::Subject;
use crate::store::{Change, CommitError};
use crate::telemetry::{ApprovalOutcome, DecisionOutcome};
use crate::token::{TokenMinted, TokenRepeated};
use crate::wire::ApprovalState;

impl AgentServices {
    /// Issues a token for `principal`. A repeated request of `idempotency` gets the same token.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded.
    pub async fn mint(
        &self,
        principal: AgentPrincipal,
        input: MintInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Token, Failure> {
        let remediates = input.remediates;
        let request = input.into_request()?;
        let services = &*self.0;
        // A denial that named no such request to this agent is not recorded.
        let remediates = remediates.filter(|denied| {
            services.notifications.offers().have(*denied, principal.agent(), &OfferedRequest::of(&request))
        });
        let mut agent = services.admit(principal)?;
        let turn = match request.approval {
            Some(approval) => {
                let turn = services.notifications.approvals().using(approval).await;
                agent.waited();
                Some(turn)
            }
            None => None,
        };
        let issued = retry_on_conflict!(async {
            let issue = services.state.issuing()?;
            let (time, now, deciding) = (issue.time, issue.time.now(), services.deciding(issue));
            let (principal, permit) = agent.attempt(services, time)?;
            let caller = principal.clone();
            let (read, preconditions) = services.state.read_as(&caller, now, |reading| {
                let context = deciding.on(reading);
                request.approval.into_iter().for_each(|approval| reading.approval_in_use(approval));
                let before = still_live(reading, &principal, reading.outcome(idempotency)?)?;
                let (decision, before) = match before {
                    Some(Remembered { seq, time, outcome: Outcome::Minted(minted) }) => {
                        let approvals = reading.unconditional().approvals();
                        let used = approvals.of_token(principal.agent(), minted.token);
                        let used = used.map(|approval| approval.opened.id);
                        used.into_iter().for_each(|approval| reading.approval_in_use(approval));
                        let first = ReplayedMint { minted: &minted, approval: used };
                        let decision = decide_again(&context, principal, permit, first, &request);
                        (decision, Some(((seq, time), minted.token)))
                    }
                    Some(_) | None => (decide_mint(&context, principal, permit, &request), None),
                };
                Ok::<_, Failure>((reading.noting(decision), before))
            });
            let (decision, before) = read?;
            if decision.needs_approval() {
                return Ok(None);
            }
            let grant = services.granted(&caller, "mint", decision).await?;
            if let Some((minted, token)) = before {
                let change = record_again(token, &grant, minted.0)?;
                let again = MintReplay { grant, token, minted };
                let receipt = services.state.commit(change, preconditions, again).await?;
                return Ok(Some(services.signing.issuer.mint_again(receipt)?));
            }
            outlasts(time, now.plus_s(i64::from(grant.act().life_s())))?;
            let token = TokenId::mint(now, &*services.state.entropy);
            services.check_length(token, &grant)?;
            let change = record((token, remediates), idempotency, &grant, now)?;
            let granted = Granted::of(&grant, remediates);
            let receipt = services.state.commit(change, preconditions, (token, grant)).await?;
            services.measure(&granted);
            Ok(Some(services.signing.issuer.mint(receipt)?))
        });
        drop(turn);
        match services.noting_clock_refusal(agent.caller(), "mint", issued).await? {
            Some(issued) => Ok(issued.deliver()),
            None => {
                services.measure_decision(DecisionOutcome::RequireApproval, &request.scope);
                // Boxed: the future of a request that needs none stays small.
                let asked = Box::pin(services.ask(&mut agent, &request, RequestKeeper::Agent)).await;
                Err(asked.map_or_else(asked_instead, needed))
            }
        }
    }
}

/// A granted request, for the metrics.
struct Granted {
    outcome: DecisionOutcome,
    capabilities: Vec<CapabilityName>,
    approval: Option<ApprovalId>,
}

impl Granted {
    fn of(grant: &Grant<Mint>, remediates: Option<DecisionId>) -> Self {
        let outcome = match (remediates, grant.constrained()) {
            (Some(_), _) => DecisionOutcome::Remediated,
            (None, []) => DecisionOutcome::Allow,
            (None, _) => DecisionOutcome::Constrain,
        };
        let capabilities = grant.act().capability_names().cloned().collect();
        Self { outcome, capabilities, approval: grant.act().approval() }
    }
}

impl Services {
    /// Checks before the entry that the token is not longer than the broker accepts.
    fn check_length(&self, token: TokenId, grant: &Grant<Mint>) -> Result<(), Failure> {
        if may_be_long(grant.act()) && self.signing.issuer.token_bytes(token, grant) > TOKEN_BYTES_MAX {
            return Err(Failure::new(code::TOKEN_TOO_LARGE));
        }
        Ok(())
    }

    fn measure(&self, granted: &Granted) {
        self.notifications.meters.minted();
        self.measure_decision(granted.outcome, &granted.capabilities);
        if let Some(approval) = granted.approval {
            self.measure_approval(ApprovalOutcome::Used, approval);
        }
    }
}

/// Whether the length of the token has to be counted. Without parameters and with short names, it has at most three quarters of
/// what is accepted.
fn may_be_long(mint: &Mint) -> bool {
    const NAMES_BYTES: usize = TOKEN_BYTES_MAX / 4;
    /// Of the object of a capability, without its name.
    const OBJECT_BYTES: usize = 80;
    let of = |name: &CapabilityName| name.as_str().len().saturating_mul(2).saturating_add(OBJECT_BYTES);
    let names = mint.capability_names().map(of).fold(0, usize::saturating_add);
    mint.has_parameters() || names.saturating_add(mint.audience().as_str().len()) > NAMES_BYTES
}

/// The refusal of a request that needs the approval `asked`, with the decision that opened it: its entry explains both.
fn needed(asked: AskedApproval) -> Failure {
    let AskedApproval { approval, code, state, decision } = asked;
    let why = if state == ApprovalState::Approved {
        format!("the request needs an approval; `{approval}` approves it, and the request does not name it")
    } else {
        format!("the request needs an approval, and `{approval}` (code {code}) is {state}")
    };
    Failure::new(code::APPROVAL_REQUIRED).because(why).of_approval(approval).of_decision(decision)
}

/// The refusal when the approval cannot be asked for. If the policies have changed since, the request can be repeated.
fn asked_instead(failure: Failure) -> Failure {
    if failure.code == code::APPROVAL_NOT_NEEDED {
        Failure::new(code::MODIFIED_CONCURRENTLY)
    } else {
        failure
    }
}

/// The outcome of a repeated request, unless its token is no longer valid: then it is not signed again.
fn still_live(
    reading: &Reading<'_>,
    principal: &AgentPrincipal,
    before: Option<Remembered>,
) -> Result<Option<Remembered>, Failure> {
    let Some(Remembered { seq, outcome: Outcome::Minted(minted), .. }) = &before else { return Ok(before) };
    let world = reading.subject(&Subject::Token(minted.token));
    let agent = world.registry.agent(principal.agent());
    let instance = agent.and_then(|agent| agent.instances.get(principal.instance()));
    let (Some(agent), Some(instance)) = (agent, instance) else { return Err(AuthnError::Unknown.into()) };
    let (token, capabilities) = (minted.token, &*minted.capabilities);
    let minted = Credential::MintedBefore { token, seq: *seq, agent, instance, capabilities };
    match live(minted, records(world)) {
        Ok(()) => Ok(before),
        Err(_) => {
            let why = format!(
                "the first request with this Idempotency-Key got the token {token}, which is revoked or expired by now"
            );
            Err(Failure::new(code::REPLAY_TOKEN_REVOKED).because(why))
        }
    }
}

/// The entry that precedes the token.
fn record(
    named: (TokenId, Option<DecisionId>),
    idempotency: Option<&IdempotencyKey>,
    grant: &Grant<Mint>,
    now: Timestamp,
) -> Result<Change<Effect>, CommitError> {
    let ((token, remediates), basis, mint) = (named, grant.basis(), grant.act());
    let principal = mint.principal();
    let event = TokenMinted {
        agent: principal.name(),
        instance: principal.instance(),
        token,
        capabilities: mint.capability_names().collect(),
        audience: mint.audience(),
        expires_at: now.plus_s(i64::from(mint.life_s())).text(),
        life_s: mint.life_s(),
        certificate: principal.thumbprint().in_hex(),
        decision: basis.decision,
        outcome: grant.outcome(),
        constrained: grant.constrained(),
        snapshot: basis.snapshot.in_hex(),
        rules: &basis.rules,
        request: basis.request.in_hex(),
        approval: mint.approval(),
        remediates,
        facts: RequestFacts {
            left_out: mint
                .left_out()
                .iter()
                .filter(|one| one.is_declared)
                .map(|one| &one.capability)
                .collect(),
            ..basis.facts(principal.roles())
        },
    };
    let minted = || {
        let named = |(name, access): &(CapabilityName, _)| (name.clone(), Access::as_str(*access).to_owned());
        Outcome::Minted(MintedBefore {
            token,
            decision: basis.decision,
            capabilities: mint.capabilities().iter().map(named).collect(),
            audience: mint.audience().clone(),
            life_s: mint.life_s(),
            constrained: grant.constrained().to_vec(),
        })
    };
    let mut change = Change::new(&event)?.requested_on(principal.connection());
    if let Some(approval) = mint.approval() {
        change = change.effect(Effect::Approval(approvals::Effect::Use { approval, token }));
    }
    Ok(remembered_for(mint.life_s(), change, idempotency, minted))
}

/// The entry that precedes a further signature of the same token.
fn record_again(token: TokenId, grant: &Grant<Mint>, minted: u64) -> Result<Change<Effect>, CommitError> {
    let (basis, principal) = (grant.basis(), grant.act().principal());
    let change = Change::new(&TokenRepeated {
        agent: principal.name(),
        instance: principal.instance(),
        token,
        minted,
        decision: basis.decision,
        snapshot: basis.snapshot.in_hex(),
    })?;
    Ok(change.requested_on(principal.connection()))
}
