//! Items from a gateway that looks into bundles: what its GraphQL says of one is put together to the signed head, which
//! its data then has to fit.

use ao_protocol::id::{Id, decode_base64url};
use ao_protocol::item::SignatureType;
use ao_protocol::tag::{self, Tag};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::gateway::{ANSWER_LIMIT, Gateway, GatewayError, MAX_ANSWER_BYTES, Status};

/// An item as a gateway tells of it: nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldItem {
    /// Its bytes before the data, once for each kind of key that it may be signed with.
    pub heads: Vec<Vec<u8>>,
    /// Bytes of its data.
    pub size: u64,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: Option<Found<T>>,
}

#[derive(Deserialize)]
struct Found<T> {
    transactions: Edges<T>,
}

#[derive(Deserialize)]
struct Edges<T> {
    edges: Vec<Edge<T>>,
}

#[derive(Deserialize)]
struct Edge<T> {
    node: T,
}

#[derive(Deserialize)]
struct Node {
    id: Id,
    signature: Option<String>,
    anchor: Option<String>,
    recipient: Option<String>,
    owner: Owner,
    #[serde(default)]
    tags: Vec<Tag>,
    data: Option<Size>,
}

#[derive(Deserialize)]
struct Owner {
    key: Option<String>,
}

#[derive(Deserialize)]
struct Size {
    size: String,
}

#[derive(Deserialize)]
struct Placed {
    id: Id,
    block: Option<Block>,
}

#[derive(Deserialize)]
struct Block {
    height: u64,
}

impl Gateway {
    /// What the gateway's GraphQL says of an item or transaction.
    async fn told<T: serde::de::DeserializeOwned>(&self, id: &Id, fields: &str) -> Result<Option<T>, GatewayError> {
        const WHAT: &str = "answer about an item";
        let query = format!("query ($ids: [ID!]) {{ transactions(ids: $ids) {{ edges {{ node {{ {fields} }} }} }} }}");
        let body = json!({ "query": query, "variables": { "ids": [id.to_string()] } });
        let request = self.http.post(format!("{}/graphql", self.url)).timeout(ANSWER_LIMIT).json(&body);
        let answer = self.send(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refused("a search", answer).await);
        }
        let body = self.body(WHAT, answer, MAX_ANSWER_BYTES).await?;
        let answer: Answer<T> = serde_json::from_slice(&body).map_err(|cause| self.garbage(WHAT, cause))?;
        let found = answer.data.ok_or_else(|| self.garbage(WHAT, "it has no data"))?;
        Ok(found.transactions.edges.into_iter().next().map(|edge| edge.node))
    }

    /// Where an item is that may be in a bundle of somebody's.
    pub async fn item_status(&self, id: &Id) -> Result<Status, GatewayError> {
        let placed = self.told::<Placed>(id, "id block { height }").await?;
        match placed.filter(|placed| placed.id == *id) {
            None => Ok(Status::Unknown),
            Some(Placed { block: None, .. }) => Ok(Status::Pending),
            Some(Placed { block: Some(Block { height }), .. }) => {
                let confirmations = self.height().await?.saturating_sub(height).saturating_add(1);
                Ok(Status::Mined { height, confirmations })
            }
        }
    }

    /// An item; none if the gateway does not know of it, or does not say all that is signed.
    pub async fn item(&self, id: &Id) -> Result<Option<ToldItem>, GatewayError> {
        let fields = "id signature anchor recipient owner { key } tags { name value } data { size }";
        let told = self.told::<Node>(id, fields).await?;
        Ok(told.filter(|node| node.id == *id).and_then(|node| head(&node)))
    }
}

fn head(node: &Node) -> Option<ToldItem> {
    let bytes = |text: &Option<String>| decode_base64url(text.as_deref().unwrap_or_default()).ok();
    let (signature, owner) = (bytes(&node.signature)?, bytes(&node.owner.key)?);
    let anchor = node.anchor.as_deref().unwrap_or_default();
    // Some give it as it is, others encoded.
    let anchor = match decode_base64url(anchor) {
        Ok(decoded) if decoded.len() == 32 => decoded,
        _ => anchor.as_bytes().to_vec(),
    };
    let target = bytes(&node.recipient)?;
    if !matches!(anchor.len(), 0 | 32) || !matches!(target.len(), 0 | 32) {
        return None;
    }
    let tags = tag::encode(&node.tags).ok()?;
    let fits = |kind: &SignatureType| kind.owner_len() == owner.len() && kind.signature_len() == signature.len();
    let heads = (1..=4).filter_map(SignatureType::from_u16).filter(fits).map(|kind| {
        let mut head = (kind as u16).to_le_bytes().to_vec();
        head.extend_from_slice(&signature);
        head.extend_from_slice(&owner);
        for part in [&target, &anchor] {
            head.push(u8::from(!part.is_empty()));
            head.extend_from_slice(part);
        }
        head.extend_from_slice(&(node.tags.len() as u64).to_le_bytes());
        head.extend_from_slice(&(tags.len() as u64).to_le_bytes());
        head.extend_from_slice(&tags);
        head
    });
    Some(ToldItem { heads: heads.collect(), size: node.data.as_ref()?.size.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use ao_protocol::id::encode_base64url;
    use ao_protocol::item::{DataItem, ItemBuilder};
    use ao_protocol::wallet::Wallet;

    use super::*;

    #[test]
    fn an_item_is_put_together_from_what_is_told_of_it() {
        let wallets = [
            Wallet::from_jwk(include_str!("../../../testnet/dev-wallet.json")).unwrap(),
            Wallet::ed25519_from_seed([1; 32]),
            Wallet::ethereum_from_secret([2; 32]).unwrap(),
            Wallet::solana_from_seed([3; 32]),
        ];
        let plain = ItemBuilder::new().data("data");
        let full = plain.clone().target(Id::from([7; 32])).anchor([8; 32]).tag("Grüße", "an").tag("b", "c");
        for (wallet, builder) in wallets.iter().flat_map(|wallet| [(wallet, &plain), (wallet, &full)]) {
            let item = builder.sign(wallet).unwrap();
            let node = Node {
                id: item.id(),
                signature: Some(encode_base64url(item.signature())),
                anchor: item.anchor().map(|anchor| encode_base64url(anchor)),
                recipient: item.target().map(|target| target.to_string()),
                owner: Owner { key: Some(encode_base64url(item.owner())) },
                tags: item.tags().to_vec(),
                data: Some(Size { size: "4".into() }),
            };
            let told = head(&node).unwrap();
            let whole = |head: &Vec<u8>| DataItem::decode([&head[..], b"data"].concat()).unwrap().verify();
            let verified: Vec<_> = told.heads.iter().filter_map(|head| whole(head).ok()).collect();
            assert_eq!((verified, told.size), (vec![item], 4));
            assert_eq!(head(&Node { signature: None, ..node }).map(|told| told.heads.len()), Some(0));
        }
    }
}
