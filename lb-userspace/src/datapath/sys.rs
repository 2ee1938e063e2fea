//! The few `bpf(2)` calls that aya does not have: batches over maps (kernel 5.6), deleting from an
//! array of maps, running a program from any thread, making an XDP link or failing, and what a link
//! is attached to (kernel 5.9).

#![expect(
    unsafe_code,
    reason = "raw system calls; every other module forbids it"
)]

mod link;
mod untyped;

use std::{
    ffi::CString,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::Pod;

pub use self::{
    link::{create_xdp_link, detach_link, link_target, update_link},
    untyped::RawMap,
};

/// Commands of `bpf(2)` (include/uapi/linux/bpf.h, enum bpf_cmd).
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;

/// Entries that one batch call reads. It must hold the fullest bucket of a hash map, else the
/// kernel refuses it with ENOSPC.
const BATCH: usize = 8_192;

/// `bpf_attr.batch`.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `bpf_attr` for single elements.
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `bpf_attr` for pins.
#[repr(C)]
struct PathAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `bpf_attr.test`.
#[repr(C)]
#[derive(Default)]
struct TestRunAttr {
    program_fd: u32,
    returned: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// `bpf_attr.info`.
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// Calls `visit` with every entry of a hash map, in batches. Entries that come or go meanwhile may
/// be missed or seen twice.
///
/// # Errors
/// What the kernel says.
pub fn for_each<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    mut visit: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut keys: Vec<K> = Vec::with_capacity(BATCH);
    let mut values: Vec<V> = Vec::with_capacity(BATCH);
    // The position is a bucket's number for hash maps and the last key for arrays; no key of ours
    // that is read in batches is longer than this.
    let mut position = [0_u8; 64];
    let mut next = [0_u8; 64];
    let mut first = true;
    loop {
        let mut attr = BatchAttr {
            in_batch: if first { 0 } else { position.as_ptr() as u64 },
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(BATCH).expect("a constant that fits"),
            map_fd: raw(map),
            ..BatchAttr::default()
        };
        // SAFETY: `keys` and `values` have room for `count` elements of the map's sizes, which the
        // callers' types match (checked when the pins were opened); `next` is larger than any
        // position.
        let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) };
        let done = match &result {
            Ok(_) => false,
            // The last batch: `count` entries and no more.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(_) => return result.map(drop),
        };
        // SAFETY: the kernel wrote `count` elements of each, which are plain bytes.
        unsafe {
            keys.set_len(attr.count as usize);
            values.set_len(attr.count as usize);
        }
        for (key, value) in keys.iter().zip(&values) {
            visit(key, value);
        }
        if done {
            return Ok(());
        }
        position = next;
        first = false;
        keys.clear();
        values.clear();
    }
}

/// Writes values of an array map, or puts maps (by their descriptors) into an array of maps.
///
/// # Errors
/// What the kernel says.
///
/// # Panics
/// When there are not as many values as indices.
pub fn update<V: Pod>(map: BorrowedFd<'_>, indices: &[u32], values: &[V]) -> io::Result<()> {
    assert_eq!(indices.len(), values.len(), "a value for each index");
    let mut attr = BatchAttr {
        keys: indices.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: u32::try_from(values.len()).expect("an array map's length is 32 bits wide"),
        map_fd: raw(map),
        ..BatchAttr::default()
    };
    // SAFETY: `indices` and `values` hold `count` elements each. An array map rounds each value up to
    // 8 bytes, and the callers' types are multiples of that.
    unsafe { bpf(BPF_MAP_UPDATE_BATCH, &mut attr) }.map(drop)
}

