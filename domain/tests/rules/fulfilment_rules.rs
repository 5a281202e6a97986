//! Each rule of the saga, what repeats the past, and what remains at every step.

use domain::fulfilment::{RefundFailure, ResolveAction};
use domain::{Decider, Fulfilment, FulfilmentCommand, FulfilmentEvent, FulfilmentRejection, FulfilmentStep};
use rstest::rstest;

use crate::support::{after, and_then, lock_id, order_id, payment_id, quantity, ticket_type_id};

pub fn begin() -> FulfilmentCommand {
    FulfilmentCommand::Begin {
        order_id: order_id(1),
        ticket_type_id: ticket_type_id(),
        quantity: quantity(2),
        lock_id: lock_id(1),
    }
}

pub fn grant(lock: u128) -> FulfilmentCommand {
    FulfilmentCommand::GrantLock { lock_id: lock_id(lock) }
}

fn refuse(lock: u128) -> FulfilmentCommand {
    FulfilmentCommand::RefuseLock { lock_id: lock_id(lock), reason: "insufficient_stock".to_owned() }
}

fn lapse(lock: u128) -> FulfilmentCommand {
    FulfilmentCommand::LapseLock { lock_id: lock_id(lock) }
}

fn relock(lock: u128) -> FulfilmentCommand {
    FulfilmentCommand::Relock { lock_id: lock_id(lock) }
}

pub fn capture(payment: u128) -> FulfilmentCommand {
    FulfilmentCommand::RecordCapture { payment_id: payment_id(payment), refund_owed: false }
}

pub fn owe_refund(payment: u128) -> FulfilmentCommand {
    FulfilmentCommand::RecordCapture { payment_id: payment_id(payment), refund_owed: true }
}

fn complete() -> FulfilmentCommand {
    FulfilmentCommand::Complete {}
}

pub fn compensate() -> FulfilmentCommand {
    FulfilmentCommand::Compensate { reason: "expired".to_owned() }
}

fn compensated(lock: u128) -> FulfilmentCommand {
    FulfilmentCommand::RecordCompensated { lock_id: lock_id(lock) }
}

fn refund(payment: u128) -> FulfilmentCommand {
    FulfilmentCommand::RecordRefund { payment_id: payment_id(payment) }
}

fn begun(more: impl IntoIterator<Item = FulfilmentCommand>) -> Fulfilment {
    and_then(after([begin()]), more)
}

fn completed() -> Fulfilment {
    begun([grant(1), capture(1), complete()])
}

fn released() -> Fulfilment {
    begun([grant(1), compensate(), compensated(1)])
}

#[track_caller]
fn refused(given: Fulfilment, command: FulfilmentCommand, expected: FulfilmentRejection, code: &str) {
    assert_eq!(expected.code(), code);
    assert_eq!(given.decide(command), Err(expected));
}

#[rstest]
#[case(grant(1))]
#[case(refuse(1))]
#[case(lapse(1))]
#[case(relock(1))]
#[case(capture(1))]
#[case(complete())]
#[case(compensated(1))]
#[case(refund(1))]
fn not_begun(#[case] command: FulfilmentCommand) {
    refused(Fulfilment::default(), command, FulfilmentRejection::NotBegun, "fulfilment_not_begun");
}

#[rstest]
#[case(grant(2))]
#[case(refuse(2))]
fn unknown_lock(#[case] command: FulfilmentCommand) {
    refused(begun([]), command, FulfilmentRejection::UnknownLock { lock_id: lock_id(2) }, "fulfilment_unknown_lock");
}

#[rstest]
#[case::granted_after_refused(begun([refuse(1)]), grant(1), FulfilmentStep::LockRefused)]
#[case::granted_after_compensation(
    begun([compensate()]),
    grant(1),
    FulfilmentStep::ReleasingStock
)]
#[case::refused_after_granted(begun([grant(1)]), refuse(1), FulfilmentStep::AwaitingPayment)]
#[case::refused_after_completed(completed(), refuse(1), FulfilmentStep::Completed)]
fn lock_not_requested(#[case] given: Fulfilment, #[case] command: FulfilmentCommand, #[case] step: FulfilmentStep) {
    refused(given, command, FulfilmentRejection::LockNotRequested { step }, "lock_not_requested");
}

#[rstest]
#[case::not_answered_yet(begun([]), FulfilmentStep::LockingStock)]
#[case::still_held(begun([grant(1)]), FulfilmentStep::AwaitingPayment)]
#[case::refused(begun([refuse(1)]), FulfilmentStep::LockRefused)]
#[case::completed(completed(), FulfilmentStep::Completed)]
fn not_relockable(#[case] given: Fulfilment, #[case] step: FulfilmentStep) {
    refused(given, relock(2), FulfilmentRejection::NotRelockable { step }, "not_relockable");
}

