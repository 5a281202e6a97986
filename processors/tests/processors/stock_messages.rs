//! What the stock processor answers to each message, in whatever state the lock is: the table of ARCHITECTURE.md.

use domain::stock::StockRejection;
use domain::{LockId, OrderId, OrderStatus, Quantity, TicketTypeId};
use messaging::message::{StockDeduct, StockLock, StockRollback};
use messaging::{Effect, HandleError, MessageData, ReceivedMessage, Topic, outbox_message};
use processors::commands::{self, Origin};
use processors::provider::CallbackStatus::Succeeded;

use crate::support::{Shop, TICKET_TYPE, code};

/// In which state a message finds the lock.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lock {
    Unknown,
    Live,
    Secured,
    Lapsed,
    Released,
    Deducted,
    RolledBackBefore,
}
use Lock::*;

/// What the processor does with it.
#[derive(Debug, PartialEq)]
enum Answer {
    Applied,
    /// Tried again, and after that a dead letter.
    Fails,
}
use Answer::{Applied, Fails};

const CAPACITY: u32 = 10;
const QUANTITY: u32 = 2;

struct Case {
    shop: Shop,
    lock: ReceivedMessage,
    order_id: OrderId,
    lock_id: LockId,
}

impl Case {
    /// An order of two tickets whose lock is in this state.
    async fn of(state: Lock) -> Self {
        let mut shop = Shop::open(CAPACITY).await;
        let order_id = shop.place(QUANTITY).await;
        let create = shop.take_one(Topic::OrderCreate).await;
        shop.deliver(&create).await.unwrap();
        let lock = shop.take_one(Topic::StockLock).await;
        let lock_id = lock.decode::<StockLock>().unwrap().lock_id;
        if !matches!(state, Unknown | RolledBackBefore) {
            shop.deliver(&lock).await.unwrap();
        }
        match state {
            Secured | Deducted => {
                let payment_id = shop.pay(&order_id).await.unwrap();
                shop.call_back(&order_id, &payment_id, Succeeded).await.unwrap();
                if state == Deducted {
                    shop.deliver_all().await;
                }
            }
            Lapsed => shop.lapse(&order_id).await,
            Released | RolledBackBefore => {
                shop.cancel(&order_id).await.unwrap();
                shop.deliver_all().await;
            }
            Unknown | Live => {}
        }
        Self { shop, lock, order_id, lock_id }
    }

    /// The message, new to the processor.
    fn message(&self, topic: Topic) -> ReceivedMessage {
        let (lock_id, order_id) = (self.lock_id.clone(), self.order_id.clone());
        let ticket_type_id = TicketTypeId::new(TICKET_TYPE).unwrap();
        let quantity = Quantity::new(QUANTITY).unwrap();
        match topic {
            Topic::StockDeduct => new(&StockDeduct { lock_id, order_id, ticket_type_id, quantity, deduct_time: 0 }),
            Topic::StockRollback => new(&StockRollback {
                lock_id,
                order_id,
                ticket_type_id,
                quantity,
                reason: "order_cancelled".to_owned(),
                rollback_time: 0,
            }),
            _ => new(&self.lock.decode::<StockLock>().unwrap()),
        }
    }

    async fn answer(&self, topic: Topic) -> Answer {
        match self.shop.deliver(&self.message(topic)).await {
            Ok(Effect::Applied) => Applied,
            Err(HandleError::Failed(_)) => Fails,
            other => panic!("{topic}: {other:?}"),
        }
    }
}

fn new<D: MessageData>(data: &D) -> ReceivedMessage {
    let sent = outbox_message(uuid::Uuid::now_v7(), chrono::Utc::now(), data);
    ReceivedMessage::from_parts(&sent.topic, sent.body.as_bytes(), &Default::default()).unwrap()
}

#[tokio::test]
async fn each_message_has_one_answer_in_each_state_of_its_lock() {
    // Available, locked and sold afterwards; what is not said moves no ticket.
    let (free, held, sold) = ((10, 0, 0), (8, 2, 0), (8, 0, 2));
    for (topic, state, answer, levels) in [
        (Topic::StockLock, Unknown, Applied, held),
        (Topic::StockLock, Live, Applied, held),
        (Topic::StockLock, Secured, Applied, held),
        (Topic::StockLock, Lapsed, Applied, free),
        (Topic::StockLock, Released, Applied, free),
        (Topic::StockLock, Deducted, Applied, sold),
        // The lock is refused: nobody would ever give it back.
        (Topic::StockLock, RolledBackBefore, Applied, free),
        // Before its lock, and never without the money.
        (Topic::StockDeduct, Unknown, Fails, free),
        (Topic::StockDeduct, Live, Fails, held),
        (Topic::StockDeduct, Secured, Applied, sold),
        // After the lapse: the tickets are on sale again, and someone else may have them.
        (Topic::StockDeduct, Lapsed, Fails, free),
        (Topic::StockDeduct, Released, Fails, free),
        (Topic::StockDeduct, Deducted, Applied, sold),
        (Topic::StockDeduct, RolledBackBefore, Fails, free),
        // Remembered, so that the lock is refused when it comes.
        (Topic::StockRollback, Unknown, Applied, free),
        (Topic::StockRollback, Live, Applied, free),
        // Paid for: no rollback may take the tickets.
        (Topic::StockRollback, Secured, Fails, held),
        // Late: they are back already.
        (Topic::StockRollback, Lapsed, Applied, free),
        (Topic::StockRollback, Released, Applied, free),
        // Sold tickets come back by a refund, never by a rollback.
        (Topic::StockRollback, Deducted, Fails, sold),
        (Topic::StockRollback, RolledBackBefore, Applied, free),
    ] {
        let case = Case::of(state).await;
        let before = case.shop.levels().await;
        assert_eq!(case.answer(topic).await, answer, "{topic} × {state:?}");
        assert_eq!(case.shop.levels().await, levels, "{topic} × {state:?} after {before:?}");
    }
}

