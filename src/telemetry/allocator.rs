use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Wipes all memory when it is freed: secrets pass through buffers of the TLS, HTTP and JSON libraries, which do not
/// wipe them.
///
/// `mimalloc` replaces the system's allocator, which is slow for the buffers of some kilobytes that every request
/// needs, and for memory that the ledger's thread frees for others. It is built without huge pages, which cost an idle
/// broker half as much memory again. With locked memory, used pages are kept.
#[global_allocator]
static WIPING: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);
