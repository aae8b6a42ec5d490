use std::collections::BTreeMap;
use std::path::Path;

use clap::{Args, Subcommand};

use super::kept_token::KeptTokens;
use super::parameter_args::ParameterArgs;
use super::token_show::{TokenShowArgs, show, token_id};
use crate::base::{
    ApprovalId, CapabilityName, Clock, DecisionId, GivenParameters, SystemClock, code, length_text,
};
use crate::cli::client::{Client, Received};
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::session::{ReasonArgs, VerbSession, agent_client};
use crate::console::{CommandFailure, OnlyCopy, duration_s};
use crate::wire::{LeftOutAnswer, REVOKE_TOKEN, TokenAnswer, TokenForm, details_with};

/// `keyward token …`
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// A verb for an existing token
    #[command(subcommand)]
    pub command: Option<TokenCommand>,
    /// The capabilities' names
    #[arg(required = true, value_name = "CAPABILITY")]
    pub capabilities: Vec<String>,
    /// Audience of the token
    #[arg(long, value_name = "URI")]
    pub resource: Option<String>,
    /// Life of the token, e.g. 90s or 15m; the capability limits it
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    pub expires_in: Option<u32>,
    /// Use the cached token of an earlier call if it is still valid; otherwise get a token and cache it
    #[arg(long)]
    pub cached: bool,
    /// With `--cached`: least remaining life of the token
    #[arg(long, value_parser = duration_s, default_value = "30s", value_name = "DURATION")]
    pub min_ttl: u32,
    /// Use an approval of this request, e.g. one of `keyward request`; each token is one use
    #[arg(long, value_name = "ID", conflicts_with = "cached")]
    pub approval: Option<ApprovalId>,
    /// Send the smaller request that a refusal named; the ledger records that it remediates this decision
    #[arg(long, value_name = "DECISION", conflicts_with = "cached")]
    pub remediates: Option<DecisionId>,
    /// Parameters
    #[command(flatten)]
    parameters: ParameterArgs,
}

/// `keyward token show` and `keyward token revoke`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Show the capabilities, agent and expiry of a token, and verify it; the token itself is never printed
    Show(TokenShowArgs),
    /// As an operator: revoke a token by its id (`tok_…`; never the token itself)
    Revoke {
        /// The token's id
        id: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// The arguments of `keyward token` for these parameters: an approval is for exactly these.
pub(super) fn token_arguments(scope: &str, resource: Option<&str>, life_s: Option<u32>) -> String {
    let resource = resource.map(|uri| format!(" --resource {uri}")).unwrap_or_default();
    let life = life_s.map(|life_s| format!(" --expires-in {}", length_text(life_s))).unwrap_or_default();
    format!("{scope}{resource}{life}")
}

const TOKEN: OnlyCopy =
    OnlyCopy { what: "the token", fix: "make standard output writable, then ask for a token again" };

impl TokenArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match &self.command {
            Some(TokenCommand::Show(args)) => {
                let given = args.read(session.console)?;
                let token = std::str::from_utf8(given.expose()).unwrap_or_default();
                return show(session, token.trim()).await;
            }
            Some(TokenCommand::Revoke { id, reason }) => {
                let id = token_id(id)?;
                return session.end(REVOKE_TOKEN, &id, reason, "revoked").await;
            }
            None => {}
        }
        let request = TokenRequest {
            scope: self.capabilities.join(" "),
            resource: self.resource.clone(),
            life_s: self.expires_in,
            approval: self.approval,
            remediates: self.remediates,
            parameters: BTreeMap::new(),
        };
        let minted = if self.cached {
            if !self.parameters.is_empty() {
                let why = "a token with parameters is for one request, and is not cached";
                return Err(CommandFailure::usage(why, "leave out `--cached` or `--parameter`"));
            }
            request.kept_or_fresh(session.home, i64::from(self.min_ttl)).await?
        } else {
            let client = session.agent().await?;
            let parameters = self.parameters.read(&client, &self.capabilities, session.console).await?;
            TokenRequest { parameters, ..request }.fresh(&client).await.map_err(|failure| {
                let approval = " --approval";
                let fix =
                    failure.fix().replace(approval, &format!("{}{approval}", self.parameters.arguments()));
                failure.mended_by(fix)
            })?
        };
        if self.cached && minted.expires_in < self.min_ttl {
            return Err(CommandFailure::new(code::LIFETIME_TOO_SHORT));
        }
        let only_copy = session.console.for_only_copy(TOKEN);
        if !only_copy.is_json() {
            minted.constrained.iter().for_each(|why| only_copy.say(&format!("note: {why}")));
            for LeftOutAnswer { capability, code, reason } in &minted.left_out {
                only_copy.say(&format!("note: `{capability}` is left out: {reason} ({code})"));
            }
        }
        only_copy.record(&minted.sent, || minted.access_token.value().expose().clone());
        Ok(())
    }
}

