//! A wallet file from foreign text: no panic.

use ao_protocol::wallet::Wallet;

#[test]
fn jwk() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = Wallet::from_jwk(text);
        }
    });
}