#[rstest]
#[case::not_yet(begun([]), FulfilmentStep::LockingStock)]
#[case::lapsed(begun([grant(1), lapse(1)]), FulfilmentStep::LockLapsed)]
#[case::released(released(), FulfilmentStep::Compensated)]
#[case::another_payment_has_them(
    begun([grant(1), capture(1)]),
    FulfilmentStep::DeductingStock
)]
fn no_tickets_held(#[case] given: Fulfilment, #[case] step: FulfilmentStep) {
    refused(given, capture(2), FulfilmentRejection::NoTicketsHeld { step }, "no_tickets_held");
}

#[rstest]
#[case(begun([]), FulfilmentStep::LockingStock)]
#[case(begun([grant(1)]), FulfilmentStep::AwaitingPayment)]
#[case(released(), FulfilmentStep::Compensated)]
fn not_captured(#[case] given: Fulfilment, #[case] step: FulfilmentStep) {
    refused(given, complete(), FulfilmentRejection::NotCaptured { step }, "fulfilment_not_captured");
}

#[rstest]
#[case::never_captured(begun([grant(1)]))]
#[case::spent_on_the_tickets(completed())]
fn refund_not_owed(#[case] given: Fulfilment) {
    refused(given, refund(1), FulfilmentRejection::RefundNotOwed { payment_id: payment_id(1) }, "refund_not_owed");
}

#[rstest]
#[case::begun_again(begun([]), begin())]
#[case::granted_again(begun([grant(1)]), grant(1))]
#[case::granted_though_lapsed(begun([grant(1), lapse(1)]), grant(1))]
#[case::refused_again(begun([refuse(1)]), refuse(1))]
#[case::refused_though_compensating(begun([compensate()]), refuse(1))]
#[case::lapsed_again(begun([grant(1), lapse(1)]), lapse(1))]
#[case::an_older_lock_lapsed(begun([grant(1), lapse(1), relock(2)]), lapse(1))]
#[case::lapsed_though_captured(begun([grant(1), capture(1)]), lapse(1))]
#[case::relocked_again(begun([grant(1), lapse(1), relock(2)]), relock(2))]
#[case::captured_again(begun([grant(1), capture(1)]), capture(1))]
#[case::owed_again(begun([grant(1), owe_refund(1)]), owe_refund(1))]
#[case::owed_though_refunded(begun([grant(1), owe_refund(1), refund(1)]), owe_refund(1))]
#[case::completed_again(completed(), complete())]
#[case::compensated_though_nothing_begun(Fulfilment::default(), compensate())]
#[case::compensated_again(begun([compensate()]), compensate())]
#[case::compensated_though_refused(begun([refuse(1)]), compensate())]
#[case::released_again(released(), compensated(1))]
#[case::an_older_lock_released(begun([grant(1), compensate(), relock(2)]), compensated(1))]
#[case::an_older_lock_released_though_compensating(
    begun([grant(1), lapse(1), relock(2), compensate()]),
    compensated(1)
)]
#[case::refunded_again(begun([grant(1), owe_refund(1), refund(1)]), refund(1))]
fn what_repeats_the_past_has_no_second_effect(#[case] given: Fulfilment, #[case] command: FulfilmentCommand) {
    assert_eq!(given.decide(command), Ok(vec![]));
}

#[rstest]
#[case::begun(
    begun([]),
    FulfilmentStep::LockingStock,
    &["lock_stock", "capture_payment", "deduct_stock", "confirm_order"]
)]
#[case::granted(
    begun([grant(1)]),
    FulfilmentStep::AwaitingPayment,
    &["capture_payment", "deduct_stock", "confirm_order"]
)]
#[case::lapsed(
    begun([grant(1), lapse(1)]),
    FulfilmentStep::LockLapsed,
    &["lock_stock", "capture_payment", "deduct_stock", "confirm_order"]
)]
#[case::locked_again(
    begun([grant(1), lapse(1), relock(2)]),
    FulfilmentStep::AwaitingPayment,
    &["capture_payment", "deduct_stock", "confirm_order"]
)]
#[case::captured(
    begun([grant(1), capture(1)]),
    FulfilmentStep::DeductingStock,
    &["deduct_stock", "confirm_order"]
)]
#[case::completed(completed(), FulfilmentStep::Completed, &[])]
#[case::refused(begun([refuse(1)]), FulfilmentStep::LockRefused, &[])]
#[case::ended(begun([grant(1), compensate()]), FulfilmentStep::ReleasingStock, &["release_stock"])]
#[case::released(released(), FulfilmentStep::Compensated, &[])]
#[case::captured_after_the_end(
    begun([grant(1), compensate(), owe_refund(1)]),
    FulfilmentStep::ReleasingStock,
    &["release_stock", "refund_payment"]
)]
#[case::captured_too_late(
    and_then(released(), [owe_refund(1)]),
    FulfilmentStep::Refunding,
    &["refund_payment"]
)]
#[case::refunded(
    and_then(released(), [owe_refund(1), refund(1)]),
    FulfilmentStep::Refunded,
    &[]
)]
#[case::saved_by_a_late_capture(
    and_then(released(), [relock(2), capture(1)]),
    FulfilmentStep::DeductingStock,
    &["deduct_stock", "confirm_order"]
)]
#[case::second_capture(
    and_then(completed(), [owe_refund(2)]),
    FulfilmentStep::Refunding,
    &["refund_payment"]
)]
#[case::second_capture_refunded(
    and_then(completed(), [owe_refund(2), refund(2)]),
    FulfilmentStep::Completed,
    &[]
)]
#[case::cancelled_after_completion(
    and_then(completed(), [compensate()]),
    FulfilmentStep::ReleasingStock,
    &["release_stock", "refund_payment"]
)]
fn what_remains_is_known_at_every_step(
    #[case] saga: Fulfilment,
    #[case] step: FulfilmentStep,
    #[case] remaining: &[&str],
) {
    assert_eq!(saga.step(), Some(step));
    assert_eq!(saga.remaining(), remaining);
    assert_eq!(step.is_terminal(), remaining.is_empty());
}

