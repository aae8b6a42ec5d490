use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Memory is wiped when it is given back, whoever had it: a secret passes through buffers of the TLS,
/// HTTP and JSON libraries, which free theirs as they are.
///
/// Below it is not the system's allocator, which takes its slow path for each of the buffers of some kilobytes
/// that every request passes through, and for what the ledger's thread frees for others. It is built to take no
/// huge pages, with which an idle broker takes half as much again. Where memory is locked, pages that were used
/// once are kept.
#[global_allocator]
static WIPING: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);
