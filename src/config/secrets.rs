//! What is shown of a secret.

pub(super) const MASK: &str = "********";

pub(super) fn mask_secret(secret: &mut Option<String>) {
    if secret.is_some() {
        *secret = Some(MASK.into());
    }
}

/// `postgres://user:secret@host/db` → `postgres://user:********@host/db`.
pub(super) fn mask_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.into() };
    let Some((credentials, host)) = rest.rsplit_once('@') else { return url.into() };
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{MASK}@{host}"),
        None => url.into(),
    }
}
