//! The instructions that hot functions take, held against committed bounds.

mod consumer;
mod producer;

/// A hot function with something to do.
pub struct Case {
    /// What is counted; unique.
    pub name: &'static str,
    /// The rows that one run handles.
    pub rows: u64,
    /// One run. It is run once before the counting, so that buffers have their sizes.
    pub run: Box<dyn FnMut()>,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    for mut case in consumer::cases().into_iter().filter(|case| words.is_empty() || words.iter().any(|word| case.name.contains(word))) {
        (case.run)();
    }
}
