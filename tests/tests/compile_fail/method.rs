use offspring::process;

struct Counter(u32);

impl Counter {
    #[process]
    fn by_value(self) -> u32 {
        self.0
    }

    #[process]
    pub fn by_reference(&mut self, more: u32) -> u32 {
        self.0 += more;
        self.0
    }

    #[process]
    fn boxed(self: Box<Self>) {}
}

fn main() {
    let mut counter = Counter(1);
    let _: u32 = counter.by_reference(1) + counter.by_value();
    Box::new(Counter(1)).boxed();
}
