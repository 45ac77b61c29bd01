//! What keeps a node from joining the mesh, as its dials tell it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rolecast::DialError;

/// Why dials came to nothing that will come to nothing again, by address.
#[derive(Debug, Default)]
pub(crate) struct Obstacles(BTreeMap<SocketAddr, String>);

impl Obstacles {
    /// Takes note of a dial that failed; gives a sentence that says what to do, if nobody has heard it yet.
    pub(crate) fn note(&mut self, addr: SocketAddr, why: &DialError) -> Option<&str> {
        let sentence = sentence(addr, why)?;
        let before = self.0.insert(addr, sentence.clone());
        let known = before.is_some_and(|before| before == sentence);
        self.0.get(&addr).filter(|_| !known).map(String::as_str)
    }

    /// One of the sentences, if there is any.
    pub(crate) fn first(&self) -> Option<&str> {
        self.0.values().next().map(String::as_str)
    }
}

/// What is wrong and what to do; nothing, if it may pass by itself.
fn sentence(addr: SocketAddr, why: &DialError) -> Option<String> {
    Some(match why {
        DialError::AnotherMesh => format!(
            "the node at {addr} is of another mesh: pass the secret that its nodes have with --secret-file, or the address of a node of this mesh with --seed"
        ),
        DialError::RefusedByPeer(why) => format!(
            "the node at {addr} refuses the certificate in --cert: {why}; have the mesh's authority sign another one"
        ),
        DialError::CertificateRefused(why) => format!(
            "the certificate of the node at {addr} cannot be accepted: {why}; start that node with one that is valid"
        ),
        DialError::Version(why) => format!(
            "the node at {addr} speaks another version of the protocol ({why}): run the same version of rolecast everywhere"
        ),
        DialError::DuplicateIdentity => format!(
            "a process at {addr} runs with the key of this node: give each a --state-dir of its own"
        ),
        DialError::Violation(why) => format!(
            "what answers at {addr} does not speak the protocol as a node does ({why}): is it the address of one?"
        ),
        DialError::Unreachable(why) => format!(
            "{addr} cannot be reached from here ({why}): pass the address of a node that can with --seed, or --listen at an address of the same kind"
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_is_told_once() {
        let addr = SocketAddr::from(([10, 0, 0, 1], 7400));
        let mut obstacles = Obstacles::default();
        assert_eq!(obstacles.note(addr, &DialError::TimedOut), None);
        assert_eq!(obstacles.first(), None);
        let told = obstacles.note(addr, &DialError::AnotherMesh);
        assert!(told.is_some_and(|told| told.starts_with("the node at 10.0.0.1:7400 is of")));
        assert_eq!(obstacles.note(addr, &DialError::AnotherMesh), None);
        let other = DialError::Version("none in common".to_owned());
        assert!(obstacles.note(addr, &other).is_some());
        assert!(
            obstacles
                .first()
                .is_some_and(|first| first.contains("none in common"))
        );
    }
}
