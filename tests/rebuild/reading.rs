//! People who look all the time: every answer must be whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::{Client, Instance};

pub struct Reading {
    going_on: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Reading {
    /// Of a confirmed order of user 1: two tickets of type 2001, the only one on sale.
    pub fn start(instance: &Instance, order: &str) -> Self {
        let (going_on, reads) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (client, order) = (instance.client(), order.to_owned());
        let task = {
            let (going_on, reads) = (going_on.clone(), reads.clone());
            tokio::spawn(async move {
                let mut notifications = 1;
                while going_on.load(Ordering::Relaxed) {
                    notifications = read(&client, &order, notifications).await;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Self { going_on, reads, task }
    }

    pub async fn stop(self) -> usize {
        self.going_on.store(false, Ordering::Relaxed);
        self.task.await.unwrap();
        self.reads.load(Ordering::Relaxed)
    }
}

/// What comes from each read model alone, and the stock as it is now. What is damaged on purpose is not looked at. Answers
/// how many notifications there are by now.
async fn read(client: &Client, order: &str, notifications: usize) -> usize {
    let orders = list(client, "/v1/orders?userId=1").await;
    assert!(orders.len() == 1 && orders[0]["orderId"] == *order, "{orders:?}");
    assert_eq!(orders[0]["status"], "CONFIRMED", "{orders:?}");
    let ticket_types = list(client, "/v1/ticket-types").await;
    assert!(ticket_types.len() == 1 && ticket_types[0]["ticketTypeId"] == 2001, "{ticket_types:?}");
    assert_eq!(ticket_types[0]["sold"], 2, "{ticket_types:?}");
    let told = list(client, "/v1/users/1/notifications").await;
    assert!(told.len() >= notifications && told.iter().all(|one| one["orderId"] == *order), "{told:?}");
    let stock = client.get("/v1/ticket-types/2001/stock").await;
    assert_eq!((stock.status, &stock.body["sold"]), (200, &2.into()), "{stock:?}");
    told.len()
}

async fn list(client: &Client, path: &str) -> Vec<Value> {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["items"].as_array().unwrap().clone()
}
