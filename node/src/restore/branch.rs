//! Coming over to the branch that an owner named, where this log has another one: its assignments are followed from its
//! end down, each proven by the one behind it.

use std::collections::BTreeMap;

use ao_protocol::branch::{Trace, Traced, take_on};
use ao_protocol::id::Id;
use ao_protocol::log::{Durability, Log};
use ao_protocol::resume::{self, Resume};
use ao_protocol::wire::{EntryBytes, ItemBytes};

use super::fetch::{Fetched, fetch};
use super::find::Container;
use super::{Restore, RestoreError};

impl Restore {
    /// Looks for the branches that owners named and that this log does not have; true when it came over to one. Then
    /// all bundles are to be looked at again.
    pub(super) async fn come_over(&mut self, containers: &[Container]) -> Result<bool, RestoreError> {
        let mut lost: BTreeMap<Id, Resume> = BTreeMap::new();
        for id in self.restored()? {
            let Some(process) = self.log.process(&id)? else { continue };
            let unsettled = resume::unsettled(&*self.log, &process)?;
            // Once is enough: what is missing of it then is nowhere.
            let new = unsettled.filter(|resume| !self.joined.contains(&resume.item.id()));
            lost.extend(new.map(|resume| (id, resume.clone())));
        }
        if lost.is_empty() {
            return Ok(false);
        }
        let mut assignments: BTreeMap<(Id, u64), BTreeMap<Id, EntryBytes>> = BTreeMap::new();
        for container in containers {
            let Fetched::Opened(opened) = fetch(&self.gateway, &container.id).await? else { continue };
            for assignment in opened.contents.assignments() {
                let (process, slot) = (assignment.statement.process, assignment.statement.slot);
                let wanted = lost.get(&process).is_some_and(|resume| slot <= resume.slot);
                if wanted && self.may_schedule(&process, &assignment.item.address())? {
                    let bare = EntryBytes {
                        assignment: ItemBytes(assignment.item.bytes().to_vec()),
                        item: None,
                        proof: None,
                        certificate: None,
                    };
                    assignments.entry((process, slot)).or_default().insert(assignment.id(), bare);
                }
            }
        }
        let mut joined = false;
        for (process, resume) in lost {
            let Some(traced) = self.trace(&process, &resume, &assignments)? else { continue };
            if let Some(batch) = take_on(&*self.log, &resume, traced)? {
                self.log.commit(batch, Durability::Synced)?;
                self.joined.insert(resume.item.id());
                joined = true;
            }
        }
        Ok(joined)
    }

    /// Follows a branch down to where it leaves this log's.
    fn trace(
        &self,
        process: &Id,
        resume: &Resume,
        assignments: &BTreeMap<(Id, u64), BTreeMap<Id, EntryBytes>>,
    ) -> Result<Option<Traced>, RestoreError> {
        let (mut trace, mut slot) = (Trace::of(resume), resume.slot);
        loop {
            let mut further = None;
            for candidate in assignments.get(&(*process, slot)).into_iter().flat_map(BTreeMap::values) {
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
