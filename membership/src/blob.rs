//! Bytes in what is serialized: they are written at once, and not one by one as slices of numbers are.
//!
//! What postcard writes is the same.

use serde::{Serialize, Serializer};

struct Blob<'a>(&'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// For `serialize_with`: one run of bytes.
pub(crate) fn one<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// For `serialize_with`: several runs of bytes.
pub(crate) fn many<S: Serializer>(blobs: &[&[u8]], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(blobs.iter().map(|bytes| Blob(bytes)))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    #[test]
    fn the_bytes_are_those_of_slices_of_numbers() {
        #[derive(Serialize)]
        struct Plain<'a>(&'a [u8], Vec<&'a [u8]>);
        #[derive(Serialize)]
        struct AtOnce<'a>(
            #[serde(serialize_with = "super::one")] &'a [u8],
            #[serde(serialize_with = "super::many")] Vec<&'a [u8]>,
        );
        let long = [7; 300];
        let blobs: Vec<&[u8]> = vec![b"", b"one", &long];
        let plain = postcard::to_stdvec(&Plain(b"alone", blobs.clone()));
        assert_eq!(plain, postcard::to_stdvec(&AtOnce(b"alone", blobs)));
    }
}
