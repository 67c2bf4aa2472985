use offspring::shm::Shareable;

#[derive(Shareable)]
enum Never {}

fn main() {}