#[tokio::test]
async fn the_same_message_again_is_a_duplicate_in_every_state() {
    for state in [Unknown, Live, Secured, Lapsed, Released, Deducted, RolledBackBefore] {
        let case = Case::of(state).await;
        for topic in [Topic::StockLock, Topic::StockDeduct, Topic::StockRollback] {
            let message = case.message(topic);
            if case.shop.deliver(&message).await != Ok(Effect::Applied) {
                continue;
            }
            let head = case.shop.head().await;
            assert_eq!(case.shop.deliver(&message).await, Ok(Effect::Duplicate), "{topic} × {state:?}");
            assert_eq!(case.shop.head().await, head, "{topic} × {state:?} had a second effect");
        }
    }
}

#[tokio::test]
async fn messages_of_one_ticket_type_are_decided_in_the_order_they_came() {
    let mut shop = Shop::open(2).await;
    let first = shop.place(2).await;
    let second = shop.place(2).await;
    for create in shop.take(Topic::OrderCreate).await {
        shop.deliver(&create).await.unwrap();
    }
    let locks = shop.take(Topic::StockLock).await;
    let give_back = new(&StockRollback {
        lock_id: locks[0].decode::<StockLock>().unwrap().lock_id,
        order_id: first.clone(),
        ticket_type_id: TicketTypeId::new(TICKET_TYPE).unwrap(),
        quantity: Quantity::new(2).unwrap(),
        reason: "order_cancelled".to_owned(),
        rollback_time: 0,
    });
    // As one topic's batch would carry them: taken, given back, taken by the next.
    let batch = [locks[0].clone(), give_back, locks[1].clone()];
    let outcomes = shop.deliver_batch(&batch).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(Effect::Applied)), "{outcomes:?}");
    assert_eq!(shop.status(&second).await, OrderStatus::AwaitingPayment);
    assert_eq!(shop.levels().await, (0, 2, 0));
}

#[tokio::test]
async fn a_lock_id_of_another_order_is_nobodys_to_decide() {
    let mut case = Case::of(Live).await;
    let other = case.shop.place(1).await;
    let create = case.shop.take_one(Topic::OrderCreate).await;
    case.shop.deliver(&create).await.unwrap();
    let mut stolen: StockLock = case.shop.take_one(Topic::StockLock).await.decode().unwrap();
    stolen.lock_id = case.lock_id.clone();
    let outcome = case.shop.deliver(&new(&stolen)).await;
    assert!(matches!(outcome, Err(HandleError::Failed(_))), "{outcome:?}");
    assert_eq!(case.shop.status(&other).await, OrderStatus::Pending);
    assert_eq!(case.shop.levels().await, (8, 2, 0));
}

#[tokio::test]
async fn capacity_changes_around_live_locks_and_never_through_them() {
    let case = Case::of(Live).await;
    let shop = &case.shop;
    let change = |delta| {
        commands::change_capacity(&shop.ledger, Origin::default(), TicketTypeId::new(TICKET_TYPE).unwrap(), delta)
    };
    for (delta, levels) in [(5, (13, 2, 0)), (-13, (0, 2, 0)), (1, (1, 2, 0))] {
        change(delta).await.unwrap();
        assert_eq!(shop.levels().await, levels);
        shop.assert_stock_adds_up().await;
    }
    let refused = change(-2).await.unwrap_err();
    let expected = StockRejection::WithdrawsTooMany { requested: 2, available: 1 };
    assert_eq!(code(&refused), expected.code());
    assert_eq!(shop.levels().await, (1, 2, 0));

    // What was locked before all that is given back after it.
    assert_eq!(case.answer(Topic::StockRollback).await, Applied);
    assert_eq!(shop.levels().await, (3, 0, 0));
    assert_eq!(shop.stock().await.capacity, 3);
}
