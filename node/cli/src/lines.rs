//! Lines of the standard input, read by a thread of its own so that a terminal that says nothing holds nothing up.

use std::io::{self, BufRead as _, BufReader, Read};

use rolecast::Bytes;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::human;

/// The lines of the standard input, without their ends; an empty line is an empty message.
pub(crate) struct Lines {
    blocks: mpsc::Receiver<Block>,
    current: std::vec::IntoIter<Bytes>,
    failed: Option<io::Error>,
}

/// Lines that were there together, and why no more follow.
type Block = (Vec<Bytes>, Option<io::Error>);

impl Lines {
    /// Starts to read lines of at most `bytes_max` bytes.
    pub(crate) fn of_stdin(bytes_max: usize) -> Self {
        // Few blocks wait: whoever writes the input is held back when the mesh is slower.
        let (send, blocks) = mpsc::channel(BLOCKS_MAX);
        std::thread::spawn(move || {
            let input = BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
            read_blocks(input, bytes_max, &send);
        });
        Lines {
            blocks,
            current: Vec::new().into_iter(),
            failed: None,
        }
    }

    /// The next line; `None` after the last.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(line) = self.current.next() {
                return Ok(Some(line));
            }
            if let Some(error) = self.failed.take() {
                return Err(Failure::failed(format!(
                    "the standard input cannot be read: {error}"
                )));
            }
            let Some((lines, failed)) = self.blocks.recv().await else {
                return Ok(None);
            };
            self.current = lines.into_iter();
            self.failed = failed;
        }
    }
}

/// Hands blocks on until the input ends or nobody wants more.
fn read_blocks(mut input: BufReader<impl Read>, bytes_max: usize, send: &mpsc::Sender<Block>) {
    loop {
        let (lines, end) = read_block(&mut input, bytes_max);
        let (failed, ended) = match end {
            End::More => (None, false),
            End::OfInput => (None, true),
            End::Failed(error) => (Some(error), true),
        };
        if send.blocking_send((lines, failed)).is_err() || ended {
            return;
        }
    }
}

/// How a block ended.
enum End {
    /// Nothing more was there at that moment.
    More,
    /// With the input.
    OfInput,
    /// With an error.
    Failed(io::Error),
}

/// Waits for one line, and takes what can be had with it without waiting.
fn read_block(input: &mut BufReader<impl Read>, bytes_max: usize) -> (Vec<Bytes>, End) {
    let mut lines = Vec::new();
    loop {
        match read_line(input, bytes_max) {
            Ok(Some(line)) => lines.push(line),
            Ok(None) => return (lines, End::OfInput),
            Err(error) => return (lines, End::Failed(error)),
        }
        if lines.len() == BLOCK_LINES_MAX || !input.buffer().contains(&b'\n') {
            return (lines, End::More);
        }
    }
}

/// One line without its end.
fn read_line(input: &mut BufReader<impl Read>, bytes_max: usize) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    let most = bytes_max as u64 + 2;
    let read = input.by_ref().take(most).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    if line.len() > bytes_max {
        let most = human::count(bytes_max as u64);
        return Err(io::Error::other(format!(
            "a line has more than {most} bytes, which is the most that a message can have"
        )));
    }
    Ok(Some(line.into()))
}

/// So much is read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// So many blocks wait at most.
const BLOCKS_MAX: usize = 4;
/// So many lines are in a block at most.
const BLOCK_LINES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text to its end: the lines of each block, and the error.
    fn blocks(text: &str, bytes_max: usize) -> (Vec<Vec<String>>, Option<String>) {
        let (send, mut receive) = mpsc::channel(16);
        read_blocks(BufReader::new(text.as_bytes()), bytes_max, &send);
        drop(send);
        let (mut blocks, mut failed) = (Vec::new(), None);
        while let Some((lines, error)) = receive.blocking_recv() {
            let lines = lines
                .iter()
                .map(|line| String::from_utf8_lossy(line).into_owned());
            blocks.push(lines.collect());
            failed = failed.or(error.map(|error| error.to_string()));
        }
        (blocks, failed)
    }

    #[test]
    fn lines_come_without_their_ends() {
        let (read, failed) = blocks("a\n\nb\r\nlast", 8);
        assert_eq!(read.concat(), ["a", "", "b", "last"]);
        assert_eq!(failed, None);
        assert_eq!(read[0].len(), 3, "whole lines come together");
    }

    #[test]
    fn long_lines_are_refused_after_those_before() {
        let (read, failed) = blocks("1234\n12345\nmore\n", 4);
        assert_eq!(read.concat(), ["1234"]);
        assert!(failed.unwrap().contains("more than 4 bytes"));
    }
}
