use offspring::Process;
use serde::{Deserialize, Serialize};

#[offspring::process]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Both(u32);

#[offspring::process]
#[derive(serde::Serialize)]
struct One(u32);

#[offspring::process]
#[derive(offspring::Process)]
struct Registered(u32);

macro_rules! processes {
    ($($name:ident)*) => {
        $(impl Process for $name {
            type Output = u32;

            fn run(self) -> u32 {
                self.0
            }
        })*
    };
}
processes!(Both One Registered);

fn main() {
    let _: u32 = Both(1).run() + One(1).run() + Registered(1).run();
}
