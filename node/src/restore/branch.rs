//! Coming over to the branch that an owner named, where this log has another one: its assignments are followed from its
//! end down, each proven by the one behind it.

use std::collections::{BTreeMap, BTreeSet};

use ao_protocol::branch::{Trace, Traced, take_on};
use ao_protocol::id::Id;
use ao_protocol::log::{Durability, Log};
use ao_protocol::resume::{self, Resume};
use ao_protocol::wire::{EntryBytes, ItemBytes};

use super::find::Container;
use super::{Restore, RestoreError, fetch};

impl Restore {
    /// Looks for the branches that owners named and that this log does not have; true when it came over to one. Then
    /// all bundles are to be looked at again.
    pub(super) async fn come_over(
        &mut self,
        known: &BTreeSet<Id>,
        left: &mut Vec<Container>,
    ) -> Result<bool, RestoreError> {
        let mut lost: BTreeMap<Id, Resume> = BTreeMap::new();
        for id in self.restored()? {
            let Some(process) = self.log.process(&id)? else { continue };
            lost.extend(resume::unsettled(&*self.log, &process)?.map(|resume| (id, resume.clone())));
        }
        if lost.is_empty() {
            return Ok(false);
        }
        let mut assignments: BTreeMap<(Id, u64), Vec<EntryBytes>> = BTreeMap::new();
        for id in known {
            let Ok(opened) = fetch(&self.gateway, id).await? else { continue };
            for assignment in opened.contents.assignments() {
                let (process, slot) = (assignment.statement.process, assignment.statement.slot);
                if lost.get(&process).is_some_and(|resume| slot <= resume.slot) {
                    let bare = EntryBytes {
                        assignment: ItemBytes(assignment.item.bytes().to_vec()),
                        item: None,
                        proof: None,
                        certificate: None,
                    };
                    assignments.entry((process, slot)).or_default().push(bare);
                }
            }
        }
        let mut joined = false;
        for (process, resume) in lost {
            let Some(traced) = self.trace(&process, &resume, &assignments)? else { continue };
            if let Some(batch) = take_on(&*self.log, &resume, traced)? {
                self.log.commit(batch, Durability::Synced)?;
                joined = true;
            }
        }
        if joined {
            *left = known.iter().map(|id| Container { id: *id, tags: Vec::new() }).collect();
        }
        Ok(joined)
    }

    /// Follows a branch down to where it leaves this log's.
    fn trace(
        &self,
        process: &Id,
        resume: &Resume,
        assignments: &BTreeMap<(Id, u64), Vec<EntryBytes>>,
    ) -> Result<Option<Traced>, RestoreError> {
        let (mut trace, mut slot) = (Trace::of(resume), resume.slot);
        loop {
            let mut further = None;
            for candidate in assignments.get(&(*process, slot)).into_iter().flatten() {
                let mut tried = trace.clone();
                match tried.take(&*self.log, std::slice::from_ref(candidate))? {
                    Ok(Traced::Below(_)) => further = Some(tried),
                    Ok(joined) => return Ok(Some(joined)),
                    Err(_) => {}
                }
            }
            match (further, slot.checked_sub(1)) {
                (Some(further), Some(below)) => (trace, slot) = (further, below),
                _ => return Ok(None),
            }
        }
    }
}
