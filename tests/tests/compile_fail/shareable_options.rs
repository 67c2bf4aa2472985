use offspring::shm::Shareable;

#[derive(Shareable)]
#[shareable]
struct Bare(u8);

#[derive(Shareable)]
#[shareable(packed)]
struct Unknown(u8);

#[derive(Shareable)]
#[shareable(crate = "offspring")]
struct Quoted(u8);

#[derive(Shareable)]
#[shareable(crate = offspring, packed)]
struct Another(u8);

#[derive(Shareable)]
#[shareable(crate = offspring)]
#[shareable(crate = offspring)]
struct Twice(u8);

fn main() {}
