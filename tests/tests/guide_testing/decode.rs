//! A test in a process of its own.

fn decode(bytes: &[u8]) -> usize {
    bytes.len()
}
#[offspring::test(timeout = "10s", memory = "512 MiB")]
fn a_decoder_survives_anything() {
    assert_eq!(decode(b"..."), 3);
}
