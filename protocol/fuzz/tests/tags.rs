//! Tags from foreign bytes: no panic, and what decodes encodes to something that decodes to the same.

use ao_protocol::tag;

#[test]
fn tags() {
    bolero::check!().with_type::<(Vec<u8>, u8)>().for_each(|(bytes, declared)| {
        if let Ok(tags) = tag::decode(bytes, u64::from(*declared)) {
            let again = tag::encode(&tags).expect("no larger than it was");
            assert_eq!(tag::decode(&again, u64::from(*declared)).expect("just encoded"), tags);
        }
    });
}
