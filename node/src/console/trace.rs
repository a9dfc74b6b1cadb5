//! `.trace`: what became of a message, what it caused, and what became of that.

use anyhow::Result;

use super::session::Session;
use crate::cli::{output, trace};

/// Shows the trace of a message to the session's process, or of the last one sent; false if there is none.
pub(super) async fn show(session: &Session, message: Option<&str>) -> Result<bool> {
    let Some(message) = message.or(session.last_message()) else {
        eprintln!("nothing was sent from here yet: .trace MESSAGE");
        return Ok(false);
    };
    // One that was sent to another process says so itself.
    let process = (session.last_message() == Some(message)).then(|| session.process());
    match trace::ask(session.client(), message, process).await {
        Ok(trace) => {
            let colours = output::colours(&std::io::stdout());
            trace::lines(&trace).iter().for_each(|line| println!("{}", output::shown(line, colours)));
            Ok(true)
        }
        Err(cause) => {
            eprintln!("{cause:#}");
            Ok(false)
        }
    }
}
