//! From a description to a running node.

use crate::builder::NodeBuilder;
use crate::error::StartError;
use crate::node::Node;

pub(crate) async fn start(builder: NodeBuilder) -> Result<Node, StartError> {
    let _ = builder;
    Err(StartError::NoTrust)
}
