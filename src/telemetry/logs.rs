use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// The form of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LineForm {
    /// One JSON object per line.
    Json,
    /// Plain text.
    Text,
}

/// The log was set up before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the log is set up already")]
pub struct LogError;

/// Writes log lines of at least `level` to `writer`.
///
/// Libraries log only warnings unless the level is `trace`. The `outspoken` ones never log more, because their other
/// lines may contain a secret. Lines have no colours, so that escape codes in values cannot pass for ours.
///
/// # Errors
/// [`LogError`] on the second call in a process.
pub fn init<W>(level: Level, form: LineForm, writer: W, outspoken: &[&'static str]) -> Result<(), LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::registry()
        .with(lines(level, form, writer, outspoken))
        .try_init()
        .map_err(|_| LogError)
}

fn lines<W>(
    level: Level,
    form: LineForm,
    writer: W,
    outspoken: &[&'static str],
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let libraries = if level == Level::TRACE { level } else { level.min(Level::WARN) };
    let outspoken = outspoken.iter().map(|target| (*target, level.min(Level::WARN)));
    // rustls warns of each unexpected message, which any client can send.
    let of_peers = ("rustls", if level == Level::TRACE { level } else { level.min(Level::ERROR) });
    let own = [("keyward", level), of_peers];
    let filter = Targets::new().with_default(libraries).with_targets(own).with_targets(outspoken);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    match form {
        LineForm::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
        LineForm::Text => lines.with_filter(filter).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, form: LineForm, say: impl FnOnce()) -> Vec<String> {
        let paper = Paper::default();
        let to = paper.clone();
        let subscriber =
            tracing_subscriber::registry().with(lines(level, form, move || to.clone(), &["database_client"]));
        tracing::subscriber::with_default(subscriber, say);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn log_everything() {
        tracing::trace!(target: "keyward::room", "ours trace");
        tracing::info!(target: "keyward::room", "ours info");
        tracing::error!(target: "keyward::room", "ours error");
        tracing::debug!(target: "rustls::conn", "theirs debug");
        tracing::info!(target: "sled", "theirs info");
        tracing::warn!(target: "hyper", "theirs warn");
        tracing::debug!(target: "database_client::query", "a statement");
        tracing::warn!(target: "rustls::check", "what a peer sent");
    }

    #[test]
    fn libraries_log_only_warnings_below_trace() {
        for (level, expect) in
            [(Level::ERROR, 1), (Level::WARN, 2), (Level::INFO, 3), (Level::DEBUG, 3), (Level::TRACE, 7)]
        {
            let lines = logged(level, LineForm::Text, log_everything);
            assert_eq!(lines.len(), expect, "{level}: {lines:#?}");
        }
    }

    #[test]
    fn a_json_line_is_one_object() {
        let lines = logged(Level::INFO, LineForm::Json, || {
            tracing::info!(target: "keyward", name = "a\n\"b\u{1b}[31m", count = 3, "said");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&object["message"], &object["count"]), (&"said".into(), &3.into()));
        assert_eq!(object["name"], "a\n\"b\u{1b}[31m");
    }

    #[test]
    fn a_text_line_contains_no_escape_codes() {
        let lines = logged(Level::INFO, LineForm::Text, || {
            tracing::info!(target: "keyward", name = "a\n\u{1b}[31mred", "said \u{1b}[2J");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(!lines[0].contains('\u{1b}'), "{lines:?}");
    }
}
