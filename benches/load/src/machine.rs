//! What the numbers were measured on: processors, kernel, disk, and who else was busy.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failed;
use crate::tally::Latencies;

/// The kernel counts processor time in hundredths of a second (`USER_HZ`), whatever its own tick is.
const TICKS_PER_S: f64 = 100.0;

/// Processor time that a process has used so far, all its threads together.
pub(crate) fn used_by(pid: u32) -> Result<Duration, Failed> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, behind_name) = stat.rsplit_once(')').ok_or("no stat")?;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64, Failed> { Ok(fields.get(at).ok_or("no stat")?.parse()?) };
    Ok(Duration::from_secs_f64((ticks(11)? + ticks(12)?) / TICKS_PER_S))
}

/// Processor time that everybody has used so far on the cores `cores`.
pub(crate) fn used_on(cores: &[usize]) -> Result<Duration, Failed> {
    let stat = fs::read_to_string("/proc/stat")?;
    let mut ticks = 0.0;
    for services in cores {
        let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{services} ")));
        for (at, field) in line.ok_or("no such core")?.split_whitespace().enumerate() {
            // idle and iowait are not use; guest times are counted in user's already.
            if !matches!(at, 3 | 4 | 8 | 9) {
                ticks += field.parse::<f64>()?;
            }
        }
    }
    Ok(Duration::from_secs_f64(ticks / TICKS_PER_S))
}

/// Memory of a process that is in use now, and the most that ever was, in KiB.
pub(crate) fn memory_of(pid: u32) -> Result<(u64, u64), Failed> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |field: &str| -> Result<u64, Failed> {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}

/// How long a write of 16 KiB into allocated space takes to be durable in `dir`.
pub(crate) fn sync_latency(dir: &Path, times: u64) -> Result<Latencies, Failed> {
    const BYTES: u64 = 16 * 1024;
    let path = dir.join("sync-latency");
    let file = File::options().write(true).create_new(true).open(&path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, times * BYTES)?;
    file.sync_all()?;
    let mut latencies = Latencies::default();
    for round in 0..times {
        file.write_all_at(&[b'x'; BYTES as usize], round * BYTES)?;
        let start = Instant::now();
        file.sync_data()?;
        latencies.add(start.elapsed());
    }
    fs::remove_file(path)?;
    Ok(latencies)
}

/// Model, cores and kernel in one line.
pub(crate) fn described() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let total = read("/proc/meminfo");
    let total = total.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim();
    let kib: f64 = total.trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, {:.1} GiB; Linux {}", kib / 1024.0 / 1024.0, kernel.trim())
}

/// The file system that `dir` is on: device and kind.
pub(crate) fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let dir = fs::canonicalize(dir).unwrap_or_default();
    let on = |line: &str| -> Option<(usize, String)> {
        let mut fields = line.split(' ');
        let (device, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        dir.starts_with(at).then(|| (at.len(), format!("{kind} on {device}")))
    };
    mounts.lines().filter_map(on).max_by_key(|(length, _)| *length).map(|(_, text)| text).unwrap_or_default()
}

/// Whether the file system of `dir` is one that forgets: a figure for durable writes on it is none.
pub(crate) fn forgets(dir: &Path) -> bool {
    let kind = file_system(dir);
    ["tmpfs", "ramfs", "overlay"].iter().any(|forgetful| kind.starts_with(forgetful))
}
