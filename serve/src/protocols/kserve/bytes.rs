//! Tensors as bytes: KServe v2's binary extension. The tensors' bytes follow a JSON header, end
//! to end, each as long as its `binary_data_size` says. An element of a BYTES tensor is a length
//! (u32, little-endian) and as many bytes.

/// The elements of a BYTES tensor.
///
/// # Errors
/// When a length goes beyond the end, or the last bytes are no length.
pub fn elements(mut bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(format!(
                "{} bytes are left, but the length of an element takes 4",
                bytes.len()
            ));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((element, rest)) = rest.split_at_checked(length) else {
            return Err(format!(
                "element {} says that it has {length} bytes, but {} are left",
                found.len(),
                rest.len()
            ));
        };
        found.push(element);
        bytes = rest;
    }
    Ok(found)
}

/// Appends an element of a BYTES tensor.
pub fn push(bytes: &mut Vec<u8>, element: &[u8]) {
    bytes.extend((element.len() as u32).to_le_bytes());
    bytes.extend(element);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_back() {
        let mut bytes = Vec::new();
        let texts: [&[u8]; 4] = [b"hello", b"", "é".as_bytes(), &[0xff; 300]];
        texts.iter().for_each(|text| push(&mut bytes, text));
        assert_eq!(elements(&bytes).unwrap(), texts);
        assert_eq!(elements(&[]).unwrap(), Vec::<&[u8]>::new());
        for end in 1..bytes.len() {
            let cut = elements(&bytes[..end]);
            let whole = [9, 13, 19].contains(&end);
            assert_eq!(cut.is_ok(), whole, "{end}");
        }
        assert!(elements(&[255, 255, 255, 255, 1]).unwrap_err().contains("4294967295"));
    }
}
