//! An item from foreign bytes: no panic, and what decodes is those bytes.

use ao_protocol::item::DataItem;

#[test]
fn item() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(item) = DataItem::decode(bytes) {
            assert_eq!(item.bytes()[..], *bytes);
            let _ = item.verify();
        }
    });
}
