pub(crate) mod openapi;
pub(crate) mod operation;
pub(crate) mod problem;
pub(crate) mod resource_metadata;
