//! What becomes of memory that isn't needed any more.

/// A buffer of so many bytes is a large one: a column of a batch has them, and a chunk of the snapshot.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 8 << 20;

/// From now on large buffers go back to the system as soon as they are freed. Without this glibc keeps what is freed for buffers of that size to come, in pieces that the next ones may
/// not fit into, and how much the process takes at most differs from run to run (`M_MMAP_THRESHOLD` in mallopt(3): the threshold grows with each larger buffer that is freed, unless it is set).
///
/// Other C libraries have no such setting: nothing happens there.
pub fn return_large_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two numbers and may be called at any time.
    if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) } == 0 {
        tracing::debug!("the C library doesn't take M_MMAP_THRESHOLD; freed memory may be kept");
    }
}

#[cfg(all(test, target_env = "gnu", target_pointer_width = "64"))]
mod tests {
    use super::*;

    /// Whether a buffer has its own mapping, as glibc notes it in front of it (`IS_MMAPPED` of malloc.c).
    fn is_mapped(buffer: &[u8]) -> bool {
        // SAFETY: the allocator's note on a buffer's size stands in the word before it.
        let size = unsafe { buffer.as_ptr().cast::<usize>().sub(1).read() };
        size & 2 != 0
    }

    #[test]
    fn a_large_buffer_goes_back_to_the_system_although_a_larger_one_was_freed() {
        return_large_buffers();
        let large = usize::try_from(LARGE).expect("a size");
        drop(std::hint::black_box(Vec::<u8>::with_capacity(2 * large)));
        assert!(is_mapped(&vec![1; large]));
        assert!(!is_mapped(&vec![1; large / 16]), "small ones are kept");
    }
}
