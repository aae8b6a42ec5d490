use std::path::Path;

use super::found::FAULTS_MAX;
use super::*;
use crate::base::limits::{
    CERTIFICATE_LIFE_MAX_S, DATABASE_HOSTS_MAX, FORMER_VERSIONS, FORMER_VERSIONS_MAX, FORMER_VERSIONS_MIN,
    OPERATOR_LIFE_MAX_S, OPERATOR_LIFE_MIN_S, RENEWAL_GRACE_MAX_S, SERVICE_LIFE_MAX_S, TOKEN_LIFE_MAX_S,
    TOKEN_LIFE_MIN_S,
};

const LEAST: &str = "trust_domain = \"keyward.test\"\n[root_key]\nfile = \"/k\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("keyward.toml"))
}

/// Every fault names its line and column, and no fault repeats the value.
fn refuse(text: &str, line: usize, column: usize, says: &str) {
    let error = parse(text).unwrap_err();
    let ConfigError::Invalid { line: at, column: in_line, ref message, .. } = error else { panic!() };
    assert_eq!((at, in_line), (line, column), "{error}");
    assert!(message.contains(says), "{error}");
    assert!(!error.to_string().contains("CNRY"), "{error}");
}

#[test]
fn the_least_configuration_has_every_default() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.listen.agents.port(), 8443);
    assert_eq!(config.server.address, "localhost:8443");
    assert_eq!(config.tokens.issuer.as_str(), "https://localhost:8443");
}

#[test]
fn every_range_takes_both_its_ends() {
    for (section, key, least, most) in [
        ("certificates", "agent_life_s", 300, 604_800),
        ("certificates", "operator_life_s", 300, 86_400),
        ("certificates", "service_life_s", 300, 7_776_000),
        ("certificates", "authority_life_s", 2_592_000, 283_824_000),
        ("tokens", "life_s", 10, 3600),
        ("connections", "max", 1, 65_536),
        ("quota", "mints_per_s", 1, 1_000_000),
        ("quota", "mints_burst", 1, 1_000_000),
        ("quota", "enrolments_per_s", 1, 1_000_000),
        ("quota", "enrolments_burst", 1, 1_000_000),
        ("quota", "operations_per_s", 1, 1_000_000),
        ("quota", "operations_burst", 1, 1_000_000),
    ] {
        for (number, fits) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
            let text = format!("{LEAST}[{section}]\n{key} = {number}\n");
            assert_eq!(parse(&text).is_ok(), fits, "{section}.{key} = {number}");
        }
    }
}

const DATABASE: &str = "[ledger]\nengine = \"postgresql\"\nhosts = [\"db1\", \"10.0.0.7:6432\", \"[fd00::7]:6432\"]\n\
     database = \"keyward\"\nrole = \"keyward_broker\"\npassword_file = \"/p\"\nca_file = \"/c\"\n";

#[test]
fn a_database_has_every_setting_and_files_have_none() {
    let config = parse(&format!("{LEAST}{DATABASE}")).unwrap();
    let LedgerEngine::Postgresql(database) = config.ledger.engine else { panic!() };
    let hosts: Vec<_> = database.hosts.iter().map(|one| (one.host.as_str(), one.port)).collect();
    assert_eq!(hosts, [("db1", 5432), ("10.0.0.7", 6432), ("fd00::7", 6432)]);
    assert_eq!(database.replication, Replication::Required);
    assert_eq!(parse(LEAST).unwrap().ledger.engine, LedgerEngine::Files);
    for setting in ["hosts", "database", "role", "password_file", "ca_file"] {
        let without: String = DATABASE
            .lines()
            .filter(|line| !line.starts_with(setting))
            .map(|line| format!("{line}\n"))
            .collect();
        refuse(&format!("{LEAST}{without}"), 5, 10, &format!("`postgresql` needs `{setting}`"));
        let line = DATABASE.lines().find(|line| line.starts_with(setting)).unwrap();
        let text = format!("{LEAST}[ledger]\n{line}\n");
        refuse(&text, 5, setting.len() + 4, "is only for `engine = \"postgresql\"`");
    }
    let with = |from: &str, to: &str| format!("{LEAST}{}", DATABASE.replace(from, to));
    refuse(&with("\"postgresql\"", "\"CNRY\""), 5, 10, "must be `files` or `postgresql`");
    refuse(&with("\"db1\"", "\"/run/CNRY\""), 6, 10, "must be a lower-case DNS name");
    refuse(&with("role = \"keyward_broker\"", "role = \"CNRY'\""), 8, 8, "must have 1 to 63 letters");
    refuse(&with("\"/p\"", "\"CNRY\""), 9, 17, "must be an absolute path");
    refuse(&(with("", "") + "replication = \"CNRY\"\n"), 11, 15, "must be `required` or `optional`");
}

