//! Mistakes on the command line: the message names the mistake, and the fix does not lead further away.

use std::fs;
use std::process::{Command, Stdio};

use crate::guides::said;
use crate::handing_secrets::TWO;
use crate::support::process::{KEYWARD, Process};

#[test]
fn identity_of_the_other_kind_is_named() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for (home, verb, named, fix) in [
        ("operator", &["whoami"][..], "holds the operator `admin`", "add `--operator`"),
        ("operator", &["token", "reports.read"], "needs an agent's identity", "--home DIR"),
        ("operator", &["get", "github/app"], "holds the operator `admin`", "--home DIR"),
        ("operator", &["lease", "get", "orders.query"], "an agent's identity", "--home DIR"),
        ("operator", &["doctor"], "holds the operator `admin`", "add `--operator`"),
        ("a", &["renew", "--operator"], "holds the agent `a`", "leave out `--operator`"),
        ("a", &["lease", "list"], "holds the agent `a`", "add `--own`"),
        ("a", &["secret", "list"], "needs an operator's identity", "--home DIR"),
        ("a", &["token", "revoke", "tok_06h2htbrfhs6388gu9e2l31ivk"], "holds the agent `a`", "--home DIR"),
        ("a", &["whoami", "--operator"], "holds the agent `a`", "leave out `--operator`"),
        ("a", &["agent", "list"], "holds the agent `a`", "--home DIR"),
    ] {
        let output = process.run_as(home, verb, b"");
        let told = said(&output);
        // The findings of `doctor` have no code.
        let exit = if verb == ["doctor"] { 1 } else { 4 };
        assert_eq!(output.status.code(), Some(exit), "{verb:?}: {told}");
        assert!(
            told.contains("no_identity") && told.contains(named) && told.contains(fix),
            "{verb:?}: {told}"
        );
        assert_eq!(told.contains("--operator"), fix.contains("--operator"), "{verb:?}: {told}");
        assert!(!told.contains("reissue"), "a new certificate is not needed: {told}");
    }
    let told = said(&process.run_as("nobody", &["agent", "list"], b""));
    assert!(told.contains("--reissue-operator") && !told.contains("holds"), "{told}");
}

#[test]
fn a_token_and_its_id_are_told_apart() {
    let process = Process::init("warn");
    for token in ["eyJhbGciOiJFUzI1NiJ9.CNRY.CNRY", "eyJCNRY"] {
        let output = process.run_as("operator", &["token", "revoke", token], b"");
        let told = said(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains("every user of the machine can read arguments") && !told.contains("CNRY"),
            "{told}"
        );
        assert!(told.contains("token show -`"), "{told}");
    }
    let output = process.run_as("operator", &["token", "revoke", "tok_x"], b"");
    assert!(output.status.code() == Some(2) && said(&output).contains("not an id"), "{}", said(&output));
    let output = process.run_as("operator", &["token", "show", "tok_06h2htbrfhs6388gu9e2l31ivk"], b"");
    let told = said(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("is the id of a token") && !told.contains("secret was given"), "{told}");
}

#[test]
fn a_directory_without_declarations_is_refused() {
    let mut process = Process::init("warn");
    process.serve();
    let dir = process.path("empty");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.toml.bak"), "").unwrap();
    let named = dir.display().to_string();
    for verb in [&["plan"][..], &["plan", "--prune"], &["apply", "--prune", "--yes"]] {
        let output = process.run_as("operator", &[verb, &["-f", &named]].concat(), b"");
        let told = said(&output);
        assert_eq!(output.status.code(), Some(2), "{verb:?}: {told}");
        assert!(told.contains(&format!("`{named}` contains no *.toml files")), "{told}");
    }
    fs::write(dir.join("a.toml"), "").unwrap();
    process.good(&["plan", "-f", &named], b"");
}

#[test]
fn owner_of_nothing_is_noted() {
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["secret", "put", "pay/key", "--owner", "payments"], b"value");
    for (verb, noted) in [
        (
            &["secret", "list", "--owner", "paymnts"][..],
            "no secrets of the owner `paymnts`; owners in use: payments",
        ),
        (&["export", "--owner", "paymnts"], "of the owner `paymnts`; owners in use: payments"),
        (
            &["operator", "invite", "ann", "--role", "auditor", "--owner", "paymnts"],
            "no object or operator so far is of the owner `paymnts`; owners in use: payments",
        ),
    ] {
        let output = process.run_as("operator", verb, b"");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.contains(noted), "{verb:?}: {told}");
    }
    for verb in [
        &["secret", "list", "--owner", "payments", "--prefix", "other/"][..],
        &["operator", "invite", "bob", "--role", "auditor", "--owner", "payments"],
    ] {
        let output = process.run_as("operator", verb, b"");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !told.contains("note:"), "{verb:?}: {told}");
    }
}

