//! What has been measured so far. It is on the page before the next part begins, so that a part that fails, or is cut
//! off, takes nothing with it but itself.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Failed;
use crate::report::{self, Conditions, Results};

/// Longest that one part may take, and all of them.
const PART_MAX: Duration = Duration::from_secs(300);
const ALL_MAX: Duration = Duration::from_secs(25 * 60);
/// The same with a million agents.
const LONG_PART_MAX: Duration = Duration::from_secs(30 * 60);
const LONG_ALL_MAX: Duration = Duration::from_secs(60 * 60);

pub(crate) struct Book {
    pub(crate) results: Results,
    /// The directory that the page is in, and the commit that was measured.
    page: Option<(PathBuf, String)>,
    begun: Instant,
    part_max: Duration,
    all_max: Duration,
}

impl Book {
    pub(crate) fn of(conditions: Conditions, page: Option<(PathBuf, String)>, is_long: bool) -> Self {
        let (part_max, all_max) = if is_long { (LONG_PART_MAX, LONG_ALL_MAX) } else { (PART_MAX, ALL_MAX) };
        Self { results: Results::of(conditions), page, begun: Instant::now(), part_max, all_max }
    }

    /// Runs `part` as long as there is time for it.
    pub(crate) async fn within<T>(&self, part: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let left = self.all_max.saturating_sub(self.begun.elapsed());
        let max = self.part_max.min(left);
        tokio::time::timeout(max, part).await.map_err(|_| format!("not done in {} s", max.as_secs()))?
    }

    /// Writes the page as it is now; `done` is what became of `part`.
    pub(crate) fn note(&mut self, part: &str, done: Result<(), Failed>) -> Result<(), Failed> {
        if let Err(error) = done {
            println!("\n{part} FAILED: {error}\n");
            self.results.failed.push((part.to_owned(), error.to_string()));
        }
        self.results.took = self.begun.elapsed();
        println!("{part}: done {:.0} s after the beginning\n", self.results.took.as_secs_f64());
        match &self.page {
            Some((pages, commit)) => report::write(pages, commit, &self.results),
            None => Ok(()),
        }
    }

    /// Says whether all of it was measured.
    pub(crate) fn close(self) -> Result<(), Failed> {
        let failed = self.results.failed;
        if failed.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = failed.iter().map(|(part, why)| format!("{part}: {why}")).collect();
        Err(format!("not everything was measured:\n{}", lines.join("\n")).into())
    }
}