#[test]
fn a_database_has_a_limited_number_of_servers() {
    let with = |count: usize| {
        let hosts: Vec<String> = (0..count).map(|n| format!("\"db{n}\"")).collect();
        let given = "[\"db1\", \"10.0.0.7:6432\", \"[fd00::7]:6432\"]";
        parse(&format!("{LEAST}{}", DATABASE.replace(given, &format!("[{}]", hosts.join(", ")))))
    };
    assert!(with(0).is_err() && with(DATABASE_HOSTS_MAX).is_ok() && with(DATABASE_HOSTS_MAX + 1).is_err());
}

#[test]
fn max_per_peer_is_at_most_max() {
    let with = |max: u32, per_peer: u32| {
        parse(&format!("{LEAST}[connections]\nmax = {max}\nmax_per_peer = {per_peer}\n"))
    };
    assert_eq!(with(8, 8).unwrap().connections, Connections { max: 8, max_per_peer: 8 });
    refuse(&format!("{LEAST}[connections]\nmax = 8\nmax_per_peer = 9\n"), 6, 16, "more than `max`");
    let few = parse(&format!("{LEAST}[connections]\nmax = 8\n")).unwrap();
    assert_eq!(few.connections.max_per_peer, 8, "the default is no more than `max` either");
}

#[test]
fn listeners_at_one_address_have_different_ports() {
    let with = |agents: &str, admins: &str| {
        format!("{LEAST}[listen]\nagents = \"{agents}\"\nadmins = \"{admins}\"\n")
    };
    for (agents, admins) in [
        ("127.0.0.1:8443", "127.0.0.1:8443"),
        ("0.0.0.0:8443", "127.0.0.1:8443"),
        ("10.0.0.1:8443", "[::]:8443"),
    ] {
        refuse(&with(agents, admins), 6, 10, "`listen.admins`: agents and admins have the same port");
    }
    refuse(&format!("{LEAST}[listen]\nagents = \"127.0.0.1:8444\"\n"), 5, 10, "the same port");
    // Two addresses of one host can have the same port, if clients are told different addresses.
    let two = with("10.0.0.1:8443", "127.0.0.1:8443");
    refuse(&two, 6, 10, "the same address");
    let told = |admins: &str| {
        format!("{two}[server]\naddress = \"a.example:8443\"\nadmin_address = \"{admins}:8443\"\n")
    };
    refuse(&told("a.example"), 9, 17, "`server.admin_address`: agents and operators get the same address");
    assert!(parse(&told("b.example")).is_ok());
    assert!(parse(&with("127.0.0.1:0", "127.0.0.1:0")).is_err(), "one address for both in enrolment codes");
    assert!(parse(&with("127.0.0.1:8443", "127.0.0.1:8444")).is_ok());
}

#[test]
fn networks_of_upstreams_are_canonical() {
    let with = |networks: &str| parse(&format!("{LEAST}[upstream]\nallow_networks = {networks}\n"));
    assert!(parse(LEAST).unwrap().upstream.allow_networks.is_empty());
    assert_eq!(with("[\"10.1.0.0/16\", \"::1/128\"]").unwrap().upstream.allow_networks.len(), 2);
    refuse(
        &format!("{LEAST}[upstream]\nallow_networks = [\"10.1.0.0/16\", \"10.2.0.1/16\"]\n"),
        5,
        34,
        "network",
    );
}

#[test]
fn keep_versions_takes_both_limits() {
    let with = |kept: u32| parse(&format!("{LEAST}[secrets]\nkeep_versions = {kept}\n"));
    for at_the_limit in [2, 1000] {
        assert_eq!(with(at_the_limit).unwrap().secrets.keep_versions, at_the_limit);
    }
}

#[test]
fn an_address_has_one_spelling() {
    let with = |address: &str| parse(&format!("{LEAST}[server]\naddress = \"{address}\"\n"));
    for good in ["broker.example:8443", "192.0.2.1:1", "[2001:db8::1]:65535"] {
        assert_eq!(with(good).unwrap().server.address, good);
    }
    for bad in
        ["a:0", "a:+1", "a:01", "a:65536", "a:", ":1", "a", "::1:1", "[::1:1", "[[::1]]:1", "[a]:1", "A:1"]
    {
        assert!(with(bad).is_err(), "{bad}");
    }
    let six = parse(&format!("{LEAST}[server]\nnames = [\"::1\"]\n")).unwrap();
    assert_eq!(six.server.admin_address, "[::1]:8444");
}

