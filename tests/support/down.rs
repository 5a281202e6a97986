//! A process that is killed as often as the supervisor starts it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Instance, signal};

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Ended or dropped: the next start is left alone.
pub struct KeptDown {
    is_over: Arc<AtomicBool>,
    killing: Option<JoinHandle<()>>,
}

impl KeptDown {
    /// kill -9, now and whenever it is back.
    pub fn kill(instance: &Instance, role: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut killed = instance.pid(role);
        signal(killed, libc::SIGKILL);
        let (info, role, over) = (instance.info_reader(), role.to_owned(), is_over.clone());
        let killing = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let running = info().and_then(|info| u32::try_from(info["pids"][&role].as_u64()?).ok());
                if let Some(pid) = running.filter(|pid| *pid != killed) {
                    signal(pid, libc::SIGKILL);
                    killed = pid;
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
        });
        Self { is_over, killing: Some(killing) }
    }

    pub fn end(self) {}
}

impl Drop for KeptDown {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(killing) = self.killing.take() {
            let _ = killing.join();
        }
    }
}
