//! Bearer tokens: HS256 JWTs that say who calls, with which roles, in which groups.

use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use chrono::Utc;
use domain::UserId;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::state::ApiState;

/// What a caller may do beyond what is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and changes what is theirs.
    User,
    /// Sees everybody's orders and handles dead letters and projections.
    Operator,
    /// Sees everything, changes nothing.
    Auditor,
    /// May act for others and put stock on sale.
    Admin,
}

impl Role {
    /// The role of this name, as tokens and the command line write it.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Self::User),
            "operator" => Some(Self::Operator),
            "auditor" => Some(Self::Auditor),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// Who sent the request; handlers take it as an argument.
#[derive(Debug, Clone)]
pub struct Caller {
    user_id: UserId,
    roles: Vec<Role>,
    groups: Vec<String>,
    taken_until_seconds: i64,
}

impl Caller {
    /// How long the token they sent is still taken. What is answered for longer than that has to end then.
    pub fn remaining(&self) -> Duration {
        let remaining_ms = self.taken_until_seconds.saturating_mul(1_000).saturating_sub(Utc::now().timestamp_millis());
        Duration::from_millis(u64::try_from(remaining_ms).unwrap_or(0))
    }

    /// The user the token was made for.
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// The token's groups, by which a rollout may choose a mode.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// How events name who caused them.
    pub fn actor(&self) -> String {
        format!("user:{}", self.user_id)
    }

    /// Their own things, or everybody's for those who run or check the shop.
    pub fn may_see(&self, owner: UserId) -> bool {
        self.user_id == owner || self.is_staff()
    }

    /// Whether they run the shop.
    pub fn is_staff(&self) -> bool {
        self.has_any(&[Role::Operator, Role::Auditor, Role::Admin])
    }

    /// Phone and e-mail are for their owner; running the shop is no reason to read them.
    pub fn may_see_contact_of(&self, owner: UserId) -> bool {
        self.may_act_for(owner)
    }

    /// Their own things, or everybody's for an admin. An auditor's token alone changes nothing.
    pub fn may_act_for(&self, owner: UserId) -> bool {
        self.has_any(&[Role::Admin]) || (self.user_id == owner && self.has_any(&[Role::User, Role::Operator]))
    }

    /// 403 unless the caller has one of these roles.
    pub fn require_any(&self, roles: &[Role]) -> Result<(), Problem> {
        if self.has_any(roles) { Ok(()) } else { Err(Problem::forbidden("the token's roles do not allow this call")) }
    }

    /// Anybody's phone number and address, as in a message that can't be applied.
    pub fn may_see_contacts(&self) -> bool {
        self.has_any(&[Role::Admin])
    }

    fn has_any(&self, roles: &[Role]) -> bool {
        self.roles.iter().any(|role| roles.contains(role))
    }
}

/// The key tokens are signed and checked with.
#[derive(Clone)]
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl TokenKey {
    /// HS256 wants a key as long as its hash (RFC 7518 §3.2).
    pub const MIN_BYTES: usize = 32;

    /// Takes the configured secret's bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, TokenError> {
        if secret.len() < Self::MIN_BYTES {
            return Err(TokenError::KeyTooShort { bytes: secret.len() });
        }
        Ok(Self { encoding: EncodingKey::from_secret(secret), decoding: DecodingKey::from_secret(secret) })
    }
}

/// Why a token could not be made or accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token key has {bytes} bytes and needs at least {}", TokenKey::MIN_BYTES)]
    KeyTooShort { bytes: usize },
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid")]
    Invalid,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    iat: i64,
    exp: i64,
}

/// Makes a bearer token for this user.
pub fn mint_token(
    key: &TokenKey,
    user: UserId,
    roles: &[Role],
    groups: &[String],
    ttl: Duration,
) -> Result<String, TokenError> {
    let issued_at = Utc::now().timestamp();
    let claims = Claims {
        sub: user.to_string(),
        roles: roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect(),
        groups: groups.to_vec(),
        iat: issued_at,
        exp: issued_at.saturating_add_unsigned(ttl.as_secs()),
    };
    encode(&Header::new(Algorithm::HS256), &claims, &key.encoding).map_err(|_| TokenError::Invalid)
}

