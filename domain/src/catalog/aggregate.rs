//! The cqrs-es contract over the plain functions: a thin adapter.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

use super::command::CatalogCommand;
use super::decide::{CatalogContext, decide};
use super::event::CatalogEvent;
use super::rejection::CatalogRejection;
use super::state::Catalog;

impl Aggregate for Catalog {
    const TYPE: &'static str = super::CATALOG;
    type Command = CatalogCommand;
    type Event = CatalogEvent;
    type Error = CatalogRejection;
    type Services = CatalogContext;

    async fn handle(
        &mut self,
        command: CatalogCommand,
        context: &CatalogContext,
        sink: &EventSink<Self>,
    ) -> Result<(), CatalogRejection> {
        for event in decide(self, &command, context)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CatalogEvent) {
        Self::apply(self, &event);
    }
}
