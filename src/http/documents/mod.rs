pub(crate) mod openapi;
pub(crate) mod problem;
