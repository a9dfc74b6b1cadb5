//! Processes of this node's scheduler whose log was lost and had to be got back.

use ao_protocol::id::{Address, Id};
use ao_protocol::log::LogError;
use rocksdb::WriteBatch;

use super::schema::{self, Table};
use super::{Store, database};

impl Store {
    /// Notes that the log of a process was lost, and who followed it as far as that is known; synced.
    pub fn note_recovering(&self, process: &Id, followers: &[Address]) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.put(&mut batch, Table::Recovering, &schema::process(process), &followers.to_vec())?;
        self.write_synced(batch)
    }

    /// All such processes.
    pub fn recovering(&self) -> Result<Vec<(Id, Vec<Address>)>, LogError> {
        let mut found = Vec::new();
        for pair in self.iterate(Table::Recovering, &[], &[])? {
            let (key, value) = pair.map_err(database)?;
            let Some(process) = key.first_chunk().map(|id| Id::from(*id)) else { continue };
            found.push((process, super::decode(Table::Recovering, &key, &value)?));
        }
        Ok(found)
    }

    /// The log of a process is back; synced.
    pub fn recovered(&self, process: &Id) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.table(Table::Recovering)?, schema::process(process));
        self.write_synced(batch)
    }
}
