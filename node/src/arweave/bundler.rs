//! A bundler: it takes signed items and puts them on Arweave in bundles of its own, for whoever has an account there.
//! The API is that of Irys, Turbo and this node: `POST /tx` of the bytes.

use ao_protocol::id::Id;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::gateway::{ANSWER_LIMIT, Gateway, GatewayError, LEAST_BYTES_A_SECOND, MAX_ANSWER_BYTES};

impl Gateway {
    /// Sends an item to the bundler at this URL; one that it has already is fine.
    pub async fn post_item(&self, id: &Id, bytes: Vec<u8>) -> Result<(), GatewayError> {
        #[derive(Deserialize)]
        struct Receipt {
            id: Option<Id>,
        }
        let time = ANSWER_LIMIT + std::time::Duration::from_secs(bytes.len() as u64 / LEAST_BYTES_A_SECOND);
        let request = self.http.post(format!("{}/tx", self.url)).timeout(time);
        let answer = self.send(request.header(CONTENT_TYPE, "application/octet-stream").body(bytes)).await?;
        match answer.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::ALREADY_REPORTED => {}
            _ => return Err(self.refused("an item", answer).await),
        }
        let body = self.body("receipt", answer, MAX_ANSWER_BYTES).await?;
        // What is known already is answered with a text.
        match serde_json::from_slice::<Receipt>(&body).ok().and_then(|receipt| receipt.id) {
            Some(other) if other != *id => Err(self.garbage("receipt", format!("it is for {other}"))),
            _ => Ok(()),
        }
    }
}
