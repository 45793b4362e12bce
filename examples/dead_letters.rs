//! Lists dead letters, the durable requests that were given up, puts them back, or deletes them.
//!
//! ```text
//! cargo run --example dead_letters -- list
//! cargo run --example dead_letters -- put-back 3     # to be delivered again, after the cause is fixed
//! cargo run --example dead_letters -- delete 3
//! ```
//!
//! The numbers are those that `list` shows.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand};
use narun_consumer::DeadLetters;
use narun_examples::nats;
use narun_examples::say;

/// How many are requested at a time.
const PAGE: usize = 100;

#[derive(Parser)]
struct Args {
    /// The nats-server.
    #[arg(
        long,
        env = "NATS_URL",
        hide_env_values = true,
        default_value = "nats://127.0.0.1:4222",
        global = true
    )]
    nats_url: String,
    /// The stream of the requests.
    #[arg(long, default_value = "TASK", global = true)]
    stream: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists dead letters, the oldest first.
    List {
        /// Only dead letters of this app.
        #[arg(long)]
        app: Option<String>,
    },
    /// Puts dead letters back into the stream, as if they had just been accepted.
    PutBack {
        #[arg(required = true)]
        numbers: Vec<u64>,
    },
    /// Deletes dead letters for good.
    Delete {
        #[arg(required = true)]
        numbers: Vec<u64>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let client = nats::connect(&args.nats_url, "dead letters").await?;
    let dead_letters = DeadLetters::new(client, args.stream)?;
    match args.command {
        Command::List { app } => list(&dead_letters, app.as_deref()).await?,
        Command::PutBack { numbers } => {
            for number in numbers {
                dead_letters.put_back(number).await?;
                say!("{number} is put back");
            }
        }
        Command::Delete { numbers } => {
            for number in numbers {
                dead_letters.delete(number).await?;
                say!("{number} is deleted");
            }
        }
    }
    Ok(())
}

async fn list(dead_letters: &DeadLetters, app: Option<&str>) -> anyhow::Result<()> {
    let mut next = 0;
    loop {
        let page = dead_letters.list(app, next, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        next = last.sequence() + 1;
        for letter in &page {
            say!(
                "{} {} accepted {}, delivered {} times: {}",
                letter.sequence(),
                letter.app(),
                age(letter.accepted()),
                letter.deliveries(),
                letter.reason(),
            );
            if let Some(request) = letter.request() {
                say!("    {} {}", request.method, request.uri);
            }
        }
    }
}

fn age(accepted: Option<SystemTime>) -> String {
    match accepted.map(|accepted| SystemTime::now().duration_since(accepted)) {
        Some(Ok(age)) => format!("{} s ago", age.as_secs()),
        // Clocks differ.
        Some(Err(_)) => "just now".to_owned(),
        None => "at an unknown time".to_owned(),
    }
}
