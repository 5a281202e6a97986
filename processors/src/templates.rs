//! What a user is told, in their language: one file per template and language under `templates/`,
//! its first line the title, the rest the body.

use domain::OrderId;
use domain::order::OrderStatus;

use crate::contact::Language;

/// A kind of notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    AwaitingPayment,
    PaymentReceived,
    PaymentFailed,
    Confirmed,
    Rejected,
    Cancelled,
    Expired,
    Refunding,
    Refunded,
}

/// A template filled in for one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub title: String,
    pub body: String,
}

/// The files of a template.
struct Files {
    name: &'static str,
    zh: &'static str,
    en: &'static str,
}

/// A template without a file in each language does not compile.
macro_rules! files {
    ($name:literal) => {
        Files {
            name: $name,
            zh: include_str!(concat!("../templates/zh/", $name, ".txt")),
            en: include_str!(concat!("../templates/en/", $name, ".txt")),
        }
    };
}

impl Template {
    /// What a change of status is worth telling. Not told is what the user has just done and was answered: placing an
    /// order, and starting to pay.
    pub fn for_change(from: Option<OrderStatus>, to: OrderStatus) -> Option<Template> {
        match (from, to) {
            (Some(OrderStatus::Paying), OrderStatus::AwaitingPayment) => Some(Template::PaymentFailed),
            (_, OrderStatus::AwaitingPayment) => Some(Template::AwaitingPayment),
            (_, OrderStatus::Paid) => Some(Template::PaymentReceived),
            (_, OrderStatus::Confirmed) => Some(Template::Confirmed),
            (_, OrderStatus::Rejected) => Some(Template::Rejected),
            (_, OrderStatus::Cancelled) => Some(Template::Cancelled),
            (_, OrderStatus::Expired) => Some(Template::Expired),
            (_, OrderStatus::Refunding) => Some(Template::Refunding),
            (_, OrderStatus::Refunded) => Some(Template::Refunded),
            (_, OrderStatus::Pending | OrderStatus::Paying) => None,
        }
    }

    /// The stable name kept in the notification's event.
    pub fn name(self) -> &'static str {
        self.files().name
    }

    /// The template in a language, about one order.
    pub fn render(self, language: Language, order_id: &OrderId) -> Text {
        let files = self.files();
        let source = match language {
            Language::Zh => files.zh,
            Language::En => files.en,
        };
        let filled = source.replace("{orderId}", order_id.as_str());
        let (title, body) = filled.split_once('\n').unwrap_or((&filled, ""));
        Text { title: title.trim().to_owned(), body: body.trim().to_owned() }
    }

    fn files(self) -> Files {
        match self {
            Template::AwaitingPayment => files!("awaiting_payment"),
            Template::PaymentReceived => files!("payment_received"),
            Template::PaymentFailed => files!("payment_failed"),
            Template::Confirmed => files!("confirmed"),
            Template::Rejected => files!("rejected"),
            Template::Cancelled => files!("cancelled"),
            Template::Expired => files!("expired"),
            Template::Refunding => files!("refunding"),
            Template::Refunded => files!("refunded"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_status_and_payment_result_is_told_in_every_language() {
        let order_id = OrderId::parse("ORD202312250001").unwrap();
        let declined = (Some(OrderStatus::Paying), OrderStatus::AwaitingPayment);
        let changes = OrderStatus::ALL.map(|status| (None, status)).into_iter().chain([declined]);
        let mut used = BTreeSet::new();
        for (from, to) in changes {
            let Some(template) = Template::for_change(from, to) else {
                assert!([OrderStatus::Pending, OrderStatus::Paying].contains(&to), "{to} is not told");
                continue;
            };
            used.insert(template.name().to_owned());
            let [zh, en] = [Language::Zh, Language::En].map(|language| template.render(language, &order_id));
            for text in [&zh, &en] {
                assert!(!text.title.is_empty() && text.body.contains("ORD202312250001"), "{template:?}");
                assert!(!text.body.contains('{'), "{template:?} has a placeholder that nothing fills");
            }
            assert!(en.body.is_ascii() && !zh.title.is_ascii(), "{template:?} is in the language it says");
        }
        for language in ["zh", "en"] {
            assert_eq!(files_of(language), used, "each file of {language} is used");
        }
    }

    fn files_of(language: &str) -> BTreeSet<String> {
        let directory = format!("{}/templates/{language}", env!("CARGO_MANIFEST_DIR"));
        let names = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        names.map(|name| name.strip_suffix(".txt").unwrap().to_owned()).collect()
    }

    #[test]
    fn a_declined_payment_is_told_apart_from_a_granted_lock() {
        let awaiting = OrderStatus::AwaitingPayment;
        assert_eq!(Template::for_change(Some(OrderStatus::Paying), awaiting), Some(Template::PaymentFailed));
        assert_eq!(Template::for_change(Some(OrderStatus::Pending), awaiting), Some(Template::AwaitingPayment));
    }
}