#[test]
fn owner_that_is_declared_for_the_first_time_is_noted() {
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["secret", "put", "pay/key", "--owner", "payments"], b"value");
    let file = process.path("owners.toml").display().to_string();
    let noted = |verb: &str, owner: &str| {
        fs::write(&file, format!("[[role]]\nname = \"r\"\nowner = \"{owner}\"\ncapabilities = []\n"))
            .unwrap();
        let output = process.run_as("operator", &[verb, "-f", &file], b"");
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for verb in ["plan", "apply"] {
        let told = noted(verb, "paymnts");
        assert!(
            told.contains("the owner `paymnts` is new") && told.contains("did you mean `payments`?"),
            "{told}"
        );
    }
    // The twins: an owner that an object has
    for owner in ["payments", "paymnts"] {
        assert!(!noted("plan", owner).contains("is new"), "{owner}");
    }
}

#[test]
fn a_capability_of_another_secret_is_named_with_the_right_one() {
    // Given an agent with capabilities that deliver two secrets, and a token
    let mut process = Process::init("warn");
    process.serve();
    for secret in ["one/a", "two/b"] {
        process.good(&["secret", "put", secret], b"CNRY");
    }
    fs::write(process.path("two.toml"), TWO).unwrap();
    process.good(&["apply", "-f", &process.path("two.toml").display().to_string()], b"");
    process.enrol("a", "both");
    for wrong in ["reports.read", "two.read"] {
        // When the agent reads a secret with a capability that does not deliver it
        let got = process.run_as("a", &["get", "one/a", "--capability", wrong], b"");
        // Then both capabilities are named
        let told = said(&got);
        assert_eq!((got.status.code(), got.stdout.len()), (Some(5), 0), "{wrong}: {told}");
        for part in [
            "secret_not_granted",
            &format!("`{wrong}` does not deliver the secret `one/a`"),
            "--capability one.read",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}

#[test]
fn empty_code_list_of_roles_and_interval_zero_are_refused_with_a_hint() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for (who, args, input, parts) in [
        ("new", &["join"][..], "\n", &["there is no enrolment code", "`--code-file FILE`"][..]),
        (
            "operator",
            &["agent", "invite", "b", "--role", "repo-reader,other"],
            "",
            &["`--role repo-reader --role other`"],
        ),
        (
            "a",
            &["run", "--secret", "V=github/app", "--check-every", "0", "--", "true"],
            "",
            &["shortest interval is 1s"],
        ),
    ] {
        let refused = process.run_as(who, args, input.as_bytes());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
}

#[test]
fn a_refused_code_leaves_no_key_behind() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = process.path("code");
    process.good(&["agent", "invite", "b", "--role", "repo-reader", "--out", code.to_str().unwrap()], b"");
    let join = ["join", "--code-file", code.to_str().unwrap()];
    process.good_as("b", &join, b"");
    let refused = process.run_as("thief", &join, b"");
    assert!(said(&refused).contains("enrolment_code_used"), "{}", said(&refused));
    let left = fs::read_dir(process.path("home-thief")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().starts_with("joining-")).count(), 0);
}

#[test]
fn revocation_of_an_agent_says_at_a_terminal_how_many_instances_end() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let home = process.path("home-operator").display().to_string();
    let verb = format!("{KEYWARD} agent revoke a --home {home}");
    let at_terminal = Command::new("script").args(["-qec", &verb, "/dev/null"]).stdin(Stdio::null()).output();
    let told = said(&at_terminal.unwrap());
    assert!(told.contains("live instances of agent `a`: 1;") && told.contains("--instance ID"), "{told}");
    assert!(told.contains("revoked in ledger entry"), "{told}");
    let elsewhere = said(&process.run_as("operator", &["agent", "revoke", "a"], b""));
    assert!(!elsewhere.contains("live instances"), "{elsewhere}");
}

#[test]
fn resumption_of_a_subject_that_is_not_suspended_says_so() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good(&["operator", "invite", "eve", "--role", "auditor"], b"");
    for (noun, name) in [("agent", "a"), ("operator", "eve")] {
        let said = String::from_utf8(process.good(&[noun, "resume", name], b"")).unwrap();
        assert!(said.contains("was not suspended: nothing has changed"), "{said}");
        assert_eq!(process.json(&[noun, "resume", name])["unchanged"], true);
        process.good(&[noun, "suspend", name], b"");
        let resumed = process.json(&[noun, "resume", name]);
        assert!(resumed["unchanged"].is_null() && resumed["seq"].is_u64(), "{resumed}");
    }
    process.good(&["agent", "revoke", "a"], b"");
    let said = String::from_utf8(process.good(&["agent", "resume", "a"], b"")).unwrap();
    assert!(said.contains("has no valid certificate"), "{said}");
}

