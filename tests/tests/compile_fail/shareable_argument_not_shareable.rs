use offspring::shm::Shareable;

#[derive(Shareable)]
struct Generic<T>(T);

struct Plain;

fn assert<T: Shareable>() {}

fn main() {
    assert::<Generic<u8>>();
    assert::<Generic<String>>();
    assert::<Generic<Plain>>();
    assert::<Plain>();
}
