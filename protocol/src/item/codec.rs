//! The bytes of an item (ANS-104): signature type, signature, owner, target, anchor, tags, data.

use std::ops::Range;
use std::sync::Arc;

use super::deep_hash::DeepHash::{self, Blob, List};
use super::{DataItem, Fields, ItemBuilder, ItemError, MAX_ITEM_BYTES, SignatureType};
use crate::id::{Address, Id};
use crate::tag;
use crate::wallet::{Signer, WalletError};

pub(super) fn decode(bytes: Arc<[u8]>) -> Result<DataItem, ItemError> {
    if bytes.len() > MAX_ITEM_BYTES {
        return Err(ItemError::Oversize(bytes.len()));
    }
    let mut reader = Reader { bytes: &bytes, at: 0 };
    let number = u16::from_le_bytes(reader.array("the signature type")?);
    let signature_type = SignatureType::from_u16(number).ok_or(ItemError::SignatureType(number))?;
    let signature = reader.range(signature_type.signature_len(), "the signature")?;
    let owner = reader.range(signature_type.owner_len(), "the owner")?;
    let target = reader.optional("a target")?.map(Id::from);
    let anchor = reader.optional("an anchor")?;
    let tag_count = u64::from_le_bytes(reader.array("the number of tags")?);
    let tag_length = u64::from_le_bytes(reader.array("the length of the tags")?);
    let tag_length = usize::try_from(tag_length).map_err(|_| ItemError::CutOff("the tags"))?;
    let tag_bytes = reader.range(tag_length, "the tags")?;
    let tags = tag::decode(bytes.get(tag_bytes.clone()).unwrap_or_default(), tag_count)?;
    let data = reader.at..bytes.len();
    let fields = Fields {
        id: Id::of_signature(bytes.get(signature.clone()).unwrap_or_default()),
        address: Address::of_owner(bytes.get(owner.clone()).unwrap_or_default()),
        signature_type,
        signature,
        owner,
        target,
        anchor,
        tag_bytes,
        tags,
        data,
    };
    Ok(DataItem { bytes, fields: Arc::new(fields) })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn range(&mut self, length: usize, field: &'static str) -> Result<Range<usize>, ItemError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let range = self.at..end.ok_or(ItemError::CutOff(field))?;
        self.at = range.end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ItemError> {
        let range = self.range(N, field)?;
        self.bytes.get(range).and_then(|bytes| bytes.try_into().ok()).ok_or(ItemError::CutOff(field))
    }

    fn optional(&mut self, field: &'static str) -> Result<Option<[u8; 32]>, ItemError> {
        match self.array::<1>(field)? {
            [0] => Ok(None),
            [1] => self.array(field).map(Some),
            _ => Err(ItemError::Presence(field)),
        }
    }
}

pub(super) fn signing_hash(
    kind: SignatureType,
    owner: &[u8],
    target: &[u8],
    anchor: &[u8],
    tags: &[u8],
    data: DeepHash<'_>,
) -> [u8; 48] {
    let kind = (kind as u16).to_string();
    let head = [b"dataitem", &b"1"[..], kind.as_bytes(), owner, target, anchor, tags].map(Blob);
    let parts: Vec<DeepHash<'_>> = head.into_iter().chain([data]).collect();
    List(&parts).hash()
}

pub(super) fn sign(item: &ItemBuilder, signer: &dyn Signer) -> Result<DataItem, ItemError> {
    let mut bytes = sign_head(item, Blob(&item.data), signer)?;
    bytes.extend_from_slice(&item.data);
    decode(bytes.into())
}

/// The bytes of an item before its data.
pub(super) fn sign_head(item: &ItemBuilder, data: DeepHash<'_>, signer: &dyn Signer) -> Result<Vec<u8>, ItemError> {
    let kind = signer.signature_type();
    let tags = tag::encode(&item.tags)?;
    let target = item.target.as_ref().map(AsRef::as_ref).unwrap_or_default();
    let anchor = item.anchor.as_ref().map(|anchor| &anchor[..]).unwrap_or_default();
    let hash = signing_hash(kind, signer.owner(), target, anchor, &tags, data);
    let signature = signer.sign(&hash)?;
    if signature.len() != kind.signature_len() || signer.owner().len() != kind.owner_len() {
        return Err(WalletError::Sign("the wallet's key or signature has the wrong length".into()).into());
    }
    let mut bytes = Vec::with_capacity(signature.len() + signer.owner().len() + tags.len() + item.data.len() + 84);
    bytes.extend_from_slice(&(kind as u16).to_le_bytes());
    bytes.extend_from_slice(&signature);
    bytes.extend_from_slice(signer.owner());
    for part in [target, anchor] {
        bytes.push(u8::from(!part.is_empty()));
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(&(item.tags.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(tags.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&tags);
    Ok(bytes)
}
