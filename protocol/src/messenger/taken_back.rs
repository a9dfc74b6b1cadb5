//! What a messenger does when slots were taken back: by a resume of a process that it delivers for, or of a receiver.

use std::collections::BTreeSet;

use super::{Messenger, Submit};
use crate::log::{Log, LogError};

impl Messenger {
    /// Where slots of a process were taken back, what was planned of it is void; where those of a receiver were, what
    /// was settled is not settled any more. The work on such a process begins again from the log.
    pub(super) fn forget_what_was_taken_back(&mut self, log: &dyn Log) -> Result<(), LogError> {
        let rewound = log.rewound();
        if self.rewound == rewound {
            return Ok(());
        }
        let mut again = BTreeSet::new();
        for (process, work) in &mut self.works {
            let known = log.process(process)?;
            let age = known.map_or((0, 0), |process| (process.rewinds, process.sent_again));
            if work.begin_again(log.delivered(process)?, age) {
                again.insert(*process);
            }
        }
        self.lanes.retain(|lane, _| !again.contains(&lane.source));
        self.slowed.retain(|process, _| !again.contains(process));
        self.uncertified.retain(|process, _| !again.contains(process));
        self.awake.extend(again);
        self.rewound = rewound;
        Ok(())
    }

    /// Whether an answer to this is still waited for.
    pub(super) fn is_under_way(&self, submit: &Submit) -> bool {
        self.lanes.get(&submit.lane).is_some_and(|lane| lane.number == submit.number)
    }
}
