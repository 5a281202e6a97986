//! One ticket type of its own, and what happens to it: a step draws something that is possible now, and does it.

use chrono::{DateTime, Utc};
use domain::order::PlacedOrder;
use domain::{Mode, Money, OrderId, OrderStatus, PaymentId, Quantity, ShowId, TicketTypeId, UserId};
use event_store::{CommandError, CommandKey, Metadata};
use messaging::{Effect, HandleError, ReceivedMessage};
use processors::commands::{self, Origin, PlaceOrder, PutOnSale, Settlement, StartPayment, UseCaseError};
use processors::provider::CallbackStatus::{self, Failed, Succeeded};
use processors::provider::PaymentCallback;

use super::chance::Chance;
use super::floor::{Floor, Terms};
use super::invariants;
use super::world::World;
use crate::support::{SHOW, USER};

const MAX_ORDERS: usize = 4;
const MAX_QUANTITY: u64 = 2;
const MAX_CAPACITY: u64 = 4;

pub struct Case {
    pub number: u32,
    pub ticket_type: TicketTypeId,
    pub world: World,
    /// Messages on their way to those who decide, in the order they were written.
    pub waiting: Vec<ReceivedMessage>,
    /// The deadlines there are.
    pub deadlines: Vec<Due>,
    /// What was done, for whoever has to find out why it went wrong.
    pub history: Vec<Step>,
    chance: Chance,
    terms: Terms,
    asked: Vec<(Ask, WasAccepted)>,
    callbacks: Vec<PaymentCallback>,
    /// Delivered before, and to be delivered again at any time.
    delivered: Vec<ReceivedMessage>,
    /// All there ever were: somebody may have read one before it was taken away or moved, and be slow.
    ever_due: Vec<Due>,
}

type WasAccepted = bool;

#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    pub kind: &'static str,
    pub key: String,
    pub due_at: DateTime<Utc>,
}

impl Due {
    /// Whether the deadline names this order, lock or payment.
    pub fn is_of(&self, id: &str) -> bool {
        self.key.split('/').any(|part| part == id)
    }
}

/// Numbers are places in what the case had at that time.
#[derive(Clone, Debug)]
pub enum Step {
    Ask(Ask),
    AskAgain(usize),
    Capacity(i64),
    Callback {
        payment: usize,
        status: CallbackStatus,
    },
    CallbackAgain(usize),
    Deliver(usize),
    DeliverAgain(usize),
    Deadline(usize),
    LateDeadline(usize),
    /// All that waits, each topic as one batch.
    DeliverAll,
}

/// What a user asks for, under an idempotency key.
#[derive(Clone, Debug)]
pub enum Ask {
    Place { quantity: u32, mode: Mode },
    Pay { order: usize },
    Cancel { order: usize },
}

#[derive(Clone, Copy)]
enum Kind {
    Place,
    Pay,
    Cancel,
    AskAgain,
    Capacity,
    Callback,
    CallbackAgain,
    Deliver,
    DeliverAgain,
    Deadline,
    LateDeadline,
}

impl Case {
    pub async fn open(floor: &Floor, seed: u64, number: u32) -> Self {
        let mut chance = Chance::of_case(seed, number);
        let terms = floor.terms(chance.index(floor.terms_count()));
        let ticket_type = TicketTypeId::new(i64::from(number) + 1).unwrap();
        let put_on_sale = PutOnSale {
            ticket_type_id: ticket_type,
            show_id: ShowId::new(SHOW).unwrap(),
            name: "Stalls".to_owned(),
            price: Money::parse("149.50").unwrap(),
            capacity: 1 + chance.below(MAX_CAPACITY) as u32,
        };
        commands::put_ticket_type_on_sale(&floor.ledger, Origin::default(), put_on_sale).await.unwrap();
        Self {
            number,
            ticket_type,
            world: World::default(),
            waiting: vec![],
            deadlines: vec![],
            history: vec![],
            chance,
            terms,
            asked: vec![],
            callbacks: vec![],
            delivered: vec![],
            ever_due: vec![],
        }
    }

    /// Draws a step and takes it. What it wrote is in the ledger afterwards, and not yet in `world`.
    pub async fn step(&mut self, floor: &Floor) -> Result<(), String> {
        let step = self.draw();
        self.take(floor, step).await
    }

