//! What the operating system says of a process on this machine.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::Usage;

/// `None` when there is no such process (any more).
pub fn usage(pid: u32) -> Option<Usage> {
    let pid = Pid::from_u32(pid);
    let mut system = System::new();
    let wanted = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, wanted);
    let process = system.process(pid)?;
    Some(Usage {
        cpu_seconds: Some(process.accumulated_cpu_time() as f64 / 1_000.0),
        memory_bytes: Some(process.memory() as f64),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn this_process_uses_memory_and_ever_more_processor_time() {
        let before = usage(std::process::id()).unwrap();
        assert!(before.memory_bytes.unwrap() > 1_000_000.0, "{before:?}");
        let mut spun = 0_u64;
        while usage(std::process::id()).unwrap().cpu_seconds <= before.cpu_seconds {
            spun = std::hint::black_box(spun.wrapping_add(1));
        }
    }

    #[test]
    fn a_process_that_is_gone_uses_nothing_that_is_known() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();

        assert_eq!(usage(child.id()), None);
    }
}
