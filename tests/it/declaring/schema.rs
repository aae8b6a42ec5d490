//! The JSON schema of declaration files accepts what the broker accepts, and refuses nonsense as it does.

use jsonschema::Validator;
use serde_json::Value;

use crate::guides::fenced;
use crate::reference::compare;
use crate::support::process::Process;

const PAGES: [&str; 3] = ["reference/declarations.md", "reference/policy.md", "how-to/mariadb-logins.md"];

fn validator() -> Validator {
    jsonschema::validator_for(&keyward::broker::declaration_schema()).unwrap()
}

fn read(text: &str) -> Value {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_committed_schema_is_that_of_the_code() {
    let schema = serde_json::to_string_pretty(&keyward::broker::declaration_schema()).unwrap();
    compare("declarations.schema.json", &format!("{schema}\n"));
}

/// That the broker accepts these examples is tested where the pages are.
#[test]
fn every_example_of_the_pages_fits_the_schema() {
    let validator = validator();
    for page in PAGES {
        let examples = fenced(page, "toml");
        assert!(!examples.is_empty());
        for example in examples {
            let found: Vec<String> =
                validator.iter_errors(&read(&example)).map(|error| error.to_string()).collect();
            assert!(found.is_empty(), "{page}: {found:?}\n{example}");
        }
    }
}

/// Declarations with one fault each.
const NONSENSE: [&str; 19] = [
    "[[capability]]\nname = \"a\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"https://a\"\nmax_life_s = 60\nparameters = { a = { type = \"number\" } }\n",
    "[[nonsense]]\nname = \"a\"\n",
    "[[agent]]\nname = \"a\"\nroles = []\nnonsense = 1\n",
    "[[agent]]\nname = \"A\"\nroles = []\n",
    "[[agent]]\nroles = []\n",
    "[[agent]]\nname = \"a\"\nroles = \"r\"\n",
    "[[agent]]\nname = \"a\"\nroles = []\nmax_instances = 0\n",
    "[agent]\nname = \"a\"\nroles = []\n",
    "[[role]]\nname = \"a\"\n",
    "[[capability]]\nname = \"a\"\naccess = \"all\"\ndelivery = \"mint\"\naudience = \"https://a\"\nmax_life_s = 60\n",
    "[[capability]]\nname = \"a\"\naccess = \"read\"\ndelivery = \"send\"\naudience = \"https://a\"\nmax_life_s = 60\n",
    "[[capability]]\nname = \"a\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"ftp://a\"\nmax_life_s = 60\n",
    "[[capability]]\nname = \"a\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"https://a\"\nmax_life_s = 9\n",
    "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"nonsense\" }\n",
    "[[rotation]]\nsecret = \"a\"\nupstream = { driver = \"generate\", host = \"a\" }\n",
    "[[lease]]\ncapability = \"a\"\n",
    "[[environment]]\nname = \"A\"\n",
    "[[policy]]\nname = \"a\"\n",
    "[[lease]]\ncapability = \"a\"\nupstream = { driver = \"postgresql-dynamic\", host = \"a\", database = \"d\" }\n",
];

#[test]
fn the_schema_and_the_broker_refuse_the_same_nonsense() {
    let mut process = Process::init("warn");
    process.serve();
    let validator = validator();
    for text in NONSENSE {
        assert!(!validator.is_valid(&read(text)), "the schema accepts: {text}");
        let planned = process.run_as("operator", &["plan", "-f", "-"], text.as_bytes());
        let why = String::from_utf8_lossy(&planned.stderr).into_owned();
        assert!(!planned.status.success() && why.contains("declarations_invalid"), "{text}: {why}");
    }
    // The twin: what is well formed is accepted by both
    let good = "[[agent]]\nname = \"a\"\nroles = []\n";
    assert!(validator.is_valid(&read(good)));
    process.good(&["plan", "-f", "-"], good.as_bytes());
    assert_eq!(process.good(&["declaration", "schema"], b""), {
        let sorted = serde_json::to_string_pretty(&keyward::broker::declaration_schema()).unwrap();
        format!("{sorted}\n").into_bytes()
    });
}
