use offspring::process;

#[process]
async fn fetch(url: String) -> u16 {
    std::future::ready(url.len() as u16).await
}

fn main() {
    let _: u16 = fetch("http://localhost".into()).run();
}
