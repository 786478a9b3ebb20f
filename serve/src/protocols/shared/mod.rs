//! What several protocols share.

pub mod management;
pub mod model;
pub mod options;
pub mod ranking;
pub mod rows;
pub mod similarity;
pub mod texts;
pub mod token;