#[test]
fn verbs_of_agents_name_the_resource_server_whose_identity_they_find() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let file = process.path("server.toml").display().to_string();
    fs::write(&file, "[[resource_server]]\nname = \"reports\"\naudience = \"https://reports.test\"\n")
        .unwrap();
    process.good(&["apply", "-f", &file], b"");
    let code = process.good(&["agent", "invite", "reports"], b"");
    process.good_as("reports", &["join"], &code);
    let home = process.path("home-reports").display().to_string();
    for verb in [
        &["get", "github/app"][..],
        &["token", "github.repo.read"],
        &["token", "--cached", "github.repo.read"],
        &["lease", "get", "orders.query"],
        &["run", "--home", &home, "--secret", "VALUE=github/app", "--", "true"],
    ] {
        let refused = process.said_by("reports", verb).unwrap_err();
        for part in
            ["certificate_wrong_kind", "the resource server `reports`", "`--home DIR`", "/oauth/introspect"]
        {
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }
    process.good_as("reports", &["whoami"], b"");
    process.good_as("reports", &["renew"], b"");
}

#[test]
fn misspelt_agent_and_guessed_verb_lead_to_what_is_meant() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good(&["agent", "invite", "report-bot", "--role", "repo-reader"], b"");
    for verb in ["invite", "show"] {
        let refused = process.said_by("operator", &["agent", verb, "reprot-bot"]).unwrap_err();
        assert!(refused.contains("did you mean `report-bot`?"), "{refused}");
    }
    for (verb, near) in [
        (&["secret", "show", "github/ap"][..], "github/app"),
        (&["capability", "show", "reports.raed"], "reports.read"),
        (&["role", "show", "repo-raeder"], "repo-reader"),
        (&["operator", "show", "amdin"], "admin"),
        (&["incident", "show", "reprot-bot"], "report-bot"),
        (&["contain", "secret/github/ap", "--reason", "x"], "github/app"),
        (&["contain", "role/repo-raeder", "--reason", "x"], "repo-reader"),
        (&["agent", "invite", "new-bot", "--role", "repo-raeder"], "repo-reader"),
        (&["lease", "retry", "--agent", "reprot-bot"], "report-bot"),
    ] {
        let refused = process.said_by("operator", verb).unwrap_err();
        assert!(refused.contains(&format!("did you mean `{near}`?")), "{refused}");
        assert_eq!(refused.matches("did you mean").count(), 1, "{refused}");
    }
    let refused = process.said_by("a", &["token", "github.repo.raed"]).unwrap_err();
    assert!(refused.contains("did you mean `github.repo.read`?"), "{refused}");
    let refused = process.said_by("a", &["token", "reports.raed"]).unwrap_err();
    assert!(!refused.contains("did you mean"), "the agent does not hold it: {refused}");
    let declared = process.path("near.toml");
    let text = "[[role]]\nname = \"near\"\ncapabilities = [\"reports.raed\"]\n\
                [[agent]]\nname = \"new-bot\"\nroles = [\"neer\"]\n";
    std::fs::write(&declared, text).unwrap();
    let refused = process.said_by("operator", &["plan", "-f", &declared.display().to_string()]).unwrap_err();
    for near in ["did you mean `reports.read`?", "did you mean `near`?"] {
        assert!(refused.contains(near), "{refused}");
    }
    let refused = process.said_by("operator", &["agent", "invite", "elsewhere"]).unwrap_err();
    assert!(refused.contains("agent_unknown") && !refused.contains("did you mean"), "{refused}");
    for (word, verb) in [("list", "audit list"), ("inspect", "token show")] {
        for who in ["a", "operator"] {
            let refused = process.said_by(who, &["token", word]).unwrap_err();
            assert!(refused.contains("was taken for the name of a capability"), "{refused}");
            // The suggested command has the directory of this one.
            let home = process.path(&format!("home-{who}"));
            let suggested = format!("use `keyward --home {} {verb}`", home.display());
            assert!(refused.contains(&suggested), "{who}: {refused}");
        }
    }
    let refused = process.said_by("a", &["token", "not.granted"]).unwrap_err();
    assert!(!refused.contains("was taken for"), "{refused}");
}

#[test]
fn resumption_after_a_revocation_says_what_stays_revoked() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    // Given an agent with a certificate that is suspended
    process.good(&["agent", "suspend", "a"], b"");
    let said = String::from_utf8(process.good(&["agent", "resume", "a"], b"")).unwrap();
    assert!(
        said.contains("has ended") && said.contains("it has 1 live instance; what was revoked"),
        "{said}"
    );
    // When it is also revoked
    process.good(&["agent", "suspend", "a"], b"");
    process.good(&["agent", "revoke", "a"], b"");
    // Then a resumption ends the suspension alone, and names the way to a new certificate
    let said = String::from_utf8(process.good(&["agent", "resume", "a"], b"")).unwrap();
    assert!(said.contains("no valid certificate") && said.contains("`keyward agent invite a`"), "{said}");
    assert_eq!(process.run_as("a", &["whoami"], b"").status.code(), Some(4));
}

