//! Bytes between this process and the brokers, named from the broker's side: `in` is what it took and confirmed, `out` what
//! it gave to consumers. A message counts as it is stored, with its properties; what a frame adds, what replicas send each
//! other and what other clients do is not in it.

use metrics::{Unit, counter, describe_counter};

const BYTES: &str = "ledger_broker_network_bytes_total";
const IN: &str = "in";
const OUT: &str = "out";

/// Has the series there from the start.
pub fn register_metrics() {
    describe_counter!(
        BYTES,
        Unit::Bytes,
        "Bytes of messages that brokers took from the ledger (in) and gave to it (out)"
    );
    for direction in [IN, OUT] {
        counter!(BYTES, "direction" => direction).increment(0);
    }
}

pub(crate) fn taken_by_the_broker(bytes: usize) {
    counter!(BYTES, "direction" => IN).increment(bytes as u64);
}

pub(crate) fn given_by_the_broker(bytes: usize) {
    counter!(BYTES, "direction" => OUT).increment(bytes as u64);
}