/// Who a token speaks for. A role this version does not know grants nothing.
pub fn read_token(key: &TokenKey, token: &str) -> Result<Caller, TokenError> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = CLOCK_SKEW_SECONDS;
    let claims = decode::<Claims>(token, &key.decoding, &validation)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenError::Expired,
            _ => TokenError::Invalid,
        })?
        .claims;
    let user_id = claims.sub.parse().ok().and_then(|id| UserId::new(id).ok()).ok_or(TokenError::Invalid)?;
    let roles = claims.roles.iter().filter_map(|name| Role::parse(name)).collect();
    // The last second, in which it is still taken, to its end: whoever comes back then must be refused.
    let taken_until_seconds = claims.exp.saturating_add_unsigned(CLOCK_SKEW_SECONDS + 1);
    Ok(Caller { user_id, roles, groups: claims.groups, taken_until_seconds })
}

const CLOCK_SKEW_SECONDS: u64 = 5;

/// Stands before every protected route, so that a new handler can't forget to ask who calls.
pub(crate) async fn authenticate(
    State(api): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let token = bearer_token(&request)?;
    let caller = read_token(&api.token_key, token).map_err(|error| {
        let code = if matches!(error, TokenError::Expired) { "token_expired" } else { "token_invalid" };
        Problem::unauthorized(code, error.to_string())
    })?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

fn bearer_token(request: &Request) -> Result<&str, Problem> {
    let missing = || Problem::unauthorized("token_required", "send Authorization: Bearer <token>");
    let header = request.headers().get(AUTHORIZATION).ok_or_else(missing)?;
    let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(missing()) }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal("a handler that needs a caller is not behind `authenticate`"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn key(byte: u8) -> TokenKey {
        TokenKey::from_secret(&[byte; 32]).unwrap()
    }

    fn caller(user: i64, roles: &[Role]) -> Caller {
        let user = UserId::new(user).unwrap();
        let token = mint_token(&key(1), user, roles, &["beta".to_owned()], Duration::from_secs(60)).unwrap();
        read_token(&key(1), &token).unwrap()
    }

    #[test]
    fn a_token_says_who_calls_with_which_roles_and_groups() {
        let caller = caller(12345, &[Role::User, Role::Admin]);
        assert_eq!(caller.user_id(), UserId::new(12345).unwrap());
        assert_eq!(caller.groups(), ["beta"]);
        assert_eq!(caller.actor(), "user:12345");
        assert!(caller.require_any(&[Role::Admin]).is_ok());
        assert!(caller.require_any(&[Role::Auditor]).is_err());
    }

    #[test]
    fn a_user_acts_for_themselves_and_an_admin_for_all() {
        let (me, other) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        assert!(caller(1, &[Role::User]).may_act_for(me));
        assert!(!caller(1, &[Role::User]).may_act_for(other));
        assert!(!caller(1, &[Role::User]).may_see(other));
        assert!(caller(1, &[Role::Admin]).may_act_for(other));
        assert!(caller(1, &[Role::Auditor]).may_see(other));
        assert!(!caller(1, &[Role::Auditor]).may_act_for(me), "an auditor changes nothing");
        assert!(!caller(1, &[Role::Operator]).may_see_contact_of(other));
    }

    #[test]
    fn a_token_of_another_key_is_refused() {
        let token = mint_token(&key(2), UserId::new(1).unwrap(), &[Role::Admin], &[], Duration::from_secs(60)).unwrap();
        assert!(matches!(read_token(&key(1), &token), Err(TokenError::Invalid)));
    }

    #[test]
    fn an_expired_token_is_refused_as_such() {
        let past = Utc::now().timestamp() - 3600;
        let claims = Claims { sub: "1".into(), roles: vec![], groups: vec![], iat: past, exp: past + 60 };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key(1).encoding).unwrap();
        assert!(matches!(read_token(&key(1), &token), Err(TokenError::Expired)));
    }

    /// Whoever comes back when their stream has ended must be refused.
    #[test]
    fn what_is_answered_with_a_token_ends_when_it_is_no_longer_taken() {
        let now = Utc::now().timestamp();
        let claims = Claims { sub: "1".into(), roles: vec![], groups: vec![], iat: now, exp: now + 60 };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key(1).encoding).unwrap();
        let caller = read_token(&key(1), &token).unwrap();
        let last_second_taken = now + 60 + CLOCK_SKEW_SECONDS.cast_signed();
        assert_eq!(caller.taken_until_seconds, last_second_taken + 1);
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIiwicm9sZXMiOlsiYWRtaW4iXSwiaWF0IjoxLCJleHAiOjQxMDI0NDQ4MDB9.";
        assert!(matches!(read_token(&key(1), unsigned), Err(TokenError::Invalid)));
    }

    #[test]
    fn a_short_key_is_refused_before_anything_is_signed_with_it() {
        assert!(matches!(TokenKey::from_secret(b"secret"), Err(TokenError::KeyTooShort { bytes: 6 })));
    }
}
