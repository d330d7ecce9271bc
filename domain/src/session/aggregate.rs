//! The cqrs-es contract over the plain functions: a thin adapter, so that its test framework
//! and its ecosystem's stores work with our sessions.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

use crate::session::command::SessionCommand;
use crate::session::decide::{Context, decide};
use crate::session::event::SessionEvent;
use crate::session::rejection::Rejection;
use crate::session::state::Session;

impl Aggregate for Session {
    const TYPE: &'static str = super::SESSION;
    type Command = SessionCommand;
    type Event = SessionEvent;
    type Error = Rejection;
    type Services = Context;

    async fn handle(
        &mut self,
        command: SessionCommand,
        context: &Context,
        sink: &EventSink<Self>,
    ) -> Result<(), Rejection> {
        for event in decide(self, &command, context)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: SessionEvent) {
        Self::apply(self, &event);
    }
}
