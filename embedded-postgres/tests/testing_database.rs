//! What other crates' tests get.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use embedded_postgres::testing;
use postgres::{Client, NoTls};

#[test]
fn every_call_gives_an_empty_database_of_its_own() {
    let (one, other) = (testing::database(), testing::database());
    let mut client = Client::connect(&one.url, NoTls).unwrap();
    client.batch_execute("CREATE TABLE t (n int)").unwrap();

    let mut client = Client::connect(&other.url, NoTls).unwrap();
    let tables: i64 = client.query_one("SELECT count(*) FROM pg_tables WHERE tablename = 't'", &[]).unwrap().get(0);
    assert_eq!(tables, 0);
}

#[test]
fn databases_can_be_asked_for_from_many_threads_at_once() {
    let mut urls: Vec<String> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| testing::database().url)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 8);
}

#[tokio::test]
async fn works_inside_an_async_runtime() {
    assert!(testing::database().url.starts_with("postgres://"));
}