#[test]
fn change_of_a_role_shows_the_former_role_and_scope() {
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["operator", "invite", "eve", "--role", "auditor"], b"");
    let placed = |args: &[&str]| {
        let said = process.good(&[&["operator", "role", "eve"][..], args].concat(), b"");
        String::from_utf8(said).unwrap()
    };
    let said = placed(&["security", "--owner", "red"]);
    assert!(said.contains("role security (before: auditor) and the scope owner red (before: all)"), "{said}");
    let said = placed(&["admin"]);
    assert!(said.contains("role admin (before: security) and the scope owner red (unchanged)"), "{said}");
    let said = placed(&["admin", "--no-owner"]);
    assert!(said.contains("role admin (unchanged) and the scope all (before: owner red)"), "{said}");
}

#[test]
fn stages_of_an_authority_differ_in_the_rows_of_the_ledger() {
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["authority", "prepare"], b"");
    process.good(&["authority", "activate", "2", "--force"], b"");
    process.good(&["authority", "taint", "1"], b"");
    let rows = String::from_utf8(process.good(&["audit", "list", "--limit", "20"], b"")).unwrap();
    for row in ["generation 2 prepared", "generation 2 active", "generation 1 tainted"] {
        assert!(rows.contains(row), "{row}: {rows}");
    }
}

#[test]
fn option_of_another_verb_kind_or_network_is_named() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for (verb, exit, parts) in [
        (
            &["agent", "invite", "a", "--network", "10.3.0.7/24"][..],
            2,
            &["`10.3.0.7/24` is the address of a host", "name the network `10.3.0.0/24`"][..],
        ),
        (&["operator", "invite", "p", "--service", "--network", "10.3.0.7/24"], 2, &["`10.3.0.0/24`"]),
        (&["operator", "invite", "p", "--role", "metrics"], 2, &["the kind service: `--service`"]),
        (&["operator", "invite", "p", "--role", "deployer"], 2, &["the kind automation: `--automation`"]),
        (&["operator", "update", "admin", "--role", "auditor"], 2, &[" operator role admin ROLE`"]),
        (&["init", "--reissue-operator", "bob"], 2, &["name the operator with `--operator NAME`"]),
        (&["slot", "add", "--shares", "3", "--threshold", "5"], 2, &["at most the number of its shares"]),
        (&["slot", "add", "--passphrase"], 2, &["standard input is empty, and without a terminal"]),
        // Other objects than agents have owners
        (&["agent", "list", "--owner", "paymnts"], 0, &["owners in use: payments"]),
    ] {
        let config = ["--config".to_owned(), process.config()];
        let with_config = matches!(verb[0], "slot" | "init");
        let config = config.iter().filter(|_| with_config).map(String::as_str);
        if verb[0] == "agent" {
            process.good(&["secret", "put", "pay/key", "--owner", "payments"], b"value");
        }
        // When a person makes the mistake, then the message names the option or the verb
        let args: Vec<&str> = verb.iter().copied().chain(config).collect();
        let output = process.run_as("operator", &args, b"");
        let told = said(&output);
        assert_eq!(output.status.code(), Some(exit), "{verb:?}: {told}");
        parts.iter().for_each(|part| assert!(told.contains(part), "{verb:?}: {part}: {told}"));
        assert!(!told.contains("bob"), "an argument in the wrong place may be a secret: {told}");
    }
}

#[test]
fn init_that_is_refused_makes_no_data_directory() {
    // Given a configuration that `config check` refuses, or that names no unseal key
    let process = Process::init("warn");
    for made in ["data", "home-operator"] {
        fs::remove_dir_all(process.path(made)).unwrap();
    }
    let text = fs::read_to_string(process.config()).unwrap();
    let elsewhere = text.replace("\"localhost\"]", "\"localhost\"]\naddress = \"broker.example:8443\"");
    let key = format!("file = \"{}\"", process.path("root.key").display());
    for (config, part) in [
        (elsewhere, "add `broker.example` to `[server] names`"),
        (text.replace(&key, "attended = true"), "add `--passphrase`"),
    ] {
        fs::write(process.config(), &config).unwrap();
        // When the broker is initialised
        let output = process.run_as("operator", &["init", "--config", &process.config()], b"");
        // Then the command says why not, and makes nothing
        let told = said(&output);
        assert!(output.status.code() == Some(2) && told.contains(part), "{part}: {told}");
        assert!(!process.path("data").exists(), "{part}");
    }
    fs::write(process.config(), &text).unwrap();
    process.good(&["init", "--config", &process.config()], b"");
}
