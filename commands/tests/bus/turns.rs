//! Turns, step by step. A turn holds 100 tokens (10 of the prompt, 90 of the answer), that is
//! 0.095 credits; [`USED`] is 20 tokens, that is 0.0165 credits.

use commands::{CommandBus, CommandError, Executed};
use domain::completion::{Completion, FinishReason, Timing, Usage};
use domain::content::{ContentPart, Message, Role};
use domain::quota::{LimitKind, QuotaCommand, QuotaRejection};
use domain::session::{
    CreateCompletion, CreateSession, NewMessage, OnBusy, SendMessage, SessionCommand, TurnError,
    TurnIds,
};
use domain::{
    Credits, Cuts, Ids, MessageId, SessionId, Settings, SettingsPatch, SystemIds, TurnId,
};

use crate::world::{MODEL, NOON, ann, utc, worker};

pub(crate) const USED: Usage = usage(7, 13);

pub(crate) type Done = Result<Executed, CommandError>;

/// A turn and its session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) session_id: SessionId,
    pub(crate) ids: TurnIds,
}

impl Turn {
    /// One in a session of its own.
    pub(crate) fn new() -> Self {
        Self::of(SessionId(SystemIds.next()))
    }

    pub(crate) fn of(session_id: SessionId) -> Self {
        let message = || MessageId(SystemIds.next());
        let turn_id = TurnId(SystemIds.next());
        let ids = TurnIds { turn_id, message_id: message(), answer_id: message() };
        Self { session_id, ids }
    }

    /// Asks for it, with the session that it needs.
    pub(crate) fn complete_this(self) -> SessionCommand {
        self.complete("hello")
    }

    pub(crate) fn complete(self, text: &str) -> SessionCommand {
        let settings =
            Settings { model: Some(MODEL.to_owned()), max_tokens: Some(90), ..Settings::default() };
        let (ids, message) = (self.ids, said(text));
        let (history, history_ids) = (Vec::new(), Vec::new());
        SessionCommand::CreateCompletion(CreateCompletion {
            ids,
            history_ids,
            settings,
            history,
            message,
        })
    }

    /// Asks for it in a session that is there.
    pub(crate) fn send(self, text: &str) -> SessionCommand {
        SessionCommand::SendMessage(SendMessage {
            ids: self.ids,
            message: said(text),
            parent_id: None,
            settings: SettingsPatch { max_tokens: Some(Some(90)), ..SettingsPatch::default() },
            on_busy: OnBusy::Refuse,
        })
    }

    /// The worker's last word.
    pub(crate) fn completed(self, usage: Usage) -> SessionCommand {
        SessionCommand::CompleteTurn {
            turn_id: self.ids.turn_id,
            attempt: 1,
            finish_reason: FinishReason::Stop,
            completion: self.answer(usage),
        }
    }

    pub(crate) fn cancelled(self, usage: Usage) -> SessionCommand {
        let (turn_id, completion) = (self.ids.turn_id, self.answer(usage));
        SessionCommand::ConfirmCancel { turn_id, attempt: 1, completion }
    }

    pub(crate) fn failed(self) -> SessionCommand {
        let error = TurnError { code: "provider_error".to_owned(), message: "down".to_owned() };
        SessionCommand::FailTurn {
            turn_id: self.ids.turn_id,
            attempt: 1,
            error,
            usage: None,
            partial: self.answer(Usage::default()),
        }
    }

    fn answer(self, usage: Usage) -> Completion {
        let message = Message {
            id: self.ids.answer_id,
            parent_id: Some(self.ids.message_id),
            role: Role::Assistant,
            content: vec![ContentPart::Text { text: "hello to you".to_owned() }],
            name: None,
            created_at: utc(NOON),
        };
        let (timing, cuts) = (Timing::default(), Cuts::default());
        Completion { message, usage, timing, cuts, stopped_by: None }
    }

    /// The owner asks for it.
    pub(crate) async fn request(self, bus: &CommandBus) -> Done {
        bus.execute(self.session_id, &self.complete_this(), &ann()).await
    }

    /// A worker begins it.
    pub(crate) async fn start(self, bus: &CommandBus) {
        let worker_id = "w".parse().unwrap();
        let turn_id = self.ids.turn_id;
        let start = SessionCommand::StartAttempt { turn_id, worker_id, lost: None };
        self.end(bus, start).await.unwrap();
    }

    /// The worker says `word`.
    pub(crate) async fn end(self, bus: &CommandBus, word: SessionCommand) -> Done {
        bus.execute(self.session_id, &word, &worker()).await
    }

    /// From the request to the answer.
    pub(crate) async fn whole(self, bus: &CommandBus, usage: Usage) -> Done {
        self.request(bus).await?;
        self.start(bus).await;
        self.end(bus, self.completed(usage)).await
    }
}

pub(crate) const fn usage(prompt_tokens: u32, completion_tokens: u32) -> Usage {
    Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens: 0,
        reasoning_tokens: 0,
        estimated: false,
    }
}

/// The owner opens a session.
pub(crate) async fn open_session(bus: &CommandBus) -> SessionId {
    let id = SessionId(SystemIds.next());
    let command = SessionCommand::CreateSession(CreateSession::default());
    bus.execute(id, &command, &ann()).await.unwrap();
    id
}

pub(crate) fn recharge(tokens: u64, credits: &str) -> Vec<QuotaCommand> {
    let (entry_id, reason) = (SystemIds.next(), "paid".to_owned());
    vec![QuotaCommand::RechargeQuota { entry_id, tokens, credits: money(credits), reason }]
}

pub(crate) fn money(amount: &str) -> Credits {
    amount.parse().unwrap()
}

/// The limit that had no room.
pub(crate) fn refused_by(done: &Done) -> Option<LimitKind> {
    match done {
        Err(CommandError::Quota { rejection: QuotaRejection::Exceeded { limit, .. }, .. }) => {
            Some(*limit)
        }
        _ => None,
    }
}

fn said(text: &str) -> NewMessage {
    let content = vec![ContentPart::Text { text: text.to_owned() }];
    NewMessage { role: Role::User, content, name: None }
}
