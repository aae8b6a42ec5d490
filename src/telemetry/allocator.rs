use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

/// Memory is wiped when it is given back, whoever had it: a secret passes through buffers of the TLS,
/// HTTP and JSON libraries, which free theirs as they are.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);
