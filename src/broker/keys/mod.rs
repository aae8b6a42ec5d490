//! The broker's own keys: signing keys, sealing keys, the keyring's file.

pub(super) mod behind;
pub(super) mod checkpoints;
pub(super) mod followed;
pub(super) mod key_order;
pub(super) mod key_schedule;
pub(super) mod keyring_file;
pub(super) mod notaries;
pub(super) mod order_keys;
pub(super) mod publishing;
pub(super) mod rotate_checkpoint_key;
pub(super) mod rotate_value_key;
pub(super) mod sealing_keys;
pub(super) mod shed_signing_keys;
pub(super) mod signing_keys;
pub(super) mod staging;
pub(super) mod value_key;
