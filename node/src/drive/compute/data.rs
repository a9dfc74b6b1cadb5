//! Data for lack of which a process stands still: it is fetched, and there is no outcome before.

use std::time::Duration;

use ao_protocol::id::Id;
use ao_protocol::reference::Named;
use tracing::{info, warn};

use super::super::Change;
use super::super::dry_run::DryRunError;
use super::super::permaweb::Lacking;
use super::{Computer, Stall, Task};

/// How long a worker is kept while data comes: what it has open it can read on, whatever else has to go for that.
const WORKER_WAITS: Duration = Duration::from_secs(5);

impl Computer {
    /// Fetches data while a worker waits for it; false when that takes too long.
    pub(super) async fn is_there_soon(&self, named: &Named) -> bool {
        let fetched = self.0.world.permaweb().fetch(&self.0.world, named);
        matches!(tokio::time::timeout(WORKER_WAITS, fetched).await, Ok(Ok(())))
    }

    /// Fetches data; an error says why the process stands still.
    pub(super) async fn wait_for_data(&self, process: &Id, task: &Task, named: Named) -> Result<(), Stall> {
        let waiting = Stall::Missing(named).shown();
        info!(%process, reason = %waiting.reason, "a process waits for data");
        task.dry_runs.fail(&DryRunError::NotComputed(waiting.reason.clone()));
        self.stall(process, Some(waiting));
        // Whoever waits for a result is told.
        self.0.world.changed(Change::Stalled { process: *process });
        self.0.world.permaweb().fetch(&self.0.world, &named).await.map_err(|cause| match cause {
            Lacking::Log(cause) => Stall::Log(cause),
            cause => {
                let Named { id, size, .. } = named;
                Stall::Reason(format!("it reads the data of {id} ({size} bytes), which is not here: {cause}"))
            }
        })
    }

    /// Fetches data that a question about a process reads, unless somebody does; the next one has it.
    pub(super) fn fetch_aside(&self, process: &Id, named: Named) {
        let (computer, process) = (self.clone(), *process);
        if self.0.world.permaweb().is_fetching(&named) {
            return;
        }
        tokio::spawn(async move {
            let world = &computer.0.world;
            if let Err(cause) = world.permaweb().fetch(world, &named).await {
                warn!(%process, %cause, "data that a dry-run reads did not come");
            }
        });
    }
}
