use cqrs_es::Aggregate;

use crate::rejection::Rejection;
use crate::schema::{self, EventSchema, UpcastError};

/// An aggregate whose decisions are a pure function of its state and a command.
pub trait Decider:
    Aggregate<Services = (), Command: Send, Error: Into<Rejection> + Send + Sync> + Clone + 'static
{
    /// The first part of its stream ids: `<CATEGORY>-<id>`.
    const CATEGORY: &'static str;

    /// Every event it can write, with today's schema version.
    const SCHEMAS: &'static [EventSchema];

    /// The events that `command` causes now; none when it repeats what has already happened.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Today's JSON of a stored payload: the event's inner object, written under `schema_version`.
    fn upcast(event_type: &str, schema_version: u16, payload: String) -> Result<String, UpcastError> {
        schema::check_known(Self::SCHEMAS, event_type, schema_version)?;
        Ok(payload)
    }

    /// The stream of the aggregate with this id.
    fn stream_id(id: &str) -> String {
        format!("{}-{id}", Self::CATEGORY)
    }
}

/// Makes a [`Decider`] with an `evolve` method a cqrs-es aggregate: `handle` is the loop over `decide`.
macro_rules! aggregate {
    ($state:ty, $command:ty, $event:ty, $rejection:ty) => {
        impl cqrs_es::Aggregate for $state {
            const TYPE: &'static str = <$state as $crate::Decider>::CATEGORY;
            type Command = $command;
            type Event = $event;
            type Error = $rejection;
            type Services = ();

            async fn handle(
                &mut self,
                command: Self::Command,
                _services: &Self::Services,
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                for event in $crate::Decider::decide(self, command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: Self::Event) {
                self.evolve(event);
            }
        }
    };
}

/// Names the events of an enum and the schema version each is written under today.
macro_rules! events {
    ($event:ident { $($variant:ident: $version:literal),+ $(,)? }) => {
        impl $event {
            /// Every event, with the schema version it is written under.
            pub const SCHEMAS: &'static [$crate::EventSchema] =
                &[$($crate::EventSchema { event_type: stringify!($variant), version: $version }),+];

            /// The event's name, as it is stored.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant),)+
                }
            }

            /// The version of the schema it is written under.
            pub const fn schema_version(&self) -> u16 {
                match self {
                    $(Self::$variant { .. } => $version,)+
                }
            }
        }

        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                self.name().to_owned()
            }

            fn event_version(&self) -> String {
                self.schema_version().to_string()
            }
        }
    };
}
