//! Batches across the border. Both ways stand here.

use fidelio_backend::{AdapterId, Ask, BackendError, Batch, Forest, Node, Parent, RowId, Target};

use crate::{
    abi,
    reading::{Broken, head, sent, slice},
};

/// A batch of the host's, in the shape that crosses.
#[derive(Debug)]
pub(crate) struct SentBatch<'a> {
    forest: &'a Forest,
    nodes: Vec<abi::Node>,
    targets: Vec<abi::Target>,
    rows: &'a [u64],
}

impl<'a> SentBatch<'a> {
    /// # Errors
    /// When the batch asks what plugins of this version do not know.
    pub(crate) fn new(batch: &'a Batch) -> Result<Self, BackendError> {
        let sent = |&Target { at, ask, weight, group }: &Target| match ask {
            Ask::Token(token) => Ok(abi::Target { at, ask: abi::ASK_TOKEN, token, weight, group }),
            other => Err(BackendError::Engine(format!("no plugin can be asked for {other:?}"))),
        };
        let targets = batch.targets.iter().map(sent).collect::<Result<_, _>>()?;
        Ok(Self { targets, rows: &batch.rows, ..Self::of_forest(&batch.forest) })
    }

    pub(crate) fn of_forest(forest: &'a Forest) -> Self {
        let nodes = forest.nodes.iter().map(|&Node { parent, start, len }| {
            let (kind, parent) = match parent {
                Parent::Root => (abi::PARENT_ROOT, 0),
                Parent::Node(node) => (abi::PARENT_NODE, node.into()),
                Parent::Cached(row) => (abi::PARENT_CACHED, row.0),
            };
            abi::Node { parent, kind, start, len }
        });
        Self { forest, nodes: nodes.collect(), targets: Vec::new(), rows: &[] }
    }

    /// What is sent; it borrows from `self`.
    pub(crate) fn table(&self) -> abi::Batch {
        let adapter = self.forest.adapter;
        abi::Batch {
            head: head::<abi::Batch>(),
            flags: if adapter.is_some() { abi::BATCH_ADAPTER } else { 0 },
            adapter: adapter.map_or(0, |adapter| adapter.0),
            tokens: self.forest.tokens.as_ptr(),
            token_count: self.forest.tokens.len(),
            nodes: self.nodes.as_ptr(),
            node_count: self.nodes.len(),
            targets: self.targets.as_ptr(),
            target_count: self.targets.len(),
            rows: self.rows.as_ptr(),
            row_count: self.rows.len(),
        }
    }
}

/// The batch that was sent.
///
/// # Safety
/// `batch` is null or points to a batch whose arrays are readable for the time of the call.
pub(crate) unsafe fn receive(batch: *const abi::Batch) -> Result<Batch, Broken> {
    // SAFETY: the caller's promise.
    let batch = unsafe { sent(batch, "the batch")? };
    // SAFETY: the caller's promise, for this array and the next three.
    let tokens = unsafe { slice(batch.tokens, batch.token_count, "the batch's tokens")? };
    // SAFETY: as above.
    let nodes = unsafe { slice(batch.nodes, batch.node_count, "the batch's nodes")? };
    // SAFETY: as above.
    let targets = unsafe { slice(batch.targets, batch.target_count, "the batch's targets")? };
    // SAFETY: as above.
    let rows = unsafe { slice(batch.rows, batch.row_count, "the batch's rows")? };
    let adapter = (batch.flags & abi::BATCH_ADAPTER != 0).then_some(AdapterId(batch.adapter));
    Ok(Batch {
        forest: Forest {
            tokens: tokens.to_vec(),
            nodes: nodes.iter().map(node).collect::<Result<_, _>>()?,
            adapter,
        },
        targets: targets.iter().map(target).collect::<Result<_, _>>()?,
        rows: rows.to_vec(),
    })
}

fn node(sent: &abi::Node) -> Result<Node, Broken> {
    let parent = match sent.kind {
        abi::PARENT_ROOT => Parent::Root,
        abi::PARENT_NODE => Parent::Node(u32::try_from(sent.parent).unwrap_or(u32::MAX)),
        abi::PARENT_CACHED => Parent::Cached(RowId(sent.parent)),
        other => return Err(format!("a node's parent is of the unknown kind {other}")),
    };
    Ok(Node { parent, start: sent.start, len: sent.len })
}

fn target(sent: &abi::Target) -> Result<Target, Broken> {
    let abi::Target { at, ask, token, weight, group } = *sent;
    match ask {
        abi::ASK_TOKEN => Ok(Target { at, ask: Ask::Token(token), weight, group }),
        other => Err(format!("a target asks the unknown question {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_out_as_it_went_in() {
        let mut batch = Batch::default();
        let root = batch.forest.push(Parent::Root, &[1, 2, 3]);
        batch.forest.push(Parent::Node(root), &[4]);
        batch.forest.push(Parent::Cached(RowId(1 << 40)), &[5, 6]);
        batch.targets.push(Target { at: 5, ask: Ask::Token(7), weight: 0.5, group: 9 });
        for (adapter, rows) in [(None, vec![]), (Some(AdapterId(0)), vec![1, 2, 1 << 33])] {
            batch.forest.adapter = adapter;
            batch.rows = rows;
            // SAFETY: the table borrows from a batch that lives longer than the call.
            let received = unsafe { receive(&SentBatch::new(&batch).unwrap().table()) };
            assert_eq!(received, Ok(batch.clone()));
        }
    }

    #[test]
    fn unknown_kinds_are_refused() {
        let strange = abi::Node { parent: 0, kind: 7, start: 0, len: 1 };
        assert_eq!(node(&strange).unwrap_err(), "a node's parent is of the unknown kind 7");
    }
}