#[test]
fn the_shipped_file_shows_the_defaults() {
    let shipped = include_str!("../../config/keyward.toml");
    let parsed = parse(shipped).unwrap();
    let spelled_out: String = shipped
        .lines()
        .map(|line| line.strip_prefix("#= ").unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(spelled_out, shipped, "the file shows defaults as `#= key = value`");
    assert_eq!(parse(&spelled_out).unwrap(), parsed, "a default in the file is not the code's");
}

#[test]
fn errors_name_place_and_setting_but_no_value_ops_06() {
    refuse(&format!("{LEAST}[listen]\nagent = \"CNRY\"\n"), 5, 1, "unknown field");
    refuse(&format!("{LEAST}[listen]\nagents = \"CNRY\"\n"), 5, 10, "IP address and a port");
    refuse(&format!("{LEAST}[listen]\nagents = 7\n"), 5, 10, "expected a string");
    refuse(&format!("{LEAST}[tokens]\nlife_s = \"CNRY\"\n"), 5, 10, "expected a whole number");
    refuse(&format!("{LEAST}[tokens]\nlife_s = 9\n"), 5, 10, "`tokens.life_s`: must be 10 to 3600");
    refuse(&format!("{LEAST}[tokens]\nlife_s = 3601\n"), 5, 10, "must be 10 to 3600");
    for url in ["http://CNRY", "https://a/", "https://a/CNRY", "https://a?CNRY", "https://a#CNRY"] {
        refuse(&format!("{LEAST}[tokens]\nissuer = \"{url}\"\n"), 5, 10, "https:// and a host");
    }
    refuse(&format!("{LEAST}[server]\nnames = []\n"), 5, 9, "at least one");
    refuse(&format!("{LEAST}[server]\nnames = [\"CNRY\"]\n"), 5, 10, "DNS name");
    refuse(&format!("{LEAST}[server]\naddress = \"CNRY\"\n"), 5, 11, "host:port");
    refuse(&format!("{LEAST}[log]\nlevel = \"CNRY\"\n"), 5, 9, "unknown word");
    refuse(&format!("{LEAST}[log]\nlevel = \"a`, expected CNRY\"\n"), 5, 9, "unknown word");
    refuse(&format!("{LEAST}[log]\nlevel = \"a\\nCNRY\"\n"), 5, 9, "unknown word");
    refuse(&format!("{LEAST}[tokens]\nlife_s = \"a, expected CNRY\"\n"), 5, 10, "expected a whole number");
    for beyond in [1, 1001] {
        refuse(&format!("{LEAST}[secrets]\nkeep_versions = {beyond}\n"), 5, 17, "must be 2 to 1000");
    }
    refuse(&format!("{LEAST}[connections]\nmax = 0\n"), 5, 7, "must be 1 to 65536");
    refuse(&format!("{LEAST}[connections]\nmax = 65537\n"), 5, 7, "must be 1 to 65536");
    refuse(&format!("{LEAST}[quota]\nmints_per_s = 0\n"), 5, 15, "must be 1");
    refuse(&format!("{LEAST}[certificates]\nagent_life_s = 299\n"), 5, 16, "must be 300");
    refuse(&format!("{LEAST}[certificates]\noperator_life_s = 86401\n"), 5, 19, "86400");
    refuse("trust_domain = \"CNRY\"\n[root_key]\nfile = \"/k\"\n", 1, 16, "trust domain");
    refuse("trust_domain = \"a\"\ntrust_domain = \"b\"\n", 2, 1, "duplicate");
    let one_of = "`root_key`: needs exactly one of `file`, `credential` and `attended = true`";
    for keys in
        ["", "attended = false\n", "file = \"/k\"\nattended = true\n", "file = \"/k\"\ncredential = \"k\"\n"]
    {
        refuse(&format!("trust_domain = \"a\"\n[root_key]\n{keys}"), 2, 1, one_of);
    }
    refuse("trust_domain = \"a\"\n[root_key]\nfile = \"CNRY\"\n", 3, 8, "absolute");
    refuse("trust_domain = \"a\"\n[root_key]\ncredential = \"../CNRY\"\n", 3, 14, "plain");
    refuse(&format!("data_dir = \"CNRY\"\n{LEAST}"), 1, 12, "absolute");
    refuse("trust_domain = \"a\"\n", 1, 1, "root_key");
}

#[test]
fn lives_are_bounded_by_the_fixed_limits() {
    for (table, key, least, most) in [
        ("certificates", "agent_life_s", 300, CERTIFICATE_LIFE_MAX_S),
        ("certificates", "renewal_grace_s", 0, RENEWAL_GRACE_MAX_S),
        ("certificates", "operator_renewal_grace_s", 0, RENEWAL_GRACE_MAX_S),
        ("certificates", "operator_life_s", OPERATOR_LIFE_MIN_S, OPERATOR_LIFE_MAX_S),
        ("certificates", "service_life_s", OPERATOR_LIFE_MIN_S, SERVICE_LIFE_MAX_S),
        ("tokens", "life_s", TOKEN_LIFE_MIN_S, TOKEN_LIFE_MAX_S),
        ("secrets", "keep_versions", i64::from(FORMER_VERSIONS_MIN), i64::from(FORMER_VERSIONS_MAX)),
    ] {
        let with = |value: i64| parse(&format!("{LEAST}[{table}]\n{key} = {value}\n"));
        assert!(with(least).is_ok() && with(most).is_ok(), "{key}");
        assert!(with(least - 1).is_err() && with(most + 1).is_err(), "{key}");
    }
    assert_eq!(parse(LEAST).unwrap().secrets.keep_versions, FORMER_VERSIONS, "by default");
}

#[test]
fn a_broker_can_be_attended() {
    let text = "trust_domain = \"a\"\n[root_key]\nattended = true\n";
    assert_eq!(parse(text).unwrap().root_key, RootKey::Attended);
}

#[test]
fn the_path_of_the_host_socket_fits_the_kernel() {
    let with = |path: &str| parse(&format!("{LEAST}[listen]\nhost = \"{path}\"\n"));
    assert_eq!(parse(LEAST).unwrap().listen.host, Path::new("/var/lib/keyward/host.sock"));
    let longest = format!("/{}", "d".repeat(106));
    assert_eq!(with(&longest).unwrap().listen.host, Path::new(&longest));
    refuse(&format!("{LEAST}[listen]\nhost = \"/d{}\"\n", "d".repeat(106)), 5, 8, "longer than 107 bytes");
    refuse(&format!("{LEAST}[listen]\nhost = \"CNRY\"\n"), 5, 8, "absolute");
}

#[test]
fn all_faults_of_a_file_are_found_at_once() {
    let places = |text: &str| -> Vec<String> {
        match parse(text).unwrap_err() {
            ConfigError::Several { errors, .. } => errors.iter().map(ToString::to_string).collect(),
            one @ (ConfigError::Unreadable { .. } | ConfigError::Invalid { .. }) => vec![one.to_string()],
        }
    };
    let text = "trust_domain = \"keyward.test\"\nspeed = 9\n[root_key]\nfile = \"k\"\n[listen]\nagents = \"nowhere\"\n\
                [tokens]\nlife_s = \"five\"\nkey_life_s = 1\n[connections]\nmax = 0\n";
    let found = places(text);
    for (at, part) in [
        "line 2, column 1: unknown field `speed`",
        "line 4, column 8: `root_key.file`: must be an absolute path",
        "line 6, column 10: `listen.agents`: must be an IP address",
        "line 8, column 10: `tokens.life_s`",
        "line 9, column 14: `tokens.key_life_s`: must be 86400",
        "line 11, column 7: `connections.max`: must be 1 to 65536",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(found.get(at).is_some_and(|one| one.contains(part)), "{part}: {found:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
    // What is missing only because its line is wrong is no further fault.
    assert_eq!(places("trust_domain = \"-\"\n[root_key]\nfile = \"/k\"\n").len(), 1);
    assert_eq!(places("trust_domain = \"keyward.test\"\n[root_key]\nfile = \"k\"\n").len(), 1);
    let ports = format!("{LEAST}[listen]\nagents = \"0.0.0.0:8444\"\nadmins = \"nowhere\"\n");
    assert_eq!(places(&ports).len(), 1, "the default port of operators is not at fault");
}

#[test]
fn so_many_faults_are_reported_at_once() {
    let unknown: String = (0..FAULTS_MAX + 5).map(|number| format!("x{number} = 1\n")).collect();
    let ConfigError::Several { errors, .. } = parse(&format!("{unknown}{LEAST}")).unwrap_err() else {
        panic!()
    };
    assert_eq!(errors.len(), FAULTS_MAX);
}