/// The kernel's identity of the map at this index of an array of maps; `None` where there is none.
///
/// # Errors
/// What the kernel says.
pub fn inner_id(map: BorrowedFd<'_>, index: u32) -> io::Result<Option<u32>> {
    let mut id = 0_u32;
    let mut attr = ElementAttr {
        map_fd: raw(map),
        pad: 0,
        key: (&raw const index) as u64,
        value: (&raw mut id) as u64,
        flags: 0,
    };
    // SAFETY: key and value of an array of maps are 32 bits wide, and both outlive the call.
    match unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) } {
        Ok(_) => Ok(Some(id)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Empties one place of an array of maps.
///
/// # Errors
/// What the kernel says; an empty place is no error.
pub fn delete_inner(map: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        pad: 0,
        key: (&raw const index) as u64,
        value: 0,
        flags: 0,
    };
    // SAFETY: the key of an array of maps is 32 bits wide.
    match unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attr) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Runs an XDP program once on `request` as its frame (at least 14 bytes), which it overwrites with
/// its result. Returns the program's verdict.
///
/// # Errors
/// What the kernel says.
pub fn run_program<Request: Pod, Answer: Pod>(
    program: BorrowedFd<'_>,
    request: &Request,
) -> io::Result<(u32, Answer)> {
    const { assert!(size_of::<Request>() == size_of::<Answer>()) };
    let mut answer = MaybeUninit::<Answer>::zeroed();
    let size = u32::try_from(size_of::<Request>()).expect("a frame is small");
    let mut attr = TestRunAttr {
        program_fd: raw(program),
        data_size_in: size,
        data_size_out: size,
        data_in: std::ptr::from_ref(request) as u64,
        data_out: answer.as_mut_ptr() as u64,
        ..TestRunAttr::default()
    };
    // SAFETY: the kernel reads and writes `size` bytes, which both have.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }?;
    // SAFETY: every byte was set, and any bytes make a `Pod`.
    Ok((attr.returned, unsafe { answer.assume_init() }))
}

/// Runs an XDP program once on a frame that came by this interface, or by the loopback where the interface
/// has no receive queue that is known to XDP (as in generic mode). Returns the program's verdict and what the
/// frame became.
///
/// # Errors
/// What the kernel says.
pub fn run_frame(
    program: BorrowedFd<'_>,
    frame: &[u8],
    ifindex: u32,
) -> io::Result<(u32, Vec<u8>)> {
    /// A tunnel's headers, or an answer's, at most.
    const GROWTH: usize = 512;

    let size = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let mut out = vec![0_u8; frame.len() + GROWTH];
    // `struct xdp_md`: data, its end, metadata, interface, queue, and interface on the way out.
    let context = [0, size, 0, ifindex, 0, 0_u32];
    let mut run = |with_context: bool| -> io::Result<(u32, usize)> {
        let mut attr = TestRunAttr {
            program_fd: raw(program),
            data_size_in: size,
            data_size_out: u32::try_from(out.len()).map_err(io::Error::other)?,
            data_in: frame.as_ptr() as u64,
            data_out: out.as_mut_ptr() as u64,
            ..TestRunAttr::default()
        };
        if with_context {
            attr.ctx_in = context.as_ptr() as u64;
            attr.ctx_size_in = size_of_val(&context) as u32;
        }
        // SAFETY: the kernel reads the frame and the context and writes at most `data_size_out` bytes.
        unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }?;
        Ok((attr.returned, attr.data_size_out as usize))
    };
    let result = match run(true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => run(false),
        done => done,
    };
    let (action, length) = result?;
    out.truncate(length);
    Ok((action, out))
}

/// Opens a pinned object.
///
/// # Errors
/// What the kernel says; `NotFound` where there is none.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = PathAttr {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: the path is a string that ends in a zero byte and outlives the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attr) }?;
    // SAFETY: the kernel just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { owned(fd) })
}

/// Pins an object.
///
/// # Errors
/// What the kernel says.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = PathAttr {
        pathname: path.as_ptr() as u64,
        bpf_fd: raw(object),
        file_flags: 0,
    };
    // SAFETY: the path is a string that ends in a zero byte and outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// # Safety
/// `fd` must be a descriptor that a call has just returned.
unsafe fn owned(fd: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(fd).expect("file descriptors are 32 bits wide");
    // SAFETY: as the caller promises.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("an open file descriptor is not negative")
}

/// Calls `bpf(2)`.
///
/// # Safety
/// `attr` must be the part of `union bpf_attr` that `command` reads, and its pointers must be
/// valid for what the kernel reads and writes by them.
unsafe fn bpf<A>(command: libc::c_long, attr: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: as the caller promises.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