    /// Lets come what was still to come, most of it at once: messages, deadlines, and a no to every payment.
    pub async fn settle(&mut self, floor: &Floor, round: usize) -> Result<(), String> {
        let open = self.world.payments().count();
        match round % 3 {
            1 if !self.deadlines.is_empty() => self.take(floor, Step::Deadline(0)).await,
            2 if open > 0 => {
                let payment = self.chance.index(open);
                self.take(floor, Step::Callback { payment, status: Failed }).await
            }
            _ => self.take(floor, Step::DeliverAll).await,
        }
    }

    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.deadlines.is_empty()
    }

    /// To be called when `world`, `waiting` and `deadlines` are up to the step that was taken last.
    pub fn judge(&self) -> Result<(), String> {
        invariants::hold(self)
    }

    pub fn keep_deadlines(&mut self, mut now: Vec<Due>) {
        self.deadlines.retain(|due| now.contains(due));
        now.retain(|due| !self.deadlines.contains(due));
        now.sort_by(|one, other| (one.kind, &one.key).cmp(&(other.kind, &other.key)));
        self.ever_due.extend(now.iter().cloned());
        self.deadlines.append(&mut now);
    }

    /// Among what is possible now. What moves an order on is likelier, or few cases would come far.
    fn draw(&mut self) -> Step {
        let when = |is_possible: bool, weight: u64| if is_possible { weight } else { 0 };
        let orders = self.world.orders.len();
        let (payments, asked) = (self.world.payments().count(), self.asked.len());
        let awaits_payment = self.world.orders.iter().any(|life| life.status() == OrderStatus::AwaitingPayment);
        let kind = self.chance.weighted(&[
            (when(orders < MAX_ORDERS, if orders == 0 { 20 } else { 3 }), Kind::Place),
            (when(orders > 0, if awaits_payment { 6 } else { 1 }), Kind::Pay),
            (when(orders > 0, 2), Kind::Cancel),
            (when(asked > 0, 1), Kind::AskAgain),
            (1, Kind::Capacity),
            (when(payments > 0, 5), Kind::Callback),
            (when(!self.callbacks.is_empty(), 1), Kind::CallbackAgain),
            (when(!self.waiting.is_empty(), 12), Kind::Deliver),
            (when(!self.delivered.is_empty(), 2), Kind::DeliverAgain),
            (when(!self.deadlines.is_empty(), 3), Kind::Deadline),
            (when(!self.ever_due.is_empty(), 1), Kind::LateDeadline),
        ]);
        let chance = &mut self.chance;
        match kind {
            Kind::Place => {
                let mode = if chance.below(2) == 0 { Mode::Async } else { Mode::Sync };
                Step::Ask(Ask::Place { quantity: 1 + chance.below(MAX_QUANTITY) as u32, mode })
            }
            Kind::Pay => Step::Ask(Ask::Pay { order: chance.index(orders) }),
            Kind::Cancel => Step::Ask(Ask::Cancel { order: chance.index(orders) }),
            Kind::AskAgain => Step::AskAgain(chance.index(asked)),
            Kind::Capacity => Step::Capacity(if chance.below(2) == 0 { 1 } else { -1 }),
            Kind::Callback => {
                let status = if chance.below(3) == 0 { Failed } else { Succeeded };
                Step::Callback { payment: chance.index(payments), status }
            }
            Kind::CallbackAgain => Step::CallbackAgain(chance.index(self.callbacks.len())),
            Kind::Deliver => Step::Deliver(chance.index(self.waiting.len())),
            Kind::DeliverAgain => Step::DeliverAgain(chance.index(self.delivered.len())),
            Kind::Deadline => Step::Deadline(chance.index(self.deadlines.len())),
            Kind::LateDeadline => Step::LateDeadline(chance.index(self.ever_due.len())),
        }
    }

    async fn take(&mut self, floor: &Floor, step: Step) -> Result<(), String> {
        self.history.push(step.clone());
        match step {
            Step::Ask(ask) => {
                let was_accepted = self.ask(floor, &ask, self.asked.len()).await?;
                self.asked.push((ask, was_accepted));
                Ok(())
            }
            Step::AskAgain(index) => self.ask_again(floor, index).await,
            Step::Capacity(delta) => {
                let changed = commands::change_capacity(&floor.ledger, Origin::default(), self.ticket_type, delta);
                refusable(changed.await).map(drop)
            }
            Step::Callback { payment, status } => self.call_back(floor, payment, status).await,
            Step::CallbackAgain(index) => match self.send_callback(floor, index).await? {
                Settlement::Repeated | Settlement::NoEffect => Ok(()),
                effect => Err(format!("I4: a callback that came before had the effect {effect:?}")),
            },
            Step::Deliver(index) => {
                let message = self.waiting.remove(index);
                let outcomes = floor.deliver(&self.terms, std::slice::from_ref(&message)).await;
                self.delivered(vec![message], outcomes)
            }
            Step::DeliverAgain(index) => {
                let message = self.delivered[index].clone();
                match floor.deliver(&self.terms, &[message]).await.remove(0) {
                    Ok(Effect::Duplicate) => Ok(()),
                    outcome => Err(format!("I4: a message that had its effect was {outcome:?} when it came again")),
                }
            }
            Step::Deadline(index) => floor.act_on(&self.deadlines[index]).await,
            Step::LateDeadline(index) => floor.act_on(&self.ever_due[index]).await,
            Step::DeliverAll => {
                let mut batches: Vec<Vec<ReceivedMessage>> = vec![];
                for message in std::mem::take(&mut self.waiting) {
                    match batches.iter_mut().find(|batch| batch[0].topic == message.topic) {
                        Some(batch) => batch.push(message),
                        None => batches.push(vec![message]),
                    }
                }
                for batch in batches {
                    let outcomes = floor.deliver(&self.terms, &batch).await;
                    self.delivered(batch, outcomes)?;
                }
                Ok(())
            }
        }
    }

    fn delivered(
        &mut self,
        batch: Vec<ReceivedMessage>,
        outcomes: Vec<Result<Effect, HandleError>>,
    ) -> Result<(), String> {
        for (message, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Ok(Effect::Applied) => self.delivered.push(message),
                // It came before what it needs, and comes again.
                Err(HandleError::Failed(_)) => self.waiting.push(message),
                outcome => return Err(format!("a message of {} that had no effect yet: {outcome:?}", message.topic)),
            }
        }
        Ok(())
    }

    async fn ask_again(&mut self, floor: &Floor, index: usize) -> Result<(), String> {
        let (ask, was_accepted) = self.asked[index].clone();
        let is_accepted = self.ask(floor, &ask, index).await?;
        if was_accepted && is_accepted {
            return Err(format!("I4: {ask:?} was accepted twice under one idempotency key"));
        }
        // A refusal is not kept: under the same key it may be asked again.
        self.asked[index].1 |= is_accepted;
        Ok(())
    }

    async fn ask(&self, floor: &Floor, ask: &Ask, index: usize) -> Result<WasAccepted, String> {
        let key = |mode| {
            let key = format!("{}-{index}", self.number);
            Origin::new(Metadata { mode: Some(mode), ..Metadata::default() }).with_key(CommandKey {
                scope: "interleaving".to_owned(),
                key,
                request_hash: None,
            })
        };
        match ask {
            Ask::Place { quantity, mode } => {
                let request = PlaceOrder {
                    user_id: UserId::new(USER).unwrap(),
                    show_id: ShowId::new(SHOW).unwrap(),
                    ticket_type_id: self.ticket_type,
                    quantity: Quantity::new(*quantity).unwrap(),
                    mode: *mode,
                };
                let policy = &self.terms.policy;
                refusable(commands::place_order(&floor.ledger, &floor.catalogue, policy, key(*mode), request).await)
            }
            Ask::Pay { order } => {
                let order = self.placed(*order);
                let request = StartPayment { payment_method: "ALIPAY".to_owned(), callback_url: None };
                let policy = &self.terms.policy;
                refusable(commands::start_payment(&floor.ledger, policy, key(order.mode), order, request).await)
            }
            Ask::Cancel { order } => {
                let order = self.placed(*order);
                let reason = "changed_my_mind".to_owned();
                let policy = &self.terms.policy;
                refusable(commands::cancel_order(&floor.ledger, policy, key(order.mode), order, reason).await)
            }
        }
    }

    async fn call_back(&mut self, floor: &Floor, payment: usize, status: CallbackStatus) -> Result<(), String> {
        let (life, payment_id) = self.world.payments().nth(payment).unwrap();
        let callback = callback(life.id.clone(), payment_id.clone(), status, life.total());
        self.callbacks.push(callback);
        self.send_callback(floor, self.callbacks.len() - 1).await.map(drop)
    }

    async fn send_callback(&self, floor: &Floor, index: usize) -> Result<Settlement, String> {
        let key = format!("{}-{index}", self.number);
        let webhook = CommandKey { scope: "webhook".to_owned(), key, request_hash: None };
        let origin = Origin::default().with_key(webhook);
        let callback = self.callbacks[index].clone();
        let settled = commands::settle_payment(&floor.ledger, &self.terms.policy, origin, callback).await;
        settled.map(|settled| settled.value).map_err(|error| format!("a callback was not taken: {error}"))
    }

    fn placed(&self, order: usize) -> &PlacedOrder {
        self.world.orders[order].order.placed.as_ref().unwrap()
    }
}

fn callback(order_id: OrderId, payment_id: PaymentId, status: CallbackStatus, amount: Money) -> PaymentCallback {
    let provider_reference = format!("ref-{payment_id}");
    PaymentCallback { payment_id, order_id, status, amount, provider_reference, paid_time: 1_701_388_800_000 }
}

/// Whether it was accepted. A rule may say no, and so may the key when it is known; nothing else may.
fn refusable<T>(outcome: Result<T, UseCaseError>) -> Result<WasAccepted, String> {
    match outcome {
        Ok(_) => Ok(true),
        Err(UseCaseError::Command(CommandError::Duplicate(_))) => Ok(false),
        Err(error) if error.code().is_some() => Ok(false),
        Err(error) => Err(format!("neither accepted nor refused: {error}")),
    }
}
