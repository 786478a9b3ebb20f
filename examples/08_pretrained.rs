//! A pretrained BERT turns texts into embeddings; cosines say which texts are alike.
//!
//! `cargo run --release --example 08_pretrained -- DIR`, where DIR is a folder in the Hugging Face
//! layout or an id of the hub. The default, sentence-transformers/all-MiniLM-L6-v2 (90 MB), is
//! downloaded once.

use gradus::models::pipelines::TextEmbedder;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args().nth(1);
    let model = model.as_deref().unwrap_or("sentence-transformers/all-MiniLM-L6-v2");
    let embedder = TextEmbedder::open(model, None, true)?;

    let texts = [
        "I have lost my bank card.",
        "My debit card is missing.",
        "The weather is lovely in Lisbon today.",
    ];
    let embeddings = embedder.embed(&texts.map(String::from))?;
    println!("{} texts → {:?}", texts.len(), embeddings.shape());

    // The rows have length 1, so their products are cosines.
    let cosines = embeddings.matmul(&embeddings.t()?)?;
    println!("{cosines}");
    let c = cosines.to_vec::<f32>()?;
    assert!(c[1] > c[2], "two sentences about cards are more alike than one about the weather");
    Ok(())
}
