use offspring::shm::Shareable;

#[derive(Shareable)]
enum Message {
    Stop,
    Number(u64),
    Pair { left: u8, right: u8 },
    Text(String),
}

fn main() {}
