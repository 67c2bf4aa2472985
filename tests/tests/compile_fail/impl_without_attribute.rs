use offspring::Process;

struct Looper {
    count: u32,
}

impl Process for Looper {
    type Output = u32;

    fn run(self) -> u32 {
        self.count
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Serialisable;

impl Process for Serialisable {
    type Output = ();

    fn run(self) {}
}

fn main() {}
