use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::base::io_reason;
use crate::broker::AgentServices;
use crate::config::Config;
use crate::files;
use crate::http::Documents;

/// Stores the present public documents for a sealed broker. A failure, e.g. on a full disk, is only logged, because a
/// serving broker does not need the files.
pub(crate) async fn publish(config: &Config, services: AgentServices) {
    let documents = Documents::of(services).await;
    if documents == published(config) {
        return;
    }
    let bytes = serde_json::to_vec(&documents).unwrap_or_default();
    let kept =
        files::private_dir(&config.data_dir.join("tls")).and_then(|()| files::replace(&path(config), &bytes));
    if let Err(error) = kept {
        tracing::warn!(error = %io_reason(&error), fix = remedy(error.kind()), "the public documents for a sealed broker could not be stored");
    }
}

/// What helps when the documents could not be stored. The broker tries again every minute, and at each stop.
const fn remedy(kind: ErrorKind) -> &'static str {
    if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        "free space on the data disk (docs/runbooks/full-disk.md); the broker stores them by itself, at the latest after its \
         next start"
    } else {
        "check the directory `tls` in the data directory, its disk and its permissions; the broker stores them by itself, at \
         the latest after its next start"
    }
}

/// The stored public documents, if there are any.
pub(crate) fn published(config: &Config) -> Documents {
    let read = fs::read(path(config)).ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn path(config: &Config) -> PathBuf {
    config.data_dir.join("tls/documents.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_another_remedy_than_a_directory_that_is_closed() {
        assert!(remedy(ErrorKind::StorageFull).starts_with("free space on the data disk"));
        assert!(remedy(ErrorKind::PermissionDenied).contains("permissions"));
    }
}
