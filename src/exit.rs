//! How a command ends: 0 good, 1 the check or the work failed, 2 usage.

use std::process::ExitCode;

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The work could not be done, or the check failed. Exit code 1.
    Failed(anyhow::Error),
    /// The command has already told everything on its own (a report on stdout, a role in its log). Exit code 1.
    Told,
    /// The configuration or the arguments are wrong; nothing was started. Exit code 2.
    Usage(String),
}

impl Failure {
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Failed(error) => {
                eprintln!("order-ledger: {error:#}");
                ExitCode::from(1)
            }
            Failure::Told => ExitCode::from(1),
            Failure::Usage(message) => {
                eprintln!("order-ledger: {message}");
                ExitCode::from(2)
            }
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.into())
    }
}

pub type Outcome = Result<(), Failure>;
