#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub backend_idx: u32,
    pub identity: u64,
    pub weight: u32,
}
pub fn build(members: &[Member], slots: u32) -> Vec<u32> {
    if members.is_empty() {
        vec![u32::MAX; slots as usize]
    } else {
        (0..slots)
            .map(|i| members[i as usize % members.len()].backend_idx)
            .collect()
    }
}
