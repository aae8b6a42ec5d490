use rustix::process::setpriority_process;

/// As of `nice(1)`: about a tenth of what a thread gets that answers requests, when both want all of it.
const BEHIND: i32 = 10;

/// Lets the calling thread come after those that answer requests.
pub fn give_way() {
    if let Err(error) = setpriority_process(None, BEHIND) {
        tracing::debug!(%error, "a thread goes on as it is");
    }
}
