use offspring::shm::Shareable;

#[derive(Shareable)]
#[repr(u16)]
enum Wide {
    Low,
    High,
}

#[derive(Shareable)]
#[repr(C)]
enum Foreign {
    Low,
    High,
}

#[derive(Shareable)]
#[repr(u8, align(8))]
enum Aligned {
    Low,
    High,
}

#[derive(Shareable)]
enum Parameter<const N: usize> {
    Low,
    High,
}

fn main() {}