fn refund_refused(payment: u128) -> FulfilmentCommand {
    FulfilmentCommand::RecordRefundFailure {
        payment_id: payment_id(payment),
        reason: "account closed".to_owned(),
        max_attempts: 3,
    }
}

fn resolve(action: ResolveAction) -> FulfilmentCommand {
    FulfilmentCommand::Resolve { action, reason: "asked the bank".to_owned() }
}

/// Its tickets are back, and one refund is owed.
fn refunding() -> Fulfilment {
    and_then(released(), [owe_refund(1)])
}

#[test]
fn a_refund_that_is_refused_again_and_again_is_handed_over() {
    let mut saga = refunding();
    for attempt in 1..=3 {
        let expected = FulfilmentEvent::RefundFailed {
            payment_id: payment_id(1),
            attempt,
            reason: "account closed".to_owned(),
            handed_over: attempt == 3,
        };
        assert_eq!(saga.decide(refund_refused(1)).unwrap(), [expected]);
        saga = and_then(saga, [refund_refused(1)]);
        assert_eq!(saga.step(), Some(FulfilmentStep::Refunding), "it is still owed");
    }
    assert!(saga.begun.as_ref().unwrap().is_handed_over());
    assert_eq!(saga.decide(refund_refused(1)).unwrap(), [], "nobody asks any more");
}

#[test]
fn a_decision_to_retry_begins_the_count_anew() {
    let given_up = and_then(refunding(), [refund_refused(1), refund_refused(1), refund_refused(1)]);
    let retried = and_then(given_up, [resolve(ResolveAction::Retry)]);
    assert!(!retried.begun.as_ref().unwrap().is_handed_over());
    let again = and_then(retried, [refund_refused(1)]);
    let failure = RefundFailure {
        payment_id: payment_id(1),
        attempts: 1,
        reason: "account closed".to_owned(),
        handed_over: false,
    };
    assert_eq!(again.begun.unwrap().refund_failures, [failure]);
}

#[test]
fn a_refund_that_succeeds_after_all_leaves_no_failure_behind() {
    let saga = and_then(refunding(), [refund_refused(1), refund(1)]);
    assert_eq!(saga.step(), Some(FulfilmentStep::Refunded));
    assert_eq!(saga.begun.as_ref().unwrap().refund_failures, []);
    assert_eq!(saga.decide(refund_refused(1)).unwrap(), [], "a late refusal of what was paid back");
}

#[test]
fn only_a_refund_that_is_owed_can_fail() {
    let refused = refunding().decide(refund_refused(2));
    assert_eq!(refused, Err(FulfilmentRejection::RefundNotOwed { payment_id: payment_id(2) }));
}

#[rstest]
#[case::not_begun_to_undo(begun([grant(1)]))]
#[case::done(completed())]
#[case::undone(released())]
fn where_nothing_is_undone_there_is_nothing_to_resolve(#[case] saga: Fulfilment) {
    let step = saga.step().unwrap();
    let refused = saga.decide(resolve(ResolveAction::Skip));
    assert_eq!(refused, Err(FulfilmentRejection::NothingToResolve { step }));
}

#[test]
fn every_step_is_spelt_one_way() {
    for step in FulfilmentStep::ALL {
        assert_eq!(FulfilmentStep::parse(step.as_str()), Some(step));
        assert_eq!(serde_json::to_string(&step).unwrap(), format!("\"{step}\""));
    }
}
