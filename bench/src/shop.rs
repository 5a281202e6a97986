//! A ledger full of orders, written by the use cases themselves: placed, held, paid, confirmed, told.

use domain::order::PlacedOrder;
use domain::{
    Channel, Mode, Money, Notification, NotificationCommand, NotificationId, Order, OrderId, Quantity, ShowId,
    TicketTypeId, UserId,
};
use event_store::{Command, Ledger, LedgerConfig, Metadata, read};
use futures_util::{StreamExt, TryStreamExt, stream};
use processors::Policy;
use processors::catalogue::Catalogue;
use processors::commands::{
    Origin, PlaceOrder, PutOnSale, StartPayment, place_order, put_ticket_type_on_sale, settle_payment, start_payment,
};
use processors::provider::{CallbackStatus, PaymentCallback};
use sqlx::PgPool;
use uuid::Uuid;

const SHOW: i64 = 1_001;
const TICKET_TYPES: u64 = 20;
const USERS: u64 = 10_000;
/// Orders under way at once: so far apart do the events of one order lie.
const ORDERS_AT_ONCE: usize = 512;
/// Orders between two looks at how far it is.
const ORDERS_PER_LOOK: u64 = 1_000;

pub(crate) struct Shop {
    pub ledger: Ledger,
    catalogue: Catalogue,
    policy: Policy,
}

impl Shop {
    /// With tickets enough on sale.
    pub async fn open(pool: PgPool) -> anyhow::Result<Self> {
        let ledger = Ledger::start(pool, LedgerConfig::default()).await?;
        for ticket_type in 1..=TICKET_TYPES {
            let request = PutOnSale {
                ticket_type_id: TicketTypeId::new(i64::try_from(ticket_type)?)?,
                show_id: ShowId::new(SHOW)?,
                name: format!("Block {ticket_type}"),
                price: Money::parse("149.50")?,
                capacity: 10_000_000,
            };
            put_ticket_type_on_sale(&ledger, Origin::default(), request).await?;
        }
        Ok(Self { ledger, catalogue: Catalogue::new(), policy: Policy::default() })
    }

    /// Sells until the ledger has so many events.
    pub async fn fill(&self, events: i64) -> anyhow::Result<()> {
        let mut next = 0;
        while read::head(self.ledger.pool()).await? < events {
            let orders = next..next + ORDERS_PER_LOOK;
            stream::iter(orders).map(|n| self.sell(n)).buffer_unordered(ORDERS_AT_ONCE).try_collect::<Vec<_>>().await?;
            next += ORDERS_PER_LOOK;
        }
        Ok(())
    }

    /// One order from its placing to the news that it is confirmed: 20 events on its own streams and its stock's.
    pub async fn sell(&self, n: u64) -> anyhow::Result<OrderId> {
        let user_id = UserId::new(i64::try_from(1 + n % USERS)?)?;
        let request = PlaceOrder {
            user_id,
            show_id: ShowId::new(SHOW)?,
            ticket_type_id: TicketTypeId::new(i64::try_from(1 + n % TICKET_TYPES)?)?,
            quantity: Quantity::new(2)?,
            mode: Mode::Sync,
        };
        let placed = place_order(&self.ledger, &self.catalogue, &self.policy, origin(), request).await?.value;
        self.tell(user_id, &placed.order_id, "Your tickets are held").await?;
        self.pay(&placed.order_id).await?;
        self.tell(user_id, &placed.order_id, "Your tickets are yours").await?;
        Ok(placed.order_id)
    }

    async fn pay(&self, order_id: &OrderId) -> anyhow::Result<()> {
        let order: Option<PlacedOrder> = self.ledger.load::<Order>(order_id.as_str()).await?.state.placed;
        let order = order.ok_or_else(|| anyhow::anyhow!("{order_id} was placed"))?;
        let request = StartPayment { payment_method: "CARD".to_owned(), callback_url: None };
        let payment = start_payment(&self.ledger, &self.policy, origin(), &order, request).await?.value;
        let callback = PaymentCallback {
            payment_id: payment.payment_id,
            order_id: order_id.clone(),
            status: CallbackStatus::Succeeded,
            amount: payment.amount,
            provider_reference: "bench".to_owned(),
            paid_time: self.ledger.now().timestamp_millis(),
        };
        settle_payment(&self.ledger, &self.policy, origin(), callback).await?;
        Ok(())
    }

    async fn tell(&self, user_id: UserId, order_id: &OrderId, title: &str) -> anyhow::Result<()> {
        let notification_id = NotificationId::from(Uuid::now_v7());
        let id = notification_id.to_string();
        let request = NotificationCommand::Request {
            notification_id,
            user_id,
            order_id: order_id.clone(),
            template: "order_news".to_owned(),
            title: title.to_owned(),
            body: format!("{title}: order {order_id}, show {SHOW}."),
        };
        let stream = id.clone();
        let requesting = Command::new(metadata()).begin::<Notification>(&id);
        self.ledger
            .execute(requesting, move |unit| {
                unit.handle::<Notification>(&stream, request.clone())?;
                let dispatch = NotificationCommand::Dispatch { channels: vec![Channel::Sms] };
                unit.handle::<Notification>(&stream, dispatch).map(drop)
            })
            .await?;
        let recording = Command::new(metadata()).read::<Notification>(&id);
        self.ledger
            .execute(recording, move |unit| {
                let provider_reference = "bench".to_owned();
                let sent = NotificationCommand::RecordSent { channel: Channel::Sms, provider_reference };
                unit.handle::<Notification>(&id, sent).map(drop)
            })
            .await?;
        Ok(())
    }
}

fn origin() -> Origin {
    Origin::new(metadata())
}

fn metadata() -> Metadata {
    Metadata { mode: Some(Mode::Sync), actor: Some("bench".to_owned()), ..Metadata::default() }
}
