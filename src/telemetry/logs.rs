use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LineForm {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A log was set up before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the process logs already")]
pub struct LogError;

/// Sends log lines from `level` on to `writer`.
///
/// Libraries are held to warnings unless the level is `trace`. No line is coloured: escape codes
/// from elsewhere must not pass for ours.
///
/// # Errors
/// [`LogError`] on the second call in a process.
pub fn init<W>(level: Level, form: LineForm, writer: W) -> Result<(), LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let libraries = if level == Level::TRACE { level } else { level.min(Level::WARN) };
    let filter = Targets::new().with_default(libraries).with_target("keyward", level);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match form {
        LineForm::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
        LineForm::Text => lines.with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(lines).try_init().map_err(|_| LogError)
}
