//! Data items (ANS-104): the signed unit of everything that ao schedules and Arweave stores.
//!
//! [`DataItem`] is decoded and not trusted; [`VerifiedItem`] is the same with its signature checked, and the only kind
//! that rules take.

pub mod bundle;
mod codec;
pub mod deep_hash;
pub mod signature;

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use thiserror::Error;

use self::deep_hash::DeepHash;
pub use self::signature::SignatureType;
use self::signature::{SignatureError, ethereum_address};
use crate::id::{Address, Id};
use crate::tag::{Tag, TagError, find};
use crate::wallet::{Signer, WalletError};

/// Most bytes of an item.
pub const MAX_ITEM_BYTES: usize = 10 * 1024 * 1024;

/// Why bytes are not an item, or not one that counts.
#[derive(Debug, Error)]
pub enum ItemError {
    /// Too many bytes.
    #[error("the item has {0} bytes; at most {MAX_ITEM_BYTES} are taken")]
    Oversize(usize),
    /// The bytes end within a field.
    #[error("not a data item: the bytes end within {0}")]
    CutOff(&'static str),
    /// A signature type that is not known.
    #[error("signature type {0} is not supported; supported are 1 (Arweave), 2 (Ed25519), 3 (Ethereum), 4 (Solana)")]
    SignatureType(u16),
    /// A presence byte that is neither 0 nor 1.
    #[error("not a data item: the byte that says whether there is {0} must be 0 or 1")]
    Presence(&'static str),
    /// The tags are wrong.
    #[error(transparent)]
    Tags(#[from] TagError),
    /// The signature is wrong.
    #[error("invalid signature: {0}")]
    Signature(#[from] SignatureError),
    /// The wallet can't sign.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The frame around bundled items is wrong.
    #[error("not a bundle: {0}")]
    Bundle(&'static str),
}

/// A decoded item, its signature not checked. Cloning is cheap.
#[derive(Clone)]
pub struct DataItem {
    bytes: Arc<[u8]>,
    fields: Arc<Fields>,
}

/// Where things are in the bytes, and what is computed once.
struct Fields {
    id: Id,
    address: Address,
    signature_type: SignatureType,
    signature: Range<usize>,
    owner: Range<usize>,
    target: Option<Id>,
    anchor: Option<[u8; 32]>,
    tag_bytes: Range<usize>,
    tags: Vec<Tag>,
    data: Range<usize>,
}

impl DataItem {
    /// Decodes an item; its signature is not checked.
    pub fn decode(bytes: impl Into<Arc<[u8]>>) -> Result<DataItem, ItemError> {
        codec::decode(bytes.into())
    }

    /// Checks the signature.
    pub fn verify(self) -> Result<VerifiedItem, ItemError> {
        signature::verify(self.signature_type(), self.owner(), &self.signing_hash(), self.signature())?;
        Ok(VerifiedItem(self))
    }

    /// Checks the signature of an item whose data is elsewhere: of these bytes only the head counts, and the data has
    /// so many bytes and this SHA-384.
    pub fn verify_head(&self, size: u64, sha384: &[u8; 48]) -> Result<(), ItemError> {
        let hash = self.hash_with(DeepHash::Digest(size, sha384));
        Ok(signature::verify(self.signature_type(), self.owner(), &hash, self.signature())?)
    }

    /// The bytes before the data.
    pub fn head(&self) -> &[u8] {
        self.slice(&(0..self.fields.data.start))
    }

    /// The deep hash that is signed.
    pub fn signing_hash(&self) -> [u8; 48] {
        self.hash_with(DeepHash::Blob(self.data()))
    }

    fn hash_with(&self, data: DeepHash<'_>) -> [u8; 48] {
        let target = self.fields.target.as_ref().map(AsRef::as_ref).unwrap_or_default();
        let anchor = self.fields.anchor.as_ref().map(|anchor| &anchor[..]).unwrap_or_default();
        let tags = self.slice(&self.fields.tag_bytes);
        codec::signing_hash(self.signature_type(), self.owner(), target, anchor, tags, data)
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The id: sha-256 of the signature.
    pub fn id(&self) -> Id {
        self.fields.id
    }

    /// Which kind of key signed it.
    pub fn signature_type(&self) -> SignatureType {
        self.fields.signature_type
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        self.slice(&self.fields.signature)
    }

    /// The public key of whoever signed it.
    pub fn owner(&self) -> &[u8] {
        self.slice(&self.fields.owner)
    }

    /// The native address of whoever signed it: sha-256 of the public key.
    pub fn address(&self) -> Address {
        self.fields.address
    }

    /// Whoever signed it as ao shows them: `0x…` for Ethereum keys, else the native address.
    pub fn signer_text(&self) -> String {
        let ethereum = match self.signature_type() {
            SignatureType::Ethereum => ethereum_address(self.owner()),
            _ => None,
        };
        ethereum.unwrap_or_else(|| self.address().to_string())
    }

    /// The target, if any.
    pub fn target(&self) -> Option<Id> {
        self.fields.target
    }

    /// The anchor, if any.
    pub fn anchor(&self) -> Option<&[u8; 32]> {
        self.fields.anchor.as_ref()
    }

    /// All tags in order.
    pub fn tags(&self) -> &[Tag] {
        &self.fields.tags
    }

    /// The value of the first tag with this name.
    pub fn tag(&self, name: &str) -> Option<&str> {
        find(&self.fields.tags, name)
    }

    /// The values of all tags with this name.
    pub fn tag_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.tags.iter().filter(move |tag| tag.name == name).map(|tag| tag.value.as_str())
    }

    /// The data.
    pub fn data(&self) -> &[u8] {
        self.slice(&self.fields.data)
    }

    /// The whole item as it is stored and sent.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

impl fmt::Debug for DataItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataItem({}, {} bytes)", self.id(), self.bytes.len())
    }
}

impl PartialEq for DataItem {
    fn eq(&self, other: &DataItem) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for DataItem {}

/// An item whose signature was checked. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedItem(DataItem);

impl VerifiedItem {
    /// Decodes bytes that this node verified before it stored them, without checking the signature again.
    pub fn from_own_store(bytes: impl Into<Arc<[u8]>>) -> Result<VerifiedItem, ItemError> {
        DataItem::decode(bytes).map(VerifiedItem)
    }
}

impl Deref for VerifiedItem {
    type Target = DataItem;

    fn deref(&self) -> &DataItem {
        &self.0
    }
}

/// What goes into a new item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemBuilder {
    /// The target.
    pub target: Option<Id>,
    /// The anchor: makes items different that are alike otherwise.
    pub anchor: Option<[u8; 32]>,
    /// The tags.
    pub tags: Vec<Tag>,
    /// The data.
    pub data: Vec<u8>,
}

impl ItemBuilder {
    /// An item with nothing in it.
    pub fn new() -> ItemBuilder {
        ItemBuilder::default()
    }

    /// Sets the target.
    pub fn target(mut self, target: Id) -> ItemBuilder {
        self.target = Some(target);
        self
    }

    /// Sets the anchor.
    pub fn anchor(mut self, anchor: [u8; 32]) -> ItemBuilder {
        self.anchor = Some(anchor);
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> ItemBuilder {
        self.tags.push(Tag::new(name, value));
        self
    }

    /// Sets the data.
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> ItemBuilder {
        self.data = data.into();
        self
    }

    /// Signs an item with other data than its own, which may be larger than an item that nodes take: the item without
    /// its data.
    pub fn sign_head(&self, data: &[u8], signer: &dyn Signer) -> Result<DataItem, ItemError> {
        DataItem::decode(codec::sign_head(self, DeepHash::Blob(data), signer)?)
    }

    /// Signs the item.
    pub fn sign(&self, signer: &dyn Signer) -> Result<VerifiedItem, ItemError> {
        codec::sign(self, signer).map(VerifiedItem)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wallet::Wallet;

    static WALLETS: LazyLock<[Wallet; 4]> = LazyLock::new(|| {
        [
            Wallet::from_jwk(include_str!("../../../tests/golden/rsa-wallet.json")).unwrap(),
            Wallet::ed25519_from_seed([1; 32]),
            Wallet::ethereum_from_secret([2; 32]).unwrap(),
            Wallet::solana_from_seed([3; 32]),
        ]
    });

    fn builders() -> impl Strategy<Value = ItemBuilder> {
        let tags = vec((any::<String>(), any::<String>()), 0..8);
        let data = vec(any::<u8>(), 0..300);
        (any::<Option<[u8; 32]>>(), any::<Option<[u8; 32]>>(), tags, data).prop_map(|(target, anchor, tags, data)| {
            let tags = tags.into_iter().map(|(name, value)| Tag::new(name, value)).collect();
            ItemBuilder { target: target.map(Id::from), anchor, tags, data }
        })
    }

    proptest! {
        #[test]
        fn items_of_every_kind_are_read_as_they_were_made(builder in builders()) {
            for wallet in &*WALLETS {
                let made = builder.sign(wallet).unwrap();
                let read = DataItem::decode(made.bytes().clone()).unwrap().verify().unwrap();
                prop_assert_eq!(&read, &made);
                prop_assert_eq!(read.id(), Id::of_signature(read.signature()));
                prop_assert_eq!(read.signature_type(), wallet.signature_type());
                prop_assert_eq!(read.owner(), wallet.owner());
                prop_assert_eq!(read.address(), wallet.address());
                prop_assert_eq!(read.signer_text(), wallet.signer_text());
                let (target, anchor) = (read.target(), read.anchor().copied());
                let again = ItemBuilder { target, anchor, tags: read.tags().to_vec(), data: read.data().to_vec() };
                prop_assert_eq!(&again, &builder);
                prop_assert_eq!(VerifiedItem::from_own_store(&made.bytes()[..]).unwrap(), made);
            }
        }

        #[test]
        fn arbitrary_bytes_are_no_item(
            kind in 0u16..6,
            bytes in vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..1500),
        ) {
            let bytes = [&kind.to_le_bytes()[..], &bytes].concat();
            if let Ok(item) = DataItem::decode(bytes) {
                prop_assert!(item.verify().is_err());
            }
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let builder = ItemBuilder::new().target([7; 32].into()).anchor([8; 32]).tag("Action", "Eval").data(b"1 + 1");
        for builder in [builder, ItemBuilder::new()] {
            for wallet in &*WALLETS {
                let item = builder.sign(wallet).unwrap();
                // RSA items are long and slow to refuse: one bit of each byte; else every bit alone, and all.
                let changes: &[u8] = match wallet.signature_type() {
                    SignatureType::Arweave => &[0x01],
                    _ => &[0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff],
                };
                for place in 0..item.bytes().len() {
                    for change in changes {
                        let mut bytes = item.bytes().to_vec();
                        bytes[place] ^= change;
                        let read = DataItem::decode(bytes).and_then(DataItem::verify);
                        assert!(read.is_err(), "{wallet:?}, byte {place} changed by {change}");
                    }
                }
            }
        }
    }

    #[test]
    fn items_that_are_cut_off_or_go_on_are_refused() {
        for wallet in &WALLETS[1..] {
            let item = ItemBuilder::new().anchor([8; 32]).tag("Action", "Eval").data(b"data").sign(wallet).unwrap();
            for end in 0..item.bytes().len() {
                let read = DataItem::decode(&item.bytes()[..end]).and_then(DataItem::verify);
                assert!(read.is_err(), "{wallet:?}, cut off at {end}");
            }
            let more = [&item.bytes()[..], &[0]].concat();
            assert!(DataItem::decode(more).and_then(DataItem::verify).is_err());
        }
    }

    #[test]
    fn large_items_are_taken_up_to_the_limit() {
        let wallet = &WALLETS[1];
        let empty = ItemBuilder::new().sign(wallet).unwrap().bytes().len();
        let largest = ItemBuilder::new().data(vec![0; MAX_ITEM_BYTES - empty]).sign(wallet).unwrap();
        assert!(DataItem::decode(largest.bytes().clone()).unwrap().verify().is_ok());
        let refused = ItemBuilder::new().data(vec![0; MAX_ITEM_BYTES - empty + 1]).sign(wallet);
        assert!(matches!(refused, Err(ItemError::Oversize(bytes)) if bytes == MAX_ITEM_BYTES + 1));
    }

    #[test]
    fn tags_are_found_by_name() {
        let item = ItemBuilder::new().tag("A", "1").tag("a", "2").tag("A", "3").sign(&WALLETS[1]).unwrap();
        assert_eq!(item.tag("A"), Some("1"));
        assert_eq!(item.tag("b"), None);
        assert_eq!(item.tag_values("A").collect::<Vec<_>>(), ["1", "3"]);
    }
}
