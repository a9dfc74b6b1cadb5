//! A bundle from foreign bytes: no panic, no endless nesting.

use ao_protocol::item::bundle;

#[test]
fn bundle() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let _ = bundle::decode_nested(bytes);
    });
}
