//! The programs of the public face, as they are, each come to their end.

use std::process::Command;

macro_rules! programs {
    ($($name:ident $path:literal)*) => {$(
        #[test]
        fn $name() {
            let out = Command::new(env!(concat!("CARGO_BIN_EXE_", $path))).output().unwrap();
            let (told, wrong) =
                (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert!(out.status.success(), "{}\n{told}\n{wrong}", out.status);
            print!("{told}");
        }
    )*};
}

programs! {
    function "contract_function"
    lifecycle "contract_lifecycle"
    locks "contract_locks"
    pipe "contract_pipe"
    pool "contract_pool"
    queue "contract_queue"
    structure "contract_structure"
}
