//! Each rule of payments, what repeats the past, and where the money is after any sequence.

use cqrs_es::Aggregate;
use domain::{Decider, Money, Payment, PaymentCommand, PaymentRejection, PaymentStatus};
use proptest::prelude::*;
use rstest::rstest;

use crate::support::{after, at, money, order_id, payment_id, user_id};

pub fn request() -> PaymentCommand {
    PaymentCommand::Request {
        payment_id: payment_id(1),
        order_id: order_id(1),
        user_id: user_id(),
        payment_method: "ALIPAY".to_owned(),
        amount: money("598.00"),
        callback_url: None,
    }
}

pub fn capture_of(amount: &str) -> PaymentCommand {
    PaymentCommand::Capture { amount: money(amount), provider_reference: "ch_1".to_owned(), paid_time: at(60) }
}

pub fn capture() -> PaymentCommand {
    capture_of("598.00")
}

pub fn fail() -> PaymentCommand {
    PaymentCommand::Fail { reason: "declined".to_owned() }
}

pub fn start_refund() -> PaymentCommand {
    PaymentCommand::StartRefund { reason: "order_cancelled".to_owned() }
}

pub fn complete_refund() -> PaymentCommand {
    PaymentCommand::CompleteRefund { provider_reference: "re_1".to_owned() }
}

fn requested() -> Payment {
    after([request()])
}

fn failed() -> Payment {
    after([request(), fail()])
}

fn succeeded() -> Payment {
    after([request(), capture()])
}

fn refunding() -> Payment {
    after([request(), capture(), start_refund()])
}

fn refunded() -> Payment {
    after([request(), capture(), start_refund(), complete_refund()])
}

#[track_caller]
fn refused(given: Payment, command: PaymentCommand, expected: PaymentRejection, code: &str) {
    assert_eq!(expected.code(), code);
    assert_eq!(given.decide(command), Err(expected));
}

#[rstest]
#[case(capture())]
#[case(fail())]
#[case(start_refund())]
#[case(complete_refund())]
fn not_found(#[case] command: PaymentCommand) {
    refused(Payment::default(), command, PaymentRejection::NotFound, "payment_not_found");
}

#[rstest]
#[case(requested())]
#[case(failed())]
#[case(succeeded())]
fn already_requested(#[case] given: Payment) {
    refused(given, request(), PaymentRejection::AlreadyRequested, "payment_already_requested");
}

#[rstest]
#[case::less(requested(), "597.99")]
#[case::more(requested(), "598.01")]
#[case::after_a_failure(failed(), "0")]
#[case::when_repeated(succeeded(), "1.00")]
fn wrong_amount(#[case] given: Payment, #[case] amount: &str) {
    refused(
        given,
        capture_of(amount),
        PaymentRejection::WrongAmount { expected: money("598.00"), received: money(amount) },
        "wrong_amount",
    );
}

#[rstest]
#[case(requested(), PaymentStatus::Requested)]
#[case(failed(), PaymentStatus::Failed)]
fn not_captured(#[case] given: Payment, #[case] status: PaymentStatus) {
    refused(given, start_refund(), PaymentRejection::NotCaptured { status }, "payment_not_captured");
}

#[rstest]
#[case(requested(), PaymentStatus::Requested)]
#[case(failed(), PaymentStatus::Failed)]
#[case(succeeded(), PaymentStatus::Succeeded)]
fn refund_not_started(#[case] given: Payment, #[case] status: PaymentStatus) {
    refused(given, complete_refund(), PaymentRejection::RefundNotStarted { status }, "refund_not_started");
}

#[rstest]
#[case::captured_again(succeeded(), capture())]
#[case::captured_though_refunded(refunded(), capture())]
#[case::failed_again(failed(), fail())]
#[case::failed_after_succeeded(succeeded(), fail())]
#[case::refund_started_again(refunding(), start_refund())]
#[case::refund_started_though_done(refunded(), start_refund())]
#[case::refunded_again(refunded(), complete_refund())]
fn what_repeats_the_past_has_no_second_effect(#[case] given: Payment, #[case] command: PaymentCommand) {
    assert_eq!(given.decide(command), Ok(vec![]));
}

#[rstest]
#[case(requested(), PaymentStatus::Requested, "0.00")]
#[case(failed(), PaymentStatus::Failed, "0.00")]
#[case(succeeded(), PaymentStatus::Succeeded, "598.00")]
#[case::succeeded_after_failed(
    after([request(), fail(), capture()]),
    PaymentStatus::Succeeded,
    "598.00"
)]
#[case(refunding(), PaymentStatus::Refunding, "598.00")]
#[case(refunded(), PaymentStatus::Refunded, "0.00")]
fn a_payment_holds_what_was_captured_and_not_refunded(
    #[case] payment: Payment,
    #[case] status: PaymentStatus,
    #[case] held: &str,
) {
    let payment = payment.requested.unwrap();

    assert_eq!(payment.status, status);
    assert_eq!(payment.held(), money(held));
}

fn any_command() -> impl Strategy<Value = PaymentCommand> {
    prop_oneof![
        1 => Just(request()),
        1 => (59_790..59_810_u64).prop_map(|units| {
            capture_of(&Money::from_minor_units(units).unwrap().to_string())
        }),
        3 => Just(capture()),
        2 => Just(fail()),
        2 => Just(start_refund()),
        2 => Just(complete_refund()),
    ]
}

proptest! {
    #[test]
    fn never_more_is_refunded_than_captured_nor_captured_than_asked(
        commands in prop::collection::vec(any_command(), 1..30)
    ) {
        let mut payment = Payment::default();
        for command in std::iter::once(request()).chain(commands) {
            let Ok(events) = payment.decide(command.clone()) else { continue };
            for event in events {
                payment.apply(event);
            }

            let state = payment.requested.as_ref().unwrap();
            prop_assert!(state.captured.checked_sub(state.refunded).is_some());
            prop_assert!(state.captured <= state.amount);
            prop_assert!(payment.decide(command).unwrap_or_default().is_empty());
            let snapshot = serde_json::to_string(&payment).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Payment>(&snapshot).unwrap(), &payment);
        }
    }
}
