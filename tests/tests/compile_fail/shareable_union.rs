use offspring::shm::Shareable;

#[derive(Shareable)]
union Bits {
    float: f32,
    bits: u32,
}

fn main() {}
