//! Two examples in the help of every verb. A test parses each of them.

mod approvals;
mod declarations;
mod secrets;

use clap::Command;

use self::approvals::OF_APPROVALS;
use self::declarations::OF_DECLARATIONS;
use self::secrets::OF_SECRETS;

/// Verbs with their examples.
fn examples() -> impl Iterator<Item = &'static (&'static str, [&'static str; 2])> {
    EXAMPLES.iter().chain(OF_APPROVALS).chain(OF_DECLARATIONS).chain(OF_SECRETS)
}

const EXAMPLES: &[(&str, [&str; 2])] = &[
    ("init", ["keyward init", "keyward init --config /srv/keyward.toml --operator alice"]),
    ("serve", ["keyward serve", "keyward serve --config /srv/keyward.toml --read-only"]),
    ("adopt", ["keyward adopt", "keyward adopt --config /srv/keyward.toml"]),
    ("doctor", ["keyward doctor --operator", "keyward doctor --config /etc/keyward/keyward.toml"]),
    (
        "verify",
        [
            "keyward verify --config /etc/keyward/keyward.toml",
            "keyward verify --data-dir ./copy --checkpoint checkpoint.txt --key keyward.test+1234abcd+AbCd",
        ],
    ),
    (
        "evidence",
        [
            "keyward evidence agent/research-bot --since 6h --out evidence.zip",
            "keyward evidence inc_06h2htbrfhs6388gu9e2l31ivk --out incident.zip",
        ],
    ),
    (
        "ledger prepare",
        [
            "keyward ledger prepare --owner keyward_owner --password-file owner.password",
            "keyward ledger prepare --owner keyward_owner --password-file owner.password --config /srv/keyward.toml",
        ],
    ),
    (
        "ledger move",
        ["keyward ledger move --to postgresql", "keyward ledger move --to files --config /srv/keyward.toml"],
    ),
    ("slot list", ["keyward slot list", "keyward slot list --config /srv/keyward.toml -o json"]),
    ("slot add", ["keyward slot add --passphrase", "keyward slot add --shares 5 --threshold 3"]),
    ("slot confirm", ["keyward slot confirm", "keyward slot confirm --config /srv/keyward.toml"]),
    ("slot check", ["keyward slot check", "keyward slot check --by-passphrase"]),
    (
        "slot rekey",
        [
            "keyward slot rekey slot_06h2htbrfhs6388gu9e2l31ivk --passphrase",
            "keyward slot rekey slot_06h2htbrfhs6388gu9e2l31ivk --key-file new.key",
        ],
    ),
    (
        "slot remove",
        [
            "keyward slot remove slot_06h2htbrfhs6388gu9e2l31ivk",
            "keyward slot remove slot_06h2htbrfhs6388gu9e2l31ivk --config /srv/keyward.toml",
        ],
    ),
    ("config check", ["keyward config check", "keyward config check --config keyward.toml"]),
    ("seal", ["keyward seal", "keyward seal --config /srv/keyward.toml -o json"]),
    ("unseal", ["keyward unseal", "keyward unseal --config /srv/keyward.toml"]),
    (
        "break-glass revoke",
        [
            "keyward break-glass revoke agent research-bot",
            "keyward break-glass revoke operator alice --config /srv/keyward.toml",
        ],
    ),
    (
        "break-glass suspend",
        [
            "keyward break-glass suspend agent research-bot",
            "keyward break-glass suspend operator alice --config /srv/keyward.toml",
        ],
    ),
    (
        "break-glass contain",
        [
            "keyward break-glass contain agent/research-bot --reason \"token leaked\"",
            "keyward break-glass contain everything --reason \"incident 4\" --config /srv/keyward.toml",
        ],
    ),
    (
        "break-glass freeze",
        [
            "keyward break-glass freeze --reason \"incident 4\"",
            "keyward break-glass freeze --reason \"incident 4\" --config /srv/keyward.toml",
        ],
    ),
    (
        "break-glass operator",
        [
            "keyward break-glass operator --out break-glass",
            "keyward break-glass operator --out break-glass --config /srv/keyward.toml",
        ],
    ),
    ("clock accept", ["keyward clock accept", "keyward clock accept -o json"]),
    ("version", ["keyward version", "keyward version -o json"]),
    ("demo", ["keyward demo", "TMPDIR=/dev/shm keyward demo"]),
    ("dev", ["keyward dev", "keyward dev --seed declarations.toml"]),
    ("join", ["keyward join", "keyward join --code-file code.txt --seal"]),
    ("renew", ["keyward renew --operator", "keyward renew --watch"]),
    ("token", ["keyward token github.repo.read", "keyward token reports.read --expires-in 2m -o json"]),
    (
        "token show",
        [
            "keyward token github.repo.read | keyward token show -",
            "keyward token show --file token.txt -o json",
        ],
    ),
    (
        "token revoke",
        [
            "keyward token revoke tok_06h2htbrfhs6388gu9e2l31ivk",
            "keyward token revoke tok_06h2htbrfhs6388gu9e2l31ivk --reason \"leaked in a log\"",
        ],
    ),
    ("get", ["keyward get github/app", "keyward get aws/bot --format aws"]),
    (
        "run",
        [
            "keyward run --capability payments.refund --parameter amount=100 --parameter account=@account.txt -- ./refund",
            "keyward run --secret DB_PASSWORD=orders-db/app --template app.conf.tmpl:app.conf -- ./app",
        ],
    ),
    ("whoami", ["keyward whoami", "keyward whoami --operator -o json"]),
    ("status", ["keyward status", "keyward status --home /etc/keyward-client -o json"]),
    (
        "agent invite",
        [
            "keyward agent invite research-bot --role repo-reader",
            "keyward agent invite fleet --uses 12 --expires-in 1h --network 10.1.0.0/16",
        ],
    ),
    ("agent list", ["keyward agent list --limit 20", "keyward agent list --owner payments -o json"]),
    ("agent show", ["keyward agent show research-bot", "keyward agent show research-bot -o json"]),
    (
        "agent revoke",
        [
            "keyward agent revoke research-bot --reason \"key leaked\"",
            "keyward agent revoke --instance inst_06h2htbrfhs6388gu9e2l31ivk",
        ],
    ),
    (
        "agent suspend",
        ["keyward agent suspend research-bot", "keyward agent suspend research-bot --reason \"ticket 17\""],
    ),
    (
        "agent delete",
        [
            "keyward agent delete research-bot",
            "keyward agent delete research-bot --yes --reason \"ticket 17\"",
        ],
    ),
    (
        "agent resume",
        ["keyward agent resume research-bot", "keyward agent resume research-bot --reason \"ticket 17\""],
    ),
    (
        "cert revoke",
        [
            "keyward cert revoke 5f0c9a417be2d8364c1f7ae09b25d683",
            "keyward cert revoke 5f0c9a417be2d8364c1f7ae09b25d683 --reason \"host stolen\"",
        ],
    ),
    (
        "code revoke",
        [
            "keyward code revoke code_06h2htbrfhs6388gu9e2l31ivk --reason \"posted in a chat\"",
            "keyward code revoke -",
        ],
    ),
    ("authority list", ["keyward authority list", "keyward authority list -o json"]),
    ("authority prepare", ["keyward authority prepare", "keyward authority prepare -o json"]),
    ("authority activate", ["keyward authority activate 2", "keyward authority activate 2 -o json"]),
    ("authority taint", ["keyward authority taint 1", "keyward authority taint 1 -o json"]),
    ("authority revoke", ["keyward authority revoke 1", "keyward authority revoke 1 --force --yes -o json"]),
    ("token-key list", ["keyward token-key list", "keyward token-key list -o json"]),
    ("token-key prepare", ["keyward token-key prepare", "keyward token-key prepare -o json"]),
    ("token-key activate", ["keyward token-key activate 2", "keyward token-key activate 2 -o json"]),
    ("token-key revoke", ["keyward token-key revoke 1", "keyward token-key revoke 1 -o json"]),
    ("checkpoint-key rotate", ["keyward checkpoint-key rotate", "keyward checkpoint-key rotate -o json"]),
    (
        "operator invite",
        [
            "keyward operator invite alice --role auditor",
            "keyward operator invite prometheus --service --network 10.0.0.0/8 --life 90d",
        ],
    ),
    ("operator list", ["keyward operator list --limit 20", "keyward operator list --owner payments -o json"]),
    ("operator show", ["keyward operator show alice", "keyward operator show alice -o json"]),
    (
        "operator role",
        ["keyward operator role alice security", "keyward operator role bob admin --owner payments"],
    ),
    (
        "operator update",
        [
            "keyward operator update alice --person alice@corp.example",
            "keyward operator update prometheus --network 10.1.0.0/16 --life 30d",
        ],
    ),
    (
        "operator revoke",
        ["keyward operator revoke alice", "keyward operator revoke alice --reason \"left the company\""],
    ),
    (
        "operator suspend",
        ["keyward operator suspend alice", "keyward operator suspend alice --reason \"laptop lost\""],
    ),
    (
        "operator seal-key",
        ["keyward operator seal-key", "keyward operator seal-key --passphrase-file passphrase.txt"],
    ),
    ("operator key-agent", ["keyward operator key-agent --for 8h", "keyward operator key-agent --stop"]),
    (
        "operator delete",
        [
            "keyward operator delete alice",
            "keyward operator delete alice --yes --reason \"left the company\"",
        ],
    ),
    (
        "operator resume",
        ["keyward operator resume alice", "keyward operator resume alice --reason \"laptop found\""],
    ),
    (
        "capability list",
        ["keyward capability list --prefix github.", "keyward capability list --owner payments -o json"],
    ),
    (
        "capability show",
        ["keyward capability show github.repo.read", "keyward capability show github.repo.read -o json"],
    ),
    ("role list", ["keyward role list --limit 20", "keyward role list --owner payments -o json"]),
    ("role show", ["keyward role show repo-reader", "keyward role show repo-reader -o json"]),
    ("value-key rotate", ["keyward value-key rotate", "keyward value-key rotate -o json"]),
    (
        "rotation list",
        ["keyward rotation list --limit 20", "keyward rotation list --prefix orders-db/ -o json"],
    ),
    ("rotation show", ["keyward rotation show orders-db/app", "keyward rotation show orders-db/app -o json"]),
    (
        "rotation pause",
        [
            "keyward rotation pause orders-db/app --reason \"the database is moved\"",
            "keyward rotation pause orders-db/app -o json",
        ],
    ),
    (
        "rotation resume",
        ["keyward rotation resume orders-db/app", "keyward rotation resume orders-db/app -o json"],
    ),
    (
        "rotation retry",
        ["keyward rotation retry orders-db/app", "keyward rotation retry orders-db/app --no-wait"],
    ),
    (
        "rotation check",
        ["keyward rotation check orders-db/app", "keyward rotation check orders-db/app -o json"],
    ),
    ("rotation adopt", ["keyward rotation adopt orders-db/app", "keyward rotation adopt orders-db/app 4"]),
    (
        "rotation revoke-previous",
        [
            "keyward rotation revoke-previous orders-db/app",
            "keyward rotation revoke-previous orders-db/app -o json",
        ],
    ),
    (
        "rotation clear-orphans",
        ["keyward rotation clear-orphans billing/key", "keyward rotation clear-orphans billing/key -o json"],
    ),
    (
        "rotation calendar",
        ["keyward rotation calendar --next 90d", "keyward rotation calendar --ical > rotations.ics"],
    ),
    (
        "lease get",
        ["keyward lease get orders.query --life 15m", "keyward lease get orders.query --format url"],
    ),
    (
        "lease run",
        ["keyward lease run orders.query -- psql", "keyward lease run orders.query --life 12h -- ./worker"],
    ),
    (
        "lease renew",
        [
            "keyward lease renew lease_06h2htbrfhs6388gu9e2l31ivk",
            "keyward lease renew lease_06h2htbrfhs6388gu9e2l31ivk --life 2h",
        ],
    ),
    (
        "lease extend",
        [
            "keyward lease extend lease_06h2htbrfhs6388gu9e2l31ivk",
            "keyward lease extend lease_06h2htbrfhs6388gu9e2l31ivk --life 2h",
        ],
    ),
    (
        "lease give-up",
        [
            "keyward lease give-up lease_06h2htbrfhs6388gu9e2l31ivk",
            "keyward lease give-up lease_06h2htbrfhs6388gu9e2l31ivk -o json",
        ],
    ),
    ("lease list", ["keyward lease list --agent orders-bot", "keyward lease list --own -o json"]),
    ("lease retry", ["keyward lease retry --all", "keyward lease retry --capability orders.query"]),
    (
        "lease forget",
        [
            "keyward lease forget lease_06h2htbrfhs6388gu9e2l31ivk --reason \"server deleted\"",
            "keyward lease forget lease_06h2htbrfhs6388gu9e2l31ivk --reason \"server deleted\" -o json",
        ],
    ),
    (
        "lease revoke",
        ["keyward lease revoke --agent orders-bot", "keyward lease revoke --all --reason \"incident 4\""],
    ),
    (
        "contain",
        [
            "keyward contain agent/orders-bot --reason \"token in a public log\" --rotate-touched --revoke-previous",
            "keyward contain network/203.0.113.0/24 --dry-run",
        ],
    ),
    (
        "lift",
        [
            "keyward lift inc_06h2htbrfhs6388gu9e2l31ivk --reason \"false alarm\"",
            "keyward lift inc_06h2htbrfhs6388gu9e2l31ivk --reason \"machine rebuilt\" -o json",
        ],
    ),
    ("freeze", ["keyward freeze --reason \"incident 4\"", "keyward freeze --reason \"incident 4\" -o json"]),
    ("thaw", ["keyward thaw --reason \"incident 4 is over\"", "keyward thaw --reason \"a drill\" -o json"]),
    (
        "incident close",
        [
            "keyward incident close inc_06h2htbrfhs6388gu9e2l31ivk --cause \"key in a build log\" --follow-up \"scan build logs\"",
            "keyward incident close inc_06h2htbrfhs6388gu9e2l31ivk --cause \"a drill\" --recovered 2h",
        ],
    ),
    (
        "incident note",
        [
            "keyward incident note inc_06h2htbrfhs6388gu9e2l31ivk \"the key was in a build log\"",
            "keyward incident note inc_06h2htbrfhs6388gu9e2l31ivk \"owner informed\" -o json",
        ],
    ),
    (
        "incident open",
        [
            "keyward incident open secret/github/app --reason \"value in a public repository\" --first-sign 2h",
            "keyward incident open everything --reason \"host compromised\" --person ann@corp.example",
        ],
    ),
    (
        "incident update",
        [
            "keyward incident update inc_06h2htbrfhs6388gu9e2l31ivk --first-sign 2026-11-28T03:00:00Z --detected 1h",
            "keyward incident update inc_06h2htbrfhs6388gu9e2l31ivk --subject agent/orders-bot --person ann@corp.example",
        ],
    ),
    ("incident list", ["keyward incident list --open", "keyward incident list --limit 20 -o json"]),
    ("incident value", ["keyward incident value -", "keyward incident value - -o json"]),
    (
        "incident show",
        [
            "keyward incident show inc_06h2htbrfhs6388gu9e2l31ivk",
            "keyward incident show agent/research-bot --since 6h",
        ],
    ),
    (
        "audit list",
        [
            "keyward audit list --agent research-bot --since 6h",
            "keyward audit list --outcome denied --limit 1000 -o csv > denied.csv",
        ],
    ),
    ("audit show", ["keyward audit show 1042", "keyward audit show 1042 -o json"]),
    (
        "audit tail",
        ["keyward audit tail --follow", "keyward audit tail --follow --kind request.denied -o jsonl"],
    ),
    ("audit kinds", ["keyward audit kinds", "keyward audit kinds -o json"]),
    ("help", ["keyward help agent invite", "keyward help error rate_limited"]),
    (
        "completions",
        [
            "keyward completions bash > ~/.local/share/bash-completion/completions/keyward",
            "keyward completions fish > ~/.config/fish/completions/keyward.fish",
        ],
    ),
    ("man", ["keyward man --out ./man", "keyward man --out /usr/local/share/man/man1"]),
];

/// `command` with its examples, and those of the verbs below it.
pub(super) fn with_examples(command: Command) -> Command {
    at(command, "")
}

fn at(mut command: Command, path: &str) -> Command {
    for below in command.get_subcommands_mut() {
        let path = format!("{path} {}", below.get_name());
        *below = at(std::mem::take(below), path.trim_start());
    }
    match examples().find(|(verb, _)| *verb == path) {
        Some((_, [first, second])) => command.after_long_help(format!("Examples:\n  {first}\n  {second}")),
        None => command,
    }
}

#[cfg(test)]
mod tests;
