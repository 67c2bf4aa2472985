//! How values of `std` cross that serde knows nothing of: for `#[serde(with = ..)]`.

/// An exit status crosses as the number that the system gave.
pub(crate) mod exit_status {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(status: &ExitStatus, to: S) -> Result<S::Ok, S::Error> {
        status.into_raw().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ExitStatus, D::Error> {
        i32::deserialize(from).map(ExitStatus::from_raw)
    }
}

/// An exit status that may be unknown.
pub(crate) mod optional_exit_status {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        status: &Option<ExitStatus>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        status.map(ExitStatusExt::into_raw).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<ExitStatus>, D::Error> {
        Ok(Option::<i32>::deserialize(from)?.map(ExitStatus::from_raw))
    }
}

/// What the system answered crosses as its code. What somebody else has made of it, as its text.
pub(crate) mod io_error {
    use std::io;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Answer {
        Code(i32),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(error: &io::Error, to: S) -> Result<S::Ok, S::Error> {
        let answer = match error.raw_os_error() {
            Some(code) => Answer::Code(code),
            None => Answer::Text(error.to_string()),
        };
        answer.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<io::Error, D::Error> {
        Ok(match Answer::deserialize(from)? {
            Answer::Code(code) => io::Error::from_raw_os_error(code),
            Answer::Text(text) => io::Error::other(text),
        })
    }
}
