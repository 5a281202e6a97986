//! `order-ledger token`: a bearer token, signed with the configured key.

use std::time::Duration;

use api::auth::{Role, TokenKey, mint_token};
use domain::UserId;

use crate::cli::TokenArgs;
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::instance::Secrets;

const TTL: Duration = Duration::from_secs(24 * 3_600);

pub fn run(config: Config, args: &TokenArgs) -> Outcome {
    let roles = args.roles.iter().map(|name| parse_role(name)).collect::<Result<Vec<Role>, Failure>>()?;
    let user = UserId::new(args.user).map_err(|error| Failure::Usage(format!("--user: {error}")))?;
    let key = match config.auth.token_key.clone().or(Secrets::find(config.data_dir()).map(|secrets| secrets.token_key))
    {
        Some(key) => key,
        None => {
            let message = format!(
                "no key to sign with: set LEDGER__AUTH__TOKEN_KEY, or start `order-ledger up` on {}",
                config.data_dir().display()
            );
            return Err(Failure::Usage(message));
        }
    };
    println!("{}", mint_token(&TokenKey::from_secret(key.as_bytes())?, user, &roles, &args.groups, TTL)?);
    Ok(())
}

fn parse_role(name: &str) -> Result<Role, Failure> {
    Role::parse(name)
        .ok_or_else(|| Failure::Usage(format!("unknown role {name}: one of user, operator, auditor, admin")))
}
