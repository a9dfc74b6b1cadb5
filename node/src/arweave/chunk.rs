//! Data of transactions from a gateway: piece by piece, as Arweave's nodes have it, or in one stream.

use std::io;
use std::time::Duration;

use ao_protocol::id::{Id, decode_base64url};
use ao_protocol::transaction::chunks::{MAX_CHUNK_BYTES, MAX_DATA_PATH_BYTES};
use ao_protocol::wire::DataPiece;
use reqwest::StatusCode;
use serde::Deserialize;

use super::gateway::{ANSWER_LIMIT, Gateway, GatewayError, LEAST_BYTES_A_SECOND};

impl Gateway {
    /// Where the data of a transaction begins in the data of all transactions.
    pub async fn data_start(&self, id: &Id, size: u64) -> Result<u64, GatewayError> {
        #[derive(Deserialize)]
        struct Place {
            offset: String,
            size: String,
        }
        const WHAT: &str = "place of data";
        let text = self.get_text(WHAT, &format!("/tx/{id}/offset")).await?;
        let place: Place = serde_json::from_str(&text).map_err(|cause| self.garbage(WHAT, cause))?;
        let end: Option<u64> = place.offset.parse().ok();
        // The end is its last byte.
        match end.and_then(|end| end.checked_add(1)?.checked_sub(size)).filter(|_| place.size == size.to_string()) {
            Some(start) => Ok(start),
            None => Err(self.garbage(WHAT, format!("{} bytes up to {}", place.size, place.offset))),
        }
    }

    /// The piece at a place in the data of all transactions. What it is a piece of is for the caller to check.
    pub async fn chunk(&self, place: u64) -> Result<DataPiece, GatewayError> {
        #[derive(Deserialize)]
        struct Json {
            chunk: String,
            data_path: String,
        }
        const WHAT: &str = "piece of data";
        let text = self.get_text(WHAT, &format!("/chunk/{place}")).await?;
        let json: Json = serde_json::from_str(&text).map_err(|cause| self.garbage(WHAT, cause))?;
        let bytes = |text: &str| decode_base64url(text).map_err(|cause| self.garbage(WHAT, cause));
        let piece = DataPiece { proof: bytes(&json.data_path)?, bytes: bytes(&json.chunk)? };
        if piece.bytes.len() > MAX_CHUNK_BYTES || piece.proof.len() > MAX_DATA_PATH_BYTES {
            return Err(self.garbage(WHAT, "it is larger than pieces are"));
        }
        Ok(piece)
    }

    /// The data of a transaction or item, which has so many bytes, as it comes.
    pub async fn download(
        &self,
        id: &Id,
        size: u64,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), GatewayError> {
        let time = ANSWER_LIMIT + Duration::from_secs(size / LEAST_BYTES_A_SECOND);
        let slow = |_| GatewayError::Unreachable { url: self.url.clone(), cause: "its data comes too slowly".into() };
        let all = async {
            let mut answer = self.send(self.http.get(format!("{}/raw/{id}", self.url))).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                // What arlocal has; many gateways turn it into a page.
                answer = self.send(self.http.get(format!("{}/{id}", self.url))).await?;
            }
            if answer.status() != StatusCode::OK {
                return Err(self.refused("data", answer).await);
            }
            let mut left = size;
            while let Some(part) = answer.chunk().await.map_err(|cause| self.unreachable(&cause))? {
                let more = |left| self.garbage("data", format!("more than {} bytes", size - left));
                left = left.checked_sub(part.len() as u64).ok_or_else(|| more(left))?;
                write(&part).map_err(|cause| self.garbage("data that could be kept", cause))?;
            }
            if left > 0 { Err(self.garbage("data", format!("{} of {size} bytes", size - left))) } else { Ok(()) }
        };
        tokio::time::timeout(time, all).await.map_err(slow)?
    }
}
