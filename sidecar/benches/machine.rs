//! What the figures were taken on, and whether it was quiet enough for them to mean anything.

use std::fs;

use crate::process::cores;

/// Prints the machine; says so where others keep it busy.
pub(crate) fn describe() {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let (kernel, load) = (read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    println!("{} cores, {model}, Linux {}, load {}", cores(), kernel.trim(), load.trim());
    let minute = load.split(' ').next().and_then(|l| l.parse::<f64>().ok()).unwrap_or(0.0);
    // A bench that ran just before leaves some load of its own.
    if minute > cores() / 2.0 {
        println!("the machine is busy with something else: figures of this run are not to be quoted");
    }
}
