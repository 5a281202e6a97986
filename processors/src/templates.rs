//! What a user is told, in their language: one file per template and language under `templates/`,
//! its first line the title, the rest the body.

use domain::OrderId;
use domain::order::OrderStatus;

use crate::contact::Language;

/// A kind of notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    AwaitingPayment,
    Confirmed,
    Rejected,
    Cancelled,
    Expired,
    PaymentFailed,
    Refunded,
}

/// A template filled in for one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub title: String,
    pub body: String,
}

impl Template {
    #[cfg(test)]
    const ALL: [Template; 7] = [
        Template::AwaitingPayment,
        Template::Confirmed,
        Template::Rejected,
        Template::Cancelled,
        Template::Expired,
        Template::PaymentFailed,
        Template::Refunded,
    ];

    /// What a change of status is worth telling; most steps in between are not.
    pub fn for_change(from: Option<OrderStatus>, to: OrderStatus) -> Option<Template> {
        match (from, to) {
            (Some(OrderStatus::Paying), OrderStatus::AwaitingPayment) => Some(Template::PaymentFailed),
            (_, OrderStatus::AwaitingPayment) => Some(Template::AwaitingPayment),
            (_, OrderStatus::Confirmed) => Some(Template::Confirmed),
            (_, OrderStatus::Rejected) => Some(Template::Rejected),
            (_, OrderStatus::Cancelled) => Some(Template::Cancelled),
            (_, OrderStatus::Expired) => Some(Template::Expired),
            (_, OrderStatus::Refunded) => Some(Template::Refunded),
            (_, OrderStatus::Pending | OrderStatus::Paying | OrderStatus::Paid | OrderStatus::Refunding) => None,
        }
    }

    /// The stable name kept in the notification's event.
    pub fn name(self) -> &'static str {
        match self {
            Template::AwaitingPayment => "awaiting_payment",
            Template::Confirmed => "confirmed",
            Template::Rejected => "rejected",
            Template::Cancelled => "cancelled",
            Template::Expired => "expired",
            Template::PaymentFailed => "payment_failed",
            Template::Refunded => "refunded",
        }
    }

    /// The template in a language, about one order.
    pub fn render(self, language: Language, order_id: &OrderId) -> Text {
        let filled = self.source(language).replace("{orderId}", order_id.as_str());
        let (title, body) = filled.split_once('\n').unwrap_or((&filled, ""));
        Text { title: title.trim().to_owned(), body: body.trim().to_owned() }
    }

    fn source(self, language: Language) -> &'static str {
        match (language, self) {
            (Language::Zh, Template::AwaitingPayment) => include_str!("../templates/zh/awaiting_payment.txt"),
            (Language::Zh, Template::Confirmed) => include_str!("../templates/zh/confirmed.txt"),
            (Language::Zh, Template::Rejected) => include_str!("../templates/zh/rejected.txt"),
            (Language::Zh, Template::Cancelled) => include_str!("../templates/zh/cancelled.txt"),
            (Language::Zh, Template::Expired) => include_str!("../templates/zh/expired.txt"),
            (Language::Zh, Template::PaymentFailed) => include_str!("../templates/zh/payment_failed.txt"),
            (Language::Zh, Template::Refunded) => include_str!("../templates/zh/refunded.txt"),
            (Language::En, Template::AwaitingPayment) => include_str!("../templates/en/awaiting_payment.txt"),
            (Language::En, Template::Confirmed) => include_str!("../templates/en/confirmed.txt"),
            (Language::En, Template::Rejected) => include_str!("../templates/en/rejected.txt"),
            (Language::En, Template::Cancelled) => include_str!("../templates/en/cancelled.txt"),
            (Language::En, Template::Expired) => include_str!("../templates/en/expired.txt"),
            (Language::En, Template::PaymentFailed) => include_str!("../templates/en/payment_failed.txt"),
            (Language::En, Template::Refunded) => include_str!("../templates/en/refunded.txt"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn every_template_has_a_title_a_body_and_no_placeholder_left() {
        let order_id = OrderId::parse("ORD202312250001").unwrap();
        for template in Template::ALL {
            for language in [Language::Zh, Language::En] {
                let text = template.render(language, &order_id);
                assert!(!text.title.is_empty() && !text.body.is_empty(), "{template:?} {language:?}");
                assert!(text.body.contains("ORD202312250001"), "{template:?} {language:?}");
                assert!(!text.body.contains('{'), "{template:?} {language:?}");
            }
        }
    }

    #[test]
    fn a_declined_payment_is_told_apart_from_a_granted_lock() {
        let awaiting = OrderStatus::AwaitingPayment;
        assert_eq!(Template::for_change(Some(OrderStatus::Paying), awaiting), Some(Template::PaymentFailed));
        assert_eq!(Template::for_change(Some(OrderStatus::Pending), awaiting), Some(Template::AwaitingPayment));
    }
}
