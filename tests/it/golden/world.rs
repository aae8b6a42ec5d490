//! A broker with one object of each kind, a database and a service with keys: what the golden outputs are printed about.

use std::fs;

use crate::leases::{BY_ADMIN, declared as declared_lease};
use crate::rotation::LOOPBACK;
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;
use crate::support::webhook::{ADMIN_TOKEN, Webhook};

pub(super) struct World {
    pub(super) process: Process,
    pub(super) postgres: Postgres,
    pub(super) service: Webhook,
}

impl World {
    /// A running broker; the agents `a`, `orders-bot` and the resource server `reports` are enrolled.
    pub(super) fn start() -> Self {
        let (postgres, service) = (Postgres::start(), Webhook::start("the-first-key"));
        let mut process = Process::init("warn");
        process.configure(LOOPBACK);
        process.serve();
        process.set_up(b"value");
        let put = |name: &str, value: &str| process.good(&["secret", "put", name], value.as_bytes());
        put("orders-db/admin", ADMIN_PASSWORD);
        put("billing/admin", ADMIN_TOKEN);
        put("billing/key", "the-first-key");
        let world = Self { process, postgres, service };
        world.apply(&declared_lease(&world.postgres, 5, BY_ADMIN));
        world.apply(&world.rotation());
        world.apply(DECLARED);
        world.process.enrol("orders-bot", "orders");
        world.process.enrol("pay-bot", "payer");
        let code = world.process.good(&["agent", "invite", "reports"], b"");
        world.process.good_as("reports", &["join"], &code);
        world
    }

    /// The declaration of the rotation of `billing/key`.
    pub(super) fn rotation(&self) -> String {
        let upstream = self.service.creating();
        format!(
            "[[rotation]]\nsecret = \"billing/key\"\nevery = \"30d\"\ngrace = \"1h\"\n[rotation.upstream]\n{upstream}"
        )
    }

    /// Writes declarations to a file of the operator.
    pub(super) fn write(&self, text: &str) -> String {
        let path = self.process.path("world.toml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(super) fn apply(&self, text: &str) {
        self.process.good(&["apply", "-f", &self.write(text)], b"");
    }

    /// Declares that writes of `pay-bot` need an approval, and the approver `alice`, who is a person like `admin`.
    pub(super) fn declare_approvals(&self) {
        self.apply(ASK_FIRST);
        let process = &self.process;
        process.good(&["operator", "update", "admin", "--person", "admin@corp.example"], b"");
        let invite = ["operator", "invite", "alice", "--role", "approver", "--person", "alice@corp.example"];
        process.good_as("alice", &["join"], &process.good(&invite, b""));
    }

    /// A field of what a verb prints as JSON.
    pub(super) fn field(&self, args: &[&str], pointer: &str) -> String {
        let output = self.process.json(args);
        let found = output.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {output}"));
        found.as_str().map_or_else(|| found.to_string(), str::to_owned)
    }
}

const ASK_FIRST: &str = r#"
[[policy]]
name = "ask-first"
owner = "payments"
rule = '''
@decision("require_approval")
forbid (principal, action == Keyward::Action::"token", resource) when { resource.access == "write" };
'''
"#;

const DECLARED: &str = r#"
[[capability]]
name = "payments.write"
access = "write"
delivery = "mint"
audience = "https://payments.corp.example/api/v2"
max_life_s = 120
owner = "payments"

[[role]]
name = "payer"
capabilities = ["payments.write"]
owner = "payments"

[[agent]]
name = "pay-bot"
roles = ["payer"]
owner = "payments"
max_instances = 3
person = "dev@corp.example"

[[resource_server]]
name = "reports"
audience = "https://reports.example.com"
"#;
