//! The entries of one block that have a term, by their offset in the block. Most terms have few of them: these stand in
//! line, and longer lists are Roaring bitmaps.

use roaring::RoaringBitmap;

/// Lists of up to so many offsets stand in line.
const INLINE_MAX: usize = 16;
const OFFSET_BYTES: usize = 2;
/// In the place of the number of offsets: the length of a bitmap follows.
const BITMAP: u8 = 0;

/// Writes `offsets`, which are in order and not empty, at the end of `out`.
pub(super) fn write(offsets: &[u16], out: &mut Vec<u8>) {
    match u8::try_from(offsets.len()) {
        Ok(count) if usize::from(count) <= INLINE_MAX => {
            out.push(count);
            out.extend(offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        }
        Ok(_) | Err(_) => {
            let mut bitmap = bitmap(offsets.iter().copied());
            bitmap.optimize();
            let mut bytes = Vec::with_capacity(bitmap.serialized_size());
            // Writing to memory does not fail; a list that is not whole is refused by its reader.
            drop(bitmap.serialize_into(&mut bytes));
            out.push(BITMAP);
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(&bytes);
        }
    }
}

/// The bytes of the list that `bytes` begin with, and the rest.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&count, after) = bytes.split_first()?;
    let len = if count == BITMAP {
        let len = usize::try_from(u32::from_be_bytes(*after.first_chunk::<4>()?)).ok()?;
        len.checked_add(const { 1 + 4 })?
    } else {
        usize::from(count).checked_mul(OFFSET_BYTES)?.checked_add(1)?
    };
    bytes.split_at_checked(len)
}

/// The list in these bytes, which are exactly one list.
pub(super) fn read(list: &[u8]) -> Option<RoaringBitmap> {
    let (&count, rest) = list.split_first()?;
    if count == BITMAP {
        return RoaringBitmap::deserialize_from(rest.get(4..)?).ok();
    }
    let (offsets, _) = rest.as_chunks::<OFFSET_BYTES>();
    Some(bitmap(offsets.iter().map(|offset| u16::from_be_bytes(*offset))))
}

/// The bitmap of offsets in order.
pub(super) fn bitmap(offsets: impl Iterator<Item = u16>) -> RoaringBitmap {
    offsets.map(u32::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_in_either_form() {
        let lists: [Vec<u16>; 5] = [
            vec![0],
            (0..16).map(|n| n * 4096).collect(),
            (0..17).map(|n| n * 3000).collect(),
            (0..=u16::MAX).step_by(3).collect(),
            (0..=u16::MAX).collect(),
        ];
        for list in lists {
            let mut bytes = Vec::new();
            write(&list, &mut bytes);
            bytes.extend_from_slice(b"next");
            let (found, rest) = split(&bytes).unwrap();
            assert_eq!((read(found).unwrap(), rest), (bitmap(list.iter().copied()), b"next".as_slice()));
            assert!(split(&bytes[..found.len() - 1]).is_none(), "cut off");
        }
    }

    #[test]
    fn a_term_of_every_entry_takes_few_bytes() {
        let mut bytes = Vec::new();
        write(&(0..=u16::MAX).collect::<Vec<u16>>(), &mut bytes);
        assert!(bytes.len() < 64, "{} bytes", bytes.len());
    }
}
