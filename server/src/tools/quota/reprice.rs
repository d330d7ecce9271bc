//! `colloquy quota reprice`: usage is stored as it was counted, so what it costs can be worked
//! out anew. What was charged too much or too little is posted as an adjustment that names the
//! entry it corrects.
//!
//! What is still to be corrected follows from the ledger alone, earlier corrections included: a
//! run that was broken off is simply run again, and a run after a complete one finds nothing.

mod lock;
mod totals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use commands::CommandError;
use domain::quota::{QuotaCommand, Repriced, Sum};
use domain::{AccountId, Causes, Credits, PriceBook};
use eventstore::Position;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use projections::{Positions, ReadModel, RepriceScope, Repriceable, repriceable};
use uuid::Uuid;

use super::{Owner, QuotaError, Tool, caller};
use crate::cli::quota::RepriceArgs;
use crate::output::{complain, say};
use lock::Lock;
use totals::Totals;

/// How long the read models may take to hold the log.
const PATIENCE: Duration = Duration::from_secs(60);
/// Entries read at once.
const PAGE: u32 = 2000;
/// Corrections of an account in one append.
const CHUNK: usize = 100;
/// Accounts corrected at the same time.
const ACCOUNTS: usize = 8;

/// A run, with what it goes by from its beginning to its end.
struct Run<'a> {
    tool: &'a Tool,
    args: &'a RepriceArgs,
    prices: Arc<PriceBook>,
    head: Position,
}

pub(super) async fn run(tool: &Tool, args: RepriceArgs) -> Result<(), QuotaError> {
    if args.dry_run {
        return reprice(tool, &args, None).await;
    }
    let mut lock = Lock::take(tool.store.pool()).await?;
    let result = reprice(tool, &args, Some(&mut lock)).await;
    lock.release().await;
    result
}

async fn reprice(
    tool: &Tool,
    args: &RepriceArgs,
    lock: Option<&mut Lock>,
) -> Result<(), QuotaError> {
    // What an earlier run has posted must be in sight.
    let head = tool.store.head().await?;
    let positions = Positions::new(tool.store.pool().clone());
    positions.wait_for(&[ReadModel::Accounts, ReadModel::Transactions], head, PATIENCE).await?;
    let prices = Arc::clone(&tool.bus.catalog().current().prices);
    let run = Run { tool, args, prices, head };
    let bar = progress(head);
    let done = run.go(lock, &bar).await;
    bar.finish_and_clear();
    let (totals, uncorrected) = done.map_err(|error| match error {
        error if args.dry_run => error,
        error => QuotaError::Interrupted(Box::new(error)),
    })?;
    totals.print();
    match (args.dry_run, uncorrected) {
        (true, _) => say("nothing was changed: this was a dry run"),
        (false, 0) => say(&format!("{} corrections are posted", totals.wrong())),
        (false, accounts) => return Err(QuotaError::Uncorrected(accounts)),
    }
    Ok(())
}

fn progress(head: Position) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(head).unwrap_or(0));
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} events, {eta} left") {
        bar.set_style(style);
    }
    bar
}

impl Run<'_> {
    /// What it came to, and how many accounts refused their corrections.
    async fn go(
        &self,
        mut lock: Option<&mut Lock>,
        bar: &ProgressBar,
    ) -> Result<(Totals, usize), QuotaError> {
        let scope = self.scope();
        let (mut totals, mut uncorrected, mut after) = (Totals::default(), 0, 0);
        loop {
            let page = repriceable(self.tool.store.pool(), &scope, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok((totals, uncorrected)) };
            after = last.position;
            let mut corrections: BTreeMap<Owner, Vec<QuotaCommand>> = BTreeMap::new();
            for entry in page {
                if let Some(correction) = self.correction(&entry, &mut totals) {
                    let owner = (entry.tenant_id, entry.user_id);
                    corrections.entry(owner).or_default().push(correction);
                }
            }
            if let Some(lock) = &mut lock {
                lock.check().await?;
                uncorrected += self.post(corrections).await?;
            }
            bar.set_position(u64::try_from(after).unwrap_or(0));
        }
    }

    fn scope(&self) -> RepriceScope {
        let args = self.args;
        let account = args.tenant.as_ref().zip(args.user.as_ref());
        RepriceScope {
            tenant_id: args.tenant.clone(),
            account_id: account.map(|(tenant, user)| AccountId::of(tenant, user)),
            service: args.service.clone(),
            model: args.model.clone(),
            from: args.from,
            to: args.to.unwrap_or_else(|| self.tool.bus.clock().now()),
        }
    }

    /// What puts the entry right; nothing if it is.
    fn correction(&self, entry: &Repriceable, totals: &mut Totals) -> Option<QuotaCommand> {
        let (service, model) = (&entry.service, &entry.model);
        let price = self.prices.at(service, model, entry.priced_at).map(|entry| entry.price);
        let right = price.map_or(Credits::ZERO, |price| price.cost(&entry.usage));
        totals.add(model, service, entry.charged, right);
        let change = Sum { tokens: 0, credits: entry.charged.minus(right) };
        if change.is_zero() {
            return None;
        }
        Some(QuotaCommand::PostAdjustment {
            // An entry is corrected once in a run.
            entry_id: Uuid::new_v5(&entry.entry_id, format!("reprice {}", self.head).as_bytes()),
            change,
            reprices: Some(Repriced {
                entry_id: entry.entry_id,
                service: service.clone(),
                model: model.clone(),
                consumed_at: entry.consumed_at,
                price,
            }),
            reason: self.args.reason.clone(),
        })
    }

    /// Posts the corrections; tells how many accounts refused theirs.
    async fn post(
        &self,
        corrections: BTreeMap<Owner, Vec<QuotaCommand>>,
    ) -> Result<usize, QuotaError> {
        let posts = corrections.into_iter().map(|(owner, all)| self.post_to(owner, all));
        stream::iter(posts)
            .buffer_unordered(ACCOUNTS)
            .try_fold(0, async |refused, posted| Ok(refused + usize::from(!posted)))
            .await
    }

    async fn post_to(
        &self,
        owner: Owner,
        corrections: Vec<QuotaCommand>,
    ) -> Result<bool, QuotaError> {
        let caller = caller(owner.0.clone(), self.args.by.by.clone(), None);
        for chunk in corrections.chunks(CHUNK) {
            match self.tool.bus.execute_quota(&owner, chunk.to_vec(), &caller).await {
                Ok(_) => {}
                Err(error @ CommandError::Quota { .. }) => {
                    let (tenant, user) = &owner;
                    complain(&format!("{tenant}/{user} is not corrected: {}", Causes(&error)));
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}
