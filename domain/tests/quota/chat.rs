//! A session, for the tests of what it costs.

use std::sync::Arc;

use domain::billing::{Bill, bill};
use domain::quota::{ConsumeQuota, QuotaCommand, ReserveQuota};
use domain::session::{
    AttemptLimits, Context, CreateSession, LostAttempt, NewMessage, OnBusy, SendMessage, Session,
    SessionCommand, SessionEvent, TurnError, TurnIds, decide,
};
use domain::{
    Actor, Completion, ContentPart, Cuts, Message, MessageId, ModelSpec, Models, Role, Settings,
    SettingsPatch, Timing, TurnId, Usage,
};
use uuid::Uuid;

use crate::given::{NOON, ada, hold_id, policy, release, utc};

/// A session, and who is about to ask it for something.
pub(crate) struct Chat {
    pub(crate) session: Session,
    pub(crate) context: Context,
}

fn models() -> Models {
    let small = ModelSpec::new("small", "scripted", 8_000, 1_000);
    Models::new(vec![small, ModelSpec::new("terse", "scripted", 8_000, 300)])
}

pub(crate) fn chat() -> Chat {
    let context = Context {
        now: utc(NOON),
        actor: ada(),
        models: Arc::new(models()),
        attempts: AttemptLimits { without_progress: 3, broken_off: 2, in_all: 100 },
    };
    let mut chat = Chat { session: Session::default(), context };
    let created = chat.bill(SessionCommand::CreateSession(CreateSession::default()));
    assert_eq!(created, None, "a session costs nothing");
    chat
}

impl Chat {
    /// What `command` comes to.
    pub(crate) fn bill(&mut self, command: SessionCommand) -> Option<Bill> {
        let before = self.session.clone();
        let events = self.does(command);
        bill(&before, &events, &self.context.models, &policy("{}"))
    }

    #[expect(clippy::needless_pass_by_value, reason = "a story reads better without borrows")]
    pub(crate) fn does(&mut self, command: SessionCommand) -> Vec<SessionEvent> {
        let events = decide(&self.session, &command, &self.context).unwrap();
        for event in &events {
            self.session.apply(event);
        }
        events
    }

    /// The commands of the bill for `command`.
    pub(crate) fn commands(&mut self, command: SessionCommand) -> Vec<QuotaCommand> {
        self.bill(command).map(|bill| bill.commands).unwrap_or_default()
    }

    pub(crate) fn by(&mut self, actor: Actor) {
        self.context.actor = actor;
    }

    /// A worker takes turn `number`.
    pub(crate) fn start(&mut self, number: u128) {
        self.by(Actor::system(ada().tenant_id));
        let started = self.commands(start(number, None));
        assert_eq!(started, [], "a start costs nothing");
    }
}

/// A chat whose first turn runs.
pub(crate) fn running() -> Chat {
    let mut chat = chat();
    chat.does(send(1, Settings::default()));
    chat.start(1);
    chat
}

pub(crate) fn turn_id(number: u128) -> TurnId {
    TurnId(Uuid::from_u128(number))
}

pub(crate) fn ids(number: u128) -> TurnIds {
    TurnIds {
        turn_id: turn_id(number),
        message_id: MessageId(Uuid::from_u128(number * 10)),
        answer_id: MessageId(Uuid::from_u128(number * 10 + 1)),
    }
}

pub(crate) fn start(number: u128, lost: Option<LostAttempt>) -> SessionCommand {
    let (turn_id, worker_id) = (turn_id(number), "w".parse().unwrap());
    SessionCommand::StartAttempt { turn_id, worker_id, lost }
}

/// A worker takes turn 1 over from an attempt that had said `text`.
pub(crate) fn take_over(attempt: u32, text: &str, usage: Usage) -> SessionCommand {
    let (reached, partial) = (text.len() as u64, completion(text, usage));
    start(1, Some(LostAttempt { attempt, reached, partial }))
}

/// The provider breaks turn 1 off when it has said "so f".
pub(crate) fn abandon(attempt: u32, usage: Usage) -> SessionCommand {
    let error = TurnError { code: "provider_error".to_owned(), message: "it broke".to_owned() };
    let (turn_id, partial) = (turn_id(1), completion("so f", usage));
    SessionCommand::AbandonAttempt { turn_id, attempt, error, reached: 4, partial }
}

pub(crate) fn hello() -> NewMessage {
    NewMessage { role: Role::User, content: vec![ContentPart::text("hello")], name: None }
}

pub(crate) fn send(number: u128, settings: Settings) -> SessionCommand {
    SessionCommand::SendMessage(SendMessage {
        ids: ids(number),
        message: hello(),
        parent_id: None,
        settings: SettingsPatch {
            model: Some(settings.model),
            max_tokens: Some(settings.max_tokens),
            ..SettingsPatch::default()
        },
        on_busy: OnBusy::Interrupt,
    })
}

pub(crate) fn completion(text: &str, usage: Usage) -> Completion {
    Completion {
        message: Message {
            id: MessageId(Uuid::from_u128(11)),
            parent_id: Some(MessageId(Uuid::from_u128(10))),
            role: Role::Assistant,
            content: vec![ContentPart::text(text)],
            name: None,
            created_at: utc(NOON),
        },
        usage,
        timing: Timing::default(),
        cuts: Cuts::default(),
        stopped_by: None,
    }
}

pub(crate) fn confirm(text: &str, usage: Usage) -> SessionCommand {
    let completion = completion(text, usage);
    SessionCommand::ConfirmCancel { turn_id: turn_id(1), attempt: 1, completion }
}

pub(crate) fn fail(usage: Option<Usage>) -> SessionCommand {
    SessionCommand::FailTurn {
        turn_id: turn_id(1),
        attempt: 1,
        error: TurnError { code: "provider_error".to_owned(), message: "it broke".to_owned() },
        usage,
        partial: completion("so f", usage.unwrap_or_default()),
    }
}

pub(crate) fn reserved(commands: &[QuotaCommand]) -> &ReserveQuota {
    let [QuotaCommand::ReserveQuota(reserve)] = commands else { panic!("{commands:?}") };
    reserve
}

pub(crate) fn consumed(number: u128, usage: Usage) -> QuotaCommand {
    QuotaCommand::ConsumeQuota(ConsumeQuota {
        entry_id: turn_id(number).0,
        reservation_id: Some(hold_id(number)),
        turn_id: Some(turn_id(number)),
        service: "chat".to_owned(),
        model: "small".to_owned(),
        usage,
    })
}

pub(crate) fn released(number: u128, why: &str) -> QuotaCommand {
    let QuotaCommand::ReleaseReservation { reservation_id, .. } = release(number) else {
        unreachable!()
    };
    QuotaCommand::ReleaseReservation { reservation_id, reason: why.to_owned() }
}
