use offspring::shm::Shareable;

#[derive(Shareable)]
struct Guard {
    id: u32,
}

impl Drop for Guard {
    fn drop(&mut self) {}
}

#[derive(Shareable)]
enum State {
    On,
    Off,
}

impl Drop for State {
    fn drop(&mut self) {}
}

fn main() {}
