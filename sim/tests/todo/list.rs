//! A to-do list that every node has a copy of.
//!
//! This is a program as anybody would write it on Rolecast; it knows nothing of any simulator.
//! Each copy is a map from item to its newest state, and a state that comes later in the order of [`Stamp`] replaces one that comes earlier, wherever and in whatever order they arrive.
//! Changes are multicast to all copies; a copy that meets another one, or that hears of a gap, sends everything it has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rolecast::{MeshEvent, Node, NodeId, SendError, TypedChannel, TypedItem};
use serde::{Deserialize, Serialize};

/// One copy of the list.
#[derive(Clone)]
pub(crate) struct TodoList {
    node: Node,
    items: Arc<Mutex<BTreeMap<String, Item>>>,
    copies: TypedChannel<Changes>,
}

/// The newest states of some items.
type Changes = BTreeMap<String, Item>;

/// The newest state of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Whether it is done.
    pub(crate) done: bool,
    stamp: Stamp,
}

/// When and where an item was changed: a Lamport clock, and the node for those that were changed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Stamp(u64, NodeId);

impl TodoList {
    /// Starts a copy of the list on this node, and the tasks that keep it up to date.
    pub(crate) async fn open(node: &Node) -> Result<Self, rolecast::RegisterError> {
        let mut inbox = node.register_of::<Changes>(COPY).await?;
        let list = TodoList {
            node: node.clone(),
            items: Arc::default(),
            copies: node.channel_of(COPY),
        };
        let (mut mesh, this) = (node.watch(), list.clone());
        tokio::spawn(async move {
            while let Some(event) = mesh.next().await {
                // Whoever was away, or may think that we were, gets everything.
                if let MeshEvent::Joined(_)
                | MeshEvent::Updated(_)
                | MeshEvent::Restarted(_)
                | MeshEvent::Renewed(_) = event
                {
                    this.send_everything().await;
                }
            }
        });
        let this = list.clone();
        tokio::spawn(async move {
            while let Some(item) = inbox.next().await {
                match item {
                    TypedItem::Message(message) => this.merge(message.value),
                    TypedItem::Gap(_) => this.send_everything().await,
                    _ => {}
                }
            }
        });
        Ok(list)
    }

    /// Puts an item on the list, or changes it.
    pub(crate) async fn set(&self, name: &str, done: bool) -> Result<(), SendError> {
        let changes = {
            let mut items = self.items();
            let latest = items.values().map(|item| item.stamp.0).max();
            let stamp = Stamp(latest.unwrap_or(0) + 1, self.node.id());
            items.insert(name.to_owned(), Item { done, stamp });
            BTreeMap::from([(name.to_owned(), items[name].clone())])
        };
        self.copies.multicast(&changes).await?;
        Ok(())
    }

    /// What is on the list, as far as this copy knows.
    pub(crate) fn read(&self) -> BTreeMap<String, bool> {
        let items = self.items();
        items
            .iter()
            .map(|(name, item)| (name.clone(), item.done))
            .collect()
    }

    fn merge(&self, changes: Changes) {
        let mut items = self.items();
        for (name, theirs) in changes {
            let newer = items
                .get(&name)
                .is_none_or(|ours| ours.stamp < theirs.stamp);
            if newer {
                items.insert(name, theirs);
            }
        }
    }

    async fn send_everything(&self) {
        let everything = self.items().clone();
        // Without another copy there is nobody to tell.
        let _ = self.copies.multicast(&everything).await;
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<String, Item>> {
        self.items
            .lock()
            .expect("nobody panics with the list in hand")
    }
}

/// The role of whoever has a copy.
const COPY: &str = "todo:copy";
