use rustix::process::setpriority_process;

/// In the scale of `nice(1)`: about a tenth of the processor time of a thread that answers requests.
const BEHIND: i32 = 10;
/// The lowest priority: about a seventieth of the processor time of a thread that answers requests.
const LAST: i32 = 19;

/// Lowers the priority of the calling thread below the threads that answer requests.
pub fn give_way() {
    lower(BEHIND);
}

/// Lowers the priority of the calling thread as far as possible, so that it works when a processor would be idle. For work
/// that can be arbitrarily late.
pub fn wait_for_idle_processor() {
    lower(LAST);
}

fn lower(priority: i32) {
    if let Err(error) = setpriority_process(None, priority) {
        tracing::debug!(%error, "the priority of a thread could not be lowered");
    }
}
