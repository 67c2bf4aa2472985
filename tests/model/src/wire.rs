//! What crosses to other processes: nothing does.

pub(crate) mod endpoint {
    #[derive(Debug)]
    pub(crate) struct Endpoint;
}
