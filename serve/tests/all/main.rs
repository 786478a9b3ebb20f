//! The server as its clients see it. Each test starts the program and speaks HTTP to it.

mod asking;
mod attention;
mod common;
mod ending;
mod fields;
mod malformed;
mod operation;
mod protocols;
mod sites;
mod tls;
mod traced;
