//! `order-ledger config`: what is in force, secrets masked.

use crate::config::Config;
use crate::exit::Outcome;

pub fn run(config: &Config, json: bool) -> Outcome {
    let masked = config.masked();
    match json {
        true => println!("{}", serde_json::to_string_pretty(&masked)?),
        false => print!("{}", toml::to_string(&masked)?),
    }
    Ok(())
}
