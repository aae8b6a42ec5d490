use std::io;
use std::path::Path;

use crate::app::adoption::{AdoptionFile, lock_of, unusable, write};
use crate::app::data_dir::give_to_broker;
use crate::base::{Clock, SystemClock, code};
use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console, host_user};
use crate::wire::AdoptOutput;

/// `keyward adopt`, on the broker's host: stores the order in the data directory. A running broker reads it within a
/// second: in read-only mode it restarts, otherwise it records the order.
///
/// # Errors
/// [`CommandFailure`].
pub fn adopt(config: &Path, console: &Console) -> Result<(), CommandFailure> {
    let config = Config::load(config)?;
    let dir = &config.data_dir;
    let lock = lock_of(dir).map_err(|error| {
        if error.kind() != io::ErrorKind::NotFound || !dir.exists() {
            return unusable(dir, &error);
        }
        let why = format!("no broker was started in `{}` yet: it has no lock file", dir.display());
        CommandFailure::new(code::NOTHING_TO_ADOPT).because(why)
    })?;
    let options = AdoptionFile { lock, by: host_user(), at: Some(SystemClock::new().now()) };
    give_to_broker(&config, write(dir, &options))?;
    if console.is_json() {
        console.json(&AdoptOutput { data_dir: dir.display().to_string(), lock });
    } else {
        console.line(&format!(
            "`{}` will be adopted: by the running broker within a second, otherwise at the next start; a broker that was started with `--read-only` does not adopt: restart it without the option",
            dir.display()
        ));
        if config.root_key == RootKey::Attended {
            console.say(
                "a broker in read-only mode is sealed then, because `attended = true`: run `keyward unseal`",
            );
        }
    }
    Ok(())
}
