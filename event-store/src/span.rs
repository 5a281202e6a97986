//! Spans of traces. Until the binary turns them on there are none, and asking for one costs a look at a flag.
//!
//! A span's place travels as a W3C `traceparent`, in events' metadata and in messages' properties, so a trace goes on where the
//! next process takes up what this one wrote.

use std::borrow::Cow;
use std::sync::OnceLock;

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, Value};

pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::SpanKind;

static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// From now on there are spans. Once a process.
pub fn turn_on(tracer: BoxedTracer) {
    // The first one stays.
    let _ = TRACER.set(tracer);
}

/// Whether there are any.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// A span under way; it ends when it is dropped. One that is not sampled, or that there is none of, records nothing.
#[derive(Default)]
pub struct Span(Option<BoxedSpan>);

impl Span {
    /// None: what is done on it costs nothing.
    pub const fn none() -> Span {
        Span(None)
    }

    /// Begins a span below `parent`, a `traceparent`; without one it begins a trace. Links go to spans that caused it too.
    pub fn begin<'a>(
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<&str>,
        links: impl IntoIterator<Item = &'a str>,
        attributes: Vec<KeyValue>,
    ) -> Span {
        let Some(tracer) = TRACER.get() else { return Span::none() };
        let links: Vec<Link> = links.into_iter().filter_map(parse).map(Link::with_context).collect();
        let builder = SpanBuilder::from_name(name.into()).with_kind(kind).with_attributes(attributes).with_links(links);
        let context = Context::new();
        let context = match parent.and_then(parse) {
            Some(parent) => context.with_remote_span_context(parent),
            None => context,
        };
        Span(Some(tracer.build_with_context(builder, &context)))
    }

    /// What those below it name as their parent; `None` without a span.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context();
        context.is_valid().then(|| format(context))
    }

    /// Whether anybody will see it.
    pub fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(|span| span.is_recording())
    }

    /// Adds an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// What it stands for went wrong.
    pub fn fail(&mut self, error_type: &'static str, reason: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", error_type));
            span.set_status(Status::Error { description: reason.into() });
        }
    }
}

/// The trace that a `traceparent` belongs to, for log lines.
pub fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    traceparent?.split('-').nth(1)
}

/// W3C trace context, version 00; anything else is as good as none.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() || (trace.len(), span.len(), flags.len()) != (32, 16, 2) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

fn format(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_it_is_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(format(&parse(text).unwrap()), text);
        assert_eq!(trace_id(Some(text)), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn there_are_none_until_they_are_turned_on() {
        let span = Span::begin("nothing", SpanKind::Internal, None, [], Vec::new());
        assert!(!is_on() && span.traceparent().is_none() && !span.is_recording());
    }
}
