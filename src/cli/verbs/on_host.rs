use std::path::PathBuf;

use clap::Args;

use crate::cli::client::Client;
use crate::config::Config;
use crate::console::CommandFailure;

/// A broker of this host.
#[derive(Args, Debug)]
pub struct OnHostArgs {
    /// The configuration file, which names the host socket
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
}

impl OnHostArgs {
    /// A client of the broker behind the socket.
    pub(super) fn client(&self) -> Result<Client, CommandFailure> {
        Ok(Client::on_host(&Config::load(&self.config)?.listen.host))
    }
}
