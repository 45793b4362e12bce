//! Talking with the parent process: the ready line, and orders.

use std::io::{self, BufRead};
use std::{process, thread};

use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::Error;
use crate::round::{self, Connect, Order};

/// The orders that the parent gives.
type Orders = UnboundedReceiver<Order>;

/// Reads orders from standard input. Ends the process when the parent has closed it.
pub(super) fn orders() -> Orders {
    let (sender, orders) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) => drop(sender.send(order)),
                Err(error) => eprintln!("not an order: {error}"),
            }
        }
        process::exit(0);
    });
    orders
}

/// Tells the parent that this process is ready.
pub(super) fn ready(address: impl std::fmt::Display) {
    println!("ready {address}");
}

/// Runs a round per order, until there are no more.
pub(super) async fn client<C: Connect>(
    connector: C,
    connections: usize,
    mut orders: Orders,
) -> Result<(), Error> {
    ready("for orders");
    while let Some(order) = orders.recv().await {
        let round = round::run(&connector, connections, &order).await;
        println!("{}", serde_json::to_string(&round)?);
    }
    Ok(())
}
