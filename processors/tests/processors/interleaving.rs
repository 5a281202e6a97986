//! Whatever the order of requests, messages, callbacks and deadlines, and however often each message comes: the stock
//! adds up, the money adds up, and in the end nothing hangs.

use std::collections::HashSet;

use domain::payment::PaymentStatus;
use domain::{OrderId, OrderStatus, Payment, PaymentId};
use messaging::{HandleError, ReceivedMessage};
use processors::Policy;
use processors::provider::CallbackStatus::{Failed, Succeeded};

use crate::support::Shop;

const SEEDS: u64 = 12;
const STEPS: usize = 120;
const CAPACITY: u32 = 6;

#[tokio::test]
async fn any_interleaving_adds_up() {
    let mut ends = HashSet::new();
    for seed in 1..=SEEDS {
        let policy = Policy { cancel_confirmed: seed % 2 == 0, ..Policy::default() };
        let mut run = Run::new(Shop::open_with(CAPACITY, policy).await, seed);
        for _ in 0..STEPS {
            run.step().await;
        }
        run.finish().await;
        run.assert_adds_up().await;
        ends.extend(run.ends().await);
    }
    // Else the runs have not tried what they are for.
    for end in OrderStatus::ALL.into_iter().filter(|status| status.is_terminal()) {
        assert!(ends.contains(&end), "no order ended {end}");
    }
}

struct Run {
    shop: Shop,
    chance: Chance,
    seed: u64,
    orders: Vec<OrderId>,
    payments: Vec<(OrderId, PaymentId)>,
    /// Delivered before, and to be delivered again at any time.
    delivered: Vec<ReceivedMessage>,
}

impl Run {
    fn new(shop: Shop, seed: u64) -> Self {
        Self { shop, chance: Chance(seed), seed, orders: vec![], payments: vec![], delivered: vec![] }
    }

    async fn step(&mut self) {
        match self.chance.below(20) {
            0 | 1 => {
                let quantity = 1 + self.chance.below(2) as u32;
                self.orders.push(self.shop.place(quantity).await);
            }
            2 | 3 => {
                if let Some(order_id) = self.chance.pick(&self.orders)
                    && let Ok(payment_id) = self.shop.pay(&order_id).await
                {
                    self.payments.push((order_id, payment_id));
                }
            }
            4 | 5 => {
                if let Some((order_id, payment_id)) = self.chance.pick(&self.payments) {
                    let status = if self.chance.below(3) == 0 { Failed } else { Succeeded };
                    self.shop.call_back(&order_id, &payment_id, status).await.unwrap();
                }
            }
            6 => {
                if let Some(order_id) = self.chance.pick(&self.orders) {
                    self.shop.cancel(&order_id).await.ok();
                }
            }
            7 => self.expire_one().await,
            8 => self.lapse_one().await,
            9 => drop(self.shop.act_on_deadlines().await),
            10 => {
                if let Some(message) = self.chance.pick(&self.delivered) {
                    self.shop.deliver(&message).await.unwrap();
                }
            }
            _ => self.deliver_any().await,
        }
    }

    async fn deliver_any(&mut self) {
        let count = self.shop.waiting().await.len();
        if count == 0 {
            return;
        }
        let index = self.chance.below(count as u64) as usize;
        let message = self.shop.waiting().await.remove(index);
        match self.shop.deliver(&message).await {
            Ok(_) => self.delivered.push(message),
            // It came before what it needs, and comes again.
            Err(HandleError::Failed(_)) => self.shop.waiting().await.push(message),
            Err(error) => panic!("seed {}: {} failed: {error}", self.seed, message.topic),
        }
    }

    async fn expire_one(&mut self) {
        if let Some(order_id) = self.chance.pick(&self.orders) {
            let expiring = processors::commands::expire_order(&self.shop.ledger, Default::default(), order_id);
            expiring.await.unwrap();
        }
    }

    async fn lapse_one(&mut self) {
        let Some(order_id) = self.chance.pick(&self.orders) else { return };
        let lock_id = self.shop.order(&order_id).await.lock_id;
        let locks = self.shop.stock().await.locks;
        if lock_id.is_some_and(|lock_id| locks.contains_key(&lock_id)) {
            self.shop.lapse(&order_id).await;
        }
    }

    /// Everything that is still to come comes: messages, deadlines, and an answer to every payment.
    async fn finish(&mut self) {
        for _ in 0..10 {
            while !self.shop.waiting().await.is_empty() {
                self.deliver_any().await;
            }
            for (order_id, payment_id) in self.payments.clone() {
                self.shop.call_back(&order_id, &payment_id, Failed).await.unwrap();
            }
            self.shop.let_time_pass("order_expiry").await;
            self.shop.let_time_pass("refund").await;
        }
        assert!(self.shop.waiting().await.is_empty(), "seed {}: messages are left", self.seed);
    }

    async fn ends(&self) -> Vec<OrderStatus> {
        let mut ends = Vec::new();
        for order_id in &self.orders {
            ends.push(self.shop.status(order_id).await);
        }
        ends
    }

    async fn assert_adds_up(&self) {
        let seed = self.seed;
        let mut tickets = 0;
        let mut value = 0;
        for order_id in &self.orders {
            let order = self.shop.order(order_id).await;
            assert!(order.status.is_terminal(), "seed {seed}: {order_id} hangs at {}", order.status);
            let saga = self.shop.saga(order_id).await;
            assert!(
                saga.is_none_or(|step| step.is_terminal()),
                "seed {seed}: the saga of {order_id} hangs at {saga:?}"
            );
            if order.status == OrderStatus::Confirmed {
                tickets += order.quantity.get();
                value += cents(order.total_amount);
            }
        }
        assert_eq!(self.shop.levels().await, (CAPACITY - tickets, 0, tickets), "seed {seed}");
        let mut held = 0;
        for (_, payment_id) in &self.payments {
            let payment = self.shop.ledger.load::<Payment>(payment_id.as_str()).await.unwrap().state.requested.unwrap();
            assert_ne!(payment.status, PaymentStatus::Refunding, "seed {seed}: {payment_id}");
            held += cents(payment.held());
        }
        assert_eq!(held, value, "seed {seed}: money held and money earned differ");
        for kind in ["order_expiry", "lock_lapse", "refund"] {
            assert_eq!(self.shop.deadlines(kind).await, 0, "seed {seed}: {kind}");
        }
    }
}

fn cents(money: domain::Money) -> u64 {
    money.to_string().replace('.', "").parse().unwrap()
}

/// A splitmix generator: the same seed is the same run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() {
            return None;
        }
        let index = self.below(items.len() as u64) as usize;
        items.get(index).cloned()
    }
}
