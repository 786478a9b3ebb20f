//! The operations of the OpenAPI document, one file per protocol.

mod cohere;
mod hf;
mod kserve;
mod native;
mod openai;
mod server;
mod tei;
mod tfserving;
mod torchserve;

use super::operation::Operation;

/// All operations.
pub fn operations() -> Vec<Operation> {
    [
        tei::operations(),
        openai::operations(),
        cohere::operations(),
        torchserve::operations(),
        tfserving::operations(),
        kserve::operations(),
        hf::operations(),
        native::operations(),
        server::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
