//! The cqrs-es contract over the plain functions of an aggregate: a thin adapter, so that its
//! test framework and its ecosystem's stores work with ours.

/// Implements [`cqrs_es::Aggregate`] for a state with `apply`, by its pure `decide`.
macro_rules! aggregate {
    ($state:ty, $name:expr, $command:ty, $event:ty, $rejection:ty, $context:ty, $decide:path) => {
        impl cqrs_es::Aggregate for $state {
            const TYPE: &'static str = $name;
            type Command = $command;
            type Event = $event;
            type Error = $rejection;
            type Services = $context;

            async fn handle(
                &mut self,
                command: $command,
                context: &$context,
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), $rejection> {
                for event in $decide(self, &command, context)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, event: $event) {
                Self::apply(self, &event);
            }
        }
    };
}
pub(crate) use aggregate;
