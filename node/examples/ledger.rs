//! A ledger that three tellers keep: money is handed out only for what one death cannot undo.
//!
//! Every teller writes a payment by multicast to all of them, itself included, over a channel that is 2-safe.
//! A teller hands the money out when the payment comes back out of its own inbox: by then one more teller has it in memory.
//! So when a teller dies right after, the others know of everything that it has paid, and if it had been alone with a payment, nobody had been paid.
//!
//! `cargo run -p rolecast --example ledger` shows three tellers in one process, one of which goes away in the middle of its work.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use rolecast::{Channel, Inbox, InboxItem, MeshSecret, Node, NotSent, SendError};

const ROLE: &str = "bank:teller";

struct Teller {
    name: &'static str,
    node: Node,
    inbox: Inbox,
    ledger: Channel,
    /// What this teller knows to be paid.
    paid: BTreeSet<String>,
}

impl Teller {
    async fn start(
        name: &'static str,
        secret: &MeshSecret,
        seeds: Vec<std::net::SocketAddr>,
    ) -> Result<Self, Box<dyn Error>> {
        let builder = Node::builder().secret(secret).listen("127.0.0.1:0");
        let node = builder.seeds(seeds).start().await?;
        let inbox = node.register(ROLE).await?;
        let ledger = node.channel(ROLE).k_safe(2);
        Ok(Teller {
            name,
            node,
            inbox,
            ledger,
            paid: BTreeSet::new(),
        })
    }

    /// Takes what is in the inbox until a payment is in the books.
    async fn read_until(&mut self, payment: &str) -> Result<(), Box<dyn Error>> {
        while !self.paid.contains(payment) {
            match self.inbox.next().await {
                Some(InboxItem::Message(message)) => {
                    let text = String::from_utf8_lossy(message.payload()).into_owned();
                    self.paid.insert(text);
                }
                // What was paid before this teller came is in the books of the others.
                Some(InboxItem::Started(_)) => {}
                // Whatever it was, nobody was paid for it who could not be told.
                Some(InboxItem::Gap(gap)) => println!("{}: {gap:?}", self.name),
                other => return Err(format!("{}: the inbox ended: {other:?}", self.name).into()),
            }
        }
        Ok(())
    }

    /// Pays: first into the books of two, then out of the till.
    async fn pay(&mut self, payment: &str) -> Result<(), Box<dyn Error>> {
        let receipt = self.ledger.multicast(payment.to_owned()).await?;
        self.read_until(payment).await?;
        println!("{} hands out the money: {payment}", self.name);
        // Says the same from the sender's side, also if the sender is no teller itself.
        receipt.stable().await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = MeshSecret::generate();
    let mut ann = Teller::start("ann", &secret, Vec::new()).await?;
    // Alone, nobody could keep what she pays.
    match ann.ledger.multicast("0: nothing").await {
        Err(SendError::NotSent(NotSent::TooFewHolders { wanted, .. })) => {
            println!("ann waits: {wanted} tellers are to have every payment");
        }
        other => return Err(format!("one teller is too few: {other:?}").into()),
    }
    let seeds = vec![ann.node.addr()];
    let mut bob = Teller::start("bob", &secret, seeds.clone()).await?;
    let mut eve = Teller::start("eve", &secret, seeds).await?;
    for teller in [&ann, &bob, &eve] {
        let all = teller.ledger.wait_for_holders(3);
        all.timeout(Duration::from_secs(30)).await?;
    }

    for number in 1..=5 {
        ann.pay(&format!("{number}: 10 to carol")).await?;
    }
    let Teller { node, paid, .. } = ann;
    node.shutdown_within(Duration::ZERO).await;
    println!("ann is gone, and has paid {} times", paid.len());

    for teller in [&mut bob, &mut eve] {
        for payment in &paid {
            teller.read_until(payment).await?;
        }
        println!("{} knows of all of it", teller.name);
    }
    bob.pay("6: 10 to dan").await?;
    eve.read_until("6: 10 to dan").await?;
    bob.node.shutdown().await;
    eve.node.shutdown().await;
    Ok(())
}
