//! How a broker starts that has a million agents and ten million entries, and how it lists them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bed::{Bed, SERVER_CORE};
use crate::fleet::Operator;
use crate::hardship::Started;
use crate::listing::{self, Listing};
use crate::{Extent, Failed};

/// How long a snapshot may take to be there.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(900);

/// What was measured on it.
pub(crate) struct Million {
    pub(crate) started: Vec<Started>,
    pub(crate) listing: Listing,
}

/// Has a broker's ledger filled by `fill`, and starts it twice: from every entry, as after an upgrade, and from the
/// snapshot that it took then. The second time it lists entries.
pub(crate) async fn with_a_million(bed: &Bed, fill: &Path, extent: Extent) -> Result<Million, Failed> {
    let (agents, entries) = if extent.is_small() { (20_usize, 200_u64) } else { (1_000_000, 10_000_000) };
    let bed = bed.sibling("with-a-million")?;
    // On all cores: nothing is measured meanwhile.
    let mut filling = Command::new("taskset");
    filling.args(["-c", &format!("{SERVER_CORE},{}", SERVER_CORE + 1)]).arg(fill);
    filling.args([bed.config(), agents.to_string(), entries.to_string()]);
    let filled = filling.output()?;
    if !filled.status.success() {
        return Err(String::from_utf8_lossy(&filled.stderr).into());
    }
    let begun = Instant::now();
    let (keyward, ready) = bed.keyward().await?;
    let mut started = vec![Started::now(&keyward, ready, (agents, entries, None))?];
    println!("{:?}", started[0]);
    if !extent.is_small() {
        let waited = Instant::now();
        while bed.newest_snapshot()?.is_none() {
            if waited.elapsed() > SNAPSHOT_WAIT {
                return Err("no snapshot was taken".into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!(
            "a snapshot was there after {:?}: {:?}",
            waited.elapsed(),
            Started::now(&keyward, ready, (agents, entries, None))?
        );
    }
    Bed::stop(keyward)?;
    let snapshot = bed.newest_snapshot()?;
    let (keyward, ready) = bed.keyward().await?;
    started.push(Started::now(&keyward, ready, (agents, entries, snapshot))?);
    println!("{:?}", started[1]);
    let listing = listing::of(&Operator::of(&bed)?, agents, begun, extent).await?;
    Bed::stop(keyward)?;
    Ok(Million { started, listing })
}
