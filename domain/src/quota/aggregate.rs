//! The cqrs-es contract over the plain functions, as for sessions.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

use crate::quota::command::QuotaCommand;
use crate::quota::decide::{QuotaContext, decide};
use crate::quota::event::QuotaEvent;
use crate::quota::rejection::QuotaRejection;
use crate::quota::state::Account;

impl Aggregate for Account {
    const TYPE: &'static str = super::QUOTA;
    type Command = QuotaCommand;
    type Event = QuotaEvent;
    type Error = QuotaRejection;
    type Services = QuotaContext;

    async fn handle(
        &mut self,
        command: QuotaCommand,
        context: &QuotaContext,
        sink: &EventSink<Self>,
    ) -> Result<(), QuotaRejection> {
        for event in decide(self, &command, context)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: QuotaEvent) {
        Self::apply(self, &event);
    }
}
