//! Bringing submissions to the scheduler that a process names, wherever it is: this node's own, or a peer's.

use ao_protocol::announcement::Role;
use ao_protocol::id::Address;
use ao_protocol::item::VerifiedItem;
use ao_protocol::scheduler::{Refusal, Submission, read_receipt};
use ao_protocol::wire::{ItemBytes, Request, Response, SubmissionBytes};
use thiserror::Error;

use super::scheduler::{Receipts, Scheduler};
use super::{World, permaweb};

/// Why no scheduler answered.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// Nobody announced that it is this scheduler.
    #[error("scheduler {0} is not known: no node of this network announced that address as a scheduler")]
    Unknown(Address),
    /// It is known and can't be reached, or did not answer.
    #[error("scheduler {scheduler} can't be reached: {cause}")]
    Unreachable {
        /// Which scheduler.
        scheduler: Address,
        /// What happened.
        cause: String,
    },
    /// Its answer does not fit what was asked.
    #[error("scheduler {scheduler} gave an answer that does not count: {cause}")]
    False {
        /// Which scheduler.
        scheduler: Address,
        /// What is wrong with it.
        cause: String,
    },
}

/// Finds schedulers and submits to them.
#[derive(Clone)]
pub struct Submitter {
    world: World,
    own: Option<Scheduler>,
}

impl Submitter {
    /// With this node's own scheduler, if it is one.
    pub fn new(world: World, own: Option<Scheduler>) -> Submitter {
        Submitter { world, own }
    }

    /// This node's own scheduler.
    pub fn own(&self) -> Option<&Scheduler> {
        self.own.as_ref()
    }

    /// Submits in order; answers what the scheduler said to each. Every receipt is verified to be the assignment that
    /// this scheduler signed for that item.
    pub async fn submit(&self, scheduler: Address, submissions: &[Submission]) -> Result<Receipts, SubmitError> {
        if let Some(own) = &self.own
            && scheduler == self.world.address()
        {
            return Ok(permaweb::submit(&self.world, own, submissions.to_vec()).await);
        }
        let unit = self.world.net().directory().unit(&scheduler).filter(|unit| unit.roles.contains(&Role::Su));
        let peer = unit.ok_or(SubmitError::Unknown(scheduler))?.peer;
        let unreachable = |cause: String| SubmitError::Unreachable { scheduler, cause };
        let bytes = |submission: &Submission| SubmissionBytes {
            item: ItemBytes(submission.item.bytes().to_vec()),
            messenger: submission.messenger,
            certificate: submission.certificate.clone(),
        };
        let request = Request::Submit(submissions.iter().map(bytes).collect());
        let response =
            self.world.net().request(&peer, &request).await.map_err(|cause| unreachable(cause.to_string()))?;
        let receipts = match response {
            Response::Receipts(receipts) => receipts,
            Response::Busy(cause) => return Err(unreachable(cause)),
            _ => return Err(SubmitError::False { scheduler, cause: "it is no list of receipts".into() }),
        };
        let read = |(submission, receipt): (&Submission, Result<ItemBytes, Refusal>)| match receipt {
            Err(refusal) => Ok(Err(refusal)),
            Ok(bytes) => receipt_item(&self.world, bytes, &submission.item, &scheduler).map(Ok),
        };
        submissions
            .iter()
            .zip(receipts)
            .map(read)
            .collect::<Result<Receipts, String>>()
            .map_err(|cause| SubmitError::False { scheduler, cause })
    }
}

fn receipt_item(
    world: &World,
    bytes: ItemBytes,
    submitted: &VerifiedItem,
    scheduler: &Address,
) -> Result<VerifiedItem, String> {
    let item = world.verified().verify(bytes.0).map_err(|cause| cause.to_string())?;
    read_receipt(world.log(), item, submitted, scheduler).map(|assignment| assignment.item)
}
