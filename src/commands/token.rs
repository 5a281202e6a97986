//! `order-ledger token`: a bearer token, signed with the configured key.

use std::time::Duration;

use crate::cli::TokenArgs;
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::instance::Secrets;

const TTL: Duration = Duration::from_secs(24 * 3_600);
const ROLES: [&str; 4] = ["user", "operator", "auditor", "admin"];

pub fn run(config: Config, args: &TokenArgs) -> Outcome {
    if let Some(unknown) = args.roles.iter().find(|role| !ROLES.contains(&role.as_str())) {
        return Err(Failure::Usage(format!("unknown role {unknown}: one of {}", ROLES.join(", "))));
    }
    let key = match config.auth.token_key.clone().or(Secrets::find(config.data_dir()).map(|secrets| secrets.token_key)) {
        Some(key) => key,
        None => {
            let message = format!(
                "no key to sign with: set LEDGER__AUTH__TOKEN_KEY, or start `order-ledger up` on {}",
                config.data_dir().display()
            );
            return Err(Failure::Usage(message));
        }
    };
    println!("{}", api::auth::mint_token(key.as_bytes(), args.user, &args.roles, &args.groups, TTL)?);
    Ok(())
}
