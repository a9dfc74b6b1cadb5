//! An id from foreign text: no panic, and one text for one id.

use ao_protocol::id::Id;

#[test]
fn id() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(text) = std::str::from_utf8(bytes)
            && let Ok(id) = text.parse::<Id>()
        {
            assert_eq!(id.to_string(), text);
        }
    });
}
