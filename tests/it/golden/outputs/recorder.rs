//! Runs verbs for real, and checks what they print.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::process::Process;

pub(super) struct Recorder {
    validators: BTreeMap<String, Validator>,
    failure: Validator,
    has_run: BTreeSet<String>,
}

fn faults_of(validator: &Validator, output: &Value) -> Vec<String> {
    let said =
        |error: jsonschema::ValidationError<'_>| format!("at {:?}: {error}", error.instance_path().as_str());
    validator.iter_errors(output).map(said).collect()
}

impl Recorder {
    pub(super) fn new(document: &Value) -> Self {
        let validator = |schema: &Value| {
            jsonschema::validator_for(&json!({ "allOf": [schema], "$defs": document["$defs"] })).unwrap()
        };
        let commands = document["commands"].as_object().unwrap();
        Self {
            validators: commands.iter().map(|(verb, schema)| (verb.clone(), validator(schema))).collect(),
            failure: validator(&document["failure"]),
            has_run: BTreeSet::new(),
        }
    }

    pub(super) fn faults(&self, verb: &str, output: &Value) -> Vec<String> {
        faults_of(&self.validators[verb], output)
    }

    pub(super) fn has_run(&self, verb: &str) -> bool {
        self.has_run.contains(verb)
    }

    /// Checks what `verb` printed.
    #[track_caller]
    pub(super) fn check(&mut self, verb: &str, printed: &[u8]) -> Value {
        let text = String::from_utf8_lossy(printed);
        let output: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{verb}: {error}: {text}"));
        assert_eq!(self.faults(verb, &output), Vec::<String>::new(), "{verb}: {text}");
        self.has_run.insert(verb.to_owned());
        output
    }

    /// Runs `verb` with these arguments as `who`, which has to succeed.
    #[track_caller]
    pub(super) fn run(&mut self, process: &Process, who: &str, verb: &str, args: &[&str]) -> Value {
        self.run_with(process, who, verb, args, b"")
    }

    /// The same with this standard input.
    #[track_caller]
    pub(super) fn run_with(
        &mut self,
        process: &Process,
        who: &str,
        verb: &str,
        args: &[&str],
        input: &[u8],
    ) -> Value {
        let words: Vec<&str> = verb.split(' ').chain(args.iter().copied()).chain(["-o", "json"]).collect();
        let printed = process.good_as(who, &words, input);
        self.check(verb, &printed)
    }

    /// Runs a command that fails, and returns the code.
    #[track_caller]
    pub(super) fn refused(&self, process: &Process, who: &str, args: &[&str]) -> String {
        let output = process.run_as(who, &[args, &["-o", "json"]].concat(), b"");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{args:?}");
        let failure: Value =
            serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
        assert_eq!(faults_of(&self.failure, &failure), Vec::<String>::new(), "{args:?}: {text}");
        failure["code"].as_str().unwrap().to_owned()
    }
}
