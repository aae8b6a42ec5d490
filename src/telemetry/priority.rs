use rustix::process::setpriority_process;

/// In the scale of `nice(1)`: about a tenth of the processor time of a thread that answers requests.
const BEHIND: i32 = 10;

/// Lowers the priority of the calling thread below the threads that answer requests.
pub fn give_way() {
    if let Err(error) = setpriority_process(None, BEHIND) {
        tracing::debug!(%error, "the priority of a thread could not be lowered");
    }
}
