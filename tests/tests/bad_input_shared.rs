//! Locks and shared memory that are not what they should be, of no size, of far too much, or made at
//! the limits that the system sets: a typed error that says what is wrong, and nothing left behind.

#[path = "bad_input_shared/limits.rs"]
mod limits;
#[path = "bad_input_shared/messages_only.rs"]
mod messages_only;
#[path = "bad_input_shared/received.rs"]
mod received;
#[path = "bad_input_shared/sizes.rs"]
mod sizes;

use offspring::Error;
use tests::Holdings;

/// Runs it once before it counts: what is loaded lazily then is.
fn leaves_nothing(work: impl Fn()) {
    work();
    let before = Holdings::now();
    work();
    assert_eq!(Holdings::now(), before);
    let open = tests::descriptors();
    assert!(!open.iter().any(|(_, to)| to.contains("memfd:")), "{open:?}");
}

/// There is no room for so many bytes.
fn no_room<T>(result: Result<T, Error>, bytes: usize, errno: i32) {
    match result {
        Err(ref error @ Error::SharedMemory { len, .. }) => {
            assert_eq!(error.raw_os_error(), Some(errno), "{error}");
            assert!(len >= bytes, "{error}");
            assert!(error.to_string().contains("bytes of shared memory"), "{error}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{bytes} bytes were made"),
    }
}