/// The request for a token.
pub(crate) struct TokenRequest {
    pub(super) scope: String,
    pub(super) resource: Option<String>,
    pub(super) life_s: Option<u32>,
    pub(super) approval: Option<ApprovalId>,
    pub(super) remediates: Option<DecisionId>,
    pub(super) parameters: BTreeMap<CapabilityName, GivenParameters>,
}

impl TokenRequest {
    /// A token for these capabilities with the default life.
    pub(crate) const fn for_scope(scope: String, resource: Option<String>) -> Self {
        let parameters = BTreeMap::new();
        Self { scope, resource, life_s: None, approval: None, remediates: None, parameters }
    }

    /// The same with parameters.
    pub(crate) fn with_parameters(self, parameters: BTreeMap<CapabilityName, GivenParameters>) -> Self {
        Self { parameters, ..self }
    }

    /// The same with an approval, if there is one.
    pub(crate) fn approved_by(self, approval: Option<ApprovalId>) -> Self {
        Self { approval, ..self }
    }

    pub(crate) async fn fresh(&self, client: &Client) -> Result<Received<TokenAnswer>, CommandFailure> {
        let form = TokenForm {
            grant_type: "client_credentials".to_owned(),
            scope: self.scope.clone(),
            authorization_details: details_with(&self.parameters),
            resource: self.resource.clone(),
            client_id: None,
            expires_in: self.life_s.map(|seconds| seconds.to_string()),
            approval: self.approval.map(|id| id.to_string()),
            remediates: self.remediates.map(|id| id.to_string()),
            device_code: None,
        };
        client.mint(&form).await.map_err(|failure| {
            let arguments = token_arguments(&self.scope, self.resource.as_deref(), self.life_s);
            let fix = failure.fix().replace("token CAPABILITY", &format!("token {arguments}"));
            let fix = fix.replace("without `approval`", "without `--approval`");
            failure.mended_by(fix)
        })
    }

    /// The cached response with enough life left, or a new one, which is cached.
    pub(super) async fn kept_or_fresh(
        &self,
        home: &Path,
        min_ttl_s: i64,
    ) -> Result<Received<TokenAnswer>, CommandFailure> {
        let kept = KeptTokens::of(home, &Identity::load(home, IdentityKind::Agent)?);
        if let Some(answer) = kept.find(&self.key(), min_ttl_s, SystemClock::new().now()) {
            return Ok(answer);
        }
        self.fresh_and_kept(home).await
    }

    pub(super) async fn fresh_and_kept(&self, home: &Path) -> Result<Received<TokenAnswer>, CommandFailure> {
        let client = agent_client(home).await?;
        let now = SystemClock::new().now();
        let answer = self.fresh(&client).await?;
        // The identity may have been renewed just now.
        KeptTokens::of(home, &Identity::load(home, IdentityKind::Agent)?).keep(&self.key(), &answer, now);
        Ok(answer)
    }

    pub(super) fn forget(&self, home: &Path) -> Result<(), CommandFailure> {
        KeptTokens::of(home, &Identity::load(home, IdentityKind::Agent)?).forget(&self.key());
        Ok(())
    }

    fn key(&self) -> String {
        format!("{}\n{:?}\n{:?}", self.scope, self.resource, self.life_s)
    }
}
