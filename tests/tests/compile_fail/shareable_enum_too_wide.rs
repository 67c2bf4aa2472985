use offspring::shm::Shareable;

#[derive(Shareable)]
enum Status {
    Found = 200,
    NotFound = 404,
}

fn main() {}
