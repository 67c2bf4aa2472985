//! A pool's board, which is the library's own, and as much of a desk as its replies need.

include!(concat!(env!("OUT_DIR"), "/library/pool.rs"));

pub(crate) mod desk {
    use std::sync::atomic::Ordering;

    use crate::kernel::AtomicU32;

    /// How many replies a worker has left.
    #[derive(Debug)]
    pub(crate) struct Desk {
        replies: AtomicU32,
    }

    impl Desk {
        pub(crate) fn reply(&self) {
            self.replies.fetch_add(1, Ordering::SeqCst);
        }

        /// As if there were so many more.
        pub(crate) fn reply_for(&self, replies: u32) {
            self.replies.fetch_add(replies, Ordering::SeqCst);
        }

        pub(crate) fn replies(&self) -> u32 {
            self.replies.load(Ordering::SeqCst)
        }
    }
}
