use api::auth::Role;
use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::Value;

/// A request in the making.
pub struct Call {
    method: Method,
    uri: String,
    caller: Option<(i64, Vec<Role>)>,
    groups: Vec<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub fn get(uri: impl Into<String>) -> Call {
    Call::new(Method::GET, uri)
}

pub fn post(uri: impl Into<String>) -> Call {
    Call::new(Method::POST, uri)
}

pub fn put(uri: impl Into<String>) -> Call {
    Call::new(Method::PUT, uri)
}

pub fn delete(uri: impl Into<String>) -> Call {
    Call::new(Method::DELETE, uri)
}

impl Call {
    fn new(method: Method, uri: impl Into<String>) -> Self {
        Self { method, uri: uri.into(), caller: None, groups: Vec::new(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn user(self, user: i64) -> Self {
        self.role(user, Role::User)
    }

    pub fn admin(self) -> Self {
        self.role(1, Role::Admin)
    }

    pub fn role(mut self, user: i64, role: Role) -> Self {
        self.caller = Some((user, vec![role]));
        self
    }

    /// In the caller's token.
    pub fn group(mut self, group: &str) -> Self {
        self.groups.push(group.to_owned());
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.raw(&body.to_string())
    }

    /// A body that claims to be JSON.
    pub fn raw(self, body: &str) -> Self {
        self.header("content-type", "application/json").bytes(body.as_bytes())
    }

    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub fn into_request(self, token: impl Fn(i64, &[Role], &[String]) -> String) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.uri);
        if let Some((user, roles)) = &self.caller {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token(*user, roles, &self.groups)));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body)).unwrap()
    }
}
